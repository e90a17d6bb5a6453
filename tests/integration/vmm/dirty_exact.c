/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/num.h"
#include "dirty_cases.h"
#include "dirty_fixture.h"

/* After an exact number of steps the set of pages that must be delivered is known page by page: nothing is missed, nothing invented. */

static void exact_rounds(struct fixture *f, uint64_t steps)
{
	start_quiet(f);
	for (unsigned int round = 0; round < 6; round++) {
		work(f, steps);
		collect(f);
		assert_exact(f, steps);
		send_acc(f);
		collect(f);
		assert_int_equal(bitmap_count(&f->acc), 0);
	}
	work(f, steps);
	finish(f);
	assert_exact(f, steps);
	dirty_stop(f->d);
	dirty_stop(f->d);
	tear_down(f);
}

void test_sequential(void **state)
{
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, TINY_WORK_FIRST_PAGE, 1024, 1);
	exact_rounds(&f, 300);
}

void test_random_2_vcpus_2_regions(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	/* One across the boundary of the regions, one up to the end of RAM. */
	tiny_set_work(&f.t, 0, HALF - 1024, 2048, PERMUTE);
	tiny_set_work(&f.t, 1, RAM_PAGES - 4096, 4096, PERMUTE);
	exact_rounds(&f, 777);
}

/* Sequential across the end of a slot, random over three, up to the end of RAM, and the same pages as another vCPU. */
void test_4_vcpus_5_regions(void **state)
{
	static struct fixture f;

	set_up(&f, state, 4, FIVE_REGIONS);
	tiny_set_work(&f.t, 0, 3072 - 256, 512, 1);
	tiny_set_work(&f.t, 1, 2048, 4096, PERMUTE);
	tiny_set_work(&f.t, 2, RAM_PAGES - 2048, 2048, 1);
	tiny_set_work(&f.t, 3, 2048, 4096, 1);
	exact_rounds(&f, 500);
}

/* One page of every other huge page. */
void test_sparse_3_vcpus(void **state)
{
	static struct fixture f;

	set_up(&f, state, 3, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, 8192, 2 * HUGE_PAGES + 1);
	tiny_set_work(&f.t, 1, HALF, 8192, 2 * HUGE_PAGES + 3);
	tiny_set_work(&f.t, 2, 1024 + 7, 8192, 4 * HUGE_PAGES + 1);
	exact_rounds(&f, 13);
}

/* Whatever hardware or KVM tracks by the piece, each holds pages that stay clean. */
void test_one_in_eight(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, 4096, 8);
	tiny_set_work(&f.t, 1, HALF + 1024 + 3, 4096, 8);
	exact_rounds(&f, 512);
}

void test_same_pages_again(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, ONE_REGION);
	tiny_set_work(&f.t, 0, 1024, 64, 1);
	tiny_set_work(&f.t, 1, 1024, 64, 1);
	exact_rounds(&f, 640);
}

/* Pages that the guest has written are read: they stay clean. */
void test_reads_are_no_writes(void **state)
{
	static struct fixture f;
	struct bitmap want;
	struct err err = { 0 };

	set_up_untouched(&f, state, 2, TWO_REGIONS, TINY_PASS);
	populate(&f);
	assert_int_equal(bitmap_init(&want, RAM_PAGES), 0);
	must(tiny_pass_start(&f.t, &err), &err);
	start(&f);
	for (unsigned int round = 0; round < 4; round++) {
		bool write = round % 2 == 0;
		uint64_t ns;

		for (unsigned int c = 0; c < 2; c++)
			tiny_control(&f.t, c)->pass =
				(struct tiny_pass){ .first_va = tiny_va(1024 + c * 8192),
						    .npages = 4096,
						    .write_percent = write ? 100 : 0,
						    .seed = round,
						    .value = round };
		send_everything(&f);
		collect(&f);
		send_acc(&f);
		must(tiny_pass_run(&f.t, 60ULL * 1000000000, &ns, &err), &err);
		collect(&f);
		bitmap_zero(&want);
		if (write) {
			bitmap_set_range(&want, 1024, 4096);
			bitmap_set_range(&want, 1024 + 8192, 4096);
		}
		assert_found(&f, &want, false);
	}
	bitmap_fini(&want);
	dirty_stop(f.d);
	tear_down(&f);
}

/* KVM itself writes into guest memory, of its own accord or for its owner; the bits may wait for the last collect. */
void test_kvm_writes(void **state)
{
	static struct fixture f;
	struct bitmap want;
	struct err err = { 0 };

	set_up(&f, state, 1, TWO_REGIONS);
	assert_int_equal(bitmap_init(&want, RAM_PAGES), 0);
	start_quiet(&f);
	/* Multiples of 64 KiB. */
	for (uint64_t page = 2000; page < RAM_PAGES; page += 4992) {
		int r = tiny_kvm_write(&f.t, page, &err);

		if (r == -EOPNOTSUPP) {
			bitmap_fini(&want);
			skip_case(&f, &err);
		}
		must(r, &err);
		assert_memory_not_equal(gmem_page(vm_mem(f.t.vm), page),
					gmem_page(vm_mem(f.t.vm), page + 1), 8);
		bitmap_set(&want, page);
	}
	collect(&f);
	finish(&f);
	assert_found(&f, &want, false);
	bitmap_fini(&want);
	dirty_stop(f.d);
	tear_down(&f);
}

void test_device_writes(void **state)
{
	static const uint8_t bytes[8192] = { 1, 2, 3 };
	static struct fixture f;
	struct gmem *m;
	uint64_t first, count;

	set_up(&f, state, 1, TWO_REGIONS);
	m = vm_mem(f.t.vm);
	start_quiet(&f);
	assert_int_equal(gmem_write(m, 5000 << 12, bytes, 1), 0);
	assert_int_equal(gmem_write(m, (4ULL << 30) + 4096 + 4000, bytes, 4096 + 200), 0);
	/* Out of RAM, and over the end of a region: nothing is written, nothing marked. */
	assert_int_equal(gmem_write(m, 2ULL << 30, bytes, 1), -EFAULT);
	assert_int_equal(gmem_write(m, (HALF << 12) - 1, bytes, 2), -EFAULT);
	collect(&f);
	assert_int_equal(bitmap_count(&f.acc), 4);
	assert_true(bitmap_test(&f.acc, 5000));
	assert_true(bitmap_next_run(&f.acc, 5001, RAM_PAGES, &first, &count));
	assert_int_equal(first, HALF + 1);
	assert_int_equal(count, 3);
	send_acc(&f);
	collect(&f);
	assert_int_equal(bitmap_count(&f.acc), 0);
	gmem_mark_dirty(m, 6000 << 12, 4096);
	*gmem_page(m, 7000) = 1; /* marked by nobody */
	finish(&f);
	assert_true(bitmap_test(&f.acc, 6000));
	assert_int_equal(bitmap_test(&f.acc, 7000),
			 (f.d->ops->flags & DIRTY_SEES_HOST_WRITES) != 0);
	assert_int_equal(bitmap_count(&f.acc), 1 + bitmap_test(&f.acc, 7000));
	dirty_stop(f.d);
	assert_int_equal(gmem_write(m, 5000 << 12, bytes, 1), 0);
	assert_int_equal(dirty_collect(f.d, &f.acc, NULL), -EINVAL);
	tear_down(&f);
}

/* Rearming takes the pages that are named and no others. */
void test_rearm_is_exact(void **state)
{
	static struct fixture f;
	struct bitmap odd;
	struct err err = { 0 };

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, 1024, 256, 1);
	assert_int_equal(bitmap_init(&odd, RAM_PAGES), 0);
	for (uint64_t p = 1; p < RAM_PAGES; p += 2)
		bitmap_set(&odd, p);
	start_quiet(&f);
	assert_int_equal(dirty_rearm(f.d, &odd, 1, 64, &err), -EINVAL);
	assert_int_equal(dirty_rearm(f.d, &odd, 0, 63, &err), -EINVAL);
	assert_int_equal(dirty_rearm(f.d, &odd, RAM_PAGES, 64, &err), -EINVAL);
	work(&f, 256);
	collect(&f);
	assert_int_equal(bitmap_count_range(&f.acc, 1024, 256), 256);
	bitmap_zero(&f.acc);
	/* Half of them, and of a part of the range only. */
	must(dirty_rearm(f.d, &odd, 1024, 128, &err), &err);
	collect(&f);
	if (f.d->ops->flags & DIRTY_SPLIT_REARM) {
		for (uint64_t p = 1024; p < 1024 + 256; p++)
			assert_int_equal(bitmap_test(&f.acc, p), p >= 1024 + 128 || p % 2 == 0);
	} else {
		assert_int_equal(bitmap_count_range(&f.acc, 1024, 256), 0);
	}
	/* All are written again: those that were rearmed come back too. */
	work(&f, 256);
	collect(&f);
	assert_int_equal(bitmap_count_range(&f.acc, 1024, 256), 256);
	bitmap_fini(&odd);
	dirty_stop(f.d);
	tear_down(&f);
}

/* A page that nobody rearmed is in every collect (with INITIALLY_SET that is all memory, at the start); one that was rearmed comes when it was written. */
void test_rearmed_in_pieces(void **state)
{
	enum { PIECE = 1024 };
	static struct fixture f;
	struct bitmap all, want, wrote;
	struct err err = { 0 };
	bool split;

	set_up(&f, state, 2, TWO_REGIONS);
	split = f.d->ops->flags & DIRTY_SPLIT_REARM;
	tiny_set_work(&f.t, 0, 1024, 4096, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 2048, 4096, PERMUTE);
	assert_int_equal(bitmap_init(&all, RAM_PAGES), 0);
	assert_int_equal(bitmap_init(&want, RAM_PAGES), 0);
	bitmap_fill(&all);
	start(&f);
	if (f.d->ops->flags & DIRTY_STARTS_FULL)
		bitmap_set_range(&want, TINY_WORK_FIRST_PAGE, RAM_PAGES - TINY_WORK_FIRST_PAGE);
	for (uint64_t first = 0; first < RAM_PAGES; first += PIECE) {
		must(dirty_rearm(f.d, &all, first, PIECE, &err), &err);
		if (split)
			bitmap_clear_range(&want, first, PIECE);
		work(&f, 100);
		wanted(&f, 100, &wrote);
		bitmap_or(&want, &wrote);
		bitmap_fini(&wrote);
		bitmap_zero(&f.acc);
		collect(&f);
		assert_found(&f, &want, false);
		if (!split)
			bitmap_zero(&want);
	}
	bitmap_fini(&want);
	bitmap_fini(&all);
	dirty_stop(f.d);
	tear_down(&f);
}
