/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PERF_COUNTERS_H
#define BENCH_PERF_COUNTERS_H

#include <stdint.h>

#include "base/err.h"
#include "vmm/vm.h"

/* A reading of KVM's statistics: all of them summed over the VM, and the exits and mended faults of each vCPU. */
#define COUNTERS_MAX 192
#define COUNTERS_NAME_BYTES 48

struct counter {
	char name[COUNTERS_NAME_BYTES];
	uint64_t value;
};

struct counters_vcpu {
	uint64_t exits;
	uint64_t faults;
};

struct counters {
	unsigned int n;
	struct counter item[COUNTERS_MAX];
	unsigned int nvcpus;
	struct counters_vcpu vcpu[VM_MAX_VCPUS];
};

/* -ENOTSUP where KVM has no binary statistics. */
int counters_read(struct vm *vm, struct counters *ret, struct err *err);
/* @later minus @earlier in place of @later; what did not grow is left out (some are no counts but states). */
void counters_subtract(struct counters *later, const struct counters *earlier);

#endif
