/* SPDX-License-Identifier: Apache-2.0 */
#include "dirtyrate_text.h"

#include <inttypes.h>

#include "base/num.h"
#include "member.h"
#include "table.h"
#include "units.h"

/* Guest pages; the unit of the report's page counts. */
#define PAGE_BYTES 4096.0

static void pages_line(struct buf *out, const char *label, const json_t *report, const char *key,
		       const char *what)
{
	const json_t *v = json_object_get(report, key);
	struct unit_text bytes;

	if (!json_is_integer(v)) {
		buf_printf(out, "%-14s not known with fewer than two intervals\n", label);
		return;
	}
	buf_printf(out, "%-14s %" PRIu64 " pages (%s) %s\n", label, member_count(report, key),
		   unit_bytes(&bytes, member_num(report, key) * PAGE_BYTES), what);
}

static void rates(const json_t *report, struct buf *out)
{
	const json_t *pages = json_object_get(report, "pages_per_s");
	const json_t *bytes = json_object_get(report, "bytes_per_s");
	struct unit_text median, rate, min, max;

	buf_printf(out, "%-14s %s pages, %s (%s to %s)\n", "dirty rate",
		   unit_pages_rate(&median, member_num(pages, "median")),
		   unit_rate(&rate, member_num(bytes, "median")),
		   unit_pages_rate(&min, member_num(pages, "min")),
		   unit_pages_rate(&max, member_num(pages, "max")));
	pages_line(out, "working set", report, "working_set_pages", "in any interval");
	pages_line(out, "hot set", report, "hot_set_pages", "in at least half of the intervals");
}

static void costs(const json_t *report, struct buf *out)
{
	const json_t *cost = json_object_get(report, "cost");
	struct unit_text on, off, collect, rearm, per_exit, per_fault;

	buf_printf(out, "%-14s logging on %s, off %s; an interval: collect %s, rearm %s\n", "cost",
		   unit_ms(&on, member_num(cost, "start_ms") + member_num(cost, "arm_ms")),
		   unit_ms(&off, member_num(cost, "stop_ms")),
		   unit_ms(&collect, member_num(json_object_get(cost, "collect_ms"), "median")),
		   unit_ms(&rearm, member_num(json_object_get(cost, "rearm_ms"), "median")));
	if (json_is_integer(json_object_get(cost, "exits")))
		buf_printf(out, "%-14s exits %s, faults %s\n", "a dirtied page",
			   member_ratio(&per_exit, cost, "exits_per_dirtied_page"),
			   member_ratio(&per_fault, cost, "faults_per_dirtied_page"));
	else
		buf_printf(out, "%-14s exits not known: %s\n", "a dirtied page",
			   member_str(cost, "exits_reason"));
}

static void first_touch(const json_t *report, struct buf *out)
{
	static const struct table_column columns[] = { { "within", .right = true },
						       { "intervals", .right = true },
						       { "pages", .right = true },
						       { "most", .right = true },
						       { "bytes", .right = true } };
	const json_t *points = json_object_get(report, "first_touch");
	struct table t;
	size_t i;
	json_t *p;

	if (json_array_size(points) < 2)
		return;
	buf_printf(out, "\ndifferent pages written\n");
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(points, i, p) {
		struct unit_text text[ARRAY_LEN(columns)];

		table_row(&t, (const char *const[]){
				      unit_ms(&text[0], member_num(p, "ms")),
				      unit_count(&text[1], member_count(p, "intervals")),
				      unit_count(&text[2], member_count(p, "pages")),
				      unit_count(&text[3], member_count(p, "max_pages")),
				      unit_bytes(&text[4], member_num(p, "pages") * PAGE_BYTES) });
	}
	table_render(&t, 0, out);
	table_fini(&t);
}

static void predictions(const json_t *report, struct buf *out)
{
	static const struct table_column columns[] = {
		{ "bandwidth", .right = true }, { "converges", .right = false },
		{ "rounds", .right = true },    { "time", .right = true },
		{ "downtime", .right = true },  { "sent", .right = true }
	};
	const json_t *basis = json_object_get(report, "prediction_basis");
	const json_t *list = json_object_get(report, "predictions");
	struct unit_text limit;
	struct table t;
	size_t i;
	json_t *p;

	if (!json_array_size(list))
		return;
	buf_printf(out, "\nmigrations with a downtime of at most %s, predicted\n",
		   unit_ms(&limit, member_num(basis, "max_downtime_ms")));
	table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach(list, i, p) {
		struct unit_text text[ARRAY_LEN(columns)];
		bool switches = member_num(p, "downtime_ms") > 0;

		table_row(&t,
			  (const char *const[]){
				  unit_rate(&text[0], member_num(p, "bandwidth")),
				  member_true(p, "converges") ? "yes" : "no",
				  unit_count(&text[2], member_count(p, "rounds")),
				  unit_ms(&text[3], member_num(p, "total_ms")),
				  switches ? unit_ms(&text[4], member_num(p, "downtime_ms")) : "-",
				  unit_bytes(&text[5], member_num(p, "bytes")) });
	}
	table_render(&t, 0, out);
	table_fini(&t);
}

void dirtyrate_text(const json_t *report, const char *name, struct buf *out)
{
	struct unit_text measured, interval, ram;

	buf_printf(out,
		   "%s: %s in %" PRIu64
		   " intervals of %s, %s of RAM, tracking %s, accelerator %s\n",
		   name, unit_ms(&measured, member_num(report, "measured_ms")),
		   member_count(report, "intervals"),
		   unit_ms(&interval, member_num(report, "interval_ms")),
		   unit_memory(&ram, member_count(report, "ram_pages") * (uint64_t)PAGE_BYTES),
		   member_str(report, "dirty_backend"), member_str(report, "dirty_accel"));
	if (!member_count(report, "intervals"))
		return;
	rates(report, out);
	costs(report, out);
	first_touch(report, out);
	predictions(report, out);
}
