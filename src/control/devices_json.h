/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_DEVICES_JSON_H
#define CONTROL_DEVICES_JSON_H

#include <jansson.h>

#include "machine/devices.h"

/* The shapes Device and Balloon of docs/spec/openapi.yaml. Each returns a new reference, NULL when memory ran out. */
json_t *devices_json(struct machine *m);
json_t *balloon_json(const struct balloon_stats *s);

#endif
