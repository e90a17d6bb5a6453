/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host.h"
#include "options.h"
#include "perf.h"
#include "report.h"

/*
 * The questions of the kernel's dirty_log_perf_test, asked of vmm's own layers: a VM made by vm_create, its memory slots, the trackers behind struct dirty_ops.
 * Exit status: 0; 1 when a phase failed, when no backend ran or a log missed a page; 2 for a bad command line.
 */

static uint64_t missed_pages(const struct perf_result *r)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < r->niterations; i++)
		n += r->iteration[i].missed;
	return n;
}

static int skip(const struct perf_host *h, const struct perf_options *o, const char *name,
		const char *why)
{
	if (o->json_lines)
		return report_json_skipped(stdout, h, o, name, why);
	printf("Backend: %s\nskipped: %s\n\n", name, why);
	return 0;
}

/* 1: ran, 0: not on this host and why in @err, -1: told on stderr why it failed. */
static int run_backend(const struct perf_host *h, const struct perf_options *o, const char *name,
		       struct err *err)
{
	struct perf_result result;
	uint64_t missed;
	int r = perf_run(o, name, &result, err);

	if (r == -EOPNOTSUPP && !o->backends_asked)
		return skip(h, o, name, err->msg);
	if (r < 0) {
		fprintf(stderr, "dirty-log-perf: %s: %s\n", name, err->msg);
		return -1;
	}
	if (o->json_lines)
		r = report_json(stdout, h, o, &result);
	else
		report_text(stdout, o, &result);
	missed = missed_pages(&result);
	perf_result_fini(&result);
	if (r < 0)
		fprintf(stderr, "dirty-log-perf: %s: %s\n", name, strerror(-r));
	if (missed > 0)
		fprintf(stderr,
			"dirty-log-perf: %s: %" PRIu64 " written pages are not in the log\n", name,
			missed);
	return r < 0 || missed > 0 ? -1 : 1;
}

int main(int argc, char **argv)
{
	struct perf_options o;
	struct perf_host h;
	enum perf_action action;
	struct err err = { 0 };
	unsigned int ran = 0;
	bool failed = false;

	if (perf_options_parse(argc, argv, &o, &action, &err) < 0) {
		fprintf(stderr, "dirty-log-perf: %s\n", err.msg);
		return 2;
	}
	if (action == PERF_HELP) {
		fputs(perf_usage, stdout);
		return 0;
	}
	if (perf_host_probe(&h, &err) < 0) {
		fprintf(stderr, "dirty-log-perf: %s\n", err.msg);
		return 1;
	}
	for (unsigned int i = 0; i < o.nbackends; i++) {
		int r = run_backend(&h, &o, o.backend[i], &err);

		ran += r > 0;
		failed = failed || r < 0;
	}
	if (ran == 0 && !failed)
		fprintf(stderr, "dirty-log-perf: no backend ran: %s\n", err.msg);
	return ran > 0 && !failed ? 0 : 1;
}
