/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Text in aligned columns. Pure: it renders into a buffer. Cells are ASCII. */
#define TABLE_MAX_COLUMNS 16

struct table_column {
	const char *head;
	bool right; /* numbers */
	bool hide; /* the column is not there */
};

struct table {
	const struct table_column *columns; /* the caller's, as long as the table lives */
	size_t ncolumns;
	char **cells; /* row after row */
	size_t nrows;
	bool failed; /* out of memory; sticks, and nothing is rendered */
};

void table_init(struct table *t, const struct table_column *columns, size_t ncolumns);
void table_fini(struct table *t);
/* @cells: ncolumns texts (copied), NULL is "". Hidden columns' cells are given too. */
void table_row(struct table *t, const char *const *cells);
/* Head and rows, each line led by @indent spaces, columns two spaces apart, no blanks at line ends. */
void table_render(const struct table *t, size_t indent, struct buf *out);

#endif
