/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SIM_FIELDS_H
#define BENCH_SIM_FIELDS_H

#include <stddef.h>

#include "sim.h"

/* The members of struct sim_costs by name, all of them doubles. */
struct sim_cost_field {
	const char *name;
	size_t offset;
};
extern const struct sim_cost_field sim_cost_fields[];
extern const unsigned int sim_ncost_fields;

static inline double *sim_cost_field(struct sim_costs *c, unsigned int i)
{
	return (double *)(void *)((char *)c + sim_cost_fields[i].offset);
}

#endif
