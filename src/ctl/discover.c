/* SPDX-License-Identifier: Apache-2.0 */
#include "discover.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "base/cleanup.h"
#include "control/runtime.h"

/* A VM that takes longer than this for its name is listed as not answering. */
#define INFO_TIMEOUT_MS 3000L

/* -ECONNREFUSED alone means that nobody will ever listen there again. */
static bool stale(const char *path)
{
	cleanup_fd int fd = control_connect(path);
	cleanup_fd int lock = -1;

	if (fd != -ECONNREFUSED)
		return fd == -ENOENT;
	lock = control_runtime_lock(NULL);
	if (lock >= 0)
		control_remove_stale(path);
	return true;
}

static int add_vm(struct vm_list *l, const char *dir, const char *file, size_t name_len)
{
	struct vm *grown, vm = { 0 };

	if (name_len >= sizeof(vm.name) ||
	    snprintf(vm.path, sizeof(vm.path), "%s/%s", dir, file) >= (int)sizeof(vm.path))
		return 0;
	memcpy(vm.name, file, name_len);
	if (stale(vm.path))
		return 0;
	grown = realloc(l->vms, (l->n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->vms = grown;
	if (api_call(vm.path, "GET", "vm.info", NULL, INFO_TIMEOUT_MS, NULL, &vm.info, NULL))
		vm.info = NULL;
	l->vms[l->n++] = vm;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct vm *)a)->name, ((const struct vm *)b)->name);
}

int vm_list_init(struct vm_list *l, struct err *err)
{
	char dir[512];
	int rc = control_runtime_dir(dir, sizeof(dir), err);
	struct dirent *entry;
	DIR *d;

	*l = (struct vm_list){ 0 };
	if (rc)
		return rc;
	d = opendir(dir);
	if (!d)
		return err_sys(err, -errno, "%s", dir);
	while (!rc && (entry = readdir(d))) {
		size_t len = strlen(entry->d_name), tail = strlen(CONTROL_SOCKET_SUFFIX);

		if (len > tail && !strcmp(entry->d_name + len - tail, CONTROL_SOCKET_SUFFIX))
			rc = add_vm(l, dir, entry->d_name, len - tail);
	}
	closedir(d);
	if (rc) {
		vm_list_fini(l);
		return err_set(err, rc, "out of memory");
	}
	if (l->n)
		qsort(l->vms, l->n, sizeof(*l->vms), by_name);
	return 0;
}

void vm_fini(struct vm *vm)
{
	json_decref(vm->info);
	vm->info = NULL;
}

void vm_list_fini(struct vm_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		vm_fini(&l->vms[i]);
	free(l->vms);
	*l = (struct vm_list){ 0 };
}

const char *vm_state(const struct vm *vm)
{
	const char *state = json_string_value(json_object_get(vm->info, "state"));

	return state ? state : "not answering";
}

static bool eligible(const struct vm *vm)
{
	const char *state = vm_state(vm);

	return !strcmp(state, "running") || !strcmp(state, "paused") || !strcmp(state, "unknown");
}

/* "a (running), b (receiving)" */
static void names_of(const struct vm_list *l, char *ret, size_t ret_bytes)
{
	size_t used = 0;

	*ret = '\0';
	for (size_t i = 0; i < l->n; i++) {
		int n = snprintf(ret + used, ret_bytes - used, "%s%s (%s)", i ? ", " : "",
				 l->vms[i].name, vm_state(&l->vms[i]));

		if (n < 0 || (size_t)n >= ret_bytes - used)
			return;
		used += (size_t)n;
	}
}

static int find_only(struct vm *ret, struct err *err)
{
	struct vm_list l;
	size_t found = 0, n = 0;
	char names[180];
	int rc = vm_list_init(&l, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < l.n; i++) {
		if (eligible(&l.vms[i])) {
			found = i;
			n++;
		}
	}
	names_of(&l, names, sizeof(names));
	if (n == 1) {
		*ret = l.vms[found];
		l.vms[found].info = NULL;
	} else if (n > 1) {
		rc = err_set(err, -ENOTUNIQ, "which VM? There are: %s", names);
	} else if (l.n) {
		rc = err_set(err, -ENOENT, "no VM runs or is paused; there are: %s", names);
	} else {
		rc = err_set(err, -ENOENT, "no VM is running");
	}
	vm_list_fini(&l);
	return rc;
}

static int no_such(const char *name, struct err *err)
{
	struct vm_list l;
	char names[140];

	if (vm_list_init(&l, NULL))
		return err_set(err, -ENOENT, "no VM is named %.63s", name);
	names_of(&l, names, sizeof(names));
	err_set(err, -ENOENT, "no VM is named %.63s; %s%s", name,
		l.n ? "there are: " : "none is running", names);
	vm_list_fini(&l);
	return -ENOENT;
}

static int take_info(struct vm *vm, const char *label, struct err *err)
{
	const char *name;
	int rc = api_call(vm->path, "GET", "vm.info", NULL, API_TIMEOUT_MS, NULL, &vm->info, err);

	if (rc) {
		err_prefix(err, "%s", label);
		return rc;
	}
	name = json_string_value(json_object_get(vm->info, "name"));
	snprintf(vm->name, sizeof(vm->name), "%s", name ? name : "");
	return 0;
}

int vm_find(const char *name, const char *api_path, struct vm *ret, struct err *err)
{
	struct vm vm = { 0 };
	int rc;

	if (!name && !api_path)
		return find_only(ret, err);
	if (api_path) {
		if (snprintf(vm.path, sizeof(vm.path), "%s", api_path) >= (int)sizeof(vm.path))
			return err_set(err, -ENAMETOOLONG, "%s: too long", api_path);
	} else {
		rc = control_socket_path(name, vm.path, sizeof(vm.path), err);
		if (rc)
			return rc;
		if (stale(vm.path))
			return no_such(name, err);
	}
	rc = take_info(&vm, api_path ? api_path : name, err);
	if (!rc && name && strcmp(name, vm.name) != 0) {
		rc = err_set(err, -ENOENT, "the VM at %s is named %s", vm.path, vm.name);
		vm_fini(&vm);
	}
	if (!rc)
		*ret = vm;
	return rc;
}
