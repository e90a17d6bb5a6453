/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SIM_PATTERN_H
#define BENCH_SIM_PATTERN_H

#include "replay.h"
#include "sim.h"

/* A vCPU's stream of accesses. */
struct source {
	const struct sim_pattern *pattern;
	uint64_t first, npages; /* its part of the memory */
	uint64_t rng;
	uint64_t at; /* index of the next step, of those in a pass */
	struct replay_cursor replay; /* TRACE */
};

struct access {
	uint64_t page;
	double think_ns; /* before it */
	bool write;
	bool nothing; /* only think_ns passes: a trace's interval without a write */
};

void source_init(struct source *s, const struct sim_config *c, const struct replay *replay,
		 unsigned int vcpu);
/* A pass starts over: PASSES. */
void source_rewind(struct source *s, uint64_t seed);
/* Steps of one pass. */
uint64_t source_pass_steps(const struct source *s);
bool source_is_random(const struct source *s);
/* False at the end of a trace; synthetic patterns go on for ever. */
bool source_next(struct source *s, struct access *ret);

#endif
