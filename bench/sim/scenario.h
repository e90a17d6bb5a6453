/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SIM_SCENARIO_H
#define BENCH_SIM_SCENARIO_H

#include <jansson.h>

#include "sim.h"

/* A configuration as JSON, docs/bench-model.md; keys left out keep sim_config_init's values. -EINVAL names the key and what was expected. */
int scenario_read(const json_t *from, struct sim_config *ret, struct err *err);
/* The result as JSON, "kind": "prediction" first; NULL without memory. The caller's. @id (may be NULL) is handed through. */
json_t *scenario_result(const struct sim_config *c, const struct sim_result *r, const json_t *id,
			bool steps);

#endif
