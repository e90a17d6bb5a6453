/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PERF_CALLS_H
#define BENCH_PERF_CALLS_H

#include <stdint.h>

/*
 * The time that each system call of dirty tracking takes, by phase of the test. The program is linked with --wrap=ioctl, so that every ioctl of vmm's own layers goes through here
 * unchanged: what is timed is what vmm does, and its code has no timers for it.
 */
enum calls_phase {
	CALLS_OFF,
	CALLS_ENABLE,
	CALLS_DIRTY, /* while the guest runs: what vCPU threads call, full rings */
	CALLS_GET,
	CALLS_CLEAR,
	CALLS_DISABLE,
	CALLS_NPHASES
};

struct calls_item {
	const char *call;
	enum calls_phase phase;
	uint64_t count;
	uint64_t ns; /* sum */
};

#define CALLS_MAX_ITEMS 64
void calls_reset(void);
/* From here on calls count for @phase; CALLS_OFF: for none. */
void calls_enter(enum calls_phase phase);
/* What was called at all; returns how many. */
unsigned int calls_read(struct calls_item ret[CALLS_MAX_ITEMS]);
/* "get dirty log" */
const char *calls_phase_name(enum calls_phase phase);

#endif
