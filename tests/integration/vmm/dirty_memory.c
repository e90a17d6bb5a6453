/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/mman.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dirty_cases.h"
#include "dirty_fixture.h"

/* What happens beneath the pages that are tracked: memory that comes, goes and moves, and tables that the processor writes. */

/* Memory that nobody has touched yet, neither guest nor host. Where the kernel answers a first write with a huge page, uffd reports all of it: the kernel wrote it. */
void test_first_touch(void **state)
{
	static struct fixture f;
	struct bitmap want;
	struct err err = { 0 };
	bool huge;

	set_up_untouched(&f, state, 2, TWO_REGIONS, TINY_WORK);
	huge = f.subject->backend.kind == DIRTY_UFFD && f.subject->backing == GMEM_THP;
	tiny_set_work(&f.t, 0, 1024, 2048, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 1024, 4096, 1);
	start(&f);
	for (unsigned int round = 0; round < 3; round++) {
		bitmap_fill(&f.acc);
		must(dirty_rearm(f.d, &f.acc, 0, RAM_PAGES, &err), &err);
		bitmap_zero(&f.acc);
		collect(&f);
		bitmap_zero(&f.acc);
		work(&f, 100);
		collect(&f);
		wanted(&f, 100, &want);
		assert_found(&f, &want, huge);
		bitmap_fini(&want);
	}
	dirty_stop(f.d);
	tear_down(&f);
}

/* Pages that the host can treat on their own. */
static uint64_t piece_of(const struct fixture *f)
{
	return f->subject->backing == GMEM_HUGETLB ? HUGE_PAGES : 64;
}

/* KVM's mappings of these pages go, the memory stays: a change of protection makes the kernel call its MMU notifiers, and this one makes no other difference. */
static bool unmap(struct gmem *m, uint64_t first, uint64_t npages)
{
	uint8_t *p = gmem_page(m, first);

	return mprotect(p, npages << 12, PROT_READ | PROT_WRITE | PROT_EXEC) == 0 &&
	       mprotect(p, npages << 12, PROT_READ | PROT_WRITE) == 0;
}

/* The memory goes as well, and reads as zeroes: to those who track writes it was written, and who takes it away says so. The range lies in one region. */
static bool drop(struct gmem *m, uint64_t first, uint64_t npages)
{
	uint64_t bytes = 0;

	return gmem_discard(m, tiny_gpa(m, first), npages << 12, &bytes) == 0 &&
	       bytes == npages << 12;
}

/* Every other piece of the memory that is worked on, from the first or the second on. */
static void unmap_half(struct fixture *f, unsigned int odd)
{
	uint64_t piece = piece_of(f);

	for (uint64_t at = TINY_WORK_FIRST_PAGE + odd * piece; at < RAM_PAGES; at += 2 * piece)
		assert_true(unmap(vm_mem(f->t.vm), at, piece));
}

/* uffd is left out: it also reports the zeroes that a reader finds there. */
static void drop_if_exact(struct fixture *f, uint64_t first, struct bitmap *want)
{
	uint64_t piece = piece_of(f);

	if (f->subject->backend.kind == DIRTY_UFFD)
		return;
	assert_true(drop(vm_mem(f->t.vm), first, piece));
	bitmap_set_range(want, first, piece);
}

/* Few enough for each to be written again and again: tracking hardware knows more than KVM only of a page that was mapped before, and is clean. */
#define AREA_PAGES 1024ULL

/* What was written through a mapping that is gone when the log is read was written. */
void test_unmapped_before_a_collect(void **state)
{
	static struct fixture f;
	struct bitmap want;

	set_up(&f, state, 2, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, AREA_PAGES, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 1024, AREA_PAGES, 1);
	start_quiet(&f);
	work(&f, AREA_PAGES);
	collect(&f);
	assert_exact(&f, AREA_PAGES);
	send_acc(&f);
	for (unsigned int round = 0; round < 6; round++) {
		work(&f, 300);
		unmap_half(&f, round % 2);
		work(&f, 300);
		if (round % 3 == 2)
			assert_true(unmap(vm_mem(f.t.vm), TINY_WORK_FIRST_PAGE,
					  HALF - TINY_WORK_FIRST_PAGE));
		wanted(&f, 600, &want);
		drop_if_exact(&f, 1024 + round % 2 * HUGE_PAGES, &want);
		collect(&f);
		assert_found(&f, &want, false);
		bitmap_fini(&want);
		send_acc(&f);
		collect(&f);
		assert_int_equal(bitmap_count(&f.acc), 0);
	}
	work(&f, 600);
	unmap_half(&f, 0);
	unmap_half(&f, 1);
	finish(&f);
	assert_exact(&f, 600);
	send_acc(&f);
	assert_copy_equals_memory(&f);
	dirty_stop(f.d);
	tear_down(&f);
}

struct landlord {
	struct gmem *mem;
	_Atomic bool end;
	uint64_t piece;
	unsigned int unmapped, dropped, collapsed, failed;
};

/* Takes mappings and memory away and makes huge pages of small ones, below guests that write there and wherever it likes. */
static void *landlord_thread(void *arg)
{
	struct landlord *l = arg;
	uint64_t rng = 1;

	for (unsigned int i = 0; !atomic_load(&l->end); i++) {
		uint64_t npieces = AREA_PAGES / l->piece;
		uint64_t at;

		rng = rng * TINY_RNG_MUL + TINY_RNG_ADD;
		at = (i % 2 ? 1024 : HALF + 1024) + (rng >> 33) % npieces * l->piece;
		if (i % 8 < 5) {
			l->failed += !unmap(l->mem, at, l->piece);
			l->unmapped++;
		} else if (i % 8 < 7) {
			l->failed += !drop(l->mem, at, l->piece);
			l->dropped++;
		} else {
			/* Where the kernel cannot, it leaves things as they are. */
			at -= at % HUGE_PAGES;
			if (madvise(gmem_page(l->mem, at), HUGE_PAGES << 12, MADV_COLLAPSE) == 0)
				l->collapsed++;
		}
		usleep(300);
	}
	return NULL;
}

void test_unmapped_under_load(void **state)
{
	static struct fixture f;
	static struct landlord l;
	pthread_t thread;
	bool works = true;

	set_up(&f, state, 2, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, AREA_PAGES, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 1024, AREA_PAGES, PERMUTE);
	tiny_allow(&f.t, 0, UINT64_MAX);
	tiny_allow(&f.t, 1, UINT64_MAX);
	l = (struct landlord){ .mem = vm_mem(f.t.vm), .piece = piece_of(&f) };
	run(&f);
	start(&f);
	assert_int_equal(pthread_create(&thread, NULL, landlord_thread, &l), 0);
	send_everything(&f);
	for (unsigned int round = 0; works && round < 20; round++) {
		collect(&f);
		send_acc(&f);
		for (unsigned int c = 0; c < 2; c++)
			works &= tiny_wait_done(&f.t, c,
						atomic_load(&tiny_control(&f.t, c)->done) + 64);
	}
	halt(&f);
	atomic_store(&l.end, true);
	pthread_join(thread, NULL);
	assert_true(works);
	finish(&f);
	send_acc(&f);
	assert_copy_equals_memory(&f);
	print_message("%u pieces unmapped, %u dropped, %u huge pages made\n", l.unmapped, l.dropped,
		      l.collapsed);
	assert_true(l.unmapped > 0 && l.dropped > 0);
	assert_int_equal(l.failed, 0);
	dirty_stop(f.d);
	tear_down(&f);
}

/* The processor's table walk writes accessed and dirty into the guest's page tables, on its own account. Each step takes a page that was never used. */
void test_tables_written_by_the_walk(void **state)
{
	enum { STEPS = 64 };
	static struct fixture f;
	struct bitmap want;

	set_up_walker(&f, state, 2, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, 4096, HUGE_PAGES + 1);
	tiny_set_work(&f.t, 1, HALF, 8192, HUGE_PAGES + 1);
	start_quiet(&f);
	for (unsigned int round = 0; round < 6; round++) {
		work(&f, STEPS);
		collect(&f);
		wanted(&f, STEPS, &want);
		for (unsigned int c = 0; c < 2; c++) {
			for (uint64_t i = round * STEPS; i < (round + 1) * STEPS; i++)
				bitmap_set(&want, tiny_table_page(tiny_page(&f.t, c, i)));
		}
		assert_found(&f, &want, false);
		bitmap_fini(&want);
		send_acc(&f);
	}
	dirty_stop(f.d);
	tear_down(&f);
}
