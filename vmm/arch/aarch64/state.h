/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_STATE_H
#define VMM_ARCH_AARCH64_STATE_H

#include "arm64.h"
#include "base/state.h"
#include "cpu_model.h"

/* What the files that move an arm64 VM's state share. */

/* state_regs.c, state_gic.c: dev is a struct arch_vcpu. */
extern const struct state_desc arm64_state_mp, arm64_state_regs, arm64_state_events,
	arm64_state_gicr, arm64_state_icc;
/* state_time.c, state_gic.c, state_its.c: dev is the struct arch_vm. */
extern const struct state_desc arm64_state_counter, arm64_state_gicd, arm64_state_its;

/* cpu_model_host.c. The values of @list's registers; -errno with the register named. */
int arm64_regs_read(int vcpu_fd, const struct reg_list *list, struct reg_set *ret, struct err *err);

/* state_gic.c. What of the interrupt controllers does not change as the guest runs; after arm64_gic_init. */
int arm64_gic_describe(struct arch_vm *av, struct cpu_model_gic *ret, struct err *err);
/* Attribute bits 63-32 of the GIC's groups for this vCPU: its affinity. */
int arm64_gic_affinity(const struct arch_vcpu *vcpu, uint64_t *ret, struct err *err);
/* state_its.c: the ITS' part of it. */
int arm64_its_describe(const struct arch_vm *av, struct cpu_model_gic *ret, struct err *err);

/* state_time.c. A new guest's counters start at zero, both of them where KVM can; all vCPUs exist. */
int arm64_counter_start(struct arch_vm *av, struct err *err);

#endif
