/* SPDX-License-Identifier: Apache-2.0 */
#include "counters.h"

#include <stdio.h>
#include <string.h>

static void on_counter(void *opaque, const char *name, uint64_t value)
{
	struct counters *c = opaque;

	if (c->n == COUNTERS_MAX)
		return;
	snprintf(c->item[c->n].name, COUNTERS_NAME_BYTES, "%s", name);
	c->item[c->n++].value = value;
}

static void on_vcpu_counter(void *opaque, const char *name, uint64_t value)
{
	struct counters_vcpu *v = opaque;

	if (strcmp(name, "exits") == 0)
		v->exits = value;
	else if (strcmp(name, "pf_fixed") == 0)
		v->faults = value;
}

int counters_read(struct vm *vm, struct counters *ret, struct err *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = vm_counters(vm, on_counter, ret, err);
	for (unsigned int i = 0; r == 0 && i < vm_ncpus(vm); i++, ret->nvcpus++)
		r = vm_vcpu_counters(vm, i, on_vcpu_counter, &ret->vcpu[i], err);
	return r;
}

static uint64_t value_of(const struct counters *c, const char *name)
{
	for (unsigned int i = 0; i < c->n; i++) {
		if (strcmp(c->item[i].name, name) == 0)
			return c->item[i].value;
	}
	return 0;
}

void counters_subtract(struct counters *later, const struct counters *earlier)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < later->n; i++) {
		struct counter c = later->item[i];
		uint64_t before = value_of(earlier, c.name);

		if (c.value <= before)
			continue;
		c.value -= before;
		later->item[n++] = c;
	}
	later->n = n;
	for (unsigned int i = 0; i < later->nvcpus && i < earlier->nvcpus; i++) {
		later->vcpu[i].exits -= earlier->vcpu[i].exits;
		later->vcpu[i].faults -= earlier->vcpu[i].faults;
	}
}
