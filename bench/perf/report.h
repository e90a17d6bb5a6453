/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PERF_REPORT_H
#define BENCH_PERF_REPORT_H

#include <stdio.h>

#include "host.h"
#include "options.h"
#include "perf.h"

/* One JSON object on a line of its own (docs/bench-dirty-log.md), or lines of text with the kernel test's words. 0 or -ENOMEM. */
int report_json(FILE *out, const struct perf_host *h, const struct perf_options *o,
		const struct perf_result *r);
int report_json_skipped(FILE *out, const struct perf_host *h, const struct perf_options *o,
			const char *backend, const char *why);
void report_text(FILE *out, const struct perf_options *o, const struct perf_result *r);

#endif
