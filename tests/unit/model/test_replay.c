/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "replay.h"
#include "trace/trace.h"

#define PAGES 1000u
#define INTERVALS 4u
#define INTERVAL_NS 100000000ULL

/* Interval i writes pages 10 i to 10 i + 99; the last one nothing. */
static void write_trace(const char *path, unsigned int intervals)
{
	struct trace_header *h = calloc(1, sizeof(*h));
	struct trace_writer *w;
	struct bitmap pages;
	struct err err = { 0 };

	assert_non_null(h);
	h->page_bytes = 4096;
	h->npages = PAGES;
	h->interval_ns = INTERVAL_NS;
	assert_int_equal(bitmap_init(&pages, PAGES), 0);
	if (trace_writer_create(path, h, &w, &err) != 0)
		fail_msg("%s", err.msg);
	for (unsigned int i = 0; i < intervals; i++) {
		bitmap_zero(&pages);
		if (i + 1 < INTERVALS)
			bitmap_set_range(&pages, 10ULL * i, 100);
		assert_int_equal(trace_writer_interval(w, (i + 1) * INTERVAL_NS, &pages, &err), 0);
	}
	assert_int_equal(trace_writer_finish(w, &err), 0);
	trace_writer_destroy(w);
	bitmap_fini(&pages);
	free(h);
}

static int setup(void **state)
{
	char *path = strdup("/tmp/test-replay-XXXXXX");
	int fd = path ? mkstemp(path) : -1;

	if (fd < 0)
		return -1;
	close(fd);
	*state = path;
	return 0;
}

static int teardown(void **state)
{
	unlink(*state);
	free(*state);
	return 0;
}

/* Every page of every interval is visited once by exactly one of the vCPUs, and each vCPU's time is the trace's. */
static void test_cursor(void **state)
{
	struct replay r;
	struct err err = { 0 };

	write_trace(*state, INTERVALS);
	assert_int_equal(replay_load(*state, &r, &err), 0);
	assert_int_equal(r.nintervals, INTERVALS);
	assert_int_equal(r.npages, PAGES);
	for (unsigned int n = 1; n <= 20; n += 3) {
		unsigned int visits[INTERVALS][PAGES] = { { 0 } };

		for (unsigned int v = 0; v < n; v++) {
			struct replay_cursor c;
			uint64_t page;
			double think, sum = 0;
			bool nothing;

			replay_cursor_init(&c, &r, v, n);
			while (replay_next(&c, &page, &think, &nothing)) {
				sum += think;
				if (!nothing)
					visits[c.interval][page]++;
			}
			assert_ns(sum, INTERVALS * (double)INTERVAL_NS);
		}
		for (unsigned int i = 0; i < INTERVALS; i++) {
			for (unsigned int p = 0; p < PAGES; p++)
				assert_int_equal(visits[i][p],
						 bitmap_test(&r.intervals[i].pages, p));
		}
	}
	replay_fini(&r);
}

static struct sim_config replaying(const char *path)
{
	struct sim_config c;

	sim_config_init(&c);
	c.mode = SIM_RUN;
	c.pattern.kind = SIM_TRACE;
	snprintf(c.pattern.trace_path, sizeof(c.pattern.trace_path), "%s", path);
	c.pages_per_vcpu = 0;
	c.interval_ns = INTERVAL_NS;
	return c;
}

/* Read at the trace's own interval, the log finds the trace's pages: 100, 100, 100, none. */
static void test_run(void **state)
{
	struct sim_config c = replaying(*state);
	struct sim_result r;

	write_trace(*state, INTERVALS);
	c.backend = SIM_BITMAP;
	r = run_ok(&c);
	assert_int_equal(r.npages, PAGES);
	assert_ns(r.elapsed_ns, INTERVALS * (double)INTERVAL_NS);
	assert_int_equal(r.found, 300);
	assert_int_equal(r.counts.faults, 300);
	sim_result_fini(&r);
	/* Read once, the union. */
	c.interval_ns = 10 * INTERVAL_NS;
	r = run_ok(&c);
	assert_int_equal(r.nsteps, 1);
	assert_int_equal(r.found, 120);
	sim_result_fini(&r);
	/* What tracking costs makes it longer. */
	c.interval_ns = INTERVAL_NS;
	c.costs.fault_ns = 1e6;
	r = run_ok(&c);
	assert_true(r.elapsed_ns > 4.5 * INTERVAL_NS && r.loss > 0.3);
	sim_result_fini(&r);
}

static void test_refusals(void **state)
{
	struct sim_config c = replaying(*state);
	struct sim_result r;
	struct err err = { 0 };

	assert_int_equal(sim_run(&c, &r, &err), -EBADMSG); /* an empty file */
	assert_non_null(strstr(err.msg, "trace /"));
	write_trace(*state, 0);
	assert_int_equal(sim_run(&c, &r, &err), -ENODATA);
	unlink(*state);
	assert_int_equal(sim_run(&c, &r, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cursor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
