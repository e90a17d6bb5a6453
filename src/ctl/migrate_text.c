/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "table.h"
#include "units.h"

/* Guest pages; the unit of the report's page counts. */
#define PAGE_BYTES 4096.0

static double num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static uint64_t whole(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool yes(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

__attribute__((format(printf, 2, 3))) static void put(struct buf *out, const char *fmt, ...)
{
	char line[768];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		buf_put(out, line, MIN((size_t)n, sizeof(line) - 1));
}

/* What matters least stands last: a narrow terminal cuts it off. */
void migrate_text_progress(const json_t *p, struct buf *out)
{
	struct unit_text sent, left, rate, dirty, predicted, elapsed;

	put(out, "round %" JSON_INTEGER_FORMAT "  sent %s  left %s  %s  dirty %s",
	    (json_int_t)whole(p, "round"), unit_bytes(&sent, num(p, "sent_bytes")),
	    unit_bytes(&left, num(p, "left_pages") * PAGE_BYTES),
	    unit_rate(&rate, num(p, "bytes_per_s")),
	    unit_rate(&dirty, num(p, "dirty_pages_per_s") * PAGE_BYTES));
	if (num(p, "predicted_downtime_ms") > 0)
		put(out, "  downtime ~%s", unit_ms(&predicted, num(p, "predicted_downtime_ms")));
	put(out, "  %s", unit_ms(&elapsed, num(p, "elapsed_ms")));
}

void migrate_text_round(const json_t *r, struct buf *out)
{
	struct unit_text sent, rate, time, dirty, predicted, saved;

	put(out,
	    "round %" JSON_INTEGER_FORMAT "  %s  %s  %s  %" JSON_INTEGER_FORMAT
	    "+%" JSON_INTEGER_FORMAT " zero pages",
	    (json_int_t)whole(r, "round"), unit_bytes(&sent, num(r, "bytes")),
	    unit_ms(&time, num(r, "duration_ms")), unit_rate(&rate, num(r, "bytes_per_s")),
	    (json_int_t)whole(r, "pages"), (json_int_t)whole(r, "zero_pages"));
	if (yes(r, "last"))
		put(out, "  last");
	else
		put(out, "  left %" JSON_INTEGER_FORMAT " (%s)  downtime ~%s",
		    (json_int_t)whole(r, "dirty_pages"),
		    unit_pages_rate(&dirty, num(r, "dirty_pages_per_s")),
		    unit_ms(&predicted, num(r, "predicted_downtime_ms")));
	if (whole(r, "compressed_pages"))
		put(out, "  saved %s", unit_bytes(&saved, num(r, "saved_bytes")));
	put(out, "\n");
}

enum round_column {
	COL_ROUND,
	COL_TIME,
	COL_SENT,
	COL_PAGES,
	COL_ZERO,
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

/* "-" where it is not known. */
static const char *per_page(struct unit_text *ret, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? unit_ratio(ret, json_number_value(v)) : "-";
}

static void round_row(struct table *t, const json_t *r)
{
	struct unit_text text[COL_COUNT];
	const char *cells[COL_COUNT];
	bool last = yes(r, "last");

	cells[COL_ROUND] = last ? "last" : unit_count(&text[COL_ROUND], whole(r, "round"));
	cells[COL_TIME] = unit_ms(&text[COL_TIME], num(r, "duration_ms"));
	cells[COL_SENT] = unit_bytes(&text[COL_SENT], num(r, "bytes"));
	cells[COL_PAGES] = unit_count(&text[COL_PAGES], whole(r, "pages"));
	cells[COL_ZERO] = unit_count(&text[COL_ZERO], whole(r, "zero_pages"));
	cells[COL_RATE] = unit_rate(&text[COL_RATE], num(r, "bytes_per_s"));
	cells[COL_BLOCKED] = unit_ms(&text[COL_BLOCKED], num(r, "blocked_ms"));
	cells[COL_SAVED] = unit_bytes(&text[COL_SAVED], num(r, "saved_bytes"));
	cells[COL_CPU] = unit_ms(&text[COL_CPU], num(r, "compress_cpu_ms"));
	/* After the last round nothing is left, and nothing is predicted. */
	cells[COL_DIRTY] = last ? "-" : unit_count(&text[COL_DIRTY], whole(r, "dirty_pages"));
	cells[COL_DIRTY_RATE] =
		last ? "-" : unit_pages_rate(&text[COL_DIRTY_RATE], num(r, "dirty_pages_per_s"));
	cells[COL_EXITS] = per_page(&text[COL_EXITS], r, "exits_per_dirtied_page");
	cells[COL_PREDICTED] =
		last ? "-" : unit_ms(&text[COL_PREDICTED], num(r, "predicted_downtime_ms"));
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
		if (num(r, "compress_cpu_ms") > 0 || whole(r, "compressed_pages"))
			columns[COL_SAVED].hide = columns[COL_CPU].hide = false;
		if (json_is_number(json_object_get(r, "exits_per_dirtied_page")))
			columns[COL_EXITS].hide = false;
	}
	if (!columns[COL_SAVED].hide) /* a terminal has no room for all */
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
	double total = num(report, "downtime_ms"), sum = 0;
	struct table t;

	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < ARRAY_LEN(downtime_parts); i++) {
		double ms = num(parts, downtime_parts[i].key);

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
	double got = num(report, "downtime_ms"), said = num(report, "predicted_downtime_ms");
	double limit = num(report, "max_downtime_ms");
	struct unit_text got_text, said_text, limit_text, off_text;

	put(out, "downtime %s, predicted %s", unit_ms(&got_text, got), unit_ms(&said_text, said));
	if (said > 0)
		put(out, " (%s %s, %+.0f %%)", unit_ms(&off_text, fabs(got - said)),
		    got > said ? "longer" : "shorter", 100 * (got - said) / said);
	put(out, "; limit %s%s\n", unit_ms(&limit_text, limit),
	    limit > 0 && got > limit ? ", EXCEEDED" : "");
}

static void totals(const json_t *report, struct buf *out)
{
	double ms = num(report, "total_ms");
	struct unit_text time, bytes, rate, cpu, setup;

	put(out, "%s in %s (set-up %s), %s on average, %" JSON_INTEGER_FORMAT " round%s, CPU %s",
	    unit_bytes(&bytes, num(report, "bytes_sent")), unit_ms(&time, ms),
	    unit_ms(&setup, num(report, "setup_ms")),
	    unit_rate(&rate, ms > 0 ? num(report, "bytes_sent") / ms * 1e3 : 0.0),
	    (json_int_t)whole(report, "rounds"), whole(report, "rounds") == 1 ? "" : "s",
	    unit_ms(&cpu, num(report, "cpu_ms")));
	put(out, "\ntracking %s, compression %s\n", str(report, "dirty_backend"),
	    str(report, "compress"));
}

static void exits(const json_t *report, struct buf *out)
{
	struct unit_text per_exit, per_fault;

	if (json_is_integer(json_object_get(report, "exits")))
		put(out,
		    "%" JSON_INTEGER_FORMAT " pages dirtied, %" JSON_INTEGER_FORMAT
		    " exits, a page: exits %s, faults %s\n",
		    (json_int_t)whole(report, "pages_dirtied"), (json_int_t)whole(report, "exits"),
		    per_page(&per_exit, report, "exits_per_dirtied_page"),
		    per_page(&per_fault, report, "faults_per_dirtied_page"));
	else if (*str(report, "exits_reason"))
		put(out, "exits not known: %s\n", str(report, "exits_reason"));
}

void migrate_text_report(const json_t *report, const char *name, const char *to, struct buf *out)
{
	bool moved = !strcmp(str(report, "result"), "completed");

	if (moved) {
		downtime_table(report, out);
		put(out, "\n%s moved to %s\n", name, to);
		prediction(report, out);
	}
	if (moved || whole(report, "bytes_sent")) {
		totals(report, out);
		exits(report, out);
	}
	if (yes(report, "stalled"))
		put(out, "rounds stopped shrinking%s%s\n",
		    moved && *str(report, "reason") ? ": " : "",
		    moved ? str(report, "reason") : "");
	if (*str(report, "switch_reason"))
		put(out, "decision: %s\n", str(report, "switch_reason"));
}
