/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "host.h"
#include "options.h"
#include "perf.h"
#include "report.h"

/*
 * The bench in small, for each backend of the host: what its guest writes is what was planned, the log finds all of it and invents nothing, and the figures that do not
 * depend on the machine (counts of pages, calls and exits) are what they must be. No time is looked at.
 */

static void parse(struct perf_options *o, const char *const *words)
{
	char *argv[24] = { NULL };
	int argc = 0;
	enum perf_action action;
	struct err err = { 0 };

	argv[argc++] = strdup("dirty-log-perf");
	for (; words[argc - 1]; argc++)
		argv[argc] = strdup(words[argc - 1]);
	if (perf_options_parse(argc, argv, o, &action, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(action, PERF_RUN);
	/* What the options point to is static; the words themselves are not kept. */
	for (int i = 0; i < argc; i++)
		free(argv[i]);
}

/* Pages that a pass of all vCPUs writes. */
static uint64_t planned(const struct perf_options *o, uint64_t pass)
{
	uint64_t share = o->bytes_per_vcpu / GMEM_PAGE_SIZE;
	struct bitmap all, one;
	uint64_t n;

	assert_int_equal(bitmap_init(&all, share * o->vcpus), 0);
	assert_int_equal(bitmap_init(&one, share * o->vcpus), 0);
	for (unsigned int c = 0; c < o->vcpus; c++) {
		struct tiny_pass p = perf_pass(o, 0, pass, c);
		uint64_t first = (p.first_va - tiny_va(0)) / GMEM_PAGE_SIZE;

		bitmap_zero(&one);
		tiny_pass_plan(&p, &one);
		for (uint64_t i = 0; i < p.npages; i++) {
			if (bitmap_test(&one, i))
				bitmap_set(&all, first + i);
		}
	}
	n = bitmap_count(&all);
	bitmap_fini(&one);
	bitmap_fini(&all);
	return n;
}

static void check_pages(const struct perf_options *o, const struct perf_result *r)
{
	uint64_t npages = perf_bytes(o) / GMEM_PAGE_SIZE;

	assert_int_equal(r->niterations, o->iterations);
	for (unsigned int i = 0; i < r->niterations; i++) {
		const struct perf_iteration *it = &r->iteration[i];

		assert_int_equal(it->written, planned(o, PERF_FIRST_LOGGED_PASS + i));
		if (it->missed != 0)
			fail_msg("%s: iteration %u missed %" PRIu64 " pages", r->backend, i + 1,
				 it->missed);
		assert_int_equal(it->found, it->written + it->extra);
		/* The first log of some backends names everything, as its caller expects. */
		if (i == 0 && r->starts_full)
			assert_int_equal(it->found, npages);
		else if (it->extra != 0 && o->write_percent == 100)
			fail_msg("%s: iteration %u invented %" PRIu64 " pages", r->backend, i + 1,
				 it->extra);
		assert_true(it->setup <= TINY_WORK_FIRST_PAGE);
	}
}

static uint64_t calls_of(const struct perf_result *r, const char *call, enum calls_phase phase)
{
	for (unsigned int i = 0; i < r->ncalls; i++) {
		if (r->call[i].phase == phase && strcmp(r->call[i].call, call) == 0)
			return r->call[i].count;
	}
	return 0;
}

/* One call a slot and iteration, and the guest's own slot is one of them. */
static void check_calls(const struct perf_options *o, const struct perf_result *r)
{
	uint64_t slots = o->slots + 1;
	bool kvm_log = strcmp(r->backend, "uffd") != 0;
	uint64_t gets = calls_of(r, "KVM_GET_DIRTY_LOG", CALLS_GET);

	assert_int_equal(calls_of(r, "KVM_SET_USER_MEMORY_REGION (log on)", CALLS_ENABLE),
			 kvm_log ? slots : 0);
	assert_int_equal(calls_of(r, "KVM_SET_USER_MEMORY_REGION (log off)", CALLS_DISABLE),
			 kvm_log ? slots : 0);
	if (strcmp(r->backend, "bitmap") == 0 || strcmp(r->backend, "manual") == 0)
		assert_int_equal(gets, slots * o->iterations);
	else
		assert_int_equal(gets, 0);
	if (strcmp(r->backend, "manual") == 0)
		assert_true(calls_of(r, "KVM_CLEAR_DIRTY_LOG", CALLS_CLEAR) >=
			    o->slots * (uint64_t)o->iterations);
	if (strcmp(r->backend, "ring") == 0)
		assert_int_equal(calls_of(r, "KVM_RESET_DIRTY_RINGS", CALLS_GET), o->iterations);
}

/* Without tracking hardware each page that is written again after it was protected is an exit, whatever the machine. */
static void check_exits(const struct perf_result *r)
{
	uint64_t vcpus = 0, iterations = 0;

	if (r->no_counters[0] != '\0') {
		print_message("no exits counted: %s\n", r->no_counters);
		return;
	}
	for (unsigned int i = 0; i < r->counters.nvcpus; i++)
		vcpus += r->counters.vcpu[i].exits;
	for (unsigned int i = 0; i < r->niterations; i++) {
		const struct perf_iteration *it = &r->iteration[i];

		iterations += it->exits.exits;
		if (i > 0 && strcmp(r->accel.name, "none") == 0)
			assert_true(it->exits.exits >= it->written);
	}
	assert_true(iterations > 0);
	assert_true(vcpus >= iterations);
}

/* Runs each backend that this host has with the options @words; returns how many there were. */
static void run_all(const char *const *words)
{
	struct perf_options o;
	struct err err = { 0 };
	unsigned int ran = 0;

	parse(&o, words);
	for (unsigned int i = 0; i < o.nbackends; i++) {
		struct perf_result r;
		int e = perf_run(&o, o.backend[i], &r, &err);

		if (e == -EOPNOTSUPP) {
			print_message("SKIP %s: %s\n", o.backend[i], err.msg);
			assert_string_not_equal(o.backend[i], "bitmap");
			continue;
		}
		if (e < 0)
			fail_msg("%s: %s", o.backend[i], err.msg);
		assert_string_equal(r.backend, o.backend[i]);
		check_pages(&o, &r);
		check_calls(&o, &r);
		check_exits(&r);
		ran++;
		perf_result_fini(&r);
	}
	assert_true(ran > 0);
}

static void test_sequential_in_3_slots(void **state)
{
	(void)state;
	run_all((const char *const[]){ "-b", "6M", "-v", "2", "-i", "3", "-x", "3", NULL });
}

static void test_random_order_and_reads(void **state)
{
	(void)state;
	run_all((const char *const[]){ "-b", "4M", "-v", "2", "-i", "3", "-w", "30", "-a", "-r",
				       "7", NULL });
}

static void test_overlapping_vcpus_in_most_slots(void **state)
{
	(void)state;
	run_all((const char *const[]){ "-b", "7M", "-v", "2", "-i", "2", "-x", "7", "-o", "-a",
				       NULL });
}

static void test_huge_pages_behind_it(void **state)
{
	(void)state;
	run_all((const char *const[]){ "-b", "8M", "-i", "3", "-s", "anonymous_thp", NULL });
}

/* Nothing is written: nothing may be found once the first log is out of the way, and nothing may be missing. */
static void test_no_writes(void **state)
{
	(void)state;
	run_all((const char *const[]){ "-b", "4M", "-i", "2", "-w", "0", NULL });
}

static void test_json_line(void **state)
{
	struct perf_options o;
	struct perf_host h;
	struct perf_result r;
	struct err err = { 0 };
	char *text = NULL;
	size_t bytes = 0;
	FILE *out;
	json_t *line, *first;

	(void)state;
	parse(&o, (const char *const[]){ "-b", "4M", "-i", "2", "-B", "bitmap", NULL });
	assert_int_equal(perf_host_probe(&h, &err), 0);
	if (perf_run(&o, "bitmap", &r, &err) < 0)
		fail_msg("%s", err.msg);
	out = open_memstream(&text, &bytes);
	assert_non_null(out);
	assert_int_equal(report_json(out, &h, &o, &r), 0);
	fclose(out);
	assert_ptr_equal(strchr(text, '\n'), text + bytes - 1);
	line = json_loads(text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(line, "bench")), "dirty-log-perf");
	assert_string_equal(json_string_value(json_object_get(line, "backend")), "bitmap");
	assert_int_equal(json_array_size(json_object_get(line, "iterations")), 2);
	first = json_array_get(json_object_get(line, "iterations"), 0);
	assert_int_equal(json_integer_value(json_object_get(first, "pages_written")), 1024);
	assert_int_equal(json_integer_value(json_object_get(first, "pages_found")), 1024);
	assert_true(json_is_null(json_object_get(first, "clear_dirty_log_ns")));
	assert_true(json_array_size(json_object_get(line, "calls")) >= 3);
	json_decref(line);
	free(text);
	perf_result_fini(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequential_in_3_slots),
		cmocka_unit_test(test_random_order_and_reads),
		cmocka_unit_test(test_overlapping_vcpus_in_most_slots),
		cmocka_unit_test(test_huge_pages_behind_it),
		cmocka_unit_test(test_no_writes),
		cmocka_unit_test(test_json_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
