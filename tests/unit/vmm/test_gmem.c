/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/gmem.h"

#define MIB (1ULL << 20)
#define HIGH (4ULL << 30)

static struct gmem *two_regions(void)
{
	struct gmem_config config = {
		.backing = GMEM_THP,
		.nregions = 2,
		.region = { { .gpa = 0, .len_bytes = 4 * MIB },
			    { .gpa = HIGH, .len_bytes = 2 * MIB } },
	};
	struct gmem *m = NULL;
	struct err err = { 0 };

	if (gmem_create(&config, &m, &err) < 0)
		fail_msg("%s", err.msg);
	return m;
}

static void test_layout(void **state)
{
	struct gmem *m = two_regions();

	(void)state;
	assert_int_equal(m->npages, 6 * MIB / 4096);
	assert_int_equal(m->region[1].first_page, 4 * MIB / 4096);
	assert_int_equal((uintptr_t)m->base % (2 * MIB), 0);
	assert_ptr_equal(gmem_ptr(m, HIGH, 1), m->base + 4 * MIB);
	assert_ptr_equal(gmem_page(m, m->region[1].first_page), m->base + 4 * MIB);
	gmem_destroy(m);
	gmem_destroy(NULL);
}

static void test_ranges(void **state)
{
	struct gmem *m = two_regions();
	static const struct {
		uint64_t gpa, len;
		int inside;
	} cases[] = {
		{ 0, 1, 1 },
		{ 0, 4 * MIB, 1 },
		{ 0, 4 * MIB + 1, 0 },
		{ 1, 4 * MIB, 0 },
		{ 4 * MIB - 1, 1, 1 },
		{ 4 * MIB - 1, 2, 0 },
		{ 4 * MIB, 1, 0 },
		{ 4 * MIB, 0, 0 },
		{ HIGH - 1, 1, 0 },
		{ HIGH - 1, 2, 0 },
		{ HIGH, 2 * MIB, 1 },
		{ HIGH, 2 * MIB + 1, 0 },
		{ HIGH + 2 * MIB - 8, 8, 1 },
		{ HIGH + 2 * MIB, 1, 0 },
		{ UINT64_MAX, 1, 0 },
		{ UINT64_MAX, UINT64_MAX, 0 },
		{ 1, UINT64_MAX, 0 },
		{ 4096, UINT64_MAX - 4095, 0 },
		{ HIGH + 16, UINT64_MAX - HIGH - 15, 0 },
		{ HIGH, UINT64_MAX - HIGH + 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if ((gmem_ptr(m, cases[i].gpa, cases[i].len) != NULL) != cases[i].inside)
			fail_msg("case %zu", i);
	}
	gmem_destroy(m);
}

static void test_copies(void **state)
{
	struct gmem *m = two_regions();
	char in[100], out[100];

	(void)state;
	memset(in, 'x', sizeof(in));
	assert_int_equal(gmem_write(m, HIGH + 4000, in, sizeof(in)), 0);
	assert_int_equal(gmem_read(m, HIGH + 4000, out, sizeof(out)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(gmem_write(m, 4 * MIB - 50, in, sizeof(in)), -EFAULT);
	assert_int_equal(m->base[4 * MIB - 50], 0);
	memset(out, 'y', sizeof(out));
	assert_int_equal(gmem_read(m, 4 * MIB - 50, out, sizeof(out)), -EFAULT);
	assert_int_equal(out[0], 'y');
	gmem_destroy(m);
}

static void test_marks(void **state)
{
	struct gmem *m = two_regions();
	uint64_t word = 0;

	(void)state;
	gmem_mark_dirty(m, 0, 4096); /* nobody listens */
	assert_int_equal(bitmap_init(&m->host_log_store, m->npages), 0);
	m->host_log = &m->host_log_store;
	gmem_mark_dirty(m, 4095, 2);
	gmem_mark_dirty(m, HIGH + 8192, 4096);
	gmem_mark_dirty(m, HIGH, 0);
	gmem_mark_dirty(m, 4 * MIB - 1, 2);
	gmem_mark_dirty(m, UINT64_MAX - 10, 4096);
	assert_int_equal(gmem_write(m, HIGH + 2 * MIB - 8, &word, 8), 0);
	assert_int_equal(gmem_write(m, HIGH + 2 * MIB - 4, &word, 8), -EFAULT);
	assert_int_equal(bitmap_count(m->host_log), 4);
	assert_true(bitmap_test(m->host_log, 0));
	assert_true(bitmap_test(m->host_log, 1));
	assert_true(bitmap_test(m->host_log, 1024 + 2));
	assert_true(bitmap_test(m->host_log, m->npages - 1));
	gmem_destroy(m);
}

static void test_refused(void **state)
{
	static const struct gmem_region bad[][2] = {
		{ { .gpa = 0, .len_bytes = 0 } },
		{ { .gpa = 0, .len_bytes = 4096 } },
		{ { .gpa = 4096, .len_bytes = MIB } },
		{ { .gpa = 0, .len_bytes = MIB + 4096 } },
		{ { .gpa = UINT64_MAX - MIB + 1, .len_bytes = MIB } },
		{ { .gpa = 0, .len_bytes = GMEM_MAX_BYTES + MIB } },
		{ { .gpa = 0, .len_bytes = 2 * MIB }, { .gpa = MIB, .len_bytes = MIB } },
		{ { .gpa = HIGH, .len_bytes = MIB }, { .gpa = 0, .len_bytes = MIB } },
		{ { .gpa = 0, .len_bytes = GMEM_MAX_BYTES },
		  { .gpa = GMEM_MAX_BYTES, .len_bytes = MIB } },
	};
	struct gmem_config config = { .backing = GMEM_4K };
	struct gmem *m = NULL;
	struct err err;

	(void)state;
	assert_int_equal(gmem_create(&config, &m, NULL), -EINVAL);
	config.nregions = GMEM_MAX_REGIONS + 1;
	assert_int_equal(gmem_create(&config, &m, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(config.region, bad[i], sizeof(bad[i]));
		config.nregions = bad[i][1].len_bytes ? 2 : 1;
		err = (struct err){ 0 };
		if (gmem_create(&config, &m, &err) != -EINVAL || err.code != -EINVAL)
			fail_msg("case %zu was taken", i);
	}
	config = (struct gmem_config){ .backing = GMEM_HUGETLB, .nregions = 1 };
	config.region[0].len_bytes = 3 * MIB;
	assert_int_equal(gmem_create(&config, &m, NULL), -EINVAL);
	config.hugepage_bytes = 2 * MIB;
	assert_int_equal(gmem_create(&config, &m, NULL), -EINVAL);
	assert_null(m);
}

static void test_guards(void **state)
{
	struct gmem *m = two_regions();
	unsigned char vec[1];
	uint64_t len = m->npages * 4096;

	(void)state;
	/* Guards are mapped (nothing else can move in) and cannot be read: madvise's populate says so without a fault. */
	assert_int_equal(mincore(m->base - 4096, 4096, vec), 0);
	assert_int_equal(mincore(m->base + len, 4096, vec), 0);
	assert_int_equal(madvise(m->base - 4096, 4096, MADV_POPULATE_READ), -1);
	assert_int_equal(madvise(m->base + len, 4096, MADV_POPULATE_READ), -1);
	assert_int_equal(madvise(m->base, 4096, MADV_POPULATE_READ), 0);
	gmem_destroy(m);
}

static void test_populated(void **state)
{
	struct gmem_config config = { .backing = GMEM_4K, .nregions = 1 };
	struct gmem *m = NULL;
	struct bitmap b;
	volatile uint8_t sink;

	(void)state;
	config.region[0].len_bytes = 64 * MIB;
	assert_int_equal(gmem_create(&config, &m, NULL), 0);
	assert_int_equal(bitmap_init(&b, m->npages), 0);
	gmem_page(m, 3)[0] = 1;
	gmem_page(m, 700)[5] = 0; /* written, if only with a zero */
	gmem_page(m, m->npages - 1)[4095] = 1;
	sink = gmem_page(m, 20)[0]; /* read: the shared zero page */
	(void)sink;
	bitmap_fill(&b);
	assert_int_equal(gmem_populated(m, 0, 512, &b), 0);
	assert_int_equal(bitmap_count_range(&b, 0, 512), 1);
	assert_true(bitmap_test(&b, 3));
	assert_int_equal(bitmap_count_range(&b, 512, m->npages - 512), m->npages - 512);
	assert_int_equal(gmem_populated(m, 512, m->npages - 512, &b), 0);
	assert_int_equal(bitmap_count(&b), 3);
	assert_true(bitmap_test(&b, 700));
	assert_true(bitmap_test(&b, m->npages - 1));
	assert_int_equal(gmem_populated(m, 512, m->npages, &b), -EINVAL);
	/* More runs than one scan takes. */
	for (uint64_t p = 0; p < m->npages; p += 2)
		gmem_page(m, p)[0] = 1;
	assert_int_equal(gmem_populated(m, 0, m->npages, &b), 0);
	assert_int_equal(bitmap_count(&b), m->npages / 2 + 2);
	bitmap_fini(&b);
	gmem_destroy(m);
}

/* Whole pages alone, in one region alone, and each of them marked once it reads as zero. */
static void test_discard(void **state)
{
	struct gmem *m = two_regions();
	struct bitmap populated;
	uint64_t bytes = 77;

	(void)state;
	memset(m->base, 'x', m->npages * 4096);
	assert_int_equal(bitmap_init(&m->host_log_store, m->npages), 0);
	assert_int_equal(bitmap_init(&populated, m->npages), 0);
	m->host_log = &m->host_log_store;
	assert_int_equal(gmem_discard(m, 4095, 2 * 4096, &bytes), 0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(bitmap_count(m->host_log), 1);
	assert_true(bitmap_test(m->host_log, 1));
	assert_int_equal(m->base[4095], 'x');
	assert_int_equal(m->base[4096], 0);
	assert_int_equal(m->base[8191], 0);
	assert_int_equal(m->base[8192], 'x');
	assert_int_equal(gmem_discard(m, 3 * 4096 + 1, 4095, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(gmem_discard(m, HIGH, 2 * MIB, &bytes), 0);
	assert_int_equal(bytes, 2 * MIB);
	assert_int_equal(bitmap_count(m->host_log), 1 + 512);
	assert_int_equal(bitmap_count_range(m->host_log, 1024, 512), 512);
	assert_int_equal(gmem_populated(m, 0, m->npages, &populated), 0);
	assert_int_equal(bitmap_count(&populated), m->npages - 1 - 512);
	bytes = 77;
	assert_int_equal(gmem_discard(m, 4 * MIB - 4096, 8192, &bytes), -EFAULT);
	assert_int_equal(gmem_discard(m, UINT64_MAX - 4095, 4096, &bytes), -EFAULT);
	assert_int_equal(bytes, 77);
	assert_int_equal(bitmap_count(m->host_log), 1 + 512);
	bitmap_fini(&populated);
	gmem_destroy(m);
}

/* Where the host has large pages only, parts of one stay. The mapping itself is an ordinary one: hugetlb needs pages that a host need not have. */
static void test_discard_of_large_pages(void **state)
{
	struct gmem *m = two_regions();
	uint64_t bytes;

	(void)state;
	m->host_page_bytes = 2 * MIB;
	memset(m->base, 'x', m->npages * 4096);
	assert_int_equal(gmem_discard(m, MIB, MIB, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(gmem_discard(m, MIB, 3 * MIB, &bytes), 0);
	assert_int_equal(bytes, 2 * MIB);
	assert_int_equal(m->base[2 * MIB - 1], 'x');
	assert_int_equal(m->base[2 * MIB], 0);
	gmem_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_populated),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_discard_of_large_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
