/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include <jansson.h>

#include "api.h"
#include "commands.h"
#include "discover.h"
#include "member.h"
#include "units.h"

static void print_size(const char *what, const json_t *o, const char *key)
{
	struct unit_text text;

	printf("%-10s %s\n", what, unit_memory(&text, member_count(o, key)));
}

static void print_text(const json_t *balloon)
{
	const json_t *guest = json_object_get(balloon, "guest");

	print_size("asked", balloon, "target_bytes");
	print_size("given", balloon, "actual_bytes");
	print_size("reported", balloon, "reported_bytes");
	if (json_is_null(guest))
		return;
	print_size("total", guest, "total_bytes");
	print_size("free", guest, "free_bytes");
	print_size("available", guest, "available_bytes");
	print_size("caches", guest, "disk_caches_bytes");
}

static int resize(const struct vm *vm, uint64_t bytes, struct err *err)
{
	json_t *body = json_pack("{s:I}", "size_bytes", (json_int_t)bytes);
	int rc = api_call(vm->path, "PUT", "vm.resize-balloon", body, API_TIMEOUT_MS, NULL, NULL,
			  err);

	json_decref(body);
	return rc;
}

int cmd_balloon(const struct ctl_args *args)
{
	json_t *balloon = NULL;
	struct err err = { 0 };
	struct vm vm;
	int rc = vm_find(args->name, args->api, &vm, &err);

	if (!rc) {
		if (args->resize)
			rc = resize(&vm, args->size_bytes, &err);
		if (!rc && (!args->resize || args->json))
			rc = api_call(vm.path, "GET", "vm.balloon", NULL, API_TIMEOUT_MS, NULL,
				      &balloon, &err);
		vm_fini(&vm);
	}
	if (rc) {
		fprintf(stderr, "%s balloon: %s\n", args->program, err.msg);
		return CTL_FAILED;
	}
	if (args->json) {
		json_dumpf(balloon, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (balloon) {
		print_text(balloon);
	}
	json_decref(balloon);
	return CTL_OK;
}
