/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include "base/num.h"

/*
 * The order of apply. The counter is the VM's and needs nothing. The distributor comes before what makes interrupts pending (state_gic.c says why), the redistributors before the ITS, whose
 * tables name LPIs; it is last, and so is its capture, which may still write guest memory.
 */
static const struct state_desc *const first_sections[] = { &arm64_state_counter,
							   &arm64_state_gicd };
static const struct state_desc *const vcpu_sections[] = {
	&arm64_state_mp,   &arm64_state_regs, &arm64_state_events,
	&arm64_state_gicr, &arm64_state_icc,
};

struct table {
	struct state_entry *entries;
	unsigned int n, max;
};

static void add(struct table *t, const struct state_desc *desc, uint32_t instance, void *dev)
{
	if (t->n < t->max)
		t->entries[t->n] =
			(struct state_entry){ .desc = desc, .instance = instance, .dev = dev };
	t->n++;
}

unsigned int arch_state_entries(struct arch_vm *av, struct state_entry *entries, unsigned int max)
{
	struct table t = { .entries = entries, .max = max };

	for (unsigned int i = 0; i < ARRAY_LEN(first_sections); i++)
		add(&t, first_sections[i], 0, av);
	for (unsigned int cpu = 0; cpu < av->ncpus; cpu++) {
		for (unsigned int i = 0; i < ARRAY_LEN(vcpu_sections); i++)
			add(&t, vcpu_sections[i], cpu, av->vcpu[cpu]);
	}
	if (av->its_fd >= 0)
		add(&t, &arm64_state_its, 0, av);
	return t.n;
}
