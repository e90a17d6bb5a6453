/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate_view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/num.h"
#include "migrate_text.h"

#define ERASE_LINE "\r\033[K"

void migrate_view_init(struct migrate_view *v, FILE *out, bool json)
{
	*v = (struct migrate_view){ .out = out,
				    .json = json,
				    .terminal = !json && isatty(fileno(out)) };
}

static size_t terminal_columns(const struct migrate_view *v)
{
	struct winsize ws;

	return ioctl(fileno(v->out), TIOCGWINSZ, &ws) == 0 && ws.ws_col ? ws.ws_col : 80;
}

void migrate_view_clear_line(struct migrate_view *v)
{
	if (v->line_drawn) {
		fputs(ERASE_LINE, v->out);
		fflush(v->out);
	}
	v->line_drawn = false;
}

static void write_json(struct migrate_view *v, const json_t *o)
{
	json_dumpf(o, v->out, JSON_COMPACT | JSON_REAL_PRECISION(12));
	fputc('\n', v->out);
	fflush(v->out);
}

static void write_text(struct migrate_view *v, struct buf *text)
{
	if (buf_ok(text) && text->len_bytes)
		fwrite(text->data, 1, text->len_bytes, v->out);
	fflush(v->out);
	buf_fini(text);
}

void migrate_view_progress(struct migrate_view *v, const json_t *progress)
{
	struct buf text = { 0 };

	if (!v->terminal)
		return;
	migrate_text_progress(progress, &text);
	/* A line that wraps could not be erased any more. */
	text.len_bytes = MIN(text.len_bytes, terminal_columns(v) - 1);
	fputs(ERASE_LINE, v->out);
	v->line_drawn = true;
	write_text(v, &text);
}

void migrate_view_round(struct migrate_view *v, const json_t *round)
{
	struct buf text = { 0 };

	if (v->json) {
		write_json(v, round);
	} else if (!v->terminal) {
		migrate_text_round(round, &text);
		write_text(v, &text);
	}
}

void migrate_view_report(struct migrate_view *v, const json_t *report, const char *name,
			 const char *to)
{
	struct buf text = { 0 };

	migrate_view_clear_line(v);
	if (v->json) {
		write_json(v, report);
		return;
	}
	/* Elsewhere each round had its line already. */
	if (v->terminal) {
		migrate_text_rounds(report, &text);
		buf_put(&text, "\n", text.len_bytes ? 1 : 0);
	}
	migrate_text_report(report, name, to, &text);
	write_text(v, &text);
}
