/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_DISCOVER_H
#define CTL_DISCOVER_H

#include <stddef.h>

#include <jansson.h>

#include "base/err.h"

/* The VMs of the runtime directory. */
struct vm {
	char name[64];
	char path[512];
	json_t *info; /* of vm.info; NULL: it does not answer */
};

struct vm_list {
	struct vm *vms; /* by name */
	size_t n;
};

/* Stale sockets are cleared away. */
int vm_list_init(struct vm_list *l, struct err *err);
void vm_list_fini(struct vm_list *l);

/* The VM meant by --api PATH, or by NAME, or the only one that runs or is paused (with neither). -ENOENT, -ENOTUNIQ, or api_call's error. */
int vm_find(const char *name, const char *api_path, struct vm *ret, struct err *err);
void vm_fini(struct vm *vm);

const char *vm_state(const struct vm *vm); /* "not answering" without info */

#endif
