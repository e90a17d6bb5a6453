/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/bitmap.h"

#define NBITS 331u /* not a multiple of 64 */

/* The same operations on a plain array of bools are the oracle. */
struct model {
	struct bitmap b;
	bool bit[NBITS];
};

static void model_init(struct model *m, uint32_t seed, unsigned int density)
{
	memset(m, 0, sizeof(*m));
	assert_int_equal(bitmap_init(&m->b, NBITS), 0);
	for (unsigned int i = 0; i < NBITS; i++) {
		seed = seed * 1664525u + 1013904223u;
		if ((seed >> 16) % 100 < density) {
			m->bit[i] = true;
			bitmap_set(&m->b, i);
		}
	}
}

static void model_equal(const struct model *m)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < NBITS; i++) {
		assert_int_equal(bitmap_test(&m->b, i), m->bit[i]);
		n += m->bit[i];
	}
	assert_int_equal(bitmap_count(&m->b), n);
	/* Nothing past the end. */
	assert_int_equal(m->b.words[NBITS / 64] >> (NBITS % 64), 0);
}

static void ranges_match_the_model(void **state)
{
	static const unsigned int edges[] = { 0,   1,   5,   63,  64,  65,  127,
					      128, 192, 200, 320, 330, 331, 400 };
	const size_t n = sizeof(edges) / sizeof(edges[0]);

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			unsigned int first = edges[i], count = edges[j];
			struct model set, clear;
			uint64_t counted = 0;

			model_init(&set, 1, 30);
			model_init(&clear, 2, 70);
			for (unsigned int k = first; k < NBITS && k - first < count; k++) {
				counted += set.bit[k];
				set.bit[k] = true;
				clear.bit[k] = false;
			}
			assert_int_equal(bitmap_count_range(&set.b, first, count), counted);
			bitmap_set_range(&set.b, first, count);
			bitmap_clear_range(&clear.b, first, count);
			model_equal(&set);
			model_equal(&clear);
			bitmap_fini(&set.b);
			bitmap_fini(&clear.b);
		}
	}
}

static void subtracting_matches_the_model(void **state)
{
	static const unsigned int edges[] = { 0, 1, 63, 64, 65, 128, 200, 330, 331, 400 };
	const size_t n = sizeof(edges) / sizeof(edges[0]);

	for (size_t i = 0; i < n * n; i++) {
		unsigned int first = edges[i / n], count = edges[i % n];
		struct model a, b;
		uint64_t taken = 0;

		model_init(&a, 5, 60);
		model_init(&b, 6, 60);
		for (unsigned int k = first; k < NBITS && k - first < count; k++) {
			taken += a.bit[k] && b.bit[k];
			a.bit[k] &= !b.bit[k];
		}
		assert_int_equal(bitmap_subtract_range(&a.b, &b.b, first, count), taken);
		model_equal(&a);
		model_equal(&b);
		bitmap_fini(&a.b);
		bitmap_fini(&b.b);
	}
}

static void runs_match_the_model(void **state)
{
	static const unsigned int densities[] = { 0, 2, 50, 98, 100 };

	for (size_t d = 0; d < 5; d++) {
		struct model m;

		model_init(&m, 7, densities[d]);
		for (unsigned int from = 0; from <= NBITS; from++) {
			for (unsigned int limit = 0; limit <= NBITS + 10; limit += 13) {
				unsigned int end = limit < NBITS ? limit : NBITS;
				unsigned int first = from, stop;
				uint64_t got_first = 999, got_count = 999;
				bool got =
					bitmap_next_run(&m.b, from, limit, &got_first, &got_count);

				while (first < end && !m.bit[first])
					first++;
				for (stop = first; stop < end && m.bit[stop];)
					stop++;
				assert_int_equal(got, first < end);
				assert_int_equal(got_first, got ? first : 999);
				assert_int_equal(got_count, got ? stop - first : 999);
			}
		}
		bitmap_fini(&m.b);
	}
}

static void fill_zero_or(void **state)
{
	uint64_t words[8];
	struct model a, b;

	model_init(&a, 3, 20);
	model_init(&b, 4, 20);
	bitmap_or(&a.b, &b.b);
	for (unsigned int i = 0; i < NBITS; i++)
		a.bit[i] |= b.bit[i];
	model_equal(&a);
	bitmap_fill(&a.b);
	assert_int_equal(bitmap_count(&a.b), NBITS);
	memset(a.bit, 1, sizeof(a.bit));
	model_equal(&a);
	bitmap_zero(&a.b);
	assert_int_equal(bitmap_count(&a.b), 0);

	memset(words, 0xff, sizeof(words));
	bitmap_or_words(&a.b, 4, words, 8); /* two words fit, the last in part */
	assert_int_equal(bitmap_count(&a.b), NBITS - 4 * 64);
	bitmap_or_words(&a.b, 6, words, 8);
	bitmap_or_words(&a.b, UINT64_MAX, words, 8);
	assert_int_equal(bitmap_count(&a.b), NBITS - 4 * 64);
	bitmap_fini(&a.b);
	bitmap_fini(&b.b);
}

static void sizes(void **state)
{
	struct bitmap b = { 0 };

	assert_int_equal(bitmap_nwords(UINT64_MAX), 1ULL << 58);
	assert_int_equal(bitmap_init(&b, UINT64_MAX), -ENOMEM);
	assert_null(b.words);
	assert_int_equal(bitmap_init(&b, 0), 0);
	assert_int_equal(bitmap_count(&b), 0);
	bitmap_fill(&b);
	assert_false(bitmap_next_run(&b, 0, 10, &(uint64_t){ 0 }, &(uint64_t){ 0 }));
	bitmap_fini(&b);
	bitmap_fini(NULL);
}

#define ATOMIC_BITS 4096u
#define ATOMIC_ROUNDS 500

struct race {
	struct bitmap src, dst;
	pthread_barrier_t start;
	int done;
};

static void *setter(void *opaque)
{
	struct race *r = opaque;

	for (int round = 0; round < ATOMIC_ROUNDS; round++) {
		pthread_barrier_wait(&r->start);
		for (uint64_t i = 0; i < ATOMIC_BITS; i++)
			bitmap_set_atomic(&r->src, i);
		__atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
		pthread_barrier_wait(&r->start);
	}
	return NULL;
}

/* One thread sets each bit once while this one takes: together they are all there, and in the end none is left behind. */
static void take_loses_nothing(void **state)
{
	struct race r = { 0 };
	pthread_t thread;

	assert_int_equal(bitmap_init(&r.src, ATOMIC_BITS), 0);
	assert_int_equal(bitmap_init(&r.dst, ATOMIC_BITS), 0);
	pthread_barrier_init(&r.start, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, setter, &r), 0);
	for (int round = 0; round < ATOMIC_ROUNDS; round++) {
		bitmap_zero(&r.dst);
		r.done = 0;
		pthread_barrier_wait(&r.start);
		while (!__atomic_load_n(&r.done, __ATOMIC_ACQUIRE))
			bitmap_take_atomic(&r.dst, &r.src);
		bitmap_take_atomic(&r.dst, &r.src);
		pthread_barrier_wait(&r.start);
		assert_int_equal(bitmap_count(&r.dst), ATOMIC_BITS);
		assert_int_equal(bitmap_count(&r.src), 0);
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&r.start);
	bitmap_fini(&r.src);
	bitmap_fini(&r.dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_match_the_model),
		cmocka_unit_test(runs_match_the_model),
		cmocka_unit_test(fill_zero_or),
		cmocka_unit_test(sizes),
		cmocka_unit_test(take_loses_nothing),
		cmocka_unit_test(subtracting_matches_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
