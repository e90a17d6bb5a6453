/* SPDX-License-Identifier: Apache-2.0 */
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fields.h"

static int as_u64(const char *key, const json_t *v, uint64_t max, uint64_t *ret, struct err *err)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max)
		return err_set(err, -EINVAL, "%s: a whole number from 0 to %llu expected", key,
			       (unsigned long long)max);
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

static int as_u32(const char *key, const json_t *v, uint32_t *ret, struct err *err)
{
	uint64_t n = 0;
	int r = as_u64(key, v, UINT32_MAX, &n, err);

	if (r == 0)
		*ret = (uint32_t)n;
	return r;
}

static int as_double(const char *key, const json_t *v, double *ret, struct err *err)
{
	if (!json_is_number(v))
		return err_set(err, -EINVAL, "%s: a number expected", key);
	*ret = json_number_value(v);
	return 0;
}

static int as_bool(const char *key, const json_t *v, bool *ret, struct err *err)
{
	if (!json_is_boolean(v))
		return err_set(err, -EINVAL, "%s: true or false expected", key);
	*ret = json_is_true(v);
	return 0;
}

/* One of the names that @name_of gives for 0, 1, ... until NULL. */
#define AS_ENUM(key, v, name_of, type, ret, err)                                                  \
	({                                                                                        \
		const char *given_ = json_string_value(v);                                        \
		int found_ = -EINVAL;                                                             \
		for (unsigned int i_ = 0; given_ && name_of((type)i_); i_++) {                    \
			if (strcmp(name_of((type)i_), given_) == 0) {                             \
				*(ret) = (type)i_;                                                \
				found_ = 0;                                                       \
			}                                                                         \
		}                                                                                 \
		found_ == 0 ? 0 :                                                                 \
			      err_set(err, -EINVAL, "%s: \"%.40s\" is none that the model knows", \
				      key, given_ ? given_ : "(no text)");                        \
	})

static int as_path(const char *key, const json_t *v, char *ret, size_t ret_bytes, struct err *err)
{
	const char *text = json_string_value(v);

	if (!text || strlen(text) >= ret_bytes)
		return err_set(err, -EINVAL, "%s: a path of less than %zu bytes expected", key,
			       ret_bytes);
	snprintf(ret, ret_bytes, "%s", text);
	return 0;
}

static int unknown(const char *where, const char *key, struct err *err)
{
	return err_set(err, -EINVAL, "%s\"%.60s\": unknown key", where, key);
}

static int pattern_key(const char *key, const json_t *v, struct sim_pattern *p, struct err *err)
{
	if (strcmp(key, "kind") == 0)
		return AS_ENUM(key, v, sim_pattern_name, enum sim_pattern_kind, &p->kind, err);
	if (strcmp(key, "write_percent") == 0)
		return as_u32(key, v, &p->write_percent, err);
	if (strcmp(key, "hot_percent") == 0)
		return as_u32(key, v, &p->hot_percent, err);
	if (strcmp(key, "hot_share_percent") == 0)
		return as_u32(key, v, &p->hot_share_percent, err);
	if (strcmp(key, "stride") == 0)
		return as_u64(key, v, SIM_MAX_PAGES, &p->stride, err);
	if (strcmp(key, "seed") == 0)
		return as_u64(key, v, INT64_MAX, &p->seed, err);
	if (strcmp(key, "think_ns") == 0)
		return as_double(key, v, &p->think_ns, err);
	if (strcmp(key, "trace") == 0)
		return as_path(key, v, p->trace_path, sizeof(p->trace_path), err);
	return unknown("pattern: ", key, err);
}

static int read_pattern(const json_t *from, struct sim_pattern *p, struct err *err)
{
	const char *key;
	json_t *v;

	if (!json_is_object(from))
		return err_set(err, -EINVAL, "pattern: an object expected");
	json_object_foreach((json_t *)from, key, v) {
		int r = pattern_key(key, v, p, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_costs(const json_t *from, struct sim_costs *c, struct err *err)
{
	const char *key;
	json_t *v;

	if (!json_is_object(from))
		return err_set(err, -EINVAL, "costs: an object expected");
	json_object_foreach((json_t *)from, key, v) {
		unsigned int i = 0;
		int r;

		while (i < sim_ncost_fields && strcmp(sim_cost_fields[i].name, key) != 0)
			i++;
		if (i == sim_ncost_fields)
			return unknown("costs: ", key, err);
		r = as_double(key, v, sim_cost_field(c, i), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int size_key(const char *key, const json_t *v, struct sim_config *c, struct err *err)
{
	if (strcmp(key, "vcpus") == 0)
		return as_u32(key, v, &c->vcpus, err);
	if (strcmp(key, "pages_per_vcpu") == 0)
		return as_u64(key, v, SIM_MAX_PAGES, &c->pages_per_vcpu, err);
	if (strcmp(key, "overlap") == 0)
		return as_bool(key, v, &c->overlap, err);
	if (strcmp(key, "slots") == 0)
		return as_u32(key, v, &c->slots, err);
	if (strcmp(key, "clear_chunk_pages") == 0)
		return as_u64(key, v, SIM_MAX_PAGES, &c->clear_chunk_pages, err);
	if (strcmp(key, "iterations") == 0)
		return as_u32(key, v, &c->iterations, err);
	if (strcmp(key, "duration_ns") == 0)
		return as_u64(key, v, INT64_MAX, &c->duration_ns, err);
	if (strcmp(key, "interval_ns") == 0)
		return as_u64(key, v, INT64_MAX, &c->interval_ns, err);
	return unknown("", key, err);
}

static int config_key(const char *key, const json_t *v, struct sim_config *c, struct err *err)
{
	/* The caller's own. */
	if (strcmp(key, "id") == 0)
		return 0;
	if (strcmp(key, "backend") == 0)
		return AS_ENUM(key, v, sim_backend_name, enum sim_backend, &c->backend, err);
	if (strcmp(key, "accel") == 0)
		return AS_ENUM(key, v, sim_accel_name, enum sim_accel, &c->accel, err);
	if (strcmp(key, "mode") == 0)
		return AS_ENUM(key, v, sim_mode_name, enum sim_mode, &c->mode, err);
	if (strcmp(key, "buffer_entries") == 0)
		return as_u32(key, v, &c->buffer_entries, err);
	if (strcmp(key, "ring_entries") == 0)
		return as_u32(key, v, &c->ring_entries, err);
	if (strcmp(key, "group_pages") == 0)
		return as_u32(key, v, &c->group_pages, err);
	if (strcmp(key, "pattern") == 0)
		return read_pattern(v, &c->pattern, err);
	if (strcmp(key, "costs") == 0)
		return read_costs(v, &c->costs, err);
	return size_key(key, v, c, err);
}

int scenario_read(const json_t *from, struct sim_config *ret, struct err *err)
{
	struct sim_config c;
	const char *key;
	json_t *v;
	int r;

	if (!json_is_object(from))
		return err_set(err, -EINVAL, "a scenario is an object");
	sim_config_init(&c);
	json_object_foreach((json_t *)from, key, v) {
		r = config_key(key, v, &c, err);
		if (r < 0)
			return r;
	}
	r = sim_config_check(&c, err);
	if (r == 0)
		*ret = c;
	return r;
}

static json_t *counts_json(const struct sim_counts *c)
{
	return json_pack(
		"{sI sI sI sI sI sI sI sI sf sf sf sf sf sf so}", "visits", (json_int_t)c->visits,
		"writes", (json_int_t)c->writes, "logged", (json_int_t)c->logged, "exits",
		(json_int_t)sim_exits(c), "faults", (json_int_t)c->faults, "full_exits",
		(json_int_t)c->full_exits, "ring_full_exits", (json_int_t)c->ring_full_exits,
		"kicks", (json_int_t)c->kicks, "useful_ns", c->useful_ns, "fault_ns", c->fault_ns,
		"wait_ns", c->wait_ns, "log_ns", c->log_ns, "full_ns", c->full_ns, "kick_ns",
		c->kick_ns, "exits_per_logged_page",
		c->logged ? json_real((double)sim_exits(c) / (double)c->logged) : json_null());
}

static json_t *steps_json(const struct sim_result *r)
{
	json_t *list = json_array();

	for (unsigned int i = 0; list && i < r->nsteps; i++) {
		const struct sim_step *st = &r->steps[i];
		json_t *one = json_pack("{sf sf sf sI so}", "dirty_ns", st->dirty_ns, "get_ns",
					st->get_ns, "clear_ns", st->clear_ns, "found",
					(json_int_t)st->found, "counts", counts_json(&st->counts));

		if (json_array_append_new(list, one) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *scenario_result(const struct sim_config *c, const struct sim_result *r, const json_t *id,
			bool steps)
{
	json_t *o =
		json_pack("{ss sO? ss ss ss ss sI sI sI sf sf sf so sI sf sf so}", "kind",
			  "prediction", "id", id, "backend", sim_backend_name(c->backend), "accel",
			  sim_accel_name(c->accel), "pattern", sim_pattern_name(c->pattern.kind),
			  "mode", sim_mode_name(c->mode), "vcpus", (json_int_t)c->vcpus, "npages",
			  (json_int_t)r->npages, "readings", (json_int_t)r->nsteps, "enable_ns",
			  r->enable_ns, "disable_ns", r->disable_ns, "elapsed_ns", r->elapsed_ns,
			  "loss", c->mode == SIM_RUN ? json_real(r->loss) : json_null(), "found",
			  (json_int_t)r->found, "get_ns", r->get_ns, "clear_ns", r->clear_ns,
			  "counts", counts_json(&r->counts));

	if (o && steps && json_object_set_new(o, "steps", steps_json(r)) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}
