/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "cli.h"
#include "vmm/caps.h"

static const char *const state_name[] = {
	[CAPS_PRESENT] = "present", [CAPS_ABSENT] = "absent", [CAPS_UNKNOWN] = "unknown"
};
static void print_items(const char *title, const struct caps_item *items, unsigned int n)
{
	printf("\n%s\n", title);
	for (unsigned int i = 0; i < n; i++) {
		char value[24] = "";

		if (items[i].value)
			snprintf(value, sizeof(value), "%lld", (long long)items[i].value);
		printf("  %-36s %-8s %-8s %s\n", items[i].name, state_name[items[i].state], value,
		       items[i].reason);
	}
}

static void print_text(const struct caps *c)
{
	printf("kernel      %s\nKVM         API %d, module %s\n", c->kernel, c->kvm_api,
	       c->kvm_module);
	print_items("capabilities", c->cap, c->ncaps);
	print_items("dirty-tracking backends", c->backend, c->nbackends);
	print_items("accelerators beneath them", c->accel, c->naccels);
	printf("\n--dirty auto picks %s: %s\n", dirty_kind_name(c->auto_pick), c->auto_reason);
}

static json_t *items_json(const struct caps_item *items, unsigned int n)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "name", items[i].name,
						      "state", state_name[items[i].state], "value",
						      (json_int_t)items[i].value, "reason",
						      items[i].reason));
	return list;
}

static int print_json(const struct caps *c)
{
	json_t *root = json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:{s:s, s:s}}", "kernel",
				 c->kernel, "kvm_api", c->kvm_api, "kvm_module", c->kvm_module,
				 "capabilities", items_json(c->cap, c->ncaps), "backends",
				 items_json(c->backend, c->nbackends), "accelerators",
				 items_json(c->accel, c->naccels), "dirty_auto", "backend",
				 dirty_kind_name(c->auto_pick), "reason", c->auto_reason);

	if (!root || json_dumpf(root, stdout, JSON_INDENT(2))) {
		fprintf(stderr, "vmm caps: cannot print JSON\n");
		json_decref(root);
		return EXIT_FAILED;
	}
	putchar('\n');
	json_decref(root);
	return EXIT_OK;
}

int cmd_caps(int argc, char **argv)
{
	bool json = argc == 2 && !strcmp(argv[1], "--json");
	struct err err = { 0 };
	struct caps *caps;
	int status;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts("usage: vmm caps [--json]");
		return EXIT_OK;
	}
	if (argc > 1 && !json) {
		fprintf(stderr, "vmm caps: unexpected argument \"%s\"\n", argv[1]);
		return EXIT_USAGE;
	}
	caps = malloc(sizeof(*caps));
	if (!caps || caps_probe(caps, &err)) {
		fprintf(stderr, "vmm caps: %s\n", caps ? err.msg : "no memory");
		free(caps);
		return EXIT_FAILED;
	}
	status = EXIT_OK;
	if (json)
		status = print_json(caps);
	else
		print_text(caps);
	free(caps);
	return status;
}
