/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

/* The model against what can be worked out with a pencil. */

#define PAGES 4096u

static struct sim_config passes(enum sim_backend backend, enum sim_accel accel)
{
	struct sim_config c;

	sim_config_init(&c);
	c.backend = backend;
	c.accel = accel;
	c.pages_per_vcpu = PAGES;
	return c;
}

/* One fault a page and pass; the first pass of MANUAL and UFFD has none, since they start with everything in the log. */
static void test_write_protection(void **state)
{
	(void)state;
	for (enum sim_backend b = SIM_BITMAP; b <= SIM_UFFD; b++) {
		bool splits = b == SIM_MANUAL || b == SIM_UFFD;
		struct sim_config c = passes(b, SIM_WP);
		struct sim_result r;

		c.costs = (struct sim_costs){ .visit_ns = 10,
					      .fault_ns = 1000,
					      .pass_ns = 5,
					      .get_call_ns = 7,
					      .get_word_ns = 2,
					      .get_page_ns = 3,
					      .clear_call_ns = 11,
					      .clear_page_ns = 13 };
		r = run_ok(&c);
		assert_int_equal(r.nsteps, 3);
		for (unsigned int i = 0; i < 3; i++) {
			uint64_t faults = splits && i == 0 ? 0 : PAGES;

			assert_int_equal(r.steps[i].counts.visits, PAGES);
			assert_int_equal(r.steps[i].counts.faults, faults);
			assert_int_equal(r.steps[i].counts.logged, faults);
			assert_int_equal(r.steps[i].found, PAGES);
			assert_ns(r.steps[i].dirty_ns, PAGES * 10.0 + (double)faults * 1000 + 5);
			/* A ring has no words to look through. */
			assert_ns(r.steps[i].get_ns,
				  7 + (b == SIM_RING ? 0 : PAGES / 64 * 2.0) + PAGES * 3.0);
			assert_ns(r.steps[i].clear_ns, splits ? 11 + PAGES * 13.0 : 0);
		}
		sim_result_fini(&r);
	}
}

/* A buffer of E entries exits n / E times, rounded down: what is left in it goes with the pass's last exit. */
static void test_hardware_buffers(void **state)
{
	(void)state;
	for (unsigned int hdbss = 0; hdbss < 2; hdbss++) {
		struct sim_config c = passes(SIM_BITMAP, hdbss ? SIM_HDBSS : SIM_PML);
		struct sim_result r;

		c.pages_per_vcpu = 5000;
		c.buffer_entries = hdbss ? 4096 : 512;
		c.vcpus = 3;
		c.costs = (struct sim_costs){ .log_ns = 2, .full_ns = 1000, .full_entry_ns = 1 };
		r = run_ok(&c);
		for (unsigned int i = 0; i < 3; i++) {
			uint64_t full = 5000 / c.buffer_entries;

			assert_int_equal(r.steps[i].counts.faults, 0);
			assert_int_equal(r.steps[i].counts.full_exits, 3 * full);
			assert_int_equal(r.steps[i].counts.logged, 15000);
			assert_int_equal(r.steps[i].found, 15000);
			/* Each vCPU's own time: 5000 pages logged, every entry moved on once. */
			assert_ns(r.steps[i].dirty_ns,
				  5000 * 2.0 + (double)full * 1000 + 5000 * 1.0);
		}
		sim_result_fini(&r);
	}
}

/* A full scan costs its pages whatever was written, and the guest never exits. */
static void test_full_scan(void **state)
{
	struct sim_config c = passes(SIM_BITMAP, SIM_SCAN);
	struct sim_result r;

	(void)state;
	c.pattern.kind = SIM_SPARSE;
	c.pattern.stride = 128;
	c.costs = (struct sim_costs){ .scan_page_ns = 4, .get_page_ns = 100 };
	r = run_ok(&c);
	assert_int_equal(sim_exits(&r.counts), 0);
	assert_int_equal(r.steps[2].found, PAGES / 128);
	assert_ns(r.steps[2].get_ns, PAGES * 4.0 + PAGES / 128 * 100.0);
	sim_result_fini(&r);
}

/* Groups of G pages: n / G faults where writes are dense, n where only one page of each group is written. */
static void test_combined(void **state)
{
	static const unsigned int groups[] = { 1, 16, 64, 512 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_LEN(groups); i++) {
		unsigned int g = groups[i];
		struct sim_config c = passes(SIM_BITMAP, SIM_COMBINED);
		struct sim_result dense, sparse;

		c.group_pages = g;
		c.costs = (struct sim_costs){
			.fault_ns = 100, .fault_hold_ns = 100, .arm_page_ns = 1, .scan_page_ns = 1
		};
		dense = run_ok(&c);
		c.pattern.kind = SIM_SPARSE;
		c.pattern.stride = g;
		sparse = run_ok(&c);
		for (unsigned int s = 0; s < 3; s++) {
			assert_int_equal(dense.steps[s].counts.faults, PAGES / g);
			assert_int_equal(dense.steps[s].found, PAGES);
			/* Each fault arms its neighbours, not the page that it opens. */
			assert_ns(dense.steps[s].dirty_ns, PAGES / g * (100.0 + (g - 1)));
			assert_ns(dense.steps[s].get_ns, PAGES - PAGES / g);
			assert_int_equal(sparse.steps[s].counts.faults, PAGES / g);
			assert_int_equal(sparse.steps[s].found, PAGES / g);
			assert_ns(sparse.steps[s].get_ns, PAGES - PAGES / g);
		}
		sim_result_fini(&dense);
		sim_result_fini(&sparse);
	}
}

/* A ring of 1024 has 960 usable entries, 448 above PML. */
static void test_ring(void **state)
{
	(void)state;
	for (int pml = 0; pml < 2; pml++) {
		struct sim_config c = passes(SIM_RING, pml ? SIM_PML : SIM_WP);
		struct sim_result r;
		unsigned int batch = pml ? 512 : 960;

		c.ring_entries = 1024;
		c.costs = (struct sim_costs){ .fault_ns = 10,
					      .ring_full_ns = 1000,
					      .get_page_ns = 1 };
		r = run_ok(&c);
		for (unsigned int i = 0; i < 3; i++) {
			uint64_t full = PAGES / batch;

			assert_int_equal(r.steps[i].counts.faults, pml ? 0 : PAGES);
			assert_int_equal(r.steps[i].counts.ring_full_exits, full);
			assert_int_equal(r.steps[i].found, PAGES);
			assert_ns(r.steps[i].get_ns, (double)(PAGES - full * batch));
			assert_ns(r.steps[i].dirty_ns,
				  (double)full * (1000 + batch) + (pml ? 0 : PAGES * 10.0));
		}
		sim_result_fini(&r);
	}
}

/* Faults that are all lock queue up: V vCPUs take as long as one that does the work of all. */
static void test_lock(void **state)
{
	struct sim_config c = passes(SIM_BITMAP, SIM_WP);
	struct sim_result r;

	(void)state;
	c.vcpus = 8;
	c.iterations = 1;
	c.costs = (struct sim_costs){ .fault_ns = 100, .fault_hold_ns = 100 };
	r = run_ok(&c);
	assert_ns(r.steps[0].dirty_ns, 8 * PAGES * 100.0);
	assert_ns(r.counts.fault_ns, 8 * PAGES * 100.0);
	assert_true(r.counts.wait_ns > 6 * PAGES * 100.0 * 8);
	sim_result_fini(&r);
	/* Nothing locked: they do not notice each other. */
	c.costs.fault_hold_ns = 0;
	r = run_ok(&c);
	assert_ns(r.steps[0].dirty_ns, PAGES * 100.0);
	assert_ns(r.counts.wait_ns, 0);
	sim_result_fini(&r);
	/* A lock that changes hands costs more; alone nobody takes it away. */
	c.costs.fault_hold_ns = 100;
	c.costs.lock_bounce_ns = 50;
	r = run_ok(&c);
	assert_ns(r.steps[0].dirty_ns, 8 * PAGES * 150.0 - 50);
	sim_result_fini(&r);
	c.vcpus = 1;
	r = run_ok(&c);
	assert_ns(r.steps[0].dirty_ns, PAGES * 100.0);
	sim_result_fini(&r);
}

/* Vcpus on the same pages: each page faults once, however many write it; at the same moment some fault twice, never more than once a vCPU. */
static void test_overlap(void **state)
{
	struct sim_config c = passes(SIM_BITMAP, SIM_WP);
	struct sim_result r;

	(void)state;
	c.vcpus = 4;
	c.overlap = true;
	c.costs = (struct sim_costs){ .visit_ns = 1, .fault_ns = 100 };
	r = run_ok(&c);
	assert_int_equal(r.npages, PAGES);
	assert_int_equal(r.counts.logged, 3 * PAGES);
	assert_in_range(r.counts.faults, 3 * PAGES, 4 * 3 * PAGES);
	assert_int_equal(r.counts.visits, 4 * 3 * PAGES);
	sim_result_fini(&r);
}

/* Userfaultfd: rearming unmaps, so that the first access to such a page faults even if it reads, once. Clearing costs by runs of neighbours. */
static void test_uffd(void **state)
{
	struct sim_config c = passes(SIM_UFFD, SIM_WP);
	struct sim_result r;

	(void)state;
	c.pattern.write_percent = 0;
	c.costs = (struct sim_costs){ .fault_ns = 1000, .read_fault_ns = 100, .clear_run_ns = 7 };
	r = run_ok(&c);
	assert_int_equal(r.steps[0].counts.faults, 0);
	assert_int_equal(r.steps[1].counts.faults, PAGES);
	assert_int_equal(r.steps[2].counts.faults, 0);
	assert_ns(r.steps[1].dirty_ns, PAGES * 100.0);
	assert_ns(r.steps[0].clear_ns, 7);
	assert_int_equal(r.steps[1].found, 0);
	assert_ns(r.steps[1].clear_ns, 0);
	sim_result_fini(&r);
	c.pattern = (struct sim_pattern){ .kind = SIM_SPARSE, .write_percent = 100, .stride = 4 };
	r = run_ok(&c);
	assert_int_equal(r.steps[1].counts.faults, PAGES / 4);
	assert_int_equal(r.steps[1].found, PAGES / 4);
	assert_ns(r.steps[1].clear_ns, PAGES / 4 * 7.0);
	sim_result_fini(&r);
}

/* Half of the steps write, half of those pages only once: n draws out of n pages leave about 1 / e of them out. */
static void test_random(void **state)
{
	struct sim_config c = passes(SIM_BITMAP, SIM_WP);
	struct sim_result r;

	(void)state;
	c.pages_per_vcpu = 1 << 16;
	c.pattern.kind = SIM_RANDOM;
	c.costs = (struct sim_costs){ .fault_ns = 100,
				      .fault_random_ns = 11,
				      .visit_random_ns = 1,
				      .get_page_ns = 5,
				      .get_random_ns = 2 };
	r = run_ok(&c);
	assert_in_range(r.steps[1].found, 41000, 41850); /* 65536 * (1 - 1/e) = 41427 */
	assert_int_equal(r.steps[1].counts.faults, r.steps[1].found);
	assert_ns(r.steps[1].dirty_ns, 65536 + (double)r.steps[1].found * 111);
	assert_ns(r.steps[1].get_ns, (double)r.steps[1].found * 7);
	assert_int_not_equal(r.steps[1].found, r.steps[2].found);
	sim_result_fini(&r);
	c.pattern.kind = SIM_SEQUENTIAL;
	c.pattern.write_percent = 25;
	r = run_ok(&c);
	assert_in_range(r.steps[1].found, 15900, 16900);
	assert_int_equal(r.steps[1].found, r.steps[1].counts.writes);
	sim_result_fini(&r);
}

static struct sim_config beside(enum sim_backend backend, enum sim_accel accel)
{
	struct sim_config c = passes(backend, accel);

	c.mode = SIM_RUN;
	c.duration_ns = 10000000000;
	c.interval_ns = 1000000000;
	c.costs.visit_ns = 100000;
	return c;
}

/* 10000 visits a second to 4096 pages read once a second: every page faults once a second, and that is the loss. */
static void test_run_loss(void **state)
{
	struct sim_config c = beside(SIM_BITMAP, SIM_WP);
	struct sim_result r;
	double expected;

	(void)state;
	c.costs.fault_ns = 10000;
	r = run_ok(&c);
	assert_int_equal(r.nsteps, 10);
	assert_int_equal(r.steps[0].found, PAGES);
	for (unsigned int i = 0; i < 10; i++)
		assert_in_range(r.steps[i].found, PAGES - 1, PAGES);
	expected = PAGES * 10000 / 1e9;
	assert_true(r.loss > expected * 0.99 && r.loss < expected * 1.01);
	assert_int_equal(r.counts.kicks, 9); /* the last reading comes when it has stopped */
	sim_result_fini(&r);
}

/* The reader holds the lock: a vCPU that faults meanwhile waits for it. */
static void test_reader_holds_lock(void **state)
{
	struct sim_config c = beside(SIM_BITMAP, SIM_WP);
	struct sim_result r;

	(void)state;
	c.costs.fault_ns = 1000;
	c.costs.fault_hold_ns = 500;
	c.costs.get_call_ns = 100000000; /* a tenth of each interval */
	r = run_ok(&c);
	assert_true(r.loss > 0.08 && r.loss < 0.11);
	assert_true(r.counts.wait_ns > 0.8e9);
	sim_result_fini(&r);
	/* Reading alone holds nothing. */
	c.backend = SIM_MANUAL;
	r = run_ok(&c);
	assert_true(r.loss < 0.01);
	sim_result_fini(&r);
}

/* PML's vCPUs are interrupted for each reading, and then their buffers are empty. */
static void test_kicks(void **state)
{
	struct sim_config c = beside(SIM_BITMAP, SIM_PML);
	struct sim_result r;

	(void)state;
	c.vcpus = 2;
	c.costs.kick_ns = 1000000;
	c.costs.full_entry_ns = 100;
	r = run_ok(&c);
	assert_int_equal(r.counts.full_exits, 2 * 10 * (PAGES / 512));
	assert_int_equal(r.counts.kicks, 2 * 9);
	assert_int_equal(r.steps[3].found, 2 * PAGES);
	assert_true(r.loss > 0.0009 && r.loss < 0.0016);
	sim_result_fini(&r);
}

/* MANUAL rearms in chunks beside the running vCPUs; what they write between reading and clearing stays in the log. */
static void test_run_manual(void **state)
{
	struct sim_config c = beside(SIM_MANUAL, SIM_WP);
	struct sim_result r;

	(void)state;
	c.clear_chunk_pages = 1024;
	c.costs.clear_page_ns = 100000;
	c.costs.fault_ns = 1000;
	r = run_ok(&c);
	assert_int_equal(r.steps[0].found, PAGES);
	for (unsigned int i = 1; i < r.nsteps; i++)
		assert_in_range(r.steps[i].found, PAGES * 9 / 10, PAGES);
	assert_int_equal(r.steps[0].counts.faults, 0);
	assert_int_equal(r.counts.kicks, 9 * 4);
	sim_result_fini(&r);
}

static void test_hot(void **state)
{
	struct sim_config c = beside(SIM_BITMAP, SIM_WP);
	struct sim_result r;

	(void)state;
	c.pattern = (struct sim_pattern){ .kind = SIM_HOT,
					  .write_percent = 100,
					  .hot_percent = 1,
					  .hot_share_percent = 99,
					  .seed = 1 };
	r = run_ok(&c);
	/* 10000 steps a second: all 40 hot pages, and about a hundred of the others. */
	assert_in_range(r.steps[5].found, 40 + 60, 40 + 150);
	sim_result_fini(&r);
}

static void test_repeats_exactly(void **state)
{
	struct sim_config c = beside(SIM_RING, SIM_WP);
	struct sim_result a, b;

	(void)state;
	c.vcpus = 7;
	c.pattern.kind = SIM_RANDOM;
	c.costs.fault_ns = 3000;
	c.costs.fault_hold_ns = 700;
	c.ring_entries = 1024;
	a = run_ok(&c);
	b = run_ok(&c);
	assert_int_equal(a.nsteps, b.nsteps);
	assert_memory_equal(a.steps, b.steps, a.nsteps * sizeof(*a.steps));
	assert_memory_equal(&a.counts, &b.counts, sizeof(a.counts));
	sim_result_fini(&a);
	sim_result_fini(&b);
}

static void test_refusals(void **state)
{
	struct sim_result r = { .nsteps = 42 };
	struct err err;
	struct sim_config c;

	(void)state;
#define REFUSED(change, code, text)                                     \
	do {                                                            \
		sim_config_init(&c);                                    \
		change;                                                 \
		assert_int_equal(sim_run(&c, &r, &err), code);          \
		if (!strstr(err.msg, text))                             \
			fail_msg("\"%s\" lacks \"%s\"", err.msg, text); \
		assert_int_equal(r.nsteps, 42);                         \
	} while (0)
	REFUSED(c.backend = SIM_UFFD; c.accel = SIM_PML, -EOPNOTSUPP, "uffd");
	REFUSED(c.backend = SIM_RING; c.accel = SIM_COMBINED, -EOPNOTSUPP, "ring");
	REFUSED(c.group_pages = 48, -EINVAL, "group_pages");
	REFUSED(c.ring_entries = 512, -EINVAL, "ring_entries");
	REFUSED(c.buffer_entries = 0, -EINVAL, "buffer_entries");
	REFUSED(c.vcpus = 0, -EINVAL, "vcpus");
	REFUSED(c.vcpus = 4096; c.pages_per_vcpu = 1 << 20, -EINVAL, "pages_per_vcpu");
	REFUSED(c.clear_chunk_pages = 100, -EINVAL, "clear_chunk_pages");
	REFUSED(c.iterations = 0, -EINVAL, "iterations");
	REFUSED(c.pattern.write_percent = 101, -EINVAL, "write_percent");
	REFUSED(c.pattern.kind = SIM_SPARSE; c.pattern.stride = 0, -EINVAL, "stride");
	REFUSED(c.pattern.kind = SIM_TRACE; c.pages_per_vcpu = 0, -EINVAL, "trace");
	REFUSED(c.mode = SIM_RUN, -EINVAL, "interval_ns");
	REFUSED(c.mode = SIM_RUN; c.interval_ns = 1; c.duration_ns = 2, -EINVAL, "must take time");
	REFUSED(c.costs.fault_ns = -1, -EINVAL, "costs.fault_ns");
	REFUSED(c.costs.scan_page_ns = 1.0 / 0.0, -EINVAL, "costs.scan_page_ns");
	REFUSED(c.costs.fault_hold_ns = 2, -EINVAL, "fault_hold_ns");
#undef REFUSED
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_protection),
		cmocka_unit_test(test_hardware_buffers),
		cmocka_unit_test(test_full_scan),
		cmocka_unit_test(test_combined),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_uffd),
		cmocka_unit_test(test_run_loss),
		cmocka_unit_test(test_reader_holds_lock),
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_run_manual),
		cmocka_unit_test(test_hot),
		cmocka_unit_test(test_repeats_exactly),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
