/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bitmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

int bitmap_init(struct bitmap *b, uint64_t nbits)
{
	uint64_t nwords = bitmap_nwords(nbits);
	uint64_t *words = calloc(nwords ? nwords : 1, sizeof(*words));

	if (!words)
		return -ENOMEM;
	b->words = words;
	b->nbits = nbits;
	return 0;
}

void bitmap_fini(struct bitmap *b)
{
	if (!b)
		return;
	free(b->words);
	*b = (struct bitmap){ 0 };
}

void bitmap_zero(struct bitmap *b)
{
	memset(b->words, 0, bitmap_nwords(b->nbits) * sizeof(*b->words));
}

void bitmap_fill(struct bitmap *b)
{
	bitmap_set_range(b, 0, b->nbits);
}

/* Without the multiplication of the usual form: shifts and adds are what SSE2 and NEON vectorise. */
static inline uint64_t popcount(uint64_t v)
{
	v -= (v >> 1) & 0x5555555555555555ULL;
	v = (v & 0x3333333333333333ULL) + ((v >> 2) & 0x3333333333333333ULL);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	v += v >> 8;
	v += v >> 16;
	v += v >> 32;
	return v & 0x7f;
}

uint64_t bitmap_count(const struct bitmap *b)
{
	uint64_t nwords = bitmap_nwords(b->nbits);
	uint64_t n = 0;

	for (uint64_t i = 0; i < nwords; i++)
		n += popcount(b->words[i]);
	return n;
}

/* A range as a first word with a mask, whole words, and a last word with a mask. */
struct span {
	uint64_t first_word;
	uint64_t last_word;
	uint64_t first_mask;
	uint64_t last_mask; /* already cut by first_mask when both are one word */
};

static bool span_of(const struct bitmap *b, uint64_t first, uint64_t n, struct span *s)
{
	uint64_t last;

	if (first >= b->nbits || !n)
		return false;
	n = MIN(n, b->nbits - first);
	last = first + n - 1;
	s->first_word = first / 64;
	s->last_word = last / 64;
	s->first_mask = ~0ULL << (first % 64);
	s->last_mask = ~0ULL >> (63 - last % 64);
	if (s->first_word == s->last_word)
		s->last_mask &= s->first_mask;
	return true;
}

uint64_t bitmap_count_range(const struct bitmap *b, uint64_t first, uint64_t n)
{
	uint64_t sum = 0;
	struct span s;

	if (!span_of(b, first, n, &s))
		return 0;
	if (s.first_word < s.last_word)
		sum = popcount(b->words[s.first_word] & s.first_mask);
	for (uint64_t w = s.first_word + 1; w < s.last_word; w++)
		sum += popcount(b->words[w]);
	return sum + popcount(b->words[s.last_word] & s.last_mask);
}

void bitmap_set_range(struct bitmap *b, uint64_t first, uint64_t n)
{
	struct span s;

	if (!span_of(b, first, n, &s))
		return;
	if (s.first_word < s.last_word)
		b->words[s.first_word] |= s.first_mask;
	for (uint64_t w = s.first_word + 1; w < s.last_word; w++)
		b->words[w] = ~0ULL;
	b->words[s.last_word] |= s.last_mask;
}

void bitmap_clear_range(struct bitmap *b, uint64_t first, uint64_t n)
{
	struct span s;

	if (!span_of(b, first, n, &s))
		return;
	if (s.first_word < s.last_word)
		b->words[s.first_word] &= ~s.first_mask;
	for (uint64_t w = s.first_word + 1; w < s.last_word; w++)
		b->words[w] = 0;
	b->words[s.last_word] &= ~s.last_mask;
}

static uint64_t subtract_word(uint64_t *dst, uint64_t src)
{
	uint64_t taken = *dst & src;

	*dst &= ~src;
	return popcount(taken);
}

uint64_t bitmap_subtract_range(struct bitmap *dst, const struct bitmap *src, uint64_t first,
			       uint64_t n)
{
	uint64_t sum = 0;
	struct span s;

	if (!span_of(dst, first, n, &s))
		return 0;
	if (s.first_word < s.last_word)
		sum = subtract_word(&dst->words[s.first_word],
				    src->words[s.first_word] & s.first_mask);
	for (uint64_t w = s.first_word + 1; w < s.last_word; w++)
		sum += subtract_word(&dst->words[w], src->words[w]);
	return sum + subtract_word(&dst->words[s.last_word], src->words[s.last_word] & s.last_mask);
}

void bitmap_or(struct bitmap *dst, const struct bitmap *src)
{
	uint64_t nwords = bitmap_nwords(MIN(dst->nbits, src->nbits));

	for (uint64_t i = 0; i < nwords; i++)
		dst->words[i] |= src->words[i];
}

void bitmap_or_words(struct bitmap *dst, uint64_t first_word, const uint64_t *words,
		     uint64_t nwords)
{
	uint64_t total = bitmap_nwords(dst->nbits);

	if (first_word >= total)
		return;
	nwords = MIN(nwords, total - first_word);
	for (uint64_t i = 0; i < nwords; i++)
		dst->words[first_word + i] |= words[i];
	if (dst->nbits % 64)
		dst->words[total - 1] &= ~0ULL >> (64 - dst->nbits % 64);
}

void bitmap_take_atomic(struct bitmap *dst, struct bitmap *src)
{
	uint64_t nwords = bitmap_nwords(MIN(dst->nbits, src->nbits));

	for (uint64_t i = 0; i < nwords; i++) {
		/* Most words are empty: a plain load leaves their cache line shared. */
		if (__atomic_load_n(&src->words[i], __ATOMIC_RELAXED))
			dst->words[i] |= __atomic_exchange_n(&src->words[i], 0, __ATOMIC_ACQ_REL);
	}
}

void bitmap_set_atomic(struct bitmap *b, uint64_t bit)
{
	__atomic_fetch_or(&b->words[bit / 64], 1ULL << (bit % 64), __ATOMIC_RELEASE);
}

/* The first bit equal to @want in [from, limit), or limit. */
static uint64_t next_bit(const struct bitmap *b, uint64_t from, uint64_t limit, bool want)
{
	uint64_t flip = want ? 0 : ~0ULL;
	uint64_t last_word = (limit - 1) / 64;
	uint64_t w = from / 64;
	uint64_t v = (b->words[w] ^ flip) & (~0ULL << (from % 64));

	while (!v) {
		if (w == last_word)
			return limit;
		v = b->words[++w] ^ flip;
	}
	return MIN(w * 64 + (uint64_t)__builtin_ctzll(v), limit);
}

bool bitmap_next_run(const struct bitmap *b, uint64_t from, uint64_t limit, uint64_t *ret_first,
		     uint64_t *ret_count)
{
	uint64_t first;

	limit = MIN(limit, b->nbits);
	if (from >= limit)
		return false;
	first = next_bit(b, from, limit, true);
	if (first >= limit)
		return false;
	*ret_first = first;
	*ret_count = next_bit(b, first, limit, false) - first;
	return true;
}
