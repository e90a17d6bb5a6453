/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SIM_REPLAY_H
#define BENCH_SIM_REPLAY_H

#include "base/bitmap.h"
#include "base/err.h"

/*
 * A recorded access trace (docs/spec/trace.md) in memory. It says which pages were written in an interval, not in which order nor by whom: they are replayed in address order at
 * even distances, and blocks of 64 pages are dealt to the vCPUs in turn.
 */
struct replay_interval {
	double ns; /* how long it lasted */
	struct bitmap pages;
};

struct replay {
	struct replay_interval *intervals;
	uint64_t nintervals;
	uint64_t npages;
	double total_ns;
};

#define REPLAY_MAX_BYTES (4ULL << 30)

/* 0, the reader's errors, -EFBIG beyond REPLAY_MAX_BYTES, -ENODATA for a trace without an interval. */
int replay_load(const char *path, struct replay *ret, struct err *err);
void replay_fini(struct replay *r);

/* One vCPU's part of it. */
struct replay_cursor {
	const struct replay *replay;
	uint64_t vcpu, nvcpus;
	uint64_t interval; /* the one at work */
	uint64_t page; /* where to look for the next */
	double share_ns; /* of the interval, for each of its pages */
	bool begun;
};

void replay_cursor_init(struct replay_cursor *c, const struct replay *r, uint64_t vcpu,
			uint64_t nvcpus);
/* The next page written and the guest's own time before it; *ret_nothing: no page, only time. False at the end. */
bool replay_next(struct replay_cursor *c, uint64_t *ret_page, double *ret_think_ns,
		 bool *ret_nothing);

#endif
