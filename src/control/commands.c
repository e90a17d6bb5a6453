/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "devices_json.h"
#include "dirty_rate_json.h"
#include "report_json.h"

static int reply(json_t *o, json_t **ret_reply, struct err *err)
{
	if (!o)
		return err_set(err, -ENOMEM, "out of memory");
	*ret_reply = o;
	return 0;
}

static int run_ping(struct machine *m, const union command_args *args, json_t **ret_reply,
		    struct err *err)
{
	struct machine_info info;

	machine_get_info(m, &info);
	return reply(json_pack("{s:s, s:i}", "version", VMM_VERSION, "pid", info.pid), ret_reply,
		     err);
}

static int run_info(struct machine *m, const union command_args *args, json_t **ret_reply,
		    struct err *err)
{
	struct machine_info info;

	json_t *o;

	machine_get_info(m, &info);
	o = report_info_json(&info);
	if (json_object_set_new(o, "devices", devices_json(m))) {
		json_decref(o);
		o = NULL;
	}
	return reply(o, ret_reply, err);
}

static int run_balloon(struct machine *m, const union command_args *args, json_t **ret_reply,
		       struct err *err)
{
	struct balloon_stats stats;
	int rc = machine_balloon_stats(m, &stats, err);

	return rc ? rc : reply(balloon_json(&stats), ret_reply, err);
}

static int run_resize_balloon(struct machine *m, const union command_args *args, json_t **ret_reply,
			      struct err *err)
{
	return machine_balloon_resize(m, args->resize_balloon.size_bytes, err);
}

static int run_pause(struct machine *m, const union command_args *args, json_t **ret_reply,
		     struct err *err)
{
	return machine_pause(m, err);
}

static int run_resume(struct machine *m, const union command_args *args, json_t **ret_reply,
		      struct err *err)
{
	return machine_resume(m, args->resume.force, err);
}

static int run_shutdown(struct machine *m, const union command_args *args, json_t **ret_reply,
			struct err *err)
{
	if (args->shutdown.mode == 0)
		return machine_power_button(m, err);
	return machine_stop(m, "stopped by the control socket", err);
}

static int run_send_migration(struct machine *m, const union command_args *args, json_t **ret_reply,
			      struct err *err)
{
	const struct command_send_migration *a = &args->send_migration;
	struct machine_migrate_params params = {
		.send = {
			.policy = {
				.max_downtime_ns = a->max_downtime_ns,
				.timeout_ns = a->timeout_ns,
				.switch_on_timeout = a->on_timeout == 1,
			},
			.max_bandwidth = a->max_bandwidth,
			.compress = (enum mig_compress)a->compress,
			.compress_level = a->compress_level,
		},
	};
	_Static_assert(sizeof(params.to) == sizeof(a->to), "one length for addresses");

	memcpy(params.to, a->to, sizeof(params.to));
	return machine_migrate(m, &params, err);
}

static int run_cancel_migration(struct machine *m, const union command_args *args,
				json_t **ret_reply, struct err *err)
{
	return machine_migrate_cancel(m, err);
}

static int run_set_max_downtime(struct machine *m, const union command_args *args,
				json_t **ret_reply, struct err *err)
{
	return machine_set_max_downtime(m, args->set_max_downtime.max_downtime_ns, err);
}

static int run_dirty_rate(struct machine *m, const union command_args *args, json_t **ret_reply,
			  struct err *err)
{
	const struct command_dirty_rate *a = &args->dirty_rate;
	struct machine_dirty_rate_params params = {
		.for_ns = a->for_ns,
		.interval_ns = a->interval_ns,
		.bandwidth = a->bandwidth,
		.max_downtime_ns = a->max_downtime_ns,
	};
	_Static_assert(sizeof(params.trace) == sizeof(a->trace), "one length for paths");

	memcpy(params.trace, a->trace, sizeof(params.trace));
	return machine_dirty_rate(m, &params, err);
}

static int run_cancel_dirty_rate(struct machine *m, const union command_args *args,
				 json_t **ret_reply, struct err *err)
{
	return machine_dirty_rate_cancel(m, err);
}

static int run_dirty_rate_status(struct machine *m, const union command_args *args,
				 json_t **ret_reply, struct err *err)
{
	struct dirty_rate_report report;
	int rc = machine_dirty_rate_report(m, &report, err);

	return rc ? rc : reply(dirty_rate_json(&report), ret_reply, err);
}

static int run_migration_status(struct machine *m, const union command_args *args,
				json_t **ret_reply, struct err *err)
{
	struct mig_report report;
	int rc = machine_migration_report(m, &report, err);

	return rc ? rc : reply(report_json(&report), ret_reply, err);
}

static void add_counter(void *opaque, const char *name, uint64_t value)
{
	/* Without memory for it the counter is missing from the reply; nothing else depends on it. */
	(void)json_object_set_new(opaque, name,
				  json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
}

static int run_counters(struct machine *m, const union command_args *args, json_t **ret_reply,
			struct err *err)
{
	struct machine_info info;
	json_t *o = json_object(), *vcpus = json_array();
	int rc = o && vcpus ? machine_counters(m, add_counter, o, err) : 0;

	machine_get_info(m, &info);
	for (unsigned int i = 0; !rc && vcpus && i < info.ncpus; i++) {
		json_t *one = json_object();

		rc = one ? machine_vcpu_counters(m, i, add_counter, one, err) : 0;
		(void)json_array_append_new(vcpus, one);
	}
	(void)json_object_set_new(o, "vcpus", vcpus);
	if (rc) {
		json_decref(o);
		return rc;
	}
	return reply(o, ret_reply, err);
}

static const char *const shutdown_modes[] = { "power-button", "kill", NULL };
static const char *const on_timeout_names[] = { "cancel", "switch", NULL };
static const char *const compress_names[] = {
	[MIG_COMPRESS_AUTO] = "auto",
	[MIG_COMPRESS_NONE] = "none",
	[MIG_COMPRESS_ZLIB] = "zlib",
	NULL,
};

static const struct shape_field resume_fields[] = {
	{ .name = "force",
	  .kind = SHAPE_BOOL,
	  .offset = offsetof(union command_args, resume.force) },
};

static const struct shape_field shutdown_fields[] = {
	{ .name = "mode",
	  .kind = SHAPE_CHOICE,
	  .offset = offsetof(union command_args, shutdown.mode),
	  .choices = shutdown_modes,
	  .required = true },
};

static const struct shape_field set_max_downtime_fields[] = {
	{ .name = "max_downtime_ns",
	  .kind = SHAPE_U64,
	  .offset = offsetof(union command_args, set_max_downtime.max_downtime_ns),
	  .min = 1,
	  .required = true },
};

static const struct shape_field resize_balloon_fields[] = {
	{ .name = "size_bytes",
	  .kind = SHAPE_U64,
	  .offset = offsetof(union command_args, resize_balloon.size_bytes),
	  .required = true },
};

#define SEND(field, field_kind)               \
	.name = #field, .kind = (field_kind), \
	.offset = offsetof(union command_args, send_migration.field)
static const struct shape_field send_migration_fields[] = {
	{ SEND(to, SHAPE_CHARS), .size = sizeof(((struct command_send_migration *)0)->to),
	  .required = true },
	{ SEND(max_downtime_ns, SHAPE_U64), .min = 1 },
	{ SEND(max_bandwidth, SHAPE_U64) },
	{ SEND(timeout_ns, SHAPE_U64) },
	{ SEND(on_timeout, SHAPE_CHOICE), .choices = on_timeout_names },
	{ SEND(compress, SHAPE_CHOICE), .choices = compress_names },
	{ SEND(compress_level, SHAPE_INT), .min = 1, .max = 9 },
};

#define RATE(field, field_kind)               \
	.name = #field, .kind = (field_kind), \
	.offset = offsetof(union command_args, dirty_rate.field)
static const struct shape_field dirty_rate_fields[] = {
	{ RATE(for_ns, SHAPE_U64), .min = DIRTY_RATE_MIN_INTERVAL_NS, .max = DIRTY_RATE_MAX_NS },
	{ RATE(interval_ns, SHAPE_U64), .min = DIRTY_RATE_MIN_INTERVAL_NS,
	  .max = DIRTY_RATE_MAX_NS },
	{ RATE(bandwidth, SHAPE_U64) },
	{ RATE(max_downtime_ns, SHAPE_U64), .min = 1 },
	{ RATE(trace, SHAPE_CHARS), .size = sizeof(((struct command_dirty_rate *)0)->trace) },
};

#define FIELDS(table) .fields = (table), .nfields = ARRAY_LEN(table)

static const struct command commands[] = {
	{ "GET", "vmm.ping", "any", .ok_status = 200, .run = run_ping },
	{ "GET", "vm.info", "any", .ok_status = 200, .run = run_info },
	{ "GET", "vm.counters", "any", .ok_status = 200, .run = run_counters },
	{ "GET", "vm.events", "any", .ok_status = 200 },
	{ "GET", "vm.balloon", "any, with a balloon", .ok_status = 200, .run = run_balloon },
	{ "PUT", "vm.resize-balloon", "running or paused, with a balloon",
	  FIELDS(resize_balloon_fields), .ok_status = 204, .run = run_resize_balloon },
	{ "GET", "vm.migration-status", "any, once a migration began", .ok_status = 200,
	  .run = run_migration_status },
	{ "PUT", "vm.pause", "running", .ok_status = 204, .run = run_pause },
	{ "PUT", "vm.resume", "paused; unknown with force", FIELDS(resume_fields), .ok_status = 204,
	  .run = run_resume },
	{ "PUT", "vm.shutdown", "power-button: running; kill: any", FIELDS(shutdown_fields),
	  .ok_status = 204, .run = run_shutdown },
	{ "PUT", "vm.send-migration", "running or paused, and not migrating",
	  FIELDS(send_migration_fields),
	  .defaults.send_migration = { .max_downtime_ns = 300 * NS_PER_MS,
				       .compress = MIG_COMPRESS_AUTO,
				       .compress_level = 1 },
	  .ok_status = 202, .run = run_send_migration },
	{ "PUT", "vm.cancel-migration", "migrating", .ok_status = 204,
	  .run = run_cancel_migration },
	{ "PUT", "vm.set-max-downtime", "migrating", FIELDS(set_max_downtime_fields),
	  .ok_status = 204, .run = run_set_max_downtime },
	{ "GET", "vm.dirty-rate-status", "any, once a measurement began", .ok_status = 200,
	  .run = run_dirty_rate_status },
	{ "PUT", "vm.dirty-rate", "running or paused, and neither migrating nor measuring",
	  FIELDS(dirty_rate_fields),
	  .defaults.dirty_rate = { .for_ns = NS_PER_S,
				   .interval_ns = 100 * NS_PER_MS,
				   .max_downtime_ns = 300 * NS_PER_MS },
	  .ok_status = 202, .run = run_dirty_rate },
	{ "PUT", "vm.cancel-dirty-rate", "measuring", .ok_status = 204,
	  .run = run_cancel_dirty_rate },
};

const struct command *command_table(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(commands);
	return commands;
}

int command_status(int rc)
{
	switch (rc) {
	case 0:
		return 200;
	case -EINVAL:
	case -ERANGE:
		return 400;
	case -EACCES:
		return 403;
	case -ENOENT:
		return 404;
	/* The machine's state does not allow it, or this guest has no such thing. */
	case -EBUSY:
	case -EALREADY:
	case -EINPROGRESS:
	case -EOPNOTSUPP:
		return 409;
	case -EMSGSIZE:
		return 413;
	case -EAGAIN:
		return 503;
	default:
		return 500;
	}
}

int command_run(const struct command *c, struct machine *m, const void *body, size_t body_bytes,
		json_t **ret_reply, struct err *err)
{
	union command_args args = c->defaults;
	json_error_t what;
	json_t *o;
	int rc;

	o = body_bytes ? json_loadb(body, body_bytes, JSON_REJECT_DUPLICATES, &what) :
			 json_object();
	if (!o)
		return err_set(err, -EINVAL, "the body is not JSON: %s (byte %d)",
			       body_bytes ? what.text : "out of memory",
			       body_bytes ? what.position : 0);
	rc = shape_decode(c->fields, c->nfields, o, &args, err);
	json_decref(o);
	return rc ? rc : c->run(m, &args, ret_reply, err);
}
