/* SPDX-License-Identifier: Apache-2.0 */
#include "dirty_rate_json.h"

#include "base/num.h"
#include "report_json.h"
#include "shape.h"
#include "vmm/gmem.h"

#define FIELD(json_name, json_kind, type, member)                                          \
	{                                                                                  \
		.name = (json_name), .kind = (json_kind), .offset = offsetof(type, member) \
	}

#define REPORT(json_name, json_kind, member) \
	FIELD(json_name, json_kind, struct dirty_rate_report, member)
static const struct shape_field report_fields[] = {
	REPORT("reason", SHAPE_CHARS, reason),
	REPORT("dirty_backend", SHAPE_STRING, dirty_backend),
	REPORT("dirty_accel_asked", SHAPE_STRING, dirty_accel_asked),
	REPORT("dirty_accel", SHAPE_STRING, dirty_accel),
	REPORT("dirty_accel_reason", SHAPE_CHARS, dirty_accel_reason),
	REPORT("for_ms", SHAPE_MS, asked.for_ns),
	REPORT("interval_ms", SHAPE_MS, asked.interval_ns),
	REPORT("measured_ms", SHAPE_MS, measured_ns),
	REPORT("intervals", SHAPE_U32, nintervals),
	REPORT("ram_pages", SHAPE_U64, npages),
	REPORT("pages_dirtied", SHAPE_U64, pages_dirtied),
	REPORT("working_set_pages", SHAPE_U64, working_set_pages),
	REPORT("trace", SHAPE_CHARS, asked.trace),
};

static const struct shape_field cost_fields[] = {
	REPORT("start_ms", SHAPE_MS, start_ns),
	REPORT("arm_ms", SHAPE_MS, arm_ns),
	REPORT("stop_ms", SHAPE_MS, stop_ns),
	REPORT("ring_full_exits", SHAPE_U64, ring_full_exits),
	REPORT("exits_reason", SHAPE_CHARS, exits_reason),
};

static const struct shape_field basis_fields[] = {
	REPORT("max_downtime_ms", SHAPE_MS, asked.max_downtime_ns),
	REPORT("first_round_pages", SHAPE_U64, first_round_pages),
	REPORT("fixed_ms", SHAPE_MS, fixed_ns),
};

#define POINT(json_name, json_kind, member) \
	FIELD(json_name, json_kind, struct dirty_rate_point, member)
static const struct shape_field point_fields[] = {
	POINT("intervals", SHAPE_U32, intervals), POINT("ms", SHAPE_MS, span_ns),
	POINT("samples", SHAPE_U32, samples),     POINT("pages", SHAPE_U64, pages),
	POINT("max_pages", SHAPE_U64, max_pages),
};

#define PREDICTION(json_name, json_kind, member) \
	FIELD(json_name, json_kind, struct dirty_rate_prediction, member)
static const struct shape_field prediction_fields[] = {
	PREDICTION("bandwidth", SHAPE_U64, bandwidth),
	PREDICTION("converges", SHAPE_BOOL, converges),
	PREDICTION("rounds", SHAPE_U32, rounds),
	PREDICTION("total_ms", SHAPE_MS, total_ns),
	PREDICTION("downtime_ms", SHAPE_MS, downtime_ns),
	PREDICTION("bytes", SHAPE_U64, bytes),
	PREDICTION("reason", SHAPE_CHARS, reason),
};

#define ENCODE(table, src) shape_encode((table), ARRAY_LEN(table), (src))

static json_t *spread_json(const struct dirty_rate_spread *s, double scale)
{
	const struct dirty_rate_spread scaled = { s->median * scale, s->min * scale, s->max * scale,
						  s->mean * scale };
	static const struct shape_field fields[] = {
		FIELD("median", SHAPE_REAL, struct dirty_rate_spread, median),
		FIELD("min", SHAPE_REAL, struct dirty_rate_spread, min),
		FIELD("max", SHAPE_REAL, struct dirty_rate_spread, max),
		FIELD("mean", SHAPE_REAL, struct dirty_rate_spread, mean),
	};

	return ENCODE(fields, &scaled);
}

static json_t *cost_json(const struct dirty_rate_report *r)
{
	json_t *o = ENCODE(cost_fields, r);
	int rc = json_object_set_new(o, "collect_ms", spread_json(&r->collect_ns, 1e-6));

	rc |= json_object_set_new(o, "rearm_ms", spread_json(&r->rearm_ns, 1e-6));
	rc |= report_set_exits(o, &r->exits, r->pages_dirtied);
	if (rc < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* @n structs of @size bytes from @first on. */
static json_t *list_json(const struct shape_field *fields, size_t nfields, const void *first,
			 size_t size, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < n; i++) {
		if (json_array_append_new(list, shape_encode(fields, nfields,
							     (const char *)first + i * size)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
#define LIST(table, array, n) list_json((table), ARRAY_LEN(table), (array), sizeof(*(array)), (n))

json_t *dirty_rate_json(const struct dirty_rate_report *r)
{
	static const char *const results[] = {
		[DIRTY_RATE_RUNNING] = "running",
		[DIRTY_RATE_COMPLETED] = "completed",
		[DIRTY_RATE_CANCELLED] = "cancelled",
		[DIRTY_RATE_FAILED] = "failed",
	};
	json_t *o = json_object(), *rest = ENCODE(report_fields, r);
	json_t *hot = r->hot_set_known ? json_integer((json_int_t)r->hot_set_pages) : json_null();
	int rc = json_object_set_new(o, "result", json_string(results[r->result]));

	rc |= json_object_update(o, rest);
	rc |= json_object_set_new(o, "hot_set_pages", hot);
	rc |= json_object_set_new(o, "pages_per_s", spread_json(&r->pages_per_s, 1));
	rc |= json_object_set_new(o, "bytes_per_s", spread_json(&r->pages_per_s, GMEM_PAGE_SIZE));
	rc |= json_object_set_new(o, "first_touch", LIST(point_fields, r->point, r->npoints));
	rc |= json_object_set_new(o, "cost", cost_json(r));
	rc |= json_object_set_new(o, "prediction_basis", ENCODE(basis_fields, r));
	rc |= json_object_set_new(o, "predictions",
				  LIST(prediction_fields, r->prediction, r->npredictions));
	json_decref(rest);
	if (rc < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}
