/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PERF_HOST_H
#define BENCH_PERF_HOST_H

#include <stdbool.h>

#include "base/err.h"

/* What a figure must name: where it was measured. */
struct perf_host {
	char machine[128]; /* the processor, as the kernel calls it */
	unsigned int cpus;
	char kernel[128];
	char kvm_module[64];
};

/* -errno with text when /dev/kvm cannot be used. */
int perf_host_probe(struct perf_host *ret, struct err *err);

#endif
