/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SIM_HEAP_H
#define BENCH_SIM_HEAP_H

#include <stdbool.h>
#include <stdint.h>

/* Who is next: the earliest time first, the lowest id among equals, so that runs repeat exactly. */
struct heap_item {
	double time_ns;
	uint32_t id;
};

struct heap {
	struct heap_item *items; /* the caller's, room for every id once */
	uint32_t n;
};

void heap_push(struct heap *h, double time_ns, uint32_t id);
bool heap_pop(struct heap *h, struct heap_item *ret);

#endif
