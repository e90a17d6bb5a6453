/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "migration/wire/pages.h"

#define RAM 1000u

/* Three runs of 1, 2 and 3 pages. */
static void example(struct pages_meta *m)
{
	memset(m, 0, sizeof(*m));
	m->nruns = 3;
	m->npages = 6;
	m->run[0] = (struct page_run){ 0, 1 };
	m->run[1] = (struct page_run){ 10, 2 };
	m->run[2] = (struct page_run){ RAM - 3, 3 };
	for (uint32_t i = 0; i < 6; i++) {
		m->crc[i] = 0x01020304u * (i + 1);
		m->length[i] = (uint16_t)(i == 3 ? STREAM_PAGE_BYTES : 100 + i);
	}
	m->payload_crc = 0xdeadbeef;
}

static uint64_t zlength(const struct pages_meta *m)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < m->npages; i++)
		total += m->length[i];
	return total;
}

static void lists_come_back(void **state)
{
	static struct pages_meta in, out;
	uint8_t meta[PAGES_META_MAX_BYTES];
	uint32_t n;

	example(&in);
	n = pages_encode(&in, meta);
	assert_int_equal(n, 8 + 3 * 12 + 6 * 4);
	assert_int_equal(pages_decode(meta, n, 6 * 4096, RAM, &out, NULL), 0);
	assert_int_equal(out.nruns, 3);
	assert_int_equal(out.npages, 6);
	for (int i = 0; i < 3; i++) {
		assert_true(out.run[i].first_page == in.run[i].first_page);
		assert_int_equal(out.run[i].count, in.run[i].count);
	}
	assert_memory_equal(out.crc, in.crc, 6 * 4);

	n = zpages_encode(&in, meta);
	assert_int_equal(n, 8 + 3 * 12 + 6 * 2 + 4);
	assert_int_equal(zpages_decode(meta, n, zlength(&in), RAM, &out, NULL), 0);
	assert_memory_equal(out.length, in.length, 6 * 2);
	assert_int_equal(out.payload_crc, 0xdeadbeef);
}

static void largest_lists_come_back(void **state)
{
	static struct pages_meta in, out;
	uint8_t meta[PAGES_META_MAX_BYTES];
	uint32_t n;

	in.nruns = in.npages = STREAM_MAX_PAGES;
	for (uint32_t i = 0; i < STREAM_MAX_PAGES; i++) {
		in.run[i] = (struct page_run){ 2 * i, 1 };
		in.length[i] = STREAM_PAGE_BYTES;
	}
	n = pages_encode(&in, meta);
	assert_int_equal(n, PAGES_META_MAX_BYTES);
	assert_int_equal(pages_decode(meta, n, STREAM_MAX_PAYLOAD, RAM, &out, NULL), 0);
	n = zpages_encode(&in, meta);
	assert_true(n <= PAGES_META_MAX_BYTES);
	assert_int_equal(zpages_decode(meta, n, STREAM_MAX_PAYLOAD, RAM, &out, NULL), 0);
}

/* What is encoded may be wrong: the encoders write what they are given, the decoders refuse it. */
static int decode_both(struct pages_meta *m, uint64_t ram)
{
	static struct pages_meta out;
	uint8_t meta[PAGES_META_MAX_BYTES];
	int rc = pages_decode(meta, pages_encode(m, meta), (uint64_t)m->npages * 4096, ram, &out,
			      NULL);
	int zrc = zpages_decode(meta, zpages_encode(m, meta), zlength(m), ram, &out, NULL);

	assert_int_equal(rc, zrc);
	return rc;
}

static void bad_runs_are_refused(void **state)
{
	static struct pages_meta m;

	example(&m);
	assert_int_equal(decode_both(&m, RAM), 0);
	assert_int_equal(decode_both(&m, RAM - 1), -EBADMSG); /* past the end of memory */
	m.run[1] = (struct page_run){ 0, 2 }; /* overlaps */
	assert_int_equal(decode_both(&m, RAM), -EBADMSG);
	m.run[1] = (struct page_run){ 1, 2 }; /* touches: allowed */
	assert_int_equal(decode_both(&m, RAM), 0);
	m.run[1] = (struct page_run){ RAM - 2, 2 }; /* descends */
	assert_int_equal(decode_both(&m, RAM), -EBADMSG);
	example(&m);
	m.run[1].count = 0;
	m.run[2].count = 3;
	assert_int_equal(decode_both(&m, RAM), -EBADMSG);
	example(&m);
	m.run[1].count = 3; /* sum differs */
	assert_int_equal(decode_both(&m, RAM), -EBADMSG);
	m.run[1].count = UINT32_MAX - 1; /* sum wraps to the right one in 32 bits */
	m.run[2].count = 7;
	assert_int_equal(decode_both(&m, UINT64_MAX), -EBADMSG);
	example(&m);
	m.run[2] = (struct page_run){ UINT64_MAX - 1, 3 }; /* end wraps */
	assert_int_equal(decode_both(&m, UINT64_MAX), -EBADMSG);
	example(&m);
	assert_int_equal(decode_both(&m, 0), -EBADMSG);
}

static void bad_counts_are_refused(void **state)
{
	static const struct {
		uint32_t nruns, npages;
	} bad[] = { { 0, 0 },
		    { 0, 1 },
		    { 2, 1 },
		    { 1, 257 },
		    { 257, 257 },
		    { 1, UINT32_MAX },
		    { UINT32_MAX, UINT32_MAX },
		    { 0x15555556, 6 } };
	static struct pages_meta m;
	uint8_t meta[8192] = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		le32_put(meta, bad[i].nruns);
		le32_put(meta + 4, bad[i].npages);
		for (uint32_t n = 0; n <= sizeof(meta); n++) {
			assert_int_equal(pages_decode(meta, n, bad[i].npages * 4096ull, RAM, &m,
						      NULL),
					 -EBADMSG);
			assert_int_equal(zpages_decode(meta, n, 100, RAM, &m, NULL), -EBADMSG);
		}
	}
}

static void every_other_length_is_refused(void **state)
{
	static struct pages_meta m, out;
	uint8_t meta[PAGES_META_MAX_BYTES];
	uint32_t n;

	example(&m);
	n = pages_encode(&m, meta);
	for (uint32_t i = 0; i < sizeof(meta); i++)
		if (i != n) {
			/* In memory of its exact size, so that a sanitizer sees a read past it. */
			uint8_t *copy = malloc(i + 1);

			memcpy(copy, meta, i);
			assert_int_equal(pages_decode(copy, i, 6 * 4096, RAM, &out, NULL),
					 -EBADMSG);
			free(copy);
		}
	assert_int_equal(pages_decode(meta, n, 6 * 4096 - 1, RAM, &out, NULL), -EBADMSG);
	assert_int_equal(pages_decode(meta, n, 7 * 4096, RAM, &out, NULL), -EBADMSG);
	assert_int_equal(pages_decode(meta, n, UINT64_MAX, RAM, &out, NULL), -EBADMSG);
	n = zpages_encode(&m, meta);
	for (uint32_t i = 0; i < sizeof(meta); i++)
		if (i != n)
			assert_int_equal(zpages_decode(meta, i, zlength(&m), RAM, &out, NULL),
					 -EBADMSG);
	assert_int_equal(zpages_decode(meta, n, zlength(&m) + 1, RAM, &out, NULL), -EBADMSG);
	assert_int_equal(zpages_decode(meta, n, 0, RAM, &out, NULL), -EBADMSG);
}

static void bad_compressed_lengths_are_refused(void **state)
{
	static const uint16_t bad[] = { 0, 4097, 0xffff };
	static struct pages_meta m, out;
	uint8_t meta[PAGES_META_MAX_BYTES];

	for (size_t i = 0; i < 3; i++) {
		example(&m);
		m.length[5] = bad[i];
		assert_int_equal(zpages_decode(meta, zpages_encode(&m, meta), zlength(&m), RAM,
					       &out, NULL),
				 -EBADMSG);
	}
}

struct seen {
	unsigned int calls;
	uint64_t pages, last;
};

static void see(void *opaque, uint64_t first, uint32_t count)
{
	struct seen *s = opaque;

	s->calls++;
	s->pages += count;
	s->last = first + count - 1;
}

static void zero_runs_come_back(void **state)
{
	static struct page_run run[STREAM_MAX_ZERO_RUNS];
	static uint8_t meta[8 + 12 * STREAM_MAX_ZERO_RUNS];
	struct seen s = { 0 };
	uint32_t n;

	for (uint32_t i = 0; i < STREAM_MAX_ZERO_RUNS; i++)
		run[i] = (struct page_run){ 3 * i, 2 };
	n = zero_encode(run, STREAM_MAX_ZERO_RUNS, meta);
	assert_int_equal(n, sizeof(meta));
	assert_int_equal(zero_decode(meta, n, 3 * STREAM_MAX_ZERO_RUNS, see, &s, NULL), 0);
	assert_int_equal(s.calls, STREAM_MAX_ZERO_RUNS);
	assert_true(s.pages == 2 * STREAM_MAX_ZERO_RUNS);
	assert_true(s.last == 3 * (STREAM_MAX_ZERO_RUNS - 1) + 1);
	/* One run may name all of memory. */
	run[0] = (struct page_run){ 0, UINT32_MAX };
	n = zero_encode(run, 1, meta);
	assert_int_equal(zero_decode(meta, n, UINT32_MAX, see, &s, NULL), 0);
}

/* A list that is wrong anywhere must not have been applied in part. */
static void bad_zero_lists_are_refused_whole(void **state)
{
	static const struct page_run good[3] = { { 0, 1 }, { 5, 5 }, { 10, RAM - 10 } };
	static const struct page_run bad[] = { { 10, 0 },         { 9, 1 },
					       { RAM, 1 },        { 10, RAM - 9 },
					       { UINT64_MAX, 1 }, { UINT64_MAX, UINT32_MAX } };
	uint8_t meta[8 + 12 * 3 + 1] = { 0 };
	struct seen s = { 0 };
	struct page_run run[3];
	uint32_t n = zero_encode(good, 3, meta);

	assert_int_equal(zero_decode(meta, n, RAM, see, &s, NULL), 0);
	assert_int_equal(s.calls, 3);
	memset(&s, 0, sizeof(s));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(run, good, sizeof(run));
		run[2] = bad[i];
		zero_encode(run, 3, meta);
		assert_int_equal(zero_decode(meta, n, RAM, see, &s, NULL), -EBADMSG);
	}
	zero_encode(good, 3, meta);
	for (uint32_t i = 0; i <= sizeof(meta); i++)
		if (i != n)
			assert_int_equal(zero_decode(meta, i, RAM, see, &s, NULL), -EBADMSG);
	le32_put(meta, 0);
	assert_int_equal(zero_decode(meta, 8, RAM, see, &s, NULL), -EBADMSG);
	le32_put(meta, 0x55555558); /* 12 * nruns wraps */
	assert_int_equal(zero_decode(meta, n, RAM, see, &s, NULL), -EBADMSG);
	le32_put(meta, 3);
	le32_put(meta + 4, 1);
	assert_int_equal(zero_decode(meta, n, RAM, see, &s, NULL), -EBADMSG);
	assert_int_equal(s.calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_come_back),
		cmocka_unit_test(largest_lists_come_back),
		cmocka_unit_test(bad_runs_are_refused),
		cmocka_unit_test(bad_counts_are_refused),
		cmocka_unit_test(every_other_length_is_refused),
		cmocka_unit_test(bad_compressed_lengths_are_refused),
		cmocka_unit_test(zero_runs_come_back),
		cmocka_unit_test(bad_zero_lists_are_refused_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
