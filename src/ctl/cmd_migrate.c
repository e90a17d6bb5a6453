/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "discover.h"
#include "follow.h"
#include "migrate_view.h"
#include "report_file.h"

struct migration {
	const struct ctl_args *args;
	struct vm vm;
	struct follow follow;
	struct migrate_view view;
	struct report_file file;
};

static int complain(const struct ctl_args *a, const struct err *err, int status)
{
	fprintf(stderr, "%s migrate: %s\n", a->program, err->msg);
	return status;
}

static json_t *request_body(const struct ctl_args *a)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:s, s:s}", "to", a->to, "max_downtime_ns",
			      (json_int_t)a->max_downtime_ns, "max_bandwidth",
			      (json_int_t)a->max_bandwidth, "timeout_ns", (json_int_t)a->timeout_ns,
			      "on_timeout", a->on_timeout, "compress", a->compress);

	if (o && a->compress_level)
		json_object_set_new(o, "compress_level", json_integer(a->compress_level));
	return o;
}

/*
 * The stream is open before the migration starts, so that no event of it is missed. A migration that was under way before ours would have its end taken for
 * ours: the state is asked for again behind that.
 */
static int subscribe(struct migration *m, struct err *err)
{
	json_t *info = NULL;
	bool migrating;
	int rc = follow_open(&m->follow, err);

	if (rc)
		return rc;
	rc = api_call(m->vm.path, "GET", "vm.info", NULL, API_TIMEOUT_MS, NULL, &info, err);
	migrating = json_is_true(json_object_get(info, "migrating"));
	json_decref(info);
	if (!rc && migrating)
		return err_set(err, -EBUSY, "a migration is under way already");
	return rc;
}

static int begin(struct migration *m, struct err *err)
{
	json_t *body = request_body(m->args);
	int rc;

	if (!body)
		return err_set(err, -EINVAL, "--to: not UTF-8");
	rc = subscribe(m, err);
	if (!rc)
		rc = api_call(m->vm.path, "PUT", "vm.send-migration", body, API_TIMEOUT_MS, NULL,
			      NULL, err);
	json_decref(body);
	return rc;
}

static void note(void *opaque, const char *text)
{
	struct migration *m = opaque;

	migrate_view_clear_line(&m->view);
	fprintf(stderr, "%s migrate: %s\n", m->args->program, text);
}

/* The report that ends it, or NULL when the stream ended first. */
static json_t *watch(struct migration *m)
{
	json_t *ev, *report = NULL;

	while (!report && (ev = follow_event(&m->follow))) {
		const char *type = json_string_value(json_object_get(ev, "event"));

		if (type && !strcmp(type, "progress"))
			migrate_view_progress(&m->view, json_object_get(ev, "progress"));
		else if (type && !strcmp(type, "round"))
			migrate_view_round(&m->view, json_object_get(ev, "round"));
		else if (type && !strcmp(type, "migration-done"))
			report = json_incref(json_object_get(ev, "report"));
		json_decref(ev);
	}
	return report;
}

/* The stream is gone, the migration's end unseen: the VM may still be there to tell. */
static json_t *ask_report(struct migration *m)
{
	json_t *report = NULL;
	const char *result;

	if (m->follow.nsignals > 1 || api_call(m->vm.path, "GET", "vm.migration-status", NULL,
					       API_TIMEOUT_MS, NULL, &report, NULL))
		return NULL;
	result = json_string_value(json_object_get(report, "result"));
	if (result && strcmp(result, "running") != 0)
		return report;
	json_decref(report);
	return NULL;
}

static int conclude(struct migration *m, const json_t *report)
{
	const char *result = json_string_value(json_object_get(report, "result"));
	const char *reason = json_string_value(json_object_get(report, "reason"));
	struct err err = { 0 };

	migrate_view_report(&m->view, report, m->vm.name, m->args->to);
	if (report_file_write(&m->file, report, &err))
		complain(m->args, &err, 0);
	result = result ? result : "";
	reason = reason && *reason ? reason : "no reason given";
	if (!strcmp(result, "completed"))
		return CTL_OK;
	if (!strcmp(result, "cancelled")) {
		fprintf(stderr, "%s migrate: cancelled; %s runs on here\n", m->args->program,
			m->vm.name);
		return CTL_CANCELLED;
	}
	if (!strcmp(result, "failed")) {
		fprintf(stderr, "%s migrate: %s; %s runs on here\n", m->args->program, reason,
			m->vm.name);
		return CTL_FAILED;
	}
	fprintf(stderr,
		"%s migrate: outcome unknown: %s; %s is paused here: see where it runs, then stop it here or resume --force\n",
		m->args->program, reason, m->vm.name);
	return CTL_UNKNOWN;
}

static int run(struct migration *m)
{
	struct err err = { 0 };
	json_t *report;
	int status;

	if (begin(m, &err)) {
		err_prefix(&err, "%s", m->vm.name);
		return complain(m->args, &err, CTL_FAILED);
	}
	report = watch(m);
	if (!report)
		report = ask_report(m);
	if (report) {
		status = conclude(m, report);
		json_decref(report);
		return status;
	}
	note(m,
	     m->follow.nsignals > 1 ?
		     "outcome unknown: no longer watching, the migration may go on" :
		     "outcome unknown: the VM's process went away before it said how the migration ended");
	return CTL_UNKNOWN;
}

int cmd_migrate(const struct ctl_args *args)
{
	struct migration m = { .args = args };
	struct err err = { 0 };
	int status = CTL_FAILED;

	if (!args->to) {
		fprintf(stderr, "%s migrate: --to HOST:PORT is missing\n", args->program);
		return CTL_USAGE;
	}
	if (args->max_downtime_ns == 0) {
		fprintf(stderr, "%s migrate: --max-downtime: expected more than 0\n",
			args->program);
		return CTL_USAGE;
	}
	migrate_view_init(&m.view, stdout, args->json);
	/* Whatever can go wrong with the file goes wrong before the VM moves. */
	if (report_file_open(&m.file, args->report, &err))
		return complain(args, &err, CTL_USAGE);
	m.follow = (struct follow){ .socket_path = m.vm.path,
				    .cancel_route = "vm.cancel-migration",
				    .note = note,
				    .opaque = &m,
				    .signal_fd = -1 };
	if (follow_signals(&m.follow, &err) || vm_find(args->name, args->api, &m.vm, &err))
		complain(args, &err, CTL_FAILED);
	else
		status = run(&m);
	follow_fini(&m.follow);
	vm_fini(&m.vm);
	report_file_discard(&m.file);
	return status;
}
