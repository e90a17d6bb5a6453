/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "dirty_fixture.h"
#include "dirty_log.h"

/*
 * The combined software and hardware dirty log of kernel/, with groups of several sizes and with the hardware alone. What every tracker owes is in the conformance
 * suite; here is what only this one can get wrong: exits that do not go down, pages that the processor marked and the kernel dropped.
 *
 *   test-arm64-dirty-log present|absent [MODE]   what this host should have; one mode of --dirty-accel alone
 */
#define WORK_FIRST 1024ULL
#define WORK_PAGES 4096ULL
#define PASSES 8u

static uint64_t exits(struct fixture *f)
{
	struct vm_exits e = { 0 };
	struct err err = { 0 };

	must(vm_exits(f->t.vm, &e, &err), &err);
	return e.exits;
}

/* In WORK_PAGES; the control page's group and the stop cost a few more, and so do ticks of the host. */
static void expected_exits(const struct subject *s, uint64_t *ret_least, uint64_t *ret_most)
{
	uint64_t faults = 0;

	if (s->backend.accel.mode == DIRTY_ACCEL_OFF)
		faults = WORK_PAGES;
	else if (s->backend.accel.group_pages != DIRTY_GROUP_ALL)
		faults = WORK_PAGES / s->backend.accel.group_pages;
	*ret_least = faults;
	*ret_most = faults + MAX(6, faults / 16);
}

/* The least of a few rounds counts: what is not the log's only adds. */
static void test_exits(void **state)
{
	static struct fixture f;
	uint64_t first = 0, least = UINT64_MAX, at_least, at_most;

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, WORK_FIRST, WORK_PAGES, 1);
	start_quiet(&f);
	for (unsigned int round = 0; round < 5; round++) {
		uint64_t n = exits(&f);

		work(&f, WORK_PAGES);
		n = exits(&f) - n;
		collect(&f);
		assert_exact(&f, WORK_PAGES);
		send_acc(&f);
		if (round == 0)
			first = n;
		else
			least = MIN(least, n);
	}
	expected_exits(f.subject, &at_least, &at_most);
	printf("exits backend=\"%s\" pages=%llu first=%" PRIu64 " least=%" PRIu64 "\n",
	       f.subject->backend.name, WORK_PAGES, first, least);
	if (least < at_least || least > at_most)
		fail_msg("%s: %" PRIu64 " exits, %" PRIu64 " to %" PRIu64 " expected",
			 f.subject->backend.name, least, at_least, at_most);
	dirty_stop(f.d);
	tear_down(&f);
}

/* One page in eight, pages at random, and all of them: what was written is found, and nothing else. */
static void test_exact(void **state)
{
	static const struct {
		uint64_t mul, steps;
	} ways[] = { { 8, WORK_PAGES / 8 }, { PERMUTE, 700 }, { 1, WORK_PAGES } };
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	start_quiet(&f);
	for (unsigned int round = 0; round < 3 * ARRAY_LEN(ways); round++) {
		uint64_t mul = ways[round % ARRAY_LEN(ways)].mul;
		uint64_t steps = ways[round % ARRAY_LEN(ways)].steps;

		tiny_set_work(&f.t, 0, WORK_FIRST, WORK_PAGES, mul);
		tiny_set_work(&f.t, 1, HALF - WORK_PAGES / 2, WORK_PAGES, mul);
		work(&f, steps);
		collect(&f);
		assert_exact(&f, steps);
		send_acc(&f);
	}
	dirty_stop(f.d);
	tear_down(&f);
}

static bool splits_rearm(const struct fixture *f)
{
	return f->d->ops->flags & DIRTY_SPLIT_REARM;
}

/* Two pages of a word are rearmed; those between them were marked by the processor and nobody has read that yet. */
static void test_clear_is_exact(void **state)
{
	static struct fixture f;
	struct bitmap ends, want;
	struct err err = { 0 };

	set_up(&f, state, 1, ONE_REGION);
	if (!splits_rearm(&f)) {
		tear_down(&f);
		skip();
	}
	tiny_set_work(&f.t, 0, WORK_FIRST, 64, 1);
	start_quiet(&f);
	assert_int_equal(bitmap_init(&ends, RAM_PAGES), 0);
	bitmap_set(&ends, WORK_FIRST);
	bitmap_set(&ends, WORK_FIRST + 63);
	for (unsigned int round = 0; round < 4; round++) {
		work(&f, 1);
		collect(&f);
		assert_exact(&f, 1);
		work(&f, 63);
		must(dirty_rearm(f.d, &ends, WORK_FIRST, 64, &err), &err);
		bitmap_zero(&f.acc);
		collect(&f);
		wanted(&f, 63, &want);
		bitmap_clear(&want, WORK_FIRST + 63);
		assert_found(&f, &want, false);
		bitmap_fini(&want);
		/* Both ends are armed again. */
		work(&f, 64);
		collect(&f);
		assert_exact(&f, 64);
		send_acc(&f);
	}
	bitmap_fini(&ends);
	dirty_stop(f.d);
	tear_down(&f);
}

/* One vCPU writes even pages, which are rearmed all the time, the other one odd pages, which are not: each of them must be in the log. */
static void test_clear_beside_writes(void **state)
{
	static struct fixture f;
	struct bitmap even;
	struct err err = { 0 };

	set_up(&f, state, 2, ONE_REGION);
	if (!splits_rearm(&f)) {
		tear_down(&f);
		skip();
	}
	assert_int_equal(bitmap_init(&even, RAM_PAGES), 0);
	for (uint64_t p = WORK_FIRST; p < WORK_FIRST + WORK_PAGES; p += 2)
		bitmap_set(&even, p);
	for (unsigned int c = 0; c < 2; c++)
		tiny_set_work(&f.t, c, WORK_FIRST + c, WORK_PAGES, 2 * PERMUTE);
	start_quiet(&f);
	for (uint64_t pass = 1; pass <= 5 * PASSES; pass++) {
		for (unsigned int c = 0; c < 2; c++)
			tiny_allow(&f.t, c, pass * WORK_PAGES / 2);
		run(&f);
		while (atomic_load(&tiny_control(&f.t, 1)->done) < pass * WORK_PAGES / 2 &&
		       atomic_load(&f.t.exits) == 0)
			must(dirty_rearm(f.d, &even, WORK_FIRST, WORK_PAGES, &err), &err);
		assert_true(tiny_wait_done(&f.t, 0, pass * WORK_PAGES / 2));
		halt(&f);
		collect(&f);
		for (uint64_t p = WORK_FIRST + 1; p < WORK_FIRST + WORK_PAGES; p += 2) {
			if (!bitmap_test(&f.acc, p))
				fail_msg("%s: pass %" PRIu64 ": page %" PRIu64 " was lost",
					 f.subject->backend.name, pass, p);
		}
		send_acc(&f);
	}
	bitmap_fini(&even);
	dirty_stop(f.d);
	tear_down(&f);
}

/* The kernel takes the guest's mappings away and leaves it the pages: a fork shares all of them for a moment. */
static void share_with_a_child(void)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(0);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
}

static void take_write_access(struct gmem *m)
{
	size_t bytes = m->npages << GMEM_PAGE_SHIFT;

	assert_int_equal(mprotect(m->base, bytes, PROT_READ), 0);
	assert_int_equal(mprotect(m->base, bytes, PROT_READ | PROT_WRITE), 0);
}

/* What the processor marked is in the mappings alone when they go. */
static void test_unmap_keeps_pages(void **state)
{
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, WORK_FIRST, WORK_PAGES, PERMUTE);
	start_quiet(&f);
	for (unsigned int round = 0; round < 6; round++) {
		uint64_t steps = round < 3 ? WORK_PAGES : 1000;

		/* All pages are mapped by faults first: only what is there can be armed. */
		work(&f, WORK_PAGES);
		collect(&f);
		assert_exact(&f, WORK_PAGES);
		send_acc(&f);
		work(&f, steps);
		if (round % 2 == 0)
			share_with_a_child();
		else
			take_write_access(vm_mem(f.t.vm));
		collect(&f);
		assert_exact(&f, steps);
		send_acc(&f);
	}
	dirty_stop(f.d);
	tear_down(&f);
}

static bool both_done(struct fixture *f, uint64_t n)
{
	return atomic_load(&tiny_control(&f->t, 0)->done) >= n &&
	       atomic_load(&tiny_control(&f->t, 1)->done) >= n;
}

/*
 * A pre-copy of two vCPUs that write at random. They stop after a pass, in which each page is written once by each, so that a write that was not found is not
 * made good by the next.
 */
static void precopy(struct fixture *f, void (*disturb)(void))
{
	tiny_set_work(&f->t, 0, WORK_FIRST, WORK_PAGES, PERMUTE);
	tiny_set_work(&f->t, 1, HALF - WORK_PAGES / 2, WORK_PAGES, PERMUTE + 2);
	start_quiet(f);
	for (uint64_t pass = 1; pass <= PASSES; pass++) {
		unsigned int n = 0;

		tiny_allow(&f->t, 0, pass * WORK_PAGES);
		tiny_allow(&f->t, 1, pass * WORK_PAGES);
		run(f);

		do {
			collect(f);
			send_acc(f);
			/* Not each time: what is not mapped is not armed. */
			if (disturb && pass % 2 == 0 && n++ % 2 == 0)
				disturb();
		} while (!both_done(f, pass * WORK_PAGES) && atomic_load(&f->t.exits) == 0);
		halt(f);
		collect(f);
		send_acc(f);
		assert_copy_equals_memory(f);
	}
	dirty_stop(f->d);
}

static void test_precopy(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	precopy(&f, NULL);
	tear_down(&f);
}

static void test_precopy_unmapping(void **state)
{
	static struct fixture f;

	set_up(&f, state, 2, TWO_REGIONS);
	precopy(&f, share_with_a_child);
	tear_down(&f);
}

/* A pass over pages from WORK_FIRST on that writes some of them, if any; they are found, and get the value. */
static void pass(struct fixture *f, uint64_t percent, uint64_t seed, struct bitmap *written)
{
	struct tiny_pass *p = &tiny_control(&f->t, 0)->pass;
	struct bitmap plan;
	struct err err = { 0 };
	uint64_t ns;

	*p = (struct tiny_pass){ .first_va = tiny_va(WORK_FIRST),
				 .npages = HUGE_PAGES,
				 .write_percent = percent,
				 .seed = seed,
				 .value = seed };
	assert_int_equal(bitmap_init(&plan, HUGE_PAGES), 0);
	tiny_pass_plan(p, &plan);
	must(tiny_pass_run(&f->t, 60 * NS_PER_S, &ns, &err), &err);
	collect(f);
	for (uint64_t i = 0; i < HUGE_PAGES; i++) {
		if (bitmap_test(&plan, i) && !bitmap_test(&f->acc, WORK_FIRST + i))
			fail_msg("%s: page %" PRIu64 " was lost", f->subject->backend.name, i);
	}
	send_acc(f);
	bitmap_or(written, &plan);
	bitmap_fini(&plan);
}

/* Memory that nobody has written is one page of zeros, mapped read-only many times. Its neighbours are armed; it must not be. */
static void test_zeros_stay(void **state)
{
	static struct fixture f;
	struct bitmap written;
	struct gmem *m;
	struct err err = { 0 };

	set_up_untouched(&f, state, 1, ONE_REGION, TINY_PASS);
	m = vm_mem(f.t.vm);
	assert_int_equal(madvise(gmem_page(m, WORK_FIRST), HUGE_PAGES << GMEM_PAGE_SHIFT,
				 MADV_NOHUGEPAGE),
			 0);
	assert_int_equal(bitmap_init(&written, HUGE_PAGES), 0);
	must(tiny_pass_start(&f.t, &err), &err);
	start(&f);
	bitmap_fill(&f.acc);
	must(dirty_rearm(f.d, &f.acc, 0, RAM_PAGES, &err), &err);
	bitmap_zero(&f.acc);
	pass(&f, 0, 1, &written);
	for (uint64_t seed = 2; seed < 8; seed++)
		pass(&f, 12, seed / 2,
		     &written); /* each set twice: the second time its pages are there */
	for (uint64_t i = 0; i < HUGE_PAGES; i++) {
		if ((*(uint64_t *)(void *)gmem_page(m, WORK_FIRST + i) != 0) !=
		    bitmap_test(&written, i))
			fail_msg("%s: page %" PRIu64 " is not what the guest made of it",
				 f.subject->backend.name, i);
	}
	bitmap_fini(&written);
	dirty_stop(f.d);
	tear_down(&f);
}

/* Logging off and on again: nothing of the attempt before is armed, and nothing is lost. */
static void test_again(void **state)
{
	static struct fixture f;

	set_up(&f, state, 1, ONE_REGION);
	tiny_set_work(&f.t, 0, WORK_FIRST, WORK_PAGES, PERMUTE);
	for (unsigned int attempt = 0; attempt < 3; attempt++) {
		start_quiet(&f);
		work(&f, 1500);
		collect(&f);
		assert_exact(&f, 1500);
		send_acc(&f);
		work(&f, 1500); /* marked by the processor, and nobody looks */
		dirty_stop(f.d);
		work(&f, 1500);
		bitmap_zero(&f.acc);
	}
	tear_down(&f);
}

/* cmocka does not name a group that it runs. */
static int run_group(const char *name, const struct CMUnitTest *tests, size_t n)
{
	int failed;

	printf("group %s\n", name);
	failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
	printf("end of group cases=%zu failed=%d\n", n, failed);
	return failed;
}

static int run_subject(struct subject *s)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test_teardown(test_exits, clean_up),
		cmocka_unit_test_teardown(test_exact, clean_up),
		cmocka_unit_test_teardown(test_clear_is_exact, clean_up),
		cmocka_unit_test_teardown(test_clear_beside_writes, clean_up),
		cmocka_unit_test_teardown(test_unmap_keeps_pages, clean_up),
		cmocka_unit_test_teardown(test_precopy, clean_up),
		cmocka_unit_test_teardown(test_precopy_unmapping, clean_up),
		cmocka_unit_test_teardown(test_zeros_stay, clean_up),
		cmocka_unit_test_teardown(test_again, clean_up),
	};
	struct CMUnitTest tests[ARRAY_LEN(all)];
	size_t n = s->backend.accel.mode == DIRTY_ACCEL_OFF ? 1 : ARRAY_LEN(all);

	for (size_t i = 0; i < n; i++) {
		tests[i] = all[i];
		tests[i].initial_state = s;
	}
	return run_group(s->backend.name, tests, n);
}

/* Who is refused is told so, by vmm as by KVM; who did not ask has the log as it always was. */
static int expect_refusal(struct subject *s)
{
	struct err err = { 0 };
	int r = try_subject(s, &err);

	if (r == -EOPNOTSUPP && strstr(err.msg, "KVM_CAP_ARM_HW_DIRTY_LOG"))
		return 0;
	fprintf(stderr, "%s: not refused as it should be: %d, %s\n", s->backend.name, r, err.msg);
	return 1;
}

static int run_all(bool present, const char *only)
{
	static const char *const asks[] = { "off", "on,group=16", "on,group=64", "on,group=512",
					    "on,group=all" };
	static const enum dirty_kind kinds[] = { DIRTY_BITMAP, DIRTY_MANUAL };
	int failed = 0;

	for (size_t i = 0; i < ARRAY_LEN(asks) * ARRAY_LEN(kinds); i++) {
		const char *ask = asks[i / ARRAY_LEN(kinds)];
		struct subject s = { .backend.kind = kinds[i % ARRAY_LEN(kinds)],
				     .backing = GMEM_THP };
		struct err err = { 0 };
		char name[64];

		snprintf(name, sizeof(name), "%s, %s", dirty_kind_name(s.backend.kind), ask);
		s.backend.name = name;
		if (only && strcmp(only, ask) != 0)
			continue;
		if (dirty_accel_parse(ask, &s.backend.accel, &err) == 0 && !present &&
		    s.backend.accel.mode == DIRTY_ACCEL_ON) {
			failed += expect_refusal(&s);
			continue;
		}
		if (err.msg[0] != '\0' || try_subject(&s, &err) < 0) {
			fprintf(stderr, "%s: %s\n", name, err.msg);
			failed++;
			continue;
		}
		failed += run_subject(&s);
	}
	return failed;
}

int main(int argc, char **argv)
{
	bool present = argc > 1 && strcmp(argv[1], "present") == 0;
	int failed;

	if (argc < 2 || argc > 3 || (!present && strcmp(argv[1], "absent") != 0)) {
		fprintf(stderr, "usage: test-arm64-dirty-log present|absent [MODE]\n");
		return 2;
	}
	/* In the order of what comes on stderr. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("group answers");
	failed = dirty_log_answers(present);
	printf("end of group cases=%u failed=%d\n", DIRTY_LOG_ANSWERS, failed);
	failed += run_all(present, argc == 3 ? argv[2] : NULL);
	printf("dirty-log %s failed=%d\n", argv[1], failed);
	return failed != 0;
}
