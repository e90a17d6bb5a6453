/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_CPUID_H
#define VMM_ARCH_X86_64_CPUID_H

#include <linux/kvm.h>
#include <stdint.h>

#include "base/err.h"

/* CPUID tables. All functions but cpuid_host are pure. */
#define CPUID_MAX_ENTRIES 256u /* KVM_MAX_CPUID_ENTRIES */

struct cpuid_table {
	uint32_t nentries;
	struct kvm_cpuid_entry2 entry[CPUID_MAX_ENTRIES];
};

/* All that this host's KVM can give a guest with in-kernel interrupt controllers. */
int cpuid_host(int kvm_fd, struct cpuid_table *ret, struct err *err);

/* What a new guest gets of it: no nested virtualization, no performance counters, no processor trace (their state is not migrated), empty leaves left out. */
void cpuid_guest_default(const struct cpuid_table *host, struct cpuid_table *ret);

/* The table of vCPU @index of @ncpus: APIC ids and topology (one package, one core per vCPU). */
void cpuid_for_vcpu(const struct cpuid_table *model, unsigned int ncpus, unsigned int index,
		    struct cpuid_table *ret);

/* Can @host run a guest that has seen @source? -EOPNOTSUPP naming the first feature that is missing. @source is a peer's: hostile. */
int cpuid_check(const struct cpuid_table *source, const struct cpuid_table *host, struct err *err);

const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t function,
					  uint32_t index);

#endif
