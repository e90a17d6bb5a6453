/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_MIGRATE_TEXT_H
#define CTL_MIGRATE_TEXT_H

#include <stdbool.h>

#include <jansson.h>

#include "base/buf.h"

/* What a migration's events and report (docs/spec/migrate-report.schema.json) look like to people. Pure: JSON in, text out; keys that are missing read as 0. */

void migrate_text_progress(const json_t *progress, struct buf *out); /* no newline */
void migrate_text_round(const json_t *round, struct buf *out); /* one line */
void migrate_text_rounds(const json_t *report, struct buf *out); /* the table of the rounds */
/* Where the downtime went, prediction against outcome, totals. What a migration that did not move the VM died of is not part of it. */
void migrate_text_report(const json_t *report, const char *name, const char *to, struct buf *out);

#endif
