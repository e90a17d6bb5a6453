/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "member.h"
#include "table.h"
#include "units.h"

/* Guest pages; the unit of the report's page counts. */
#define PAGE_BYTES 4096.0

/* What matters least stands last: a narrow terminal cuts it off. */
void migrate_text_progress(const json_t *p, struct buf *out)
{
	struct unit_text sent, left, rate, dirty, predicted, elapsed;

	buf_printf(out, "round %" JSON_INTEGER_FORMAT "  sent %s  left %s  %s  dirty %s",
		   (json_int_t)member_count(p, "round"),
		   unit_bytes(&sent, member_num(p, "sent_bytes")),
		   unit_bytes(&left, member_num(p, "left_pages") * PAGE_BYTES),
		   unit_rate(&rate, member_num(p, "bytes_per_s")),
		   unit_rate(&dirty, member_num(p, "dirty_pages_per_s") * PAGE_BYTES));
	if (member_num(p, "predicted_downtime_ms") > 0)
		buf_printf(out, "  downtime ~%s",
			   unit_ms(&predicted, member_num(p, "predicted_downtime_ms")));
	buf_printf(out, "  %s", unit_ms(&elapsed, member_num(p, "elapsed_ms")));
}

void migrate_text_round(const json_t *r, struct buf *out)
{
	struct unit_text sent, rate, time, dirty, predicted, saved;

	buf_printf(out,
		   "round %" JSON_INTEGER_FORMAT "  %s  %s  %s  %" JSON_INTEGER_FORMAT
		   "+%" JSON_INTEGER_FORMAT " zero pages",
		   (json_int_t)member_count(r, "round"), unit_bytes(&sent, member_num(r, "bytes")),
		   unit_ms(&time, member_num(r, "duration_ms")),
		   unit_rate(&rate, member_num(r, "bytes_per_s")),
		   (json_int_t)member_count(r, "pages"), (json_int_t)member_count(r, "zero_pages"));
	if (member_true(r, "last"))
		buf_printf(out, "  last");
	else
		buf_printf(out, "  left %" JSON_INTEGER_FORMAT " (%s)  downtime ~%s",
			   (json_int_t)member_count(r, "dirty_pages"),
			   unit_pages_rate(&dirty, member_num(r, "dirty_pages_per_s")),
			   unit_ms(&predicted, member_num(r, "predicted_downtime_ms")));
	if (member_count(r, "compressed_pages"))
		buf_printf(out, "  saved %s", unit_bytes(&saved, member_num(r, "saved_bytes")));
	buf_printf(out, "\n");
}

enum round_column {
	COL_ROUND,
	COL_TIME,
	COL_SENT,
	COL_PAGES,
	COL_ZERO,
	COL_FREE,
	COL_RATE,
	COL_BLOCKED,
	COL_SAVED,
	COL_CPU,
	COL_DIRTY,
	COL_DIRTY_RATE,
	COL_EXITS,
	COL_PREDICTED,
	COL_COUNT
};

static void round_row(struct table *t, const json_t *r)
{
	struct unit_text text[COL_COUNT];
	const char *cells[COL_COUNT];
	bool last = member_true(r, "last");

	cells[COL_ROUND] = last ? "last" : unit_count(&text[COL_ROUND], member_count(r, "round"));
	cells[COL_TIME] = unit_ms(&text[COL_TIME], member_num(r, "duration_ms"));
	cells[COL_SENT] = unit_bytes(&text[COL_SENT], member_num(r, "bytes"));
	cells[COL_PAGES] = unit_count(&text[COL_PAGES], member_count(r, "pages"));
	cells[COL_ZERO] = unit_count(&text[COL_ZERO], member_count(r, "zero_pages"));
	cells[COL_FREE] = unit_count(&text[COL_FREE], member_count(r, "free_pages"));
	cells[COL_RATE] = unit_rate(&text[COL_RATE], member_num(r, "bytes_per_s"));
	cells[COL_BLOCKED] = unit_ms(&text[COL_BLOCKED], member_num(r, "blocked_ms"));
	cells[COL_SAVED] = unit_bytes(&text[COL_SAVED], member_num(r, "saved_bytes"));
	cells[COL_CPU] = unit_ms(&text[COL_CPU], member_num(r, "compress_cpu_ms"));
	/* After the last round nothing is left, and nothing is predicted. */
	cells[COL_DIRTY] =
		last ? "-" : unit_count(&text[COL_DIRTY], member_count(r, "dirty_pages"));
	cells[COL_DIRTY_RATE] =
		last ? "-" :
		       unit_pages_rate(&text[COL_DIRTY_RATE], member_num(r, "dirty_pages_per_s"));
	cells[COL_EXITS] = member_ratio(&text[COL_EXITS], r, "exits_per_dirtied_page");
	cells[COL_PREDICTED] =
		last ? "-" : unit_ms(&text[COL_PREDICTED], member_num(r, "predicted_downtime_ms"));
	table_row(t, cells);
}

void migrate_text_rounds(const json_t *report, struct buf *out)
{
	struct table_column columns[COL_COUNT] = {
		[COL_ROUND] = { "#", .right = true },
		[COL_TIME] = { "time", .right = true },
		[COL_SENT] = { "sent", .right = true },
		[COL_PAGES] = { "pages", .right = true },
		[COL_ZERO] = { "zero", .right = true },
		[COL_FREE] = { "free", .right = true, .hide = true },
		[COL_RATE] = { "rate", .right = true },
		[COL_BLOCKED] = { "blocked", .right = true },
		[COL_SAVED] = { "saved", .right = true, .hide = true },
		[COL_CPU] = { "zip CPU", .right = true, .hide = true },
		[COL_DIRTY] = { "dirty", .right = true },
		[COL_DIRTY_RATE] = { "dirtied", .right = true },
		[COL_EXITS] = { "exits/page", .right = true, .hide = true },
		[COL_PREDICTED] = { "predict", .right = true },
	};
	const json_t *rounds = json_object_get(report, "round_details");
	struct table t;
	size_t i;
	json_t *r;

	if (json_array_size(rounds) == 0)
		return;
	json_array_foreach(rounds, i, r) {
		if (member_num(r, "compress_cpu_ms") > 0 || member_count(r, "compressed_pages"))
			columns[COL_SAVED].hide = columns[COL_CPU].hide = false;
		if (member_count(r, "free_pages"))
			columns[COL_FREE].hide = false;
		if (json_is_number(json_object_get(r, "exits_per_dirtied_page")))
			columns[COL_EXITS].hide = false;
	}
	if (!columns[COL_SAVED].hide ||
	    !columns[COL_FREE].hide) /* a terminal has no room for all */
		columns[COL_EXITS].hide = true;
	table_init(&t, columns, COL_COUNT);
	json_array_foreach(rounds, i, r)
		round_row(&t, r);
	table_render(&t, 0, out);
	table_fini(&t);
}

static const struct {
	const char *key, *label, *end;
} downtime_parts[] = {
	{ "pause_ms", "pause vCPUs", "source" },       { "collect_ms", "last collect", "source" },
	{ "memory_ms", "last memory", "source" },      { "save_ms", "state save", "source" },
	{ "send_ms", "send", "link and destination" }, { "restore_ms", "restore", "destination" },
	{ "resume_ms", "resume", "destination" },      { "commit_ms", "commit exchange", "link" },
};

static void downtime_row(struct table *t, const char *label, const char *end, double ms,
			 double total)
{
	struct unit_text time;
	char share[16];

	snprintf(share, sizeof(share), "%.0f %%", total > 0 ? 100 * ms / total : 0.0);
	table_row(t, (const char *const[]){ label, end, unit_ms(&time, ms), share });
}

static void downtime_table(const json_t *report, struct buf *out)
{
	static const struct table_column columns[] = {
		{ "downtime", .right = false },
		{ "where", .right = false },
		{ "time", .right = true },
		{ "share", .right = true },
	};
	const json_t *parts = json_object_get(report, "downtime");
	double total = member_num(report, "downtime_ms"), sum = 0;
	struct table t;

	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < ARRAY_LEN(downtime_parts); i++) {
		double ms = member_num(parts, downtime_parts[i].key);

		downtime_row(&t, downtime_parts[i].label, downtime_parts[i].end, ms, total);
		sum += ms;
	}
	/* What no part claims is shown, not hidden. */
	if (total - sum >= 0.005)
		downtime_row(&t, "not accounted for", "source", total - sum, total);
	downtime_row(&t, "total", "", total, total);
	table_render(&t, 0, out);
	table_fini(&t);
}

static void prediction(const json_t *report, struct buf *out)
{
	double got = member_num(report, "downtime_ms"),
	       said = member_num(report, "predicted_downtime_ms");
	double limit = member_num(report, "max_downtime_ms");
	struct unit_text got_text, said_text, limit_text, off_text;

	buf_printf(out, "downtime %s, predicted %s", unit_ms(&got_text, got),
		   unit_ms(&said_text, said));
	if (said > 0)
		buf_printf(out, " (%s %s, %+.0f %%)", unit_ms(&off_text, fabs(got - said)),
			   got > said ? "longer" : "shorter", 100 * (got - said) / said);
	buf_printf(out, "; limit %s%s\n", unit_ms(&limit_text, limit),
		   limit > 0 && got > limit ? ", EXCEEDED" : "");
}

static void totals(const json_t *report, struct buf *out)
{
	double ms = member_num(report, "total_ms");
	struct unit_text time, bytes, rate, cpu, setup;

	buf_printf(out,
		   "%s in %s (set-up %s), %s on average, %" JSON_INTEGER_FORMAT " round%s, CPU %s",
		   unit_bytes(&bytes, member_num(report, "bytes_sent")), unit_ms(&time, ms),
		   unit_ms(&setup, member_num(report, "setup_ms")),
		   unit_rate(&rate, ms > 0 ? member_num(report, "bytes_sent") / ms * 1e3 : 0.0),
		   (json_int_t)member_count(report, "rounds"),
		   member_count(report, "rounds") == 1 ? "" : "s",
		   unit_ms(&cpu, member_num(report, "cpu_ms")));
	buf_printf(out, "\ntracking %s, compression %s\n", member_str(report, "dirty_backend"),
		   member_str(report, "compress"));
	if (*member_str(report, "dirty_accel"))
		buf_printf(out, "accelerator %s, asked %s: %s\n", member_str(report, "dirty_accel"),
			   member_str(report, "dirty_accel_asked"),
			   member_str(report, "dirty_accel_reason"));
}

static void free_pages(const json_t *report, struct buf *out)
{
	struct unit_text size;

	if (member_count(report, "free_pages"))
		buf_printf(out,
			   "%" JSON_INTEGER_FORMAT
			   " pages (%s) left out: the guest named them free\n",
			   (json_int_t)member_count(report, "free_pages"),
			   unit_bytes(&size, member_num(report, "free_pages") * PAGE_BYTES));
	else if (*member_str(report, "free_reason"))
		buf_printf(out, "free pages not known: %s\n", member_str(report, "free_reason"));
}

static void exits(const json_t *report, struct buf *out)
{
	struct unit_text per_exit, per_fault;

	if (json_is_integer(json_object_get(report, "exits")))
		buf_printf(out,
			   "%" JSON_INTEGER_FORMAT " pages dirtied, %" JSON_INTEGER_FORMAT
			   " exits, a page: exits %s, faults %s\n",
			   (json_int_t)member_count(report, "pages_dirtied"),
			   (json_int_t)member_count(report, "exits"),
			   member_ratio(&per_exit, report, "exits_per_dirtied_page"),
			   member_ratio(&per_fault, report, "faults_per_dirtied_page"));
	else if (*member_str(report, "exits_reason"))
		buf_printf(out, "exits not known: %s\n", member_str(report, "exits_reason"));
}

void migrate_text_report(const json_t *report, const char *name, const char *to, struct buf *out)
{
	bool moved = !strcmp(member_str(report, "result"), "completed");

	if (moved) {
		downtime_table(report, out);
		buf_printf(out, "\n%s moved to %s\n", name, to);
		prediction(report, out);
	}
	if (moved || member_count(report, "bytes_sent")) {
		totals(report, out);
		free_pages(report, out);
		exits(report, out);
	}
	if (member_true(report, "stalled"))
		buf_printf(out, "rounds stopped shrinking%s%s\n",
			   moved && *member_str(report, "reason") ? ": " : "",
			   moved ? member_str(report, "reason") : "");
	if (*member_str(report, "switch_reason"))
		buf_printf(out, "decision: %s\n", member_str(report, "switch_reason"));
}
