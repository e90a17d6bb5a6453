/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_DIRTY_RATE_JSON_H
#define CONTROL_DIRTY_RATE_JSON_H

#include <jansson.h>

#include "machine/dirty_rate.h"

/* The shape of docs/spec/dirtyrate.schema.json. A new reference, NULL when memory ran out. */
json_t *dirty_rate_json(const struct dirty_rate_report *r);

#endif
