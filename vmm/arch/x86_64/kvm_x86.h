/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_KVM_X86_H
#define VMM_ARCH_X86_64_KVM_X86_H

#include "../../kvm.h"

/* The KVM ioctls that only x86 has, on top of kvm_call; same rules as kvm.h. */

static inline void *kvm_x86_unconst(const void *p)
{
	return (void *)(uintptr_t)p;
}

/* /dev/kvm. The lists: in and out ->nent / ->nmsrs; -E2BIG when too small. */
static inline int kvm_get_supported_cpuid(int kvm_fd, struct kvm_cpuid2 *cpuid, struct err *err)
{
	return KVM_CALL(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid, err);
}

static inline int kvm_get_msr_index_list(int kvm_fd, struct kvm_msr_list *list, struct err *err)
{
	return KVM_CALL(kvm_fd, KVM_GET_MSR_INDEX_LIST, list, err);
}

static inline int kvm_get_msr_feature_index_list(int kvm_fd, struct kvm_msr_list *list,
						 struct err *err)
{
	return KVM_CALL(kvm_fd, KVM_GET_MSR_FEATURE_INDEX_LIST, list, err);
}

/* VM. */
static inline int kvm_set_tss_addr(int vm_fd, uint64_t gpa, struct err *err)
{
	return KVM_CALL_VALUE(vm_fd, KVM_SET_TSS_ADDR, gpa, err);
}

static inline int kvm_set_identity_map_addr(int vm_fd, uint64_t gpa, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &gpa, err);
}

static inline int kvm_create_irqchip(int vm_fd, struct err *err)
{
	return KVM_CALL_VALUE(vm_fd, KVM_CREATE_IRQCHIP, 0, err);
}

static inline int kvm_get_irqchip(int vm_fd, struct kvm_irqchip *chip, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_GET_IRQCHIP, chip, err);
}

static inline int kvm_set_irqchip(int vm_fd, const struct kvm_irqchip *chip, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_SET_IRQCHIP, kvm_x86_unconst(chip), err);
}

static inline int kvm_get_pit2(int vm_fd, struct kvm_pit_state2 *pit, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_GET_PIT2, pit, err);
}

static inline int kvm_set_pit2(int vm_fd, const struct kvm_pit_state2 *pit, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_SET_PIT2, kvm_x86_unconst(pit), err);
}

static inline int kvm_get_clock(int vm_fd, struct kvm_clock_data *clock, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_GET_CLOCK, clock, err);
}

static inline int kvm_set_clock(int vm_fd, const struct kvm_clock_data *clock, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_SET_CLOCK, kvm_x86_unconst(clock), err);
}

static inline int kvm_create_pit2(int vm_fd, const struct kvm_pit_config *pit, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_CREATE_PIT2, kvm_x86_unconst(pit), err);
}

/* vCPU. */
static inline int kvm_get_sregs(int vcpu_fd, struct kvm_sregs *sregs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_SREGS, sregs, err);
}

static inline int kvm_set_sregs(int vcpu_fd, const struct kvm_sregs *sregs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_SREGS, kvm_x86_unconst(sregs), err);
}

static inline int kvm_get_sregs2(int vcpu_fd, struct kvm_sregs2 *sregs2, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_SREGS2, sregs2, err);
}

static inline int kvm_set_sregs2(int vcpu_fd, const struct kvm_sregs2 *sregs2, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_SREGS2, kvm_x86_unconst(sregs2), err);
}

static inline int kvm_get_fpu(int vcpu_fd, struct kvm_fpu *fpu, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_FPU, fpu, err);
}

static inline int kvm_set_fpu(int vcpu_fd, const struct kvm_fpu *fpu, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_FPU, kvm_x86_unconst(fpu), err);
}

static inline int kvm_get_xcrs(int vcpu_fd, struct kvm_xcrs *xcrs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_XCRS, xcrs, err);
}

static inline int kvm_set_xcrs(int vcpu_fd, const struct kvm_xcrs *xcrs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_XCRS, kvm_x86_unconst(xcrs), err);
}

static inline int kvm_get_lapic(int vcpu_fd, struct kvm_lapic_state *lapic, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_LAPIC, lapic, err);
}

static inline int kvm_set_lapic(int vcpu_fd, const struct kvm_lapic_state *lapic, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_LAPIC, kvm_x86_unconst(lapic), err);
}

static inline int kvm_get_vcpu_events(int vcpu_fd, struct kvm_vcpu_events *events, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_VCPU_EVENTS, events, err);
}

static inline int kvm_set_vcpu_events(int vcpu_fd, const struct kvm_vcpu_events *events,
				      struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_VCPU_EVENTS, kvm_x86_unconst(events), err);
}

static inline int kvm_get_debugregs(int vcpu_fd, struct kvm_debugregs *debugregs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_DEBUGREGS, debugregs, err);
}

static inline int kvm_set_debugregs(int vcpu_fd, const struct kvm_debugregs *debugregs,
				    struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_DEBUGREGS, kvm_x86_unconst(debugregs), err);
}

/* kvm_set_cpuid2: before the first KVM_RUN. */
static inline int kvm_set_cpuid2(int vcpu_fd, const struct kvm_cpuid2 *cpuid, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_CPUID2, kvm_x86_unconst(cpuid), err);
}

static inline int kvm_get_cpuid2(int vcpu_fd, struct kvm_cpuid2 *cpuid, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_CPUID2, cpuid, err);
}

/* How many MSRs were read or set: a number below ->nmsrs means that entry number that failed. On /dev/kvm, get reads feature MSRs. */
static inline int kvm_get_msrs(int fd, struct kvm_msrs *msrs, struct err *err)
{
	return KVM_CALL(fd, KVM_GET_MSRS, msrs, err);
}

static inline int kvm_set_msrs(int vcpu_fd, const struct kvm_msrs *msrs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_MSRS, kvm_x86_unconst(msrs), err);
}

/* @xsave has the size of KVM_CAP_XSAVE2 (on the VM), at least 4096 bytes; set reads the same size. */
static inline int kvm_get_xsave(int vcpu_fd, void *xsave, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_XSAVE, xsave, err);
}

static inline int kvm_get_xsave2(int vcpu_fd, void *xsave, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_XSAVE2, xsave, err);
}

static inline int kvm_set_xsave(int vcpu_fd, const void *xsave, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_XSAVE, kvm_x86_unconst(xsave), err);
}

/* kHz. */
static inline int kvm_get_tsc_khz(int vcpu_fd, struct err *err)
{
	return KVM_CALL_VALUE(vcpu_fd, KVM_GET_TSC_KHZ, 0, err);
}

static inline int kvm_set_tsc_khz(int vcpu_fd, uint32_t khz, struct err *err)
{
	return KVM_CALL_VALUE(vcpu_fd, KVM_SET_TSC_KHZ, khz, err);
}

/* -EINVAL when the guest has no kvmclock: not an error for the callers. */
static inline int kvm_kvmclock_ctrl(int vcpu_fd, struct err *err)
{
	return KVM_CALL_VALUE(vcpu_fd, KVM_KVMCLOCK_CTRL, 0, err);
}

#endif
