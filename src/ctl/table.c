/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"

void table_init(struct table *t, const struct table_column *columns, size_t ncolumns)
{
	*t = (struct table){ .columns = columns,
			     .ncolumns = MIN(ncolumns, (size_t)TABLE_MAX_COLUMNS) };
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->nrows * t->ncolumns; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->nrows = 0;
}

void table_row(struct table *t, const char *const *cells)
{
	char **grown = realloc(t->cells, (t->nrows + 1) * t->ncolumns * sizeof(*grown));

	if (!grown) {
		t->failed = true;
		return;
	}
	t->cells = grown;
	for (size_t i = 0; i < t->ncolumns; i++) {
		char *copy = strdup(cells[i] ? cells[i] : "");

		if (!copy)
			t->failed = true;
		grown[t->nrows * t->ncolumns + i] = copy;
	}
	t->nrows++;
}

static void put_spaces(struct buf *out, size_t n)
{
	while (n--)
		buf_u8(out, ' ');
}

static void render_line(const struct table *t, const char *const *cells, const size_t *width,
			size_t indent, struct buf *out)
{
	size_t owed = indent; /* blanks that a later cell of this line still has to pay for */

	for (size_t i = 0; i < t->ncolumns; i++) {
		size_t len = strlen(cells[i]);

		if (t->columns[i].hide)
			continue;
		if (t->columns[i].right)
			owed += width[i] - len;
		if (len) {
			put_spaces(out, owed);
			buf_put(out, cells[i], len);
			owed = 0;
		}
		owed += 2 + (t->columns[i].right ? 0 : width[i] - len);
	}
	buf_u8(out, '\n');
}

void table_render(const struct table *t, size_t indent, struct buf *out)
{
	const char *heads[TABLE_MAX_COLUMNS];
	size_t width[TABLE_MAX_COLUMNS];

	if (t->failed) {
		out->failed = true;
		return;
	}
	for (size_t i = 0; i < t->ncolumns; i++) {
		heads[i] = t->columns[i].head;
		width[i] = strlen(heads[i]);
		for (size_t r = 0; r < t->nrows; r++)
			width[i] = MAX(width[i], strlen(t->cells[r * t->ncolumns + i]));
	}
	render_line(t, heads, width, indent, out);
	for (size_t r = 0; r < t->nrows; r++)
		render_line(t, (const char *const *)&t->cells[r * t->ncolumns], width, indent, out);
}
