/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "commands.h"
#include "dirtyrate_text.h"
#include "discover.h"
#include "follow.h"
#include "member.h"

struct dirtyrate {
	const struct ctl_args *args;
	struct vm vm;
	struct follow follow;
};

#define INTERVAL_NS (100 * NS_PER_MS)

static int complain(const struct ctl_args *a, const struct err *err, int status)
{
	fprintf(stderr, "%s dirtyrate: %s\n", a->program, err->msg);
	return status;
}

static void note(void *opaque, const char *text)
{
	const struct dirtyrate *d = opaque;

	fprintf(stderr, "%s dirtyrate: %s\n", d->args->program, text);
}

/* The VM's process writes the file, and its working directory may be another one. */
static int absolute(const char *path, struct buf *out, struct err *err)
{
	char cwd[PATH_MAX];

	if (path[0] != '/') {
		if (!getcwd(cwd, sizeof(cwd)))
			return err_sys(err, -errno, "--trace %s", path);
		buf_printf(out, "%s/", cwd);
	}
	buf_printf(out, "%s", path);
	return buf_ok(out) ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static json_t *request_body(const struct ctl_args *a, struct err *err)
{
	uint64_t interval_ns = a->interval_ns ? a->interval_ns : MIN(INTERVAL_NS, a->for_ns);
	struct buf trace = { 0 };
	json_t *o = NULL;

	if (a->trace && absolute(a->trace, &trace, err)) {
		buf_fini(&trace);
		return NULL;
	}
	o = json_pack("{s:I, s:I, s:I, s:I, s:s%}", "for_ns", (json_int_t)a->for_ns, "interval_ns",
		      (json_int_t)interval_ns, "bandwidth", (json_int_t)a->bandwidth,
		      "max_downtime_ns", (json_int_t)a->max_downtime_ns, "trace",
		      trace.len_bytes ? (const char *)trace.data : "", trace.len_bytes);
	buf_fini(&trace);
	if (!o)
		err_set(err, -EINVAL, "--trace: not UTF-8");
	return o;
}

static int begin(struct dirtyrate *d, struct err *err)
{
	json_t *body = request_body(d->args, err);
	int rc;

	if (!body)
		return -EINVAL;
	rc = follow_open(&d->follow, err);
	if (!rc)
		rc = api_call(d->vm.path, "PUT", "vm.dirty-rate", body, API_TIMEOUT_MS, NULL, NULL,
			      err);
	json_decref(body);
	return rc;
}

/* Only one measurement at a time, and begun after the stream: the first end is ours. NULL: the stream ended before it. */
static json_t *watch(struct dirtyrate *d)
{
	json_t *ev, *report = NULL;

	while (!report && (ev = follow_event(&d->follow))) {
		if (!strcmp(member_str(ev, "event"), "dirty-rate-done"))
			report = json_incref(json_object_get(ev, "dirty_rate"));
		json_decref(ev);
	}
	return report;
}

static void show(const struct dirtyrate *d, const json_t *report)
{
	struct buf text = { 0 };

	if (d->args->json) {
		json_dumpf(report, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
		putchar('\n');
	} else {
		dirtyrate_text(report, d->vm.name, &text);
		if (buf_ok(&text))
			fwrite(text.data, 1, text.len_bytes, stdout);
	}
	fflush(stdout);
	buf_fini(&text);
}

static int conclude(struct dirtyrate *d, const json_t *report)
{
	const char *result = member_str(report, "result");

	show(d, report);
	if (!strcmp(result, "completed"))
		return CTL_OK;
	if (!strcmp(result, "cancelled")) {
		note(d, "cancelled");
		return CTL_CANCELLED;
	}
	note(d, member_str(report, "reason"));
	return CTL_FAILED;
}

static int run(struct dirtyrate *d)
{
	struct err err = { 0 };
	json_t *report;
	int status;

	if (begin(d, &err)) {
		err_prefix(&err, "%s", d->vm.name);
		return complain(d->args, &err, CTL_FAILED);
	}
	report = watch(d);
	if (!report) {
		note(d, d->follow.nsignals > 1 ?
				"no longer watching; the VM ends the measurement by itself" :
				"the VM ended while it was measured");
		return CTL_FAILED;
	}
	status = conclude(d, report);
	json_decref(report);
	return status;
}

int cmd_dirtyrate(const struct ctl_args *args)
{
	struct dirtyrate d = { .args = args };
	struct err err = { 0 };
	int status = CTL_FAILED;

	if (args->interval_ns > args->for_ns) {
		fprintf(stderr, "%s dirtyrate: --interval: expected at most as long as --for\n",
			args->program);
		return CTL_USAGE;
	}
	d.follow = (struct follow){ .socket_path = d.vm.path,
				    .cancel_route = "vm.cancel-dirty-rate",
				    .note = note,
				    .opaque = &d,
				    .signal_fd = -1 };
	if (follow_signals(&d.follow, &err) || vm_find(args->name, args->api, &d.vm, &err))
		complain(args, &err, CTL_FAILED);
	else
		status = run(&d);
	follow_fini(&d.follow);
	vm_fini(&d.vm);
	return status;
}
