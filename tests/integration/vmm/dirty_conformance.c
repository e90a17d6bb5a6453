/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm_para.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "dirty_fixture.h"
#include "vmm/arch/x86_64/kvm_x86.h"
#include "vmm/internal.h"

/*
 * The contract of vmm/dirty.h, checked in the same cases for every backend. Two oracles: with an exact number of work steps the set of pages that
 * must be delivered is known page by page (nothing missed, nothing invented); with guests that never stop, a copy made the way a migration makes it must equal
 * guest memory in the end.
 *
 *   test-vmm-dirty-conformance [BACKEND|BACKING]...   only those named, such as "manual" or "hugetlb"
 */

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
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, TINY_WORK_FIRST_PAGE, 1024, 1);
	exact_rounds(&f, 300);
}

static void test_random_2_vcpus_2_regions(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	/* One across the boundary of the regions, one up to the end of RAM. */
	tiny_set_work(&f.t, 0, HALF - 1024, 2048, PERMUTE);
	tiny_set_work(&f.t, 1, RAM_PAGES - 4096, 4096, PERMUTE);
	exact_rounds(&f, 777);
}

/* Sequential across the end of a slot, random over three, up to the end of RAM, and the same pages as another vCPU. */
static void test_4_vcpus_5_regions(void **state)
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
static void test_sparse_3_vcpus(void **state)
{
	static struct fixture f;

	set_up(&f, state, 3, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, 8192, 2 * HUGE_PAGES + 1);
	tiny_set_work(&f.t, 1, HALF, 8192, 2 * HUGE_PAGES + 3);
	tiny_set_work(&f.t, 2, 1024 + 7, 8192, 4 * HUGE_PAGES + 1);
	exact_rounds(&f, 13);
}

static void test_same_pages_again(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, ONE_REGION);
	tiny_set_work(&f.t, 0, 1024, 64, 1);
	tiny_set_work(&f.t, 1, 1024, 64, 1);
	exact_rounds(&f, 640);
}

/* More pages than a small ring has entries, with nobody collecting meanwhile. */
static void test_more_than_a_ring(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	tiny_set_work(&f.t, 0, 1024, 4096, PERMUTE);
	tiny_set_work(&f.t, 1, HALF + 1024, 4096, 1);
	start_quiet(&f);
	for (unsigned int round = 0; round < 2; round++) {
		work(&f, 4096);
		collect(&f);
		assert_exact(&f, 4096);
		send_acc(&f);
	}
	if (f.subject->backend.kind == DIRTY_RING && f.subject->backend.ring_entries == 1024)
		assert_true(f.d->stats.ring_full_exits >= 2 * 3); /* a full ring empties both */
	else
		assert_int_equal(f.d->stats.ring_full_exits, 0);
	work(&f, 4096);
	finish(&f);
	assert_exact(&f, 4096);
	dirty_stop(f.d);
	tear_down(&f);
}

static void test_full_rings_of_4_vcpus(void **state)
{
	static struct fixture f;

	set_up(&f, state, 4, TWO_REGIONS);
	for (unsigned int c = 0; c < 4; c++)
		tiny_set_work(&f.t, c, 1024 + c * 3072, 2048, PERMUTE);
	start_quiet(&f);
	work(&f, 2048);
	collect(&f);
	assert_exact(&f, 2048);
	send_acc(&f);
	if (f.subject->backend.kind == DIRTY_RING && f.subject->backend.ring_entries == 1024)
		assert_true(f.d->stats.ring_full_exits >= 2);
	work(&f, 2048);
	finish(&f);
	assert_exact(&f, 2048);
	dirty_stop(f.d);
	tear_down(&f);
}

/* Memory that nobody has touched yet, neither guest nor host. Where the kernel answers a first write with a huge page, uffd reports all of it: the kernel wrote it. */
static void test_first_touch(void **state)
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

/* Pages that the guest has written are read: they stay clean. */
static void test_reads_are_no_writes(void **state)
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

/* KVM itself writes into guest memory: the wall clock, 12 bytes at the address that the MSR is set to. */
static void test_kvm_writes(void **state)
{
	union {
		struct kvm_msrs head;
		uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msrs = { .head = { .nmsrs = 1 } };
	static struct fixture f;
	struct bitmap want;
	struct err err = { 0 };

	set_up(&f, state, 1, TWO_REGIONS);
	assert_int_equal(bitmap_init(&want, RAM_PAGES), 0);
	start_quiet(&f);
	msrs.head.entries[0].index = MSR_KVM_WALL_CLOCK_NEW;
	for (uint64_t page = 2000; page < RAM_PAGES; page += 5000) {
		uint64_t in_region = page < HALF ? page : page - HALF;

		msrs.head.entries[0].data = (page < HALF ? 0 : 4ULL << 30) + (in_region << 12);
		must(kvm_set_msrs(f.t.vm->vcpu[0].fd, &msrs.head, &err), &err);
		assert_memory_not_equal(gmem_page(vm_mem(f.t.vm), page),
					gmem_page(vm_mem(f.t.vm), page + 1), 12);
		bitmap_set(&want, page);
	}
	collect(&f);
	assert_found(&f, &want, false);
	bitmap_fini(&want);
	dirty_stop(f.d);
	tear_down(&f);
}

static void test_device_writes(void **state)
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
	static struct fixture f;
	struct device dev = { 0 };
	pthread_t thread;
	uint64_t done;

	set_up(&f, state, 2, TWO_REGIONS);
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

/* Four vCPUs that write into each other's pages, and a device. */
static void test_live_copy_of_4_vcpus(void **state)
{
	static struct fixture f;
	struct device dev = { 0 };
	pthread_t thread;

	set_up(&f, state, 4, TWO_REGIONS);
	for (unsigned int c = 0; c < 4; c++) {
		tiny_set_work(&f.t, c, HALF - 512, 1024, PERMUTE + 2ULL * c);
		tiny_allow(&f.t, c, UINT64_MAX);
	}
	dev.mem = vm_mem(f.t.vm);
	run(&f);
	assert_int_equal(pthread_create(&thread, NULL, device_thread, &dev), 0);
	start(&f);
	send_everything(&f);
	for (unsigned int round = 0; round < 10; round++) {
		collect(&f);
		send_acc(&f);
		for (unsigned int c = 0; c < 4; c++)
			assert_true(tiny_wait_done(&f.t, c,
						   atomic_load(&tiny_control(&f.t, c)->done) + 1));
	}
	halt(&f);
	atomic_store(&dev.end, true);
	pthread_join(thread, NULL);
	finish(&f);
	send_acc(&f);
	assert_copy_equals_memory(&f);
	dirty_stop(f.d);
	tear_down(&f);
}

/* An attempt that dies after a collect took the bits with it; the next one must not miss those pages. */
static void test_after_a_failed_attempt(void **state)
{
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
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
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
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

/* Pages for hugetlb: where root runs this, the host may make the few that are needed and takes them back with the memory. Returns what the limit was, or -1
 * when it cannot be told. */
#define NR_HUGEPAGES "/proc/sys/vm/nr_overcommit_hugepages"
static void write_hugepages(long n)
{
	FILE *f = fopen(NR_HUGEPAGES, "we");

	if (!f)
		return;
	fprintf(f, "%ld\n", n);
	fclose(f);
}

static long lend_hugepages(void)
{
	FILE *f = fopen(NR_HUGEPAGES, "re");
	char text[32] = "";
	long had;

	if (!f)
		return -1;
	had = fgets(text, sizeof(text), f) ? strtol(text, NULL, 10) : -1;
	fclose(f);
	if (had >= 0)
		write_hugepages(had + (long)(RAM_PAGES / HUGE_PAGES));
	return had;
}

static const struct CMUnitTest cases[] = {
	cmocka_unit_test_teardown(test_sequential, clean_up),
	cmocka_unit_test_teardown(test_random_2_vcpus_2_regions, clean_up),
	cmocka_unit_test_teardown(test_4_vcpus_5_regions, clean_up),
	cmocka_unit_test_teardown(test_sparse_3_vcpus, clean_up),
	cmocka_unit_test_teardown(test_live_copy, clean_up),
	cmocka_unit_test_teardown(test_first_touch, clean_up),
	cmocka_unit_test_teardown(test_rearm_is_exact, clean_up),
	/* From here on with huge pages where the kernel finds them, only. */
	cmocka_unit_test_teardown(test_same_pages_again, clean_up),
	cmocka_unit_test_teardown(test_more_than_a_ring, clean_up),
	cmocka_unit_test_teardown(test_full_rings_of_4_vcpus, clean_up),
	cmocka_unit_test_teardown(test_reads_are_no_writes, clean_up),
	cmocka_unit_test_teardown(test_device_writes, clean_up),
	cmocka_unit_test_teardown(test_kvm_writes, clean_up),
	cmocka_unit_test_teardown(test_live_copy_of_4_vcpus, clean_up),
	cmocka_unit_test_teardown(test_after_a_failed_attempt, clean_up),
	cmocka_unit_test_teardown(test_running_on_after_finish, clean_up),
};
#define CASES_FOR_EVERY_BACKING 7

static const struct {
	const char *name;
	size_t ncases;
} backings[] = { [GMEM_THP] = { "thp", ARRAY_LEN(cases) },
		 [GMEM_4K] = { "4k", CASES_FOR_EVERY_BACKING },
		 [GMEM_HUGETLB] = { "hugetlb", CASES_FOR_EVERY_BACKING } };

/* What follows --dirty-accel= among the arguments. */
static int parse_accel(int argc, char **argv, struct dirty_accel_ask *ret, struct err *err)
{
	static const char option[] = "--dirty-accel=";
	int r = 0;

	for (int i = 1; r == 0 && i < argc; i++) {
		if (!strncmp(argv[i], option, sizeof(option) - 1))
			r = dirty_accel_parse(argv[i] + sizeof(option) - 1, ret, err);
	}
	return r;
}

/* Without arguments all; else those that are named, of backends, of backings and of cases. */
static bool is_asked(const char *name, const char *const *others, size_t nothers, int argc,
		     char **argv)
{
	bool any = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], name))
			return true;
		for (size_t k = 0; k < nothers; k++)
			any |= !strcmp(argv[i], others[k]);
	}
	return !any;
}

static int run_subject(struct subject *s, int argc, char **argv)
{
	const char *case_names[ARRAY_LEN(cases)];
	struct CMUnitTest tests[ARRAY_LEN(cases)];
	const char *memory = backings[s->backing].name;
	size_t ncases = 0;
	struct err err = { 0 };
	char name[64];
	int failed;
	int r = try_subject(s, &err);

	if (r == -EOPNOTSUPP || (r == -ENOMEM && s->backing == GMEM_HUGETLB)) {
		printf("conformance backend=\"%s\" memory=%s SKIP: %s\n", s->backend.name, memory,
		       err.msg);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		case_names[i] = cases[i].name;
	for (size_t i = 0; i < backings[s->backing].ncases; i++) {
		if (!is_asked(case_names[i], case_names, ARRAY_LEN(cases), argc, argv))
			continue;
		tests[ncases] = cases[i];
		tests[ncases++].initial_state = s;
	}
	snprintf(name, sizeof(name), "%s, %s", s->backend.name, memory);
	failed = _cmocka_run_group_tests(name, tests, ncases, NULL, NULL);
	printf("conformance backend=\"%s\" memory=%s cases=%zu failed=%d collects=%" PRIu64
	       " written=%" PRIu64 " missed=%" PRIu64 " invented=%" PRIu64 " tables=%" PRIu64 "\n",
	       s->backend.name, memory, ncases, failed, s->tally.collects, s->tally.written,
	       s->tally.missed, s->tally.invented, s->tally.tables);
	fflush(stdout);
	return failed;
}

int main(int argc, char **argv)
{
	static const struct backend backends[] = {
		{ .name = "bitmap", .kind = DIRTY_BITMAP },
		{ .name = "manual", .kind = DIRTY_MANUAL },
		{ .name = "ring of 1024", .kind = DIRTY_RING, .ring_entries = 1024 },
		{ .name = "ring of 65536", .kind = DIRTY_RING, .ring_entries = 65536 },
		{ .name = "uffd", .kind = DIRTY_UFFD },
	};
	const char *backend_names[ARRAY_LEN(backends)], *backing_names[ARRAY_LEN(backings)];
	struct dirty_accel_ask accel = { 0 };
	struct err err = { 0 };
	int failed = 0;
	long had;

	if (parse_accel(argc, argv, &accel, &err) < 0) {
		fprintf(stderr, "--dirty-accel: %s\n", err.msg);
		return 2;
	}
	had = lend_hugepages();

	for (size_t b = 0; b < ARRAY_LEN(backends); b++)
		backend_names[b] = backends[b].name;
	for (size_t m = 0; m < ARRAY_LEN(backings); m++)
		backing_names[m] = backings[m].name;
	for (size_t b = 0; b < ARRAY_LEN(backends); b++) {
		for (size_t m = 0; m < ARRAY_LEN(backings); m++) {
			struct subject s = { .backend = backends[b],
					     .backing = (enum gmem_backing)m };

			s.backend.accel = accel;

			if (is_asked(backend_names[b], backend_names, ARRAY_LEN(backends), argc,
				     argv) &&
			    is_asked(backing_names[m], backing_names, ARRAY_LEN(backings), argc,
				     argv))
				failed += run_subject(&s, argc, argv);
		}
	}
	if (had >= 0)
		write_hugepages(had);
	return failed;
}
