/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_KVM_ARM64_H
#define VMM_ARCH_AARCH64_KVM_ARM64_H

#include "../../kvm.h"

/* The KVM ioctls that only arm64 has, on top of kvm_call; same rules as kvm.h. */

static inline void *kvm_arm64_unconst(const void *p)
{
	return (void *)(uintptr_t)p;
}

/* VM: the vCPU type that fits this host, for kvm_arm_vcpu_init; features come back clear. */
static inline int kvm_arm_preferred_target(int vm_fd, struct kvm_vcpu_init *ret, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_ARM_PREFERRED_TARGET, ret, err);
}

/* vCPU, before its first run: target and features. Called again it resets the registers to those of a CPU that was just switched on. */
static inline int kvm_arm_vcpu_init(int vcpu_fd, const struct kvm_vcpu_init *init, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_ARM_VCPU_INIT, kvm_arm64_unconst(init), err);
}

/* vCPU: a feature such as SVE is fixed, its registers can be read. */
static inline int kvm_arm_vcpu_finalize(int vcpu_fd, int feature, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_ARM_VCPU_FINALIZE, &feature, err);
}

static inline int kvm_arm_get_vcpu_events(int vcpu_fd, struct kvm_vcpu_events *events,
					  struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_VCPU_EVENTS, events, err);
}

static inline int kvm_arm_set_vcpu_events(int vcpu_fd, const struct kvm_vcpu_events *events,
					  struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_VCPU_EVENTS, kvm_arm64_unconst(events), err);
}

#endif
