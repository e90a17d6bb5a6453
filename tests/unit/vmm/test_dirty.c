/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "base/num.h"
#include "vmm/dirty/backend.h"

#define NENTRIES 8u

/* 128 pages at RAM page 0, 64 behind them. */
static const struct gmem mem = {
	.npages = 192,
	.nregions = 2,
	.region = { { .gpa = 0, .len_bytes = 128 * 4096 },
		    { .gpa = 4ULL << 30, .len_bytes = 64 * 4096, .first_page = 128 } }
};

static void test_parse(void **state)
{
	static const char *const bad[] = { "",
					   "Auto",
					   "auto ",
					   "ring,",
					   "ring,entries",
					   "ring,entries=",
					   "ring,entries=0",
					   "ring,entries=512",
					   "ring,entries=1025",
					   "ring,entries=131072",
					   "ring,entries=4096x",
					   "ring,entries=-4096",
					   "ring,entries=18446744073709551617",
					   "bitmap,entries=1024",
					   "uffd,entries=1024" };
	enum dirty_kind kind;
	uint32_t entries;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(dirty_parse("auto", &kind, &entries, &err), 0);
	assert_int_equal(kind, DIRTY_AUTO);
	assert_int_equal(dirty_parse("bitmap", &kind, &entries, &err), 0);
	assert_int_equal(kind, DIRTY_BITMAP);
	assert_int_equal(dirty_parse("manual", &kind, &entries, &err), 0);
	assert_int_equal(kind, DIRTY_MANUAL);
	assert_int_equal(dirty_parse("ring", &kind, &entries, &err), 0);
	assert_int_equal(kind, DIRTY_RING);
	assert_int_equal(entries, DIRTY_RING_DEFAULT_ENTRIES);
	assert_int_equal(dirty_parse("ring,entries=1024", &kind, &entries, &err), 0);
	assert_int_equal(entries, 1024);
	assert_int_equal(dirty_parse("ring,entries=65536", &kind, &entries, &err), 0);
	assert_int_equal(entries, 65536);
	assert_int_equal(dirty_parse("uffd", &kind, &entries, &err), 0);
	assert_int_equal(kind, DIRTY_UFFD);
	kind = DIRTY_MANUAL;
	entries = 77;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		err = (struct err){ 0 };
		if (dirty_parse(bad[i], &kind, &entries, &err) != -EINVAL || err.msg[0] == '\0')
			fail_msg("\"%s\" was taken", bad[i]);
	}
	assert_int_equal(kind, DIRTY_MANUAL);
	assert_int_equal(entries, 77);
}

static void test_parse_accel(void **state)
{
	static const char *const bad[] = { "",
					   "On",
					   "yes",
					   "on ",
					   "o",
					   "off,",
					   "1",
					   "on,",
					   "on,group",
					   "on,group=",
					   "on,group=1",
					   "on,group=48",
					   "on,group=1024",
					   "on,group=ALL",
					   "on,group=16,",
					   "off,group=16" };
	struct dirty_accel_ask ask = { DIRTY_ACCEL_OFF, 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };

		if (dirty_accel_parse(bad[i], &ask, &err) != -EINVAL || err.msg[0] == '\0')
			fail_msg("\"%s\" was taken", bad[i]);
	}
	assert_int_equal(ask.mode, DIRTY_ACCEL_OFF);
	assert_int_equal(ask.group_pages, 7);
	for (unsigned int m = DIRTY_ACCEL_AUTO; m <= DIRTY_ACCEL_OFF; m++) {
		assert_int_equal(dirty_accel_parse(dirty_accel_mode_name((enum dirty_accel_mode)m),
						   &ask, NULL),
				 0);
		assert_int_equal(ask.mode, m);
		assert_int_equal(ask.group_pages, 0);
	}
	assert_int_equal(dirty_accel_parse("on,group=512", &ask, NULL), 0);
	assert_int_equal(ask.mode, DIRTY_ACCEL_ON);
	assert_int_equal(ask.group_pages, 512);
	assert_int_equal(dirty_accel_parse("auto,group=all", &ask, NULL), 0);
	assert_int_equal(ask.mode, DIRTY_ACCEL_AUTO);
	assert_int_equal(ask.group_pages, DIRTY_GROUP_ALL);
}

static void test_slot_range(void **state)
{
	static const struct {
		unsigned int slot;
		uint64_t first, n;
		int touches;
		uint64_t want_first, want_n;
	} cases[] = {
		{ 0, 0, 192, 1, 0, 128 }, { 1, 0, 192, 1, 0, 64 },   { 0, 64, 64, 1, 64, 64 },
		{ 1, 64, 64, 0, 0, 0 },   { 1, 64, 128, 1, 0, 64 },  { 0, 128, 64, 0, 0, 0 },
		{ 1, 128, 64, 1, 0, 64 }, { 0, 64, 128, 1, 64, 64 }, { 0, 0, 0, 0, 0, 0 },
		{ 1, 192, 0, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t first = 0, n = 0;
		bool touches = dirty_slot_range(&mem, cases[i].slot, cases[i].first, cases[i].n,
						&first, &n);

		if (touches != cases[i].touches || first != cases[i].want_first ||
		    n != cases[i].want_n)
			fail_msg("case %zu", i);
	}
}

static void test_ring_page(void **state)
{
	uint64_t page = 999;

	(void)state;
	assert_int_equal(dirty_ring_page(&mem, 0, 127, &page), 0);
	assert_int_equal(page, 127);
	assert_int_equal(dirty_ring_page(&mem, 1, 63, &page), 0);
	assert_int_equal(page, 191);
	page = 999;
	assert_int_equal(dirty_ring_page(&mem, 0, 128, &page), -EBADMSG);
	assert_int_equal(dirty_ring_page(&mem, 1, 64, &page), -EBADMSG);
	assert_int_equal(dirty_ring_page(&mem, 2, 0, &page), -EBADMSG);
	assert_int_equal(dirty_ring_page(&mem, 1 << 16, 0, &page), -EBADMSG);
	assert_int_equal(dirty_ring_page(&mem, UINT32_MAX, UINT64_MAX, &page), -EBADMSG);
	assert_int_equal(dirty_ring_page(&mem, 0, UINT64_MAX, &page), -EBADMSG);
	assert_int_equal(page, 999);
}

static void test_harvest(void **state)
{
	struct kvm_dirty_gfn ring[NENTRIES] = { 0 };
	struct bitmap acc;
	uint32_t next = 6; /* wraps */

	(void)state;
	assert_int_equal(bitmap_init(&acc, mem.npages), 0);
	assert_int_equal(dirty_ring_harvest(&mem, ring, NENTRIES, &next, &acc), 0);
	for (uint32_t i = 0; i < 4; i++)
		ring[(6 + i) % NENTRIES] = (struct kvm_dirty_gfn){ .flags = KVM_DIRTY_GFN_F_DIRTY,
								   .slot = i % 2,
								   .offset = i };
	/* Harvested before, and not published: both end the walk. */
	ring[2].flags = KVM_DIRTY_GFN_F_RESET;
	ring[2].offset = 50;
	assert_int_equal(dirty_ring_harvest(&mem, ring, NENTRIES, &next, &acc), 4);
	assert_int_equal(next, 10);
	assert_int_equal(bitmap_count(&acc), 4);
	assert_true(bitmap_test(&acc, 0) && bitmap_test(&acc, 2));
	assert_true(bitmap_test(&acc, 129) && bitmap_test(&acc, 131));
	for (uint32_t i = 6; i < 10; i++)
		assert_int_equal(ring[i % NENTRIES].flags, KVM_DIRTY_GFN_F_RESET);
	bitmap_fini(&acc);
}

static void test_forged_entries(void **state)
{
	struct kvm_dirty_gfn ring[NENTRIES];
	struct bitmap acc;
	uint32_t next = 0;

	(void)state;
	assert_int_equal(bitmap_init(&acc, mem.npages), 0);
	/* All published, half of them nonsense: the walk ends after one ring's worth and nothing outside the bitmap is touched. */
	for (uint32_t i = 0; i < NENTRIES; i++)
		ring[i] = (struct kvm_dirty_gfn){ .flags = KVM_DIRTY_GFN_F_DIRTY | 0xfffffffc,
						  .slot = i % 2 ? UINT32_MAX - i : 0,
						  .offset = i == 6 ? 1ULL << 60 : i };
	assert_int_equal(dirty_ring_harvest(&mem, ring, NENTRIES, &next, &acc), -EBADMSG);
	assert_int_equal(next, NENTRIES);
	assert_int_equal(bitmap_count(&acc), 3);
	assert_true(bitmap_test(&acc, 0) && bitmap_test(&acc, 2) && bitmap_test(&acc, 4));
	bitmap_fini(&acc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),      cmocka_unit_test(test_parse_accel),
		cmocka_unit_test(test_slot_range), cmocka_unit_test(test_ring_page),
		cmocka_unit_test(test_harvest),    cmocka_unit_test(test_forged_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
