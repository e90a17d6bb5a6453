/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a page. Every word that the guest has written is a function of the page's number, the
 * word's number and the pass that wrote it last, so that a verification needs no copy to compare
 * with.
 */
#include "guest.h"

/* Filler for compressible pages: each word of a page is one of these. */
const uint64_t page_text[64] __attribute__((aligned(64))) = {
#define T(a, b, c, d, e, f, g, h)                                                         \
	((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 | \
	 (uint64_t)(e) << 32 | (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)
#define ROW(a, b, c)                                                                      \
	T(a, b, c, 'e', 'r', 'i', 'n', 'g'), T(b, c, a, 'u', 'l', 'a', 't', 'e'),         \
		T(c, a, b, ' ', 't', 'h', 'e', ' '), T(a, c, b, 'a', 't', 'i', 'o', 'n'), \
		T(b, a, c, 'i', 's', 'h', 'e', 'd'), T(c, b, a, ' ', 'a', 'n', 'd', ' '), \
		T('t', 'h', 'a', 't', ' ', a, b, c), T('w', 'i', 't', 'h', ' ', c, b, a)
	ROW('c', 'o', 'm'), ROW('s', 't', 'r'), ROW('m', 'a', 'p'), ROW('g', 'l', 'u'),
	ROW('k', 'i', 'v'), ROW('d', 'e', 'b'), ROW('f', 'y', 'w'), ROW('q', 'n', 'j'),
#undef ROW
#undef T
};

static enum fill fill_kind;
static uint32_t bad_lines;

void pages_init(enum fill fill)
{
	fill_kind = fill;
}

enum fill pages_fill_kind(void)
{
	return fill_kind;
}

static inline uint64_t mix(uint64_t v)
{
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return v ^ v >> 31;
}

/*
 * Heap-like: one block of 64 bytes in four is an object, with a pointer, small integers and one
 * word without pattern, the others are free and zero.
 */
static inline uint64_t sparse_word(uint64_t v, uint32_t word)
{
	if (word / 8 % 4)
		return 0;
	switch (word % 8) {
	case 0:
		return 0x00007f0000000000ull | (v >> 40 & ~15ull);
	case 1:
	case 2:
	case 5:
		return v >> 56;
	case 3:
		return v;
	default:
		return 0;
	}
}

/* What filling leaves in a word; FILL_NONE leaves nothing that is known. */
static inline uint64_t fill_word(enum fill kind, uint64_t page, uint32_t word)
{
	uint64_t v;

	if (kind == FILL_NONE || kind == FILL_ZERO)
		return 0;
	v = mix(0x9e3779b97f4a7c15ull * (page * PAGE_WORDS + word + 1));
	if (kind == FILL_SPARSE)
		return sparse_word(v, word);
	return kind == FILL_TEXT ? page_text[v >> 58] : v;
}

void pages_fill(uint64_t first, uint64_t count, bool headers)
{
	for (uint64_t page = first; page < first + count; page++) {
		uint64_t *p = page_at(page);

		if (fill_kind == FILL_ZERO)
			memset(p, 0, PAGE_BYTES);
		else if (fill_kind == FILL_RANDOM)
			for (uint32_t w = 0; w < PAGE_WORDS; w++)
				p[w] = fill_word(FILL_RANDOM, page, w);
		else if (fill_kind == FILL_TEXT)
			for (uint32_t w = 0; w < PAGE_WORDS; w++)
				p[w] = fill_word(FILL_TEXT, page, w);
		else if (fill_kind == FILL_SPARSE)
			for (uint32_t w = 0; w < PAGE_WORDS; w++)
				p[w] = fill_word(FILL_SPARSE, page, w);
		if (headers) {
			p[0] = 0;
			p[1] = page_id_word(page);
		}
	}
}

void pages_report_bad(uint32_t cpu, uint64_t page, uint32_t word, uint64_t expected, uint64_t found)
{
	struct line l;

	if (__atomic_fetch_add(&bad_lines, 1, __ATOMIC_RELAXED) >= BAD_LINES_MAX)
		return;
	l.len = 0;
	line_dec(&l, "BAD cpu=", cpu);
	line_dec(&l, " page=", page);
	line_dec(&l, " word=", word);
	line_hex(&l, " expected=", expected);
	line_hex(&l, " found=", found);
	line_print(&l);
}

static inline void check(uint32_t cpu, uint64_t page, uint32_t word, uint64_t expected,
			 struct verdict *v)
{
	uint64_t found = page_at(page)[word];

	v->words++;
	if (likely(found == expected))
		return;
	v->bad++;
	pages_report_bad(cpu, page, word, expected, found);
}

void pages_verify_filled(uint32_t cpu, uint64_t first, uint64_t count, struct verdict *v)
{
	if (fill_kind == FILL_NONE)
		return;
	for (uint64_t page = first; page < first + count; page++) {
		for (uint32_t w = 0; w < PAGE_WORDS; w++)
			check(cpu, page, w, fill_word(fill_kind, page, w), v);
		v->pages++;
	}
}

void pages_verify_written(uint32_t cpu, uint64_t page, uint64_t last, struct verdict *v)
{
	uint32_t newest = page_data_slot(last);

	check(cpu, page, 0, last, v);
	check(cpu, page, 1, page_id_word(page), v);
	for (uint32_t w = DATA_SLOT_BASE; w < PAGE_WORDS; w++) {
		/* Passes between the last one and the one that wrote this word. */
		uint64_t age = newest >= w ? newest - w : newest + DATA_SLOTS - w;

		if (last > age)
			check(cpu, page, w, page_data_word(page, last - age, fill_kind), v);
		else if (fill_kind != FILL_NONE)
			check(cpu, page, w, fill_word(fill_kind, page, w), v);
	}
	v->pages++;
}

uint64_t pages_sum(uint64_t first, uint64_t count)
{
	const uint64_t odd = 0x9e3779b97f4a7c15ull;
	uint64_t sum = 0;

	for (uint64_t page = first; page < first + count; page++) {
		const uint64_t *p = page_at(page);
		/* Four at a time: one would wait for its multiplications. */
		uint64_t a = page, b = 1, c = 2, d = 3;

		for (uint32_t w = 0; w < PAGE_WORDS; w += 4) {
			a = (a ^ p[w]) * odd;
			b = (b ^ p[w + 1]) * odd;
			c = (c ^ p[w + 2]) * odd;
			d = (d ^ p[w + 3]) * odd;
			a ^= a >> 29;
			b ^= b >> 29;
			c ^= c >> 29;
			d ^= d >> 29;
		}
		sum += mix(mix(mix(mix(a) ^ b) ^ c) ^ d);
	}
	return sum;
}
