/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "commands.h"
#include "discover.h"
#include "member.h"
#include "migrate_text.h"
#include "table.h"
#include "units.h"

#define JSON_OUT (JSON_COMPACT | JSON_REAL_PRECISION(12))

/* How long a VM that was stopped may take to be gone. */
#define STOP_MS 10000

static int complain(const struct ctl_args *a, const char *command, const struct err *err)
{
	fprintf(stderr, "%s %s: %s\n", a->program, command, err->msg);
	return CTL_FAILED;
}

static void print_json(const json_t *o)
{
	json_dumpf(o, stdout, JSON_OUT);
	putchar('\n');
	fflush(stdout);
}

/* ---- list ---- */

static void list_row(struct table *t, const struct vm *vm)
{
	struct unit_text pid = { 0 }, cpus = { 0 }, memory, uptime;
	const json_t *i = vm->info;

	if (!i) {
		table_row(t,
			  (const char *const[]){ vm->name, vm_state(vm), "-", "-", "-", "-", "-" });
		return;
	}
	table_row(t, (const char *const[]){ vm->name,
					    json_is_true(json_object_get(i, "migrating")) ?
						    "migrating" :
						    vm_state(vm),
					    unit_count(&pid, member_count(i, "pid")),
					    unit_count(&cpus, member_count(i, "cpus")),
					    unit_memory(&memory, member_count(i, "memory_bytes")),
					    unit_ms(&uptime, member_num(i, "uptime_ms")),
					    *member_str(i, "listen") ? member_str(i, "listen") :
								       member_str(i, "kernel") });
}

static void list_text(const struct vm_list *l)
{
	static const struct table_column columns[] = {
		{ "NAME", .right = false },   { "STATE", .right = false }, { "PID", .right = true },
		{ "CPUS", .right = true },    { "MEMORY", .right = true }, { "UP", .right = true },
		{ "KERNEL", .right = false },
	};
	struct buf out = { 0 };
	struct table t;

	table_init(&t, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < l->n; i++)
		list_row(&t, &l->vms[i]);
	table_render(&t, 0, &out);
	if (buf_ok(&out))
		fwrite(out.data, 1, out.len_bytes, stdout);
	table_fini(&t);
	buf_fini(&out);
}

static void list_json(const struct vm_list *l)
{
	json_t *array = json_array();

	for (size_t i = 0; i < l->n; i++) {
		const struct vm *vm = &l->vms[i];
		json_t *o =
			vm->info ? json_deep_copy(vm->info) :
				   json_pack("{s:s, s:s}", "name", vm->name, "state", vm_state(vm));

		json_object_set_new(o, "api", json_string(vm->path));
		json_array_append_new(array, o);
	}
	print_json(array);
	json_decref(array);
}

int cmd_list(const struct ctl_args *args)
{
	struct err err = { 0 };
	struct vm_list l;

	if (vm_list_init(&l, &err))
		return complain(args, "list", &err);
	if (args->json)
		list_json(&l);
	else if (l.n)
		list_text(&l);
	vm_list_fini(&l);
	return CTL_OK;
}

/* ---- status ---- */

static void line(const char *key, const char *value)
{
	if (*value)
		printf("%-10s %s\n", key, value);
}

/* "console1: port 1 \"agent\", /dev/pts/3" */
static void port_lines(const json_t *ports)
{
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p) {
		const char *name = member_str(p, "name");

		printf("%-10s %s: port %zu%s%s%s, %s\n", "", member_str(p, "id"), i,
		       *name ? " \"" : "", name, *name ? "\"" : "", member_str(p, "local"));
	}
}

/* "disk0: blk /d.img, pci slot 1" */
static void device_lines(const json_t *devices)
{
	size_t i;
	json_t *d;

	json_array_foreach(devices, i, d) {
		const json_t *ports = json_object_get(d, "ports");
		const char *local = json_array_size(ports) ? "" : member_str(d, "local");

		printf("%-10s %s: %s%s%s, %s slot %" PRIu64 "\n", i ? "" : "devices",
		       member_str(d, "id"), member_str(d, "kind"), *local ? " " : "", local,
		       member_str(d, "transport"), member_count(d, "slot"));
		port_lines(ports);
	}
}

static void status_text(const struct vm *vm)
{
	const json_t *i = vm->info;
	struct unit_text memory, uptime;
	char text[256];

	line("name", vm->name);
	snprintf(text, sizeof(text), "%s%s", vm_state(vm),
		 json_is_true(json_object_get(i, "migrating")) ? ", migrating" : "");
	line("state", text);
	line("reason", member_str(i, "stop_reason"));
	line("listens", member_str(i, "listen"));
	snprintf(text, sizeof(text), "%" PRIu64 " vCPU%s, %s", member_count(i, "cpus"),
		 member_count(i, "cpus") == 1 ? "" : "s",
		 unit_memory(&memory, member_count(i, "memory_bytes")));
	line("size", text);
	line("kernel", member_str(i, "kernel"));
	line("console", member_str(i, "console"));
	device_lines(json_object_get(i, "devices"));
	snprintf(text, sizeof(text), "%s%s%s%s", member_str(i, "dirty_backend"),
		 *member_str(i, "dirty_reason") ? " (" : "", member_str(i, "dirty_reason"),
		 *member_str(i, "dirty_reason") ? ")" : "");
	line("tracking", text);
	if (*member_str(i, "dirty_accel")) {
		snprintf(text, sizeof(text), "%s, asked %s (%s)", member_str(i, "dirty_accel"),
			 member_str(i, "dirty_accel_asked"), member_str(i, "dirty_accel_reason"));
		line("accel", text);
	}
	snprintf(text, sizeof(text), "%" PRIu64 ", up %s", member_count(i, "pid"),
		 unit_ms(&uptime, member_num(i, "uptime_ms")));
	line("process", text);
	line("api", vm->path);
}

/* More vCPUs than this are in the sums alone. */
#define MAX_VCPU_COLUMNS 8u

/* A counter that a vCPU does not have (the VM's own) is an empty cell. */
static const char *count_text(struct unit_text *ret, const json_t *v)
{
	json_int_t n = json_integer_value(v);

	return v ? unit_count(ret, n > 0 ? (uint64_t)n : 0) : "";
}

/* "disk0.requests" */
static void device_rows(struct table *t, const json_t *devices)
{
	size_t i;
	json_t *d, *value;
	const char *key;

	json_array_foreach(devices, i, d) {
		json_object_foreach(json_object_get(d, "counters"), key, value) {
			struct unit_text text;
			char name[96];

			snprintf(name, sizeof(name), "%.31s.%.60s", member_str(d, "id"), key);
			table_row(t, (const char *const[2 + MAX_VCPU_COLUMNS]){
					     name, count_text(&text, value) });
		}
	}
}

static void counters_text(json_t *counters, const json_t *devices)
{
	static const char *const heads[MAX_VCPU_COLUMNS] = {
		"vCPU 0", "vCPU 1", "vCPU 2", "vCPU 3", "vCPU 4", "vCPU 5", "vCPU 6", "vCPU 7"
	};
	const json_t *vcpus = json_object_get(counters, "vcpus");
	size_t n = MIN(json_array_size(vcpus), (size_t)MAX_VCPU_COLUMNS);
	struct table_column columns[2 + MAX_VCPU_COLUMNS] = { { "counter", .right = false },
							      { "value", .right = true } };
	struct buf out = { 0 };
	struct table t;
	const char *key;
	json_t *value;

	n = n > 1 ? n : 0;
	for (size_t i = 0; i < n; i++)
		columns[2 + i] = (struct table_column){ heads[i], .right = true };
	table_init(&t, columns, 2 + n);
	json_object_foreach(counters, key, value) {
		struct unit_text text[1 + MAX_VCPU_COLUMNS];
		const char *cells[2 + MAX_VCPU_COLUMNS] = { key, count_text(&text[0], value) };

		if (!json_is_integer(value))
			continue;
		for (size_t i = 0; i < n; i++)
			cells[2 + i] = count_text(&text[1 + i],
						  json_object_get(json_array_get(vcpus, i), key));
		table_row(&t, cells);
	}
	device_rows(&t, devices);
	table_render(&t, 0, &out);
	if (buf_ok(&out))
		printf("\n%.*s", (int)out.len_bytes, (const char *)out.data);
	table_fini(&t);
	buf_fini(&out);
}

int cmd_status(const struct ctl_args *args)
{
	json_t *counters = NULL;
	struct err err = { 0 };
	struct vm vm;
	int rc;

	if (vm_find(args->name, args->api, &vm, &err))
		return complain(args, "status", &err);
	rc = args->counters ? api_call(vm.path, "GET", "vm.counters", NULL, API_TIMEOUT_MS, NULL,
				       &counters, &err) :
			      0;
	if (!rc && args->json) {
		json_object_set_new(vm.info, "api", json_string(vm.path));
		if (counters)
			json_object_set(vm.info, "counters", counters);
		print_json(vm.info);
	} else if (!rc) {
		status_text(&vm);
		if (counters)
			counters_text(counters, json_object_get(vm.info, "devices"));
	}
	json_decref(counters);
	vm_fini(&vm);
	return rc ? complain(args, "status", &err) : CTL_OK;
}

/* ---- pause, resume ---- */

/* What a command that changes the state says: nothing to people, the new state to programs. */
static int done(const struct ctl_args *args, const char *command, const struct vm *vm, int rc,
		const char *state, struct err *err)
{
	json_t *o;

	if (rc) {
		err_prefix(err, "%s", vm->name);
		return complain(args, command, err);
	}
	if (args->json) {
		o = json_pack("{s:s, s:s}", "name", vm->name, "state", state);
		print_json(o);
		json_decref(o);
	}
	return CTL_OK;
}

int cmd_pause(const struct ctl_args *args)
{
	struct err err = { 0 };
	struct vm vm;
	int rc;

	if (vm_find(args->name, args->api, &vm, &err))
		return complain(args, "pause", &err);
	rc = api_call(vm.path, "PUT", "vm.pause", NULL, API_TIMEOUT_MS, NULL, NULL, &err);
	rc = done(args, "pause", &vm, rc, "paused", &err);
	vm_fini(&vm);
	return rc;
}

int cmd_resume(const struct ctl_args *args)
{
	json_t *body = args->force ? json_pack("{s:b}", "force", 1) : NULL;
	struct err err = { 0 };
	struct vm vm;
	int rc;

	if (vm_find(args->name, args->api, &vm, &err)) {
		json_decref(body);
		return complain(args, "resume", &err);
	}
	rc = api_call(vm.path, "PUT", "vm.resume", body, API_TIMEOUT_MS, NULL, NULL, &err);
	rc = done(args, "resume", &vm, rc, "running", &err);
	json_decref(body);
	vm_fini(&vm);
	return rc;
}

/* ---- stop ---- */

static int shut_down(const struct vm *vm, const char *mode, struct err *err)
{
	json_t *body = json_pack("{s:s}", "mode", mode);
	int rc = body ? api_call(vm->path, "PUT", "vm.shutdown", body, API_TIMEOUT_MS, NULL, NULL,
				 err) :
			err_set(err, -ENOMEM, "out of memory");

	json_decref(body);
	return rc;
}

/* True when the VM said that it stopped, or its stream ended. */
static bool wait_stopped(struct api_stream *s, uint64_t timeout_ns)
{
	uint64_t until = clock_mono_ns() + timeout_ns;

	for (;;) {
		uint64_t now = clock_mono_ns();
		uint64_t left_ms =
			now < until ? MIN((until - now) / NS_PER_MS, (uint64_t)1 << 30) : 0;
		json_t *ev = NULL;
		bool stopped;

		switch (api_stream_next(s, -1, (int)left_ms, &ev, NULL)) {
		case API_EVENT:
			stopped = !strcmp(member_str(ev, "state"), "stopped") ||
				  !strcmp(member_str(ev, "state"), "migrated");
			json_decref(ev);
			if (stopped)
				return true;
			break;
		case API_END:
		case API_BROKEN:
			return true;
		case API_TIMEOUT:
		case API_WAKE:
			return false;
		}
	}
}

/* A guest that can be asked, and is in a state to hear it. */
static bool ask_first(const struct ctl_args *args, const struct vm *vm)
{
	return !args->force && !strcmp(vm_state(vm), "running") &&
	       strcmp(member_str(vm->info, "kernel"), "built-in guest") != 0;
}

static int stop(const struct ctl_args *args, const struct vm *vm, struct err *err)
{
	struct api_stream *s = NULL;
	bool stopped = false;
	int rc;

	if (!args->force && !strcmp(vm_state(vm), "paused"))
		return err_set(
			err, -EBUSY,
			"it is paused and cannot hear its power button: resume it, or stop --force");
	rc = api_stream_open(vm->path, &s, err);
	if (!rc && ask_first(args, vm)) {
		rc = shut_down(vm, "power-button", err);
		stopped = !rc && wait_stopped(s, args->timeout_ns);
		if (!rc && !stopped && !args->json)
			fprintf(stderr, "%s stop: %s did not power off in time: stopping it\n",
				args->program, vm->name);
	}
	if (!rc && !stopped) {
		rc = shut_down(vm, "kill", err);
		if (!rc && !wait_stopped(s, STOP_MS * NS_PER_MS))
			rc = err_set(err, -ETIMEDOUT, "it was told to stop and does not end");
	}
	api_stream_close(s);
	return rc;
}

int cmd_stop(const struct ctl_args *args)
{
	struct err err = { 0 };
	struct vm vm;
	int rc;

	if (vm_find(args->name, args->api, &vm, &err))
		return complain(args, "stop", &err);
	rc = done(args, "stop", &vm, stop(args, &vm, &err), "stopped", &err);
	vm_fini(&vm);
	return rc;
}

/* ---- events ---- */

static void event_text(const json_t *ev)
{
	const char *type = member_str(ev, "event");
	struct buf out = { 0 };

	if (!strcmp(type, "state")) {
		printf("state %s%s%s\n", member_str(ev, "state"),
		       *member_str(ev, "reason") ? ": " : "", member_str(ev, "reason"));
	} else if (!strcmp(type, "progress")) {
		migrate_text_progress(json_object_get(ev, "progress"), &out);
		buf_u8(&out, '\n');
	} else if (!strcmp(type, "round")) {
		migrate_text_round(json_object_get(ev, "round"), &out);
	} else if (!strcmp(type, "migration-done")) {
		const json_t *report = json_object_get(ev, "report");

		printf("migration %s%s%s\n", member_str(report, "result"),
		       *member_str(report, "reason") ? ": " : "", member_str(report, "reason"));
	} else if (!strcmp(type, "dirty-rate-done")) {
		printf("dirty rate %s\n", member_str(json_object_get(ev, "dirty_rate"), "result"));
	} else {
		printf("%s\n", type);
	}
	if (buf_ok(&out) && out.len_bytes)
		fwrite(out.data, 1, out.len_bytes, stdout);
	fflush(stdout);
	buf_fini(&out);
}

int cmd_events(const struct ctl_args *args)
{
	struct api_stream *s = NULL;
	struct err err = { 0 };
	enum api_next next;
	json_t *ev = NULL;
	struct vm vm;

	if (vm_find(args->name, args->api, &vm, &err))
		return complain(args, "events", &err);
	if (api_stream_open(vm.path, &s, &err)) {
		vm_fini(&vm);
		return complain(args, "events", &err);
	}
	while ((next = api_stream_next(s, -1, -1, &ev, &err)) == API_EVENT || next == API_TIMEOUT) {
		if (next == API_EVENT && args->json)
			print_json(ev);
		else if (next == API_EVENT)
			event_text(ev);
		json_decref(ev);
		ev = NULL;
	}
	api_stream_close(s);
	vm_fini(&vm);
	return next == API_END ? CTL_OK : complain(args, "events", &err);
}
