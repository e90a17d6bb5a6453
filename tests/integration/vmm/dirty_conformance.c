/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "dirty_cases.h"
#include "dirty_fixture.h"

/*
 * The contract of vmm/dirty.h, checked in the same cases for every backend. Two oracles: with an exact number of work steps the set of pages that
 * must be delivered is known page by page (nothing missed, nothing invented); with guests that never stop, a copy made the way a migration makes it must equal
 * guest memory in the end.
 *
 *   test-vmm-dirty-conformance [--dirty-accel=MODE] [--no-eager-split] [BACKEND|BACKING|CASE]...
 *
 * Of backends, backings and cases only those named, such as "manual" or "hugetlb"; the options are those of vmm and of struct vm_config.
 */

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

#define CASE(name) cmocka_unit_test_teardown(name, clean_up)
static const struct CMUnitTest cases[] = {
	CASE(test_sequential),
	CASE(test_random_2_vcpus_2_regions),
	CASE(test_4_vcpus_5_regions),
	CASE(test_sparse_3_vcpus),
	CASE(test_one_in_eight),
	CASE(test_live_copy),
	CASE(test_first_touch),
	CASE(test_rearm_is_exact),
	CASE(test_rearmed_in_pieces),
	CASE(test_unmapped_before_a_collect),
	CASE(test_unmapped_under_load),
	/* From here on with huge pages where the kernel finds them, only. */
	CASE(test_same_pages_again),
	CASE(test_more_than_a_ring),
	CASE(test_full_rings_of_4_vcpus),
	CASE(test_reads_are_no_writes),
	CASE(test_tables_written_by_the_walk),
	CASE(test_device_writes),
	CASE(test_kvm_writes),
	CASE(test_live_copy_of_4_vcpus),
	CASE(test_after_a_failed_attempt),
	CASE(test_running_on_after_finish),
};
#define CASES_FOR_EVERY_BACKING 11

static const struct {
	const char *name;
	size_t ncases;
} backings[] = { [GMEM_THP] = { "thp", ARRAY_LEN(cases) },
		 [GMEM_4K] = { "4k", CASES_FOR_EVERY_BACKING },
		 [GMEM_HUGETLB] = { "hugetlb", CASES_FOR_EVERY_BACKING } };

/* Options, into the subject of all runs. */
static int parse_options(int argc, char **argv, struct subject *ret, struct err *err)
{
	static const char accel[] = "--dirty-accel=";
	int r = 0;

	for (int i = 1; r == 0 && i < argc; i++) {
		if (!strncmp(argv[i], accel, sizeof(accel) - 1))
			r = dirty_accel_parse(argv[i] + sizeof(accel) - 1, &ret->backend.accel,
					      err);
		else if (!strcmp(argv[i], "--no-eager-split"))
			ret->no_eager_split = true;
		else if (!strncmp(argv[i], "--", 2))
			r = err_set(err, -EINVAL, "no such option");
		if (r < 0)
			err_prefix(err, "%s", argv[i]);
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
	if (r < 0) {
		printf("conformance backend=\"%s\" memory=%s cases=0 failed=1: %s\n",
		       s->backend.name, memory, err.msg);
		return 1;
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
	printf("conformance backend=\"%s\" memory=%s cases=%zu failed=%d skipped=%u collects=%" PRIu64
	       " written=%" PRIu64 " missed=%" PRIu64 " invented=%" PRIu64 " tables=%" PRIu64
	       " accel=%s split=%d\n",
	       s->backend.name, memory, ncases, failed, s->tally.skipped, s->tally.collects,
	       s->tally.written, s->tally.missed, s->tally.invented, s->tally.tables, s->accel_name,
	       s->split_bytes);
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
	struct subject options = { .no_eager_split = false };
	struct err err = { 0 };
	int failed = 0;
	long had;

	if (parse_options(argc, argv, &options, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return 2;
	}
	had = lend_hugepages();
	for (size_t b = 0; b < ARRAY_LEN(backends); b++)
		backend_names[b] = backends[b].name;
	for (size_t m = 0; m < ARRAY_LEN(backings); m++)
		backing_names[m] = backings[m].name;
	for (size_t b = 0; b < ARRAY_LEN(backends); b++) {
		for (size_t m = 0; m < ARRAY_LEN(backings); m++) {
			struct subject s = options;

			s.backend = backends[b];
			s.backend.accel = options.backend.accel;
			s.backing = (enum gmem_backing)m;
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
