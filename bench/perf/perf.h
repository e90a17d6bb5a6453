/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PERF_PERF_H
#define BENCH_PERF_PERF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "calls.h"
#include "counters.h"
#include "options.h"
#include "tiny_guest.h"

/* One iteration with dirty logging on. Page counts are of the memory that is measured, @setup apart. */
struct perf_iteration {
	uint64_t dirty_ns; /* from letting the vCPUs go until the last one's pass had ended */
	uint64_t get_ns; /* dirty_collect */
	uint64_t clear_ns; /* dirty_rearm; 0 for backends whose collect rearms */
	uint64_t written; /* pages that hold this pass's value: what the guest really wrote */
	uint64_t found; /* pages that the log named */
	uint64_t missed; /* written and not found: never right */
	uint64_t extra; /* found and not written */
	uint64_t setup; /* found among the guest's own pages: tables, code, control pages */
	struct vm_exits exits; /* during dirty_ns */
};

struct perf_result {
	const char *backend;
	struct dirty_accel accel;
	uint32_t ring_entries; /* of each vCPU; 0: another backend */
	bool split_rearm;
	bool starts_full; /* the first log names every page */
	uint64_t populate_ns;
	uint64_t unlogged_ns; /* a pass of the same kind before logging is on */
	struct vm_exits unlogged_exits;
	uint64_t enable_ns;
	uint64_t disable_ns;
	uint64_t ring_full_exits;
	unsigned int niterations;
	struct perf_iteration *iteration;
	char no_counters[120]; /* why there are none; "" when there are */
	struct counters counters; /* of all iterations' passes */
	unsigned int ncalls;
	struct calls_item call[CALLS_MAX_ITEMS];
};

/* Makes a VM with backend @name (see dirty_parse), goes through all phases and takes the VM down. @ret is the caller's for perf_result_fini. -EOPNOTSUPP where this host lacks
 * the backend, or hardware beneath it that was asked for. */
int perf_run(const struct perf_options *o, const char *name, struct perf_result *ret,
	     struct err *err);
void perf_result_fini(struct perf_result *r);

/*
 * What vCPU @cpu does in pass @pass on memory that begins at RAM page @first_page. The first pass populates: it writes each page once, in order, whatever was asked for; the
 * second is the one without logging; iterations follow. Passes and vCPUs draw different random numbers.
 */
#define PERF_POPULATE_PASS 1u
#define PERF_UNLOGGED_PASS 2u
#define PERF_FIRST_LOGGED_PASS 3u
struct tiny_pass perf_pass(const struct perf_options *o, uint64_t first_page, uint64_t pass,
			   unsigned int cpu);

#endif
