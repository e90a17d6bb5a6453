/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_MSR_H
#define VMM_ARCH_X86_64_MSR_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define MSR_MAX 512u

#define MSR_IA32_TSC 0x10u
#define MSR_IA32_ARCH_CAPABILITIES 0x10au
#define MSR_IA32_TSC_DEADLINE 0x6e0u

struct msr_list {
	uint32_t n;
	uint32_t index[MSR_MAX];
};

/* KVM_GET_MSRS and KVM_SET_MSRS take at most this many at once (MAX_IO_MSRS - 1). */
#define MSR_BATCH 255u
union msr_batch {
	struct kvm_msrs head;
	uint8_t bytes[sizeof(struct kvm_msrs) + MSR_BATCH * sizeof(struct kvm_msr_entry)];
};

/* The MSRs of a vCPU that make up its state: KVM's list and a few that the list leaves out, less those that are skipped by name; only what can be
 * read on @vcpu_fd (CPUID set). */
int msr_list_probe(int kvm_fd, int vcpu_fd, struct msr_list *ret, struct err *err);

/* Why an MSR is not saved, or NULL. */
const char *msr_skip_reason(uint32_t index);

/* Read list->n values into @entries; an MSR that cannot be read is an error that names it. */
int msr_read(int vcpu_fd, const struct msr_list *list, struct kvm_msr_entry *entries,
	     struct err *err);

/* Write @n values. One that KVM refuses is an error unless the vCPU has that value already or the MSR is one whose value belongs to the host. */
int msr_write(int vcpu_fd, const struct kvm_msr_entry *entries, uint32_t n, struct err *err);

/* What a new vCPU starts with beyond KVM's reset values. */
int msr_set_boot_values(int vcpu_fd, struct err *err);

#endif
