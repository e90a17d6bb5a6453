/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "migration/compress/compress.h"

#define PAGE STREAM_PAGE_BYTES

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Page @n: every fourth incompressible, the others text, constants and counters. */
static void fill(uint8_t *page, uint64_t n)
{
	uint64_t x = n * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < PAGE; i += 8) {
		uint64_t v = n % 4 == 0 ? next_random(&x) :
			     n % 4 == 1 ? n :
			     n % 4 == 2 ? 0x2065746f6e207369u + i % 64 :
					  i * n;
		memcpy(page + i, &v, 8);
	}
}

static void inflate_job(struct inflater *f, const struct compress_job *job)
{
	uint8_t page[PAGE], expected[PAGE];
	const uint8_t *data = job->data;
	uint32_t stored = 0;

	assert_int_equal(crc32c(0, job->data, job->data_bytes), job->data_crc);
	for (uint32_t i = 0; i < job->npages; i++) {
		assert_in_range(job->length[i], 1, PAGE);
		fill(expected, job->number[i]);
		if (job->length[i] == PAGE) {
			stored++;
			assert_memory_equal(data, expected, PAGE);
		} else {
			assert_true(job->length[i] <= PAGE - COMPRESS_MIN_SAVING);
			assert_int_equal(inflater_page(f, data, job->length[i], page, NULL), 0);
			assert_memory_equal(page, expected, PAGE);
		}
		data += job->length[i];
	}
	assert_int_equal(data - job->data, job->data_bytes);
	assert_int_equal(stored, job->nstored);
}

/* Many jobs of all sizes over few workers: each page comes back, in order, stored where it does not shrink. */
static void pages_come_back_in_order(void **state)
{
	enum { JOBS = 100 };
	struct compress_pool *pool = NULL;
	struct compress_job *job;
	struct inflater *f = NULL;
	uint8_t *memory = malloc(64 * PAGE);
	uint64_t taken = 0, submitted = 0, stored = 0, expected_stored = 0;

	for (uint64_t i = 0; i < 64; i++)
		fill(memory + i * PAGE, i);
	assert_int_equal(inflater_create(&f, NULL), 0);
	for (int level = 1; level <= 9; level += 4) {
		assert_int_equal(compress_pool_create(3, level, &pool, NULL), 0);
		assert_null(compress_next(pool));
		assert_true(compress_next_ready(pool));
		taken = submitted = stored = expected_stored = 0;
		while (taken < JOBS) {
			while (submitted < JOBS && (job = compress_acquire(pool))) {
				uint32_t n = 1 + (uint32_t)(submitted % COMPRESS_JOB_PAGES);

				for (uint32_t i = 0; i < n; i++) {
					job->number[i] = (submitted + i) % 64;
					job->page[i] = memory + job->number[i] * PAGE;
					expected_stored += job->number[i] % 4 == 0;
				}
				job->npages = n;
				compress_submit(pool, job);
				submitted++;
			}
			job = compress_next(pool);
			assert_non_null(job);
			assert_int_equal(job->npages, 1 + taken % COMPRESS_JOB_PAGES);
			assert_int_equal(job->number[0], taken % 64);
			assert_true(job->cpu_ns > 0);
			inflate_job(f, job);
			stored += job->nstored;
			compress_release(pool, job);
			taken++;
		}
		assert_null(compress_next(pool));
		assert_true(stored == expected_stored);
		compress_pool_destroy(pool);
	}
	inflater_destroy(f);
	free(memory);
}

static void pool_lends_what_it_has(void **state)
{
	struct compress_pool *pool = NULL;
	struct compress_job *job[32];
	uint8_t page[PAGE] = { 1 };
	unsigned int n;

	assert_int_equal(compress_pool_create(1, 1, &pool, NULL), 0);
	n = compress_pool_jobs(pool);
	assert_in_range(n, 3, 32);
	for (unsigned int i = 0; i < n; i++) {
		job[i] = compress_acquire(pool);
		assert_non_null(job[i]);
		job[i]->page[0] = page;
		job[i]->npages = 1;
		compress_submit(pool, job[i]);
	}
	assert_null(compress_acquire(pool));
	assert_ptr_equal(compress_next(pool), job[0]);
	assert_null(compress_acquire(pool)); /* taken, but still being sent */
	compress_release(pool, job[0]);
	assert_ptr_equal(compress_acquire(pool), job[0]);
	compress_pool_destroy(pool); /* with jobs that nobody took */
}

static void pool_refuses_bad_parameters(void **state)
{
	struct compress_pool *pool = NULL;

	assert_int_equal(compress_pool_create(0, 1, &pool, NULL), -EINVAL);
	assert_int_equal(compress_pool_create(65, 1, &pool, NULL), -EINVAL);
	assert_int_equal(compress_pool_create(1, 0, &pool, NULL), -EINVAL);
	assert_int_equal(compress_pool_create(1, 10, &pool, NULL), -EINVAL);
	assert_null(pool);
	compress_pool_destroy(NULL);
	inflater_destroy(NULL);
}

/* One compressed page, and the bytes around the output that must stay as they are. */
struct hostile {
	struct inflater *f;
	uint8_t data[PAGE];
	uint32_t len;
	uint8_t out[PAGE + 64];
};

static void hostile_init(struct hostile *h)
{
	struct compress_pool *pool = NULL;
	struct compress_job *job;
	uint8_t page[PAGE];

	memset(h, 0, sizeof(*h));
	assert_int_equal(inflater_create(&h->f, NULL), 0);
	assert_int_equal(compress_pool_create(1, 6, &pool, NULL), 0);
	fill(page, 3);
	job = compress_acquire(pool);
	job->page[0] = page;
	job->npages = 1;
	compress_submit(pool, job);
	job = compress_next(pool);
	h->len = job->length[0];
	assert_in_range(h->len, 16, PAGE - 1);
	memcpy(h->data, job->data, h->len);
	compress_pool_destroy(pool);
	memset(h->out, 0xee, sizeof(h->out));
}

static void guard_is_whole(const struct hostile *h)
{
	for (size_t i = PAGE; i < sizeof(h->out); i++)
		assert_int_equal(h->out[i], 0xee);
}

static void truncated_streams_are_refused(void **state)
{
	static struct hostile h;

	hostile_init(&h);
	for (uint32_t n = 0; n < h.len; n++) {
		uint8_t *copy = malloc(n + 1);

		memcpy(copy, h.data, n);
		assert_int_equal(inflater_page(h.f, copy, n, h.out, NULL), -EBADMSG);
		guard_is_whole(&h);
		free(copy);
	}
	assert_int_equal(inflater_page(h.f, h.data, h.len, h.out, NULL), 0);
	h.data[h.len] = 0;
	assert_int_equal(inflater_page(h.f, h.data, h.len + 1, h.out, NULL), -EBADMSG);
	assert_int_equal(inflater_page(h.f, h.data, h.len, h.out, NULL), 0); /* still fit for use */
	inflater_destroy(h.f);
}

static void flipped_bits_stay_inside(void **state)
{
	static struct hostile h;

	hostile_init(&h);
	for (uint32_t bit = 0; bit < h.len * 8; bit++) {
		int rc;

		h.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		rc = inflater_page(h.f, h.data, h.len, h.out, NULL);
		assert_true(rc == 0 ||
			    rc == -EBADMSG); /* the record's crc sees what deflate does not */
		guard_is_whole(&h);
		h.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	inflater_destroy(h.f);
}

static void streams_of_other_sizes_are_refused(void **state)
{
	/* Raw deflate: a stored block of three bytes; nothing at all. */
	static const uint8_t stored_short[] = { 1, 3, 0, 0xfc, 0xff, 'a', 'b', 'c' };
	static const uint8_t empty[] = { 3, 0 };
	/* Two pages of zeros, by zlib at level 9. */
	static const uint8_t two[] = { 0xed, 0xc1, 0x01, 0x0d, 0x00, 0x00, 0x00, 0xc2, 0xa0,
				       0xf7, 0x4f, 0x6d, 0x0e, 0x37, 0xa0, 0x00, 0x00, 0x00,
				       0x00, 0x00, 0x00, 0x00, 0x80, 0x77, 0x03 };
	/* A distance that reaches back before the page: fixed codes, length 3, distance 1, at the very start. */
	static const uint8_t before[] = { 0x03, 0x02, 0x00 };
	static struct hostile h;
	struct err err = { 0 };

	hostile_init(&h);
	assert_int_equal(inflater_page(h.f, stored_short, sizeof(stored_short), h.out, NULL),
			 -EBADMSG);
	assert_int_equal(inflater_page(h.f, empty, sizeof(empty), h.out, NULL), -EBADMSG);
	assert_int_equal(inflater_page(h.f, two, sizeof(two), h.out, &err), -EBADMSG);
	assert_string_equal(err.msg, "deflate stream yields more than a page");
	guard_is_whole(&h);
	assert_int_equal(inflater_page(h.f, before, sizeof(before), h.out, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "too far back"));
	guard_is_whole(&h);
	inflater_destroy(h.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_come_back_in_order),
		cmocka_unit_test(pool_lends_what_it_has),
		cmocka_unit_test(pool_refuses_bad_parameters),
		cmocka_unit_test(truncated_streams_are_refused),
		cmocka_unit_test(flipped_bits_stay_inside),
		cmocka_unit_test(streams_of_other_sizes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
