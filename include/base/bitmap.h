/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A fixed-size bitmap in 64-bit words, bit i at word i / 64. Bits past @nbits are always zero.
 * Functions with _atomic in the name may run beside each other on one bitmap; the others need the caller's order. */
struct bitmap {
	uint64_t *words;
	uint64_t nbits;
};

static inline uint64_t bitmap_nwords(uint64_t nbits)
{
	return nbits / 64 + (nbits % 64 != 0);
}

/* Ranges are cut at nbits; bitmap_or and bitmap_take_atomic want bitmaps of one size. */
int bitmap_init(struct bitmap *b, uint64_t nbits); /* all zero; 0 or -ENOMEM */
void bitmap_fini(struct bitmap *b);
void bitmap_zero(struct bitmap *b);
void bitmap_fill(struct bitmap *b);
uint64_t bitmap_count(const struct bitmap *b);
uint64_t bitmap_count_range(const struct bitmap *b, uint64_t first, uint64_t n);
void bitmap_set_range(struct bitmap *b, uint64_t first, uint64_t n);
void bitmap_clear_range(struct bitmap *b, uint64_t first, uint64_t n);
/* In [first, first + n): dst &= ~src; same size. Returns how many bits that took from dst. */
uint64_t bitmap_subtract_range(struct bitmap *dst, const struct bitmap *src, uint64_t first,
			       uint64_t n);
/* dst |= src; same size. */
void bitmap_or(struct bitmap *dst, const struct bitmap *src);
/* ORs @nwords words into @dst from word @first_word on; bits past nbits are dropped. */
void bitmap_or_words(struct bitmap *dst, uint64_t first_word, const uint64_t *words,
		     uint64_t nwords);
/* dst |= src and src = 0, word by word with atomic exchange: nothing set meanwhile by bitmap_set_atomic is lost. */
void bitmap_take_atomic(struct bitmap *dst, struct bitmap *src);
void bitmap_set_atomic(struct bitmap *b, uint64_t bit);

static inline bool bitmap_test(const struct bitmap *b, uint64_t bit)
{
	return (b->words[bit / 64] >> (bit % 64)) & 1;
}
static inline void bitmap_set(struct bitmap *b, uint64_t bit)
{
	b->words[bit / 64] |= 1ULL << (bit % 64);
}
static inline void bitmap_clear(struct bitmap *b, uint64_t bit)
{
	b->words[bit / 64] &= ~(1ULL << (bit % 64));
}

/* The first run of set bits at or after @from and before @limit (cut at @limit). False when there is none. Word-wise. */
bool bitmap_next_run(const struct bitmap *b, uint64_t from, uint64_t limit, uint64_t *ret_first,
		     uint64_t *ret_count);

#endif
