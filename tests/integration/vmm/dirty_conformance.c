/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "base/num.h"
#include "tiny_guest.h"

/*
 * The contract of vmm/dirty.h, checked in the same cases for every backend. Two oracles: with an exact number of work steps the set of pages that
 * must be delivered is known page by page (nothing missed, nothing invented); with guests that never stop, a copy made the way a migration makes it must equal
 * guest memory in the end.
 */

#define RAM_PAGES 16384ULL
#define HALF (RAM_PAGES / 2)
#define CHUNK 1024ULL
#define PERMUTE 40503ULL /* odd: i * PERMUTE & mask visits every page once in npages steps */

struct backend {
	const char *name;
	enum dirty_kind kind;
	uint32_t ring_entries;
};
static const struct backend backends[] = {
	{ "bitmap", DIRTY_BITMAP, 0 },
	{ "manual", DIRTY_MANUAL, 0 },
	{ "ring of 1024", DIRTY_RING, 1024 },
	{ "ring of 65536", DIRTY_RING, 65536 },
	{ "uffd", DIRTY_UFFD, 0 },
};

struct fixture {
	const struct backend *backend;
	struct tiny t;
	struct dirty *d;
	struct bitmap acc;
	uint8_t *copy; /* the destination's memory */
};

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->msg);
}

static void set_up(struct fixture *f, void **state, unsigned int ncpus, bool two_regions)
{
	struct tiny_config config = {
		.ncpus = ncpus, .pages = RAM_PAGES, .two_regions = two_regions, .program = TINY_WORK
	};
	struct err err = { 0 };

	memset(f, 0, sizeof(*f));
	f->backend = *state;
	config.dirty = f->backend->kind;
	config.ring_entries = f->backend->ring_entries;
	must(tiny_create(&config, &f->t, &err), &err);
	f->d = vm_dirty(f->t.vm);
	assert_int_equal(bitmap_init(&f->acc, RAM_PAGES), 0);
	f->copy = calloc(RAM_PAGES, GMEM_PAGE_SIZE);
	assert_non_null(f->copy);
}

static void tear_down(struct fixture *f)
{
	if (atomic_load(&f->t.exits) != 0)
		fail_msg("%s", f->t.exit_text);
	tiny_destroy(&f->t);
	bitmap_fini(&f->acc);
	free(f->copy);
}

static void start(struct fixture *f)
{
	struct err err = { 0 };

	must(dirty_start(f->d, &err), &err);
}

static void collect(struct fixture *f)
{
	struct err err = { 0 };

	must(dirty_collect(f->d, &f->acc, &err), &err);
}

static void finish(struct fixture *f)
{
	struct err err = { 0 };

	must(dirty_finish(f->d, &f->acc, &err), &err);
}

static void run(struct fixture *f)
{
	struct err err = { 0 };

	must(vm_resume(f->t.vm, &err), &err);
}

static void halt(struct fixture *f)
{
	struct err err = { 0 };

	must(vm_pause(f->t.vm, &err), &err);
}

/* A migration's round: each chunk is rearmed, then copied. */
static void send_acc(struct fixture *f)
{
	struct gmem *m = vm_mem(f->t.vm);
	struct err err = { 0 };

	for (uint64_t first = 0; first < RAM_PAGES; first += CHUNK) {
		uint64_t at = first, run_first, run_count;

		must(dirty_rearm(f->d, &f->acc, first, CHUNK, &err), &err);
		while (bitmap_next_run(&f->acc, at, first + CHUNK, &run_first, &run_count)) {
			memcpy(f->copy + (run_first << 12), gmem_page(m, run_first),
			       run_count << 12);
			at = run_first + run_count;
		}
	}
	bitmap_zero(&f->acc);
}

static void send_everything(struct fixture *f)
{
	bitmap_fill(&f->acc);
	send_acc(f);
}

static void assert_copy_equals_memory(struct fixture *f)
{
	for (uint64_t p = 0; p < RAM_PAGES; p++) {
		if (memcmp(f->copy + (p << 12), gmem_page(vm_mem(f->t.vm), p), 4096) != 0)
			fail_msg("%s: page %" PRIu64 " was lost", f->backend->name, p);
	}
}

/* Start, everything sent, and the noise of the first accesses out of the way: from here on only what is asked for may be found. VM paused. */
static void start_quiet(struct fixture *f)
{
	halt(f);
	start(f);
	send_everything(f);
	collect(f);
	send_acc(f);
	collect(f);
	assert_int_equal(bitmap_count(&f->acc), 0);
}

/* All vCPUs do @steps more steps and are stopped again. */
static void work(struct fixture *f, uint64_t steps)
{
	unsigned int ncpus = vm_ncpus(f->t.vm);
	uint64_t limit[2];

	for (unsigned int c = 0; c < ncpus; c++) {
		limit[c] = atomic_load(&tiny_control(&f->t, c)->done) + steps;
		tiny_allow(&f->t, c, limit[c]);
	}
	run(f);
	for (unsigned int c = 0; c < ncpus; c++) {
		if (!tiny_wait_done(&f->t, c, limit[c]))
			fail_msg("%s: the guest does not get on: %s", f->backend->name,
				 f->t.exit_text);
	}
	halt(f);
}

/* Page tables get accessed and dirty bits, control pages hold the counts, and KVM calls a page dirty that it maps writable for a read or a fetch: the code. */
static bool may_be_dirty(struct fixture *f, uint64_t page)
{
	return (page >= 1 && page <= TINY_CODE_PAGE) ||
	       (page >= TINY_CONTROL_PAGE && page < TINY_CONTROL_PAGE + vm_ncpus(f->t.vm));
}

/* What @acc holds is what the last @steps steps of each vCPU wrote, and their own control pages. */
static void assert_exact(struct fixture *f, uint64_t steps)
{
	struct bitmap want;

	assert_int_equal(bitmap_init(&want, RAM_PAGES), 0);
	for (unsigned int c = 0; c < vm_ncpus(f->t.vm); c++) {
		uint64_t done = atomic_load(&tiny_control(&f->t, c)->done);

		assert_true(done >= steps);
		for (uint64_t i = done - steps; i < done; i++)
			bitmap_set(&want, tiny_page(&f->t, c, i));
		bitmap_set(&want, TINY_CONTROL_PAGE + c);
	}
	for (uint64_t p = 0; p < RAM_PAGES; p++) {
		bool have = bitmap_test(&f->acc, p);

		if (bitmap_test(&want, p) && !have)
			fail_msg("%s: page %" PRIu64 " missed", f->backend->name, p);
		if (!bitmap_test(&want, p) && have && !may_be_dirty(f, p))
			fail_msg("%s: page %" PRIu64 " invented", f->backend->name, p);
	}
	bitmap_fini(&want);
}

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

static void test_sequential(void **state)
{
	struct fixture f;

	set_up(&f, state, 1, false);
	tiny_set_work(&f.t, 0, TINY_WORK_FIRST_PAGE, 1024, 1);
	exact_rounds(&f, 300);
}

static void test_random_2_vcpus_2_regions(void **state)
{
	struct fixture f;

	set_up(&f, state, 2, true);
	/* One across the boundary of the regions, one up to the end of RAM. */
	tiny_set_work(&f.t, 0, HALF - 1024, 2048, PERMUTE);
	tiny_set_work(&f.t, 1, RAM_PAGES - 4096, 4096, PERMUTE);
	exact_rounds(&f, 777);
}

static void test_same_pages_again(void **state)
{
	struct fixture f;

	set_up(&f, state, 2, false);
	tiny_set_work(&f.t, 0, 1024, 64, 1);
	tiny_set_work(&f.t, 1, 1024, 64, 1);
	exact_rounds(&f, 640);
}

/* More pages than a small ring has entries, with nobody collecting meanwhile. */
static void test_more_than_a_ring(void **state)
{
	struct fixture f;

	set_up(&f, state, 2, true);
	tiny_set_work(&f.t, 0, 1024, 4096, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 1024, 4096, 1);
	start_quiet(&f);
	for (unsigned int round = 0; round < 2; round++) {
		work(&f, 4096);
		collect(&f);
		assert_exact(&f, 4096);
		send_acc(&f);
	}
	if (f.backend->kind == DIRTY_RING && f.backend->ring_entries == 1024)
		assert_true(f.d->stats.ring_full_exits >= 2 * 3); /* a full ring empties both */
	else
		assert_int_equal(f.d->stats.ring_full_exits, 0);
	work(&f, 4096);
	finish(&f);
	assert_exact(&f, 4096);
	dirty_stop(f.d);
	tear_down(&f);
}

static void test_device_writes(void **state)
{
	static const uint8_t bytes[8192] = { 1, 2, 3 };
	struct fixture f;
	struct gmem *m;
	uint64_t first, count;

	set_up(&f, state, 1, true);
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
	finish(&f);
	assert_int_equal(bitmap_count(&f.acc), 1);
	assert_true(bitmap_test(&f.acc, 6000));
	dirty_stop(f.d);
	assert_int_equal(gmem_write(m, 5000 << 12, bytes, 1), 0);
	assert_int_equal(dirty_collect(f.d, &f.acc, NULL), -EINVAL);
	tear_down(&f);
}

struct device {
	struct gmem *mem;
	_Atomic bool end;
	uint64_t writes;
};

/* Counts up in pages of its own, in both regions, as fast as it can. */
static void *device_thread(void *arg)
{
	struct device *dev = arg;

	while (!atomic_load(&dev->end)) {
		uint64_t n = ++dev->writes;
		uint64_t gpa = n % 2 ? 600ULL << 12 : (4ULL << 30) + (100 << 12);

		gmem_write(dev->mem, gpa + n * 4096 % (64 << 12), &n, sizeof(n));
		if (n % 64 == 0)
			usleep(50);
	}
	return NULL;
}

static void test_live_copy(void **state)
{
	struct fixture f;
	struct device dev = { 0 };
	pthread_t thread;
	uint64_t done;

	set_up(&f, state, 2, true);
	tiny_set_work(&f.t, 0, HALF - 1024, 2048, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 2048, 256, 1);
	tiny_allow(&f.t, 0, UINT64_MAX);
	tiny_allow(&f.t, 1, UINT64_MAX);
	dev.mem = vm_mem(f.t.vm);
	run(&f);
	assert_int_equal(pthread_create(&thread, NULL, device_thread, &dev), 0);
	assert_true(tiny_wait_done(&f.t, 1, 1000));
	start(&f);
	send_everything(&f);
	for (unsigned int round = 0; round < 30; round++) {
		collect(&f);
		assert_true(bitmap_count(&f.acc) > 0);
		send_acc(&f);
		/* Read after the collect: what is waited for was written after it. Of two steps the second began when the first was counted. */
		done = atomic_load(&tiny_control(&f.t, 1)->done);
		assert_true(tiny_wait_done(&f.t, 1, done + 2));
	}
	halt(&f);
	atomic_store(&dev.end, true);
	pthread_join(thread, NULL);
	finish(&f);
	send_acc(&f);
	assert_copy_equals_memory(&f);
	assert_int_equal(f.d->stats.collects, 31);
	dirty_stop(f.d);
	tear_down(&f);
}

/* An attempt that dies after a collect took the bits with it; the next one must not miss those pages. */
static void test_after_a_failed_attempt(void **state)
{
	struct fixture f;

	set_up(&f, state, 1, false);
	tiny_set_work(&f.t, 0, 1024, 4096, PERMUTE);
	for (unsigned int attempt = 0; attempt < 3; attempt++) {
		start_quiet(&f);
		work(&f, 2000);
		collect(&f); /* never sent */
		work(&f, 2000);
		dirty_stop(f.d);
		bitmap_zero(&f.acc);
		work(&f, 100); /* nobody looks */
	}
	start(&f);
	run(&f);
	send_everything(&f);
	work(&f, 3000);
	collect(&f);
	send_acc(&f);
	work(&f, 3000);
	finish(&f);
	send_acc(&f);
	assert_copy_equals_memory(&f);
	/* A failure as late as that: the VM goes on, and so does its tracking once it is started anew. */
	dirty_stop(f.d);
	work(&f, 100);
	start_quiet(&f);
	work(&f, 50);
	finish(&f);
	assert_exact(&f, 50);
	dirty_stop(f.d);
	tear_down(&f);
}

/* Rings keep working when what finish delivered is not followed by stop at once. */
static void test_running_on_after_finish(void **state)
{
	struct fixture f;

	set_up(&f, state, 1, false);
	tiny_set_work(&f.t, 0, 1024, 8192, 1);
	start_quiet(&f);
	work(&f, 900);
	finish(&f);
	assert_exact(&f, 900);
	work(&f, 7000);
	dirty_stop(f.d);
	work(&f, 10000);
	tear_down(&f);
}

/* Rearming takes the pages that are named and no others. */
static void test_rearm_is_exact(void **state)
{
	struct fixture f;
	struct bitmap odd;
	struct err err = { 0 };

	set_up(&f, state, 1, false);
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

static int is_offered(const struct backend *b)
{
	struct tiny_config config = {
		.ncpus = 1, .dirty = b->kind, .ring_entries = b->ring_entries, .pages = 1024
	};
	struct tiny t;
	struct err err = { 0 };
	int r = tiny_create(&config, &t, &err);

	if (r == 0)
		tiny_destroy(&t);
	else if (r == -EOPNOTSUPP)
		print_message("SKIP %s: %s\n", b->name, err.msg);
	return r != -EOPNOTSUPP;
}

int main(void)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(test_sequential),
		cmocka_unit_test(test_random_2_vcpus_2_regions),
		cmocka_unit_test(test_same_pages_again),
		cmocka_unit_test(test_more_than_a_ring),
		cmocka_unit_test(test_device_writes),
		cmocka_unit_test(test_live_copy),
		cmocka_unit_test(test_after_a_failed_attempt),
		cmocka_unit_test(test_running_on_after_finish),
		cmocka_unit_test(test_rearm_is_exact),
	};
	struct CMUnitTest tests[ARRAY_LEN(cases)];
	int failed = 0;

	for (size_t b = 0; b < ARRAY_LEN(backends); b++) {
		if (!is_offered(&backends[b]))
			continue;
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			tests[i] = cases[i];
			tests[i].initial_state = (void *)(uintptr_t)&backends[b];
		}
		failed += cmocka_run_group_tests_name(backends[b].name, tests, NULL, NULL);
	}
	return failed;
}
