/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_REPORT_JSON_H
#define CONTROL_REPORT_JSON_H

#include <jansson.h>

#include "machine/machine.h"

/* The shapes of docs/spec/migrate-report.schema.json and of the schemas in docs/spec/openapi.yaml. Each returns a new reference, NULL when memory ran out. */
json_t *report_json(const struct mig_report *r);
json_t *report_round_json(const struct mig_round *r);
json_t *report_progress_json(const struct mig_progress *p);
/* Adds exits, faults, exits_per_dirtied_page and faults_per_dirtied_page to @o; null for what is not known. Negative when memory ran out. */
int report_set_exits(json_t *o, const struct mig_exits *e, uint64_t pages);
json_t *report_info_json(const struct machine_info *i);

#endif
