/* SPDX-License-Identifier: Apache-2.0 */
#include "report_json.h"

#include "base/num.h"
#include "shape.h"

#define FIELD(json_name, json_kind, type, member)                                          \
	{                                                                                  \
		.name = (json_name), .kind = (json_kind), .offset = offsetof(type, member) \
	}

#define ROUND(json_name, json_kind, member) FIELD(json_name, json_kind, struct mig_round, member)
static const struct shape_field round_fields[] = {
	ROUND("round", SHAPE_U32, number),
	ROUND("last", SHAPE_BOOL, last),
	ROUND("duration_ms", SHAPE_MS, duration_ns),
	ROUND("pages", SHAPE_U64, pages),
	ROUND("zero_pages", SHAPE_U64, zero_pages),
	ROUND("compressed_pages", SHAPE_U64, zpages),
	ROUND("free_pages", SHAPE_U64, free_pages),
	ROUND("bytes", SHAPE_U64, bytes),
	ROUND("saved_bytes", SHAPE_U64, saved_bytes),
	ROUND("compress_on", SHAPE_BOOL, compress_on),
	ROUND("compress_cpu_ms", SHAPE_MS, compress_ns),
	ROUND("blocked_ms", SHAPE_MS, blocked_ns),
	ROUND("collect_ms", SHAPE_MS, collect_ns),
	ROUND("rearm_ms", SHAPE_MS, rearm_ns),
	ROUND("dirty_pages", SHAPE_U64, dirty_pages),
	ROUND("dirty_pages_per_s", SHAPE_REAL, dirty_pages_per_s),
	ROUND("bytes_per_s", SHAPE_REAL, bytes_per_s),
	ROUND("predicted_downtime_ms", SHAPE_MS, predicted_downtime_ns),
};

#define PROGRESS(json_name, json_kind, member) \
	FIELD(json_name, json_kind, struct mig_progress, member)
static const struct shape_field progress_fields[] = {
	PROGRESS("round", SHAPE_U32, round),
	PROGRESS("sent_bytes", SHAPE_U64, sent_bytes),
	PROGRESS("left_pages", SHAPE_U64, left_pages),
	PROGRESS("bytes_per_s", SHAPE_REAL, bytes_per_s),
	PROGRESS("dirty_pages_per_s", SHAPE_REAL, dirty_pages_per_s),
	PROGRESS("predicted_downtime_ms", SHAPE_MS, predicted_downtime_ns),
	PROGRESS("elapsed_ms", SHAPE_MS, elapsed_ns),
};

#define DOWNTIME(json_name, member) FIELD(json_name, SHAPE_MS, struct mig_downtime, member)
static const struct shape_field downtime_fields[] = {
	DOWNTIME("pause_ms", pause_ns),   DOWNTIME("collect_ms", collect_ns),
	DOWNTIME("memory_ms", memory_ns), DOWNTIME("save_ms", save_ns),
	DOWNTIME("send_ms", send_ns),     DOWNTIME("restore_ms", restore_ns),
	DOWNTIME("resume_ms", resume_ns), DOWNTIME("commit_ms", commit_ns),
};

static const char *const result_names[] = { "running", "completed", "failed", "cancelled",
					    "unknown" };
_Static_assert(ARRAY_LEN(result_names) == MIG_OUTCOME_UNKNOWN + 1, "a name for each result");

#define REPORT(json_name, json_kind, member) FIELD(json_name, json_kind, struct mig_report, member)
static const struct shape_field report_fields[] = {
	REPORT("reason", SHAPE_CHARS, reason),
	REPORT("switch_reason", SHAPE_CHARS, switch_reason),
	REPORT("stalled", SHAPE_BOOL, stalled),
	REPORT("total_ms", SHAPE_MS, total_ns),
	REPORT("setup_ms", SHAPE_MS, setup_ns),
	REPORT("downtime_ms", SHAPE_MS, downtime.total_ns),
	REPORT("predicted_downtime_ms", SHAPE_MS, predicted_downtime_ns),
	REPORT("max_downtime_ms", SHAPE_MS, max_downtime_ns),
	REPORT("bytes_sent", SHAPE_U64, bytes_sent),
	REPORT("ram_pages", SHAPE_U64, npages),
	REPORT("cpu_ms", SHAPE_MS, cpu_ns),
	REPORT("rounds", SHAPE_U32, nrounds),
	REPORT("dirty_backend", SHAPE_STRING, dirty_backend),
	REPORT("dirty_accel_asked", SHAPE_STRING, dirty_accel_asked),
	REPORT("dirty_accel", SHAPE_STRING, dirty_accel),
	REPORT("dirty_accel_reason", SHAPE_CHARS, dirty_accel_reason),
	REPORT("compress", SHAPE_STRING, compress),
	REPORT("pages_dirtied", SHAPE_U64, pages_dirtied),
	REPORT("exits_reason", SHAPE_CHARS, exits_reason),
	REPORT("free_pages", SHAPE_U64, free_pages),
	REPORT("free_reason", SHAPE_CHARS, free_reason),
};

#define INFO(json_name, json_kind, member) FIELD(json_name, json_kind, struct machine_info, member)
static const struct shape_field info_fields[] = {
	INFO("name", SHAPE_CHARS, name),
	INFO("migrating", SHAPE_BOOL, migrating),
	INFO("measuring", SHAPE_BOOL, measuring),
	INFO("cpus", SHAPE_U32, ncpus),
	INFO("memory_bytes", SHAPE_U64, ram_bytes),
	INFO("pid", SHAPE_INT, pid),
	INFO("uptime_ms", SHAPE_MS, uptime_ns),
	INFO("kernel", SHAPE_STRING, kernel),
	INFO("console", SHAPE_STRING, console),
	INFO("dirty_asked", SHAPE_STRING, dirty_asked),
	INFO("dirty_backend", SHAPE_STRING, dirty_backend),
	INFO("dirty_reason", SHAPE_CHARS, dirty_reason),
	INFO("dirty_accel_asked", SHAPE_STRING, dirty_accel_asked),
	INFO("dirty_accel", SHAPE_STRING, dirty_accel),
	INFO("dirty_accel_reason", SHAPE_CHARS, dirty_accel_reason),
	INFO("listen", SHAPE_CHARS, listen),
	INFO("stop_reason", SHAPE_CHARS, stop_reason),
};
_Static_assert(sizeof(unsigned int) == sizeof(uint32_t), "ncpus is encoded as 32 bits");

static json_t *count_or_null(bool known, uint64_t n)
{
	return known ? json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX)) : json_null();
}

static json_t *ratio_or_null(bool known, uint64_t n, uint64_t pages)
{
	return known && pages ? json_real((double)n / (double)pages) : json_null();
}

int report_set_exits(json_t *o, const struct mig_exits *e, uint64_t pages)
{
	int rc = json_object_set_new(o, "exits", count_or_null(e->exits_known, e->exits));

	rc |= json_object_set_new(o, "faults", count_or_null(e->faults_known, e->faults));
	rc |= json_object_set_new(o, "exits_per_dirtied_page",
				  ratio_or_null(e->exits_known, e->exits, pages));
	rc |= json_object_set_new(o, "faults_per_dirtied_page",
				  ratio_or_null(e->faults_known, e->faults, pages));
	return rc;
}

json_t *report_round_json(const struct mig_round *r)
{
	json_t *o = shape_encode(round_fields, ARRAY_LEN(round_fields), r);

	if (report_set_exits(o, &r->exits, r->dirty_pages) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

json_t *report_progress_json(const struct mig_progress *p)
{
	return shape_encode(progress_fields, ARRAY_LEN(progress_fields), p);
}

static json_t *rounds_json(const struct mig_report *r)
{
	size_t kept = MIN(r->nrounds, (uint32_t)MIG_MAX_ROUNDS);
	json_t *rounds = json_array();

	for (size_t i = 0; rounds && i < kept; i++) {
		if (json_array_append_new(rounds, report_round_json(&r->round[i])) < 0) {
			json_decref(rounds);
			return NULL;
		}
	}
	return rounds;
}

json_t *report_json(const struct mig_report *r)
{
	size_t result = MIN((size_t)r->result, ARRAY_LEN(result_names) - 1);
	json_t *o = json_object();
	json_t *rest = shape_encode(report_fields, ARRAY_LEN(report_fields), r);
	json_t *parts = shape_encode(downtime_fields, ARRAY_LEN(downtime_fields), &r->downtime);
	int rc = 0;

	rc |= json_object_set_new(o, "result", json_string(result_names[result]));
	rc |= json_object_update(o, rest);
	rc |= report_set_exits(o, &r->exits, r->pages_dirtied);
	rc |= json_object_set_new(o, "downtime", parts);
	rc |= json_object_set_new(o, "round_details", rounds_json(r));
	json_decref(rest);
	if (rc < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

json_t *report_info_json(const struct machine_info *i)
{
	json_t *o = shape_encode(info_fields, ARRAY_LEN(info_fields), i);
	int rc = json_object_set_new(o, "state", json_string(machine_state_name(i->state)));

	rc |= json_object_set_new(o, "version", json_string(VMM_VERSION));
	if (rc < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}
