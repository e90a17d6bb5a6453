/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_RATE_SUMS_H
#define MACHINE_RATE_SUMS_H

#include <stdint.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "machine/dirty_rate.h"

/*
 * What the intervals of a measurement add up to. Pure: bitmaps and times in, figures out. The unions over stretches of 2, 4, 8, ... intervals are kept in one bitmap
 * for each length, like the digits of a counter: a stretch that is full is counted and carried into the next longer one.
 */
struct rate_sums;

struct rate_interval {
	uint64_t duration_ns;
	uint64_t collect_ns, rearm_ns;
};

/* Room for @max_intervals (1 to DIRTY_RATE_MAX_INTERVALS); adding allocates nothing. -ENOMEM. */
int rate_sums_create(uint64_t npages, uint32_t max_intervals, struct rate_sums **ret,
		     struct err *err);
void rate_sums_destroy(struct rate_sums *s);
/* More than max_intervals: -ENOSPC, and nothing changes. */
int rate_sums_add(struct rate_sums *s, const struct bitmap *pages, const struct rate_interval *i,
		  struct err *err);
/* Intervals, times, rates, sets and points of @ret; the rest of it stays as it is. */
void rate_sums_report(struct rate_sums *s, struct dirty_rate_report *ret);

#endif
