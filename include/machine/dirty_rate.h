/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_DIRTY_RATE_H
#define MACHINE_DIRTY_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migration/stats.h"

/*
 * How fast a running guest dirties its memory, measured by its own dirty backend and without moving it (docs/dirtyrate.md). One measurement at a time, on a
 * thread of the machine's, and never beside a migration: both would read one log.
 */
struct machine;

#define DIRTY_RATE_MAX_NS (3600ull * 1000000000ull)
#define DIRTY_RATE_MIN_INTERVAL_NS 1000000ull
#define DIRTY_RATE_MAX_INTERVALS 65535u
#define DIRTY_RATE_MAX_TRACE 1023

struct machine_dirty_rate_params {
	uint64_t for_ns; /* up to DIRTY_RATE_MAX_NS */
	uint64_t
		interval_ns; /* DIRTY_RATE_MIN_INTERVAL_NS to for_ns; at most DIRTY_RATE_MAX_INTERVALS of them */
	uint64_t
		bandwidth; /* bytes a second that predictions are made for; 0: a table of common links */
	uint64_t max_downtime_ns; /* that predictions have to keep */
	char trace[DIRTY_RATE_MAX_TRACE +
		   1]; /* absolute path of a trace (docs/spec/trace.md) to write; "": none */
};

struct dirty_rate_spread {
	double median, min, max, mean;
};

/* How many pages were written in a stretch of so many intervals, over all the stretches that stand side by side. */
struct dirty_rate_point {
	uint32_t intervals;
	uint32_t samples;
	uint64_t span_ns; /* on average */
	uint64_t pages; /* median */
	uint64_t max_pages;
};
#define DIRTY_RATE_MAX_POINTS 17 /* 1, 2, 4, ... 32768 intervals, and all of them */

/* What the migration's own policy would do. */
struct dirty_rate_prediction {
	uint64_t bandwidth;
	bool converges; /* it would keep the downtime asked for */
	uint32_t rounds; /* the last included */
	uint64_t total_ns, downtime_ns, bytes;
	char reason[160]; /* the policy's last word */
};
#define DIRTY_RATE_MAX_PREDICTIONS 5

enum dirty_rate_result {
	DIRTY_RATE_RUNNING,
	DIRTY_RATE_COMPLETED,
	DIRTY_RATE_CANCELLED,
	DIRTY_RATE_FAILED
};

/* Figures of a measurement that was cancelled or failed are those of its intervals so far. */
struct dirty_rate_report {
	enum dirty_rate_result result;
	char reason[256]; /* failed: why */
	const char *dirty_backend, *dirty_accel_asked, *dirty_accel; /* as in machine_info */
	char dirty_accel_reason[160];
	struct machine_dirty_rate_params asked;
	uint64_t npages; /* of the RAM */
	uint32_t nintervals;
	uint64_t measured_ns; /* from every page armed to the last collect */

	struct dirty_rate_spread pages_per_s; /* over the intervals */
	uint64_t pages_dirtied; /* found by all collects together */
	uint64_t working_set_pages; /* written in any interval */
	bool hot_set_known; /* two intervals or more */
	uint64_t hot_set_pages; /* written in at least half of the intervals */
	uint32_t npoints;
	struct dirty_rate_point point[DIRTY_RATE_MAX_POINTS];

	uint64_t start_ns, arm_ns,
		stop_ns; /* logging on; every page armed for the first time; logging off */
	struct dirty_rate_spread collect_ns, rearm_ns; /* over the intervals */
	uint64_t ring_full_exits;
	struct mig_exits exits;
	char exits_reason[256]; /* why exits or faults are not known; else "" */

	uint64_t first_round_pages; /* with memory behind them: what a migration would send first */
	uint64_t
		fixed_ns; /* of the downtime, whatever is left to send: assumed, and the measured collect */
	uint32_t npredictions;
	struct dirty_rate_prediction prediction[DIRTY_RATE_MAX_PREDICTIONS];
};

/* Starts it. -EINVAL, naming the parameter, -EBUSY when the state does not allow it or a migration is under way. */
int machine_dirty_rate(struct machine *m, const struct machine_dirty_rate_params *params,
		       struct err *err);
int machine_dirty_rate_cancel(struct machine *m, struct err *err); /* -EBUSY: none is under way */
/* Of the one under way (result DIRTY_RATE_RUNNING, no figures) or of the last; -ENOENT when there was none. */
int machine_dirty_rate_report(struct machine *m, struct dirty_rate_report *ret, struct err *err);

#endif
