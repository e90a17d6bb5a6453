/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_MIGRATE_VIEW_H
#define CTL_MIGRATE_VIEW_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

/* Shows a migration as it goes: a live line and tables on a terminal, a line a round elsewhere, JSON lines for programs. */
struct migrate_view {
	FILE *out;
	bool json;
	bool terminal;
	bool line_drawn; /* the cursor stands behind a live line */
};

void migrate_view_init(struct migrate_view *v, FILE *out, bool json);
void migrate_view_progress(struct migrate_view *v, const json_t *progress);
void migrate_view_round(struct migrate_view *v, const json_t *round);
void migrate_view_report(struct migrate_view *v, const json_t *report, const char *name,
			 const char *to);
/* Before something else is written to the terminal. */
void migrate_view_clear_line(struct migrate_view *v);

#endif
