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

/* struct kvm_arm_counter_offset, which headers before Linux 6.4 lack */
struct kvm_arm64_counter_offset {
	uint64_t counter_offset;
	uint64_t reserved;
};
#define KVM_ARM64_SET_COUNTER_OFFSET _IOW(KVMIO, 0xb5, struct kvm_arm64_counter_offset)

/* VM with KVM_CAP_COUNTER_OFFSET, no vCPU in an ioctl: both counters of all its vCPUs show the host's less @offset; writes of the counters' registers are ignored
 * from then on. */
static inline int kvm_arm_set_counter_offset(int vm_fd, uint64_t offset, struct err *err)
{
	struct kvm_arm64_counter_offset req = { .counter_offset = offset };

	return KVM_CALL(vm_fd, KVM_ARM64_SET_COUNTER_OFFSET, &req, err);
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
