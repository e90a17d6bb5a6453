/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PERF_OPTIONS_H
#define BENCH_PERF_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"

/* The command line of dirty-log-perf: the options of the kernel's dirty_log_perf_test, and a few of its own (docs/bench-dirty-log.md). */
#define PERF_MODE "PXXV48_4K"
#define PERF_MAX_BACKENDS 8
#define PERF_MAX_ITERATIONS 10000u
#define PERF_MAX_SLOTS \
	(GMEM_MAX_REGIONS - 1) /* slot 0 is the guest's own: tables, code, control pages */

enum perf_action { PERF_RUN, PERF_HELP };

struct perf_options {
	uint64_t bytes_per_vcpu;
	unsigned int vcpus;
	unsigned int iterations;
	const char *backing_name;
	enum gmem_backing backing;
	uint64_t hugepage_bytes;
	unsigned int write_percent;
	bool random_order;
	uint64_t seed;
	unsigned int slots;
	bool overlap;
	bool json_lines;
	const char *pin;
	struct dirty_accel_ask accel;
	uint64_t timeout_ns; /* of one pass */
	/* What dirty_parse takes. Of a list that was not asked for, backends that this host lacks are skipped. */
	unsigned int nbackends;
	char backend[PERF_MAX_BACKENDS][32];
	bool backends_asked;
};

/* Strings point into @argv. -EINVAL with one line that names the option and what was expected. */
int perf_options_parse(int argc, char **argv, struct perf_options *ret,
		       enum perf_action *ret_action, struct err *err);
extern const char perf_usage[];

/* The memory of such a VM: region 0 for the guest itself, the slots that are measured from 4 GiB on. -EINVAL names the option that does not fit. */
int perf_memory(const struct perf_options *o, struct gmem_config *ret, struct err *err);
/* All memory that is measured. */
static inline uint64_t perf_bytes(const struct perf_options *o)
{
	return o->bytes_per_vcpu * o->vcpus;
}

#endif
