/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "tiny_guest.h"
#include "vmm/vm.h"

#define ROUNDS 1000

static void make(struct tiny *t, unsigned int ncpus, enum tiny_program program)
{
	struct tiny_config config = {
		.ncpus = ncpus, .dirty = DIRTY_BITMAP, .pages = 4096, .program = program
	};
	struct err err = { 0 };

	if (tiny_create(&config, t, &err) < 0)
		fail_msg("%s", err.msg);
}

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->msg);
}

static void no_exits(struct tiny *t)
{
	if (atomic_load(&t->exits) != 0)
		fail_msg("%s", t->exit_text);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Figures for whoever runs it; nothing is asserted about time. */
static void print_times(const char *what, uint64_t *ns, size_t n)
{
	qsort(ns, n, sizeof(ns[0]), by_value);
	print_message("%s: median %.1f us, 99 %% %.1f us, most %.1f us\n", what,
		      (double)ns[n / 2] / 1e3, (double)ns[n * 99 / 100] / 1e3,
		      (double)ns[n - 1] / 1e3);
}

static void test_paused_vcpus_stand_still(void **state)
{
	static uint64_t ns[ROUNDS];
	struct tiny t;
	struct err err = { 0 };
	uint64_t progress = 0;

	(void)state;
	make(&t, 2, TINY_WORK);
	for (unsigned int c = 0; c < 2; c++) {
		tiny_set_work(&t, c, TINY_WORK_FIRST_PAGE + c * 1024, 1024, 1);
		tiny_allow(&t, c, UINT64_MAX);
	}
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t before[2], t0;

		must(vm_resume(t.vm, &err), &err);
		must(vm_resume(t.vm, &err), &err);
		assert_false(vm_is_paused(t.vm));
		if (i % 8 != 0)
			usleep(i % 5 * 20);
		t0 = clock_mono_ns();
		must(vm_pause(t.vm, &err), &err);
		ns[i] = clock_mono_ns() - t0;
		must(vm_pause(t.vm, &err), &err);
		assert_true(vm_is_paused(t.vm));
		for (unsigned int c = 0; c < 2; c++)
			before[c] = atomic_load(&tiny_control(&t, c)->done);
		if (i % 50 == 0)
			usleep(1000);
		for (unsigned int c = 0; c < 2; c++)
			assert_int_equal(before[c], atomic_load(&tiny_control(&t, c)->done));
		progress = before[0] + before[1];
	}
	no_exits(&t);
	assert_true(progress > ROUNDS);
	/* Both still run after all that. */
	for (unsigned int c = 0; c < 2; c++) {
		uint64_t done = atomic_load(&tiny_control(&t, c)->done);

		must(vm_resume(t.vm, &err), &err);
		assert_true(tiny_wait_done(&t, c, done + 1000));
	}
	print_times("pause of 2 running vCPUs", ns, ROUNDS);
	tiny_destroy(&t);
}

/*
 * Each step reads the port and counts the read. When the vCPU is paused the last read's value must have reached it: the counts agree, or the
 * instruction behind the read is next.
 */
static void test_pending_io_is_completed(void **state)
{
	struct tiny t;
	struct err err = { 0 };
	unsigned int caught_between = 0;

	(void)state;
	make(&t, 1, TINY_IN);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct tiny_in_state in;
		uint64_t reads;

		must(vm_resume(t.vm, &err), &err);
		usleep(i % 7 * 30);
		must(vm_pause(t.vm, &err), &err);
		reads = atomic_load(&t.port_reads);
		must(tiny_in_state(&t, 0, &in, &err), &err);
		if (reads == 0)
			continue;
		caught_between += in.uncounted;
		assert_int_equal(reads, in.counted + in.uncounted);
		assert_int_equal(in.last, 0x5a);
	}
	no_exits(&t);
	assert_true(atomic_load(&t.port_reads) > 100);
	print_message("%llu port reads, %u pauses between one and its count\n",
		      (unsigned long long)atomic_load(&t.port_reads), caught_between);
	tiny_destroy(&t);
}

/* A vCPU that hangs in a device is named, and when it comes back the VM runs as if nobody had asked. */
static void test_pause_that_times_out(void **state)
{
	struct tiny t;
	struct err err = { 0 };
	uint64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_S;
	uint64_t reads;

	(void)state;
	make(&t, 2, TINY_IN);
	atomic_store(&t.stuck, true);
	must(vm_resume(t.vm, &err), &err);
	while (atomic_load(&t.port_reads) < 2 && clock_mono_ns() < deadline_ns)
		usleep(1000);
	assert_int_equal(vm_pause(t.vm, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "vCPU 0"));
	assert_false(vm_is_paused(t.vm));
	atomic_store(&t.stuck, false);
	reads = atomic_load(&t.port_reads);
	deadline_ns = clock_mono_ns() + 20 * NS_PER_S;
	while (atomic_load(&t.port_reads) < reads + 100 && clock_mono_ns() < deadline_ns)
		usleep(1000);
	assert_true(atomic_load(&t.port_reads) >= reads + 100);
	must(vm_pause(t.vm, &err), &err);
	assert_true(vm_is_paused(t.vm));
	no_exits(&t);
	tiny_destroy(&t);
}

struct seen {
	unsigned int names;
	uint64_t exits, faults;
};

static void on_counter(void *opaque, const char *name, uint64_t value)
{
	struct seen *s = opaque;

	s->names++;
	if (strcmp(name, "exits") == 0)
		s->exits += value;
	if (strcmp(name, "pf_fixed") == 0)
		s->faults += value;
}

static void test_counters_of_a_running_vm(void **state)
{
	struct tiny t;
	struct err err = { 0 };
	struct seen s = { 0 };
	uint64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_S;

	(void)state;
	make(&t, 1, TINY_IN);
	must(vm_resume(t.vm, &err), &err);
	while (atomic_load(&t.port_reads) < 50 && clock_mono_ns() < deadline_ns)
		usleep(1000);
	no_exits(&t);
	must(vm_counters(t.vm, on_counter, &s, &err), &err);
	assert_true(s.names > 10);
	assert_true(s.exits >= 50);
	tiny_destroy(&t);
}

/* The three ways to the counters agree once nothing counts any more. */
static void test_counters_of_each_vcpu(void **state)
{
	struct tiny t;
	struct err err = { 0 };
	struct seen sum = { 0 }, each = { 0 };
	struct vm_exits before, after;
	uint64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_S;

	(void)state;
	make(&t, 2, TINY_IN);
	must(vm_exits(t.vm, &before, &err), &err);
	must(vm_resume(t.vm, &err), &err);
	while (atomic_load(&t.port_reads) < 50 && clock_mono_ns() < deadline_ns)
		usleep(1000);
	must(vm_pause(t.vm, &err), &err);
	must(vm_exits(t.vm, &after, &err), &err);
	must(vm_counters(t.vm, on_counter, &sum, &err), &err);
	for (unsigned int i = 0; i < 2; i++)
		must(vm_vcpu_counters(t.vm, i, on_counter, &each, &err), &err);
	assert_true(after.exits - before.exits >= 50);
	assert_int_equal(after.exits, sum.exits);
	assert_int_equal(each.exits, sum.exits);
	if (after.faults_known)
		assert_int_equal(after.faults, sum.faults);
	assert_int_equal(each.faults, sum.faults);
	assert_int_equal(vm_vcpu_counters(t.vm, 2, on_counter, &each, &err), -EINVAL);
	tiny_destroy(&t);
}

/* A VM may be destroyed with its vCPUs running, and before they ever ran. */
static void test_destroy_in_any_state(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		struct tiny t;
		struct err err = { 0 };

		make(&t, 2, i % 2 ? TINY_IN : TINY_WORK);
		if (i % 4 >= 2)
			must(vm_resume(t.vm, &err), &err);
		usleep(i * 10);
		tiny_destroy(&t);
	}
}

static void test_refused_configurations(void **state)
{
	struct vm_client client = { 0 };
	struct vm_config good = { .ncpus = 1, .dirty = DIRTY_BITMAP };
	struct vm_config bad;
	struct vm *vm = NULL;
	struct err err = { 0 };
	int r;

	(void)state;
	good.mem.nregions = 1;
	good.mem.region[0].len_bytes = 16 << 20;
	bad = good;
	bad.ncpus = 0;
	assert_int_equal(vm_create(&bad, &client, &vm, &err), -EINVAL);
	bad.ncpus = VM_MAX_VCPUS + 1;
	assert_int_equal(vm_create(&bad, &client, &vm, &err), -EINVAL);
	bad = good;
	bad.pin = "0-x";
	assert_int_equal(vm_create(&bad, &client, &vm, &err), -EINVAL);
	bad.pin = "1000";
	assert_true(vm_create(&bad, &client, &vm, &err) < 0);
	assert_non_null(strstr(err.msg, "1000"));
	bad = good;
	/* No host of ours has 8 TiB; some cannot even address them for a guest. */
	bad.mem.region[0].len_bytes = 1ULL << 43;
	r = vm_create(&bad, &client, &vm, &err);
	assert_true(r == -ENOMEM || r == -EOPNOTSUPP);
	assert_null(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paused_vcpus_stand_still),
		cmocka_unit_test(test_pending_io_is_completed),
		cmocka_unit_test(test_pause_that_times_out),
		cmocka_unit_test(test_counters_of_a_running_vm),
		cmocka_unit_test(test_counters_of_each_vcpu),
		cmocka_unit_test(test_destroy_in_any_state),
		cmocka_unit_test(test_refused_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
