/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_ARM64_H
#define VMM_ARCH_AARCH64_ARM64_H

#include <linux/kvm.h>

#include "vmm/arch.h"

/* What the files of this directory share about a live VM. The descriptors of VM and vCPUs belong to vmm/, those of the interrupt controllers to arch_vm. */
struct cpu_model; /* cpu_model.h */

struct arch_vcpu {
	struct arch_vm *vm;
	int fd;
	unsigned int index;
};

struct arch_vm {
	int kvm_fd;
	int vm_fd;
	unsigned int ncpus;
	int gic_fd; /* GICv3; -1: not created yet */
	int its_fd; /* its ITS; -1: not created yet */
	unsigned int nirqs; /* INTIDs of the GIC, a multiple of 32 */
	struct kvm_vcpu_init
		init; /* target and features that every vCPU is made with; POWER_OFF comes on top for all but the first */
	struct arch_vcpu *vcpu[VM_MAX_VCPUS]; /* NULL: not created yet or gone */
	struct cpu_model *wanted; /* incoming: the source's; NULL: this host's default */
	struct cpu_model *model; /* what the guest has been given, from arm64_state_ready on */
};

/* gic.c: makes the GICv3 and the ITS and gives them their addresses; the controllers take vCPUs until arm64_gic_init. -errno with the device named. */
int arm64_gic_create(struct arch_vm *av, struct err *err);
/* Ends their configuration, when all vCPUs exist; from here on their state can be read and set. */
int arm64_gic_init(struct arch_vm *av, struct err *err);
/* Closes the descriptors; KVM keeps the devices as long as the VM lives. */
void arm64_gic_destroy(struct arch_vm *av);

/* cpu_model.c. The source's cpu sections; *ret is the caller's to free (NULL is fine there). */
int arm64_cpu_model_decode(const struct buf *sections, struct cpu_model **ret, struct err *err);
void arm64_cpu_model_free(struct cpu_model *model);
/* @first has been initialised with arch_vm.init and has not run: compares what it is with @model and names a difference (-EOPNOTSUPP). */
int arm64_cpu_model_check(struct arch_vcpu *first, const struct cpu_model *model, struct err *err);
/* All vCPUs exist and the interrupt controllers are initialised: compares the rest of arch_vm.wanted and makes it, or what this host gives, arch_vm.model; new guests' counters
 * start at zero. */
int arm64_state_ready(struct arch_vm *av, struct err *err);

#endif
