/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/kvm.h>

#include "base/num.h"
#include "vmm/arch.h"

const struct arch_cap arch_caps[] = {
	{ "KVM_CAP_PIT2", KVM_CAP_PIT2, "i8254 timer in the kernel" },
	{ "KVM_CAP_EXT_CPUID", KVM_CAP_EXT_CPUID, "CPUID as the guest sees it" },
	{ "KVM_CAP_GET_MSR_FEATURES", KVM_CAP_GET_MSR_FEATURES, "MSR features in the CPU model" },
	{ "KVM_CAP_XSAVE", KVM_CAP_XSAVE, "extended register state" },
	{ "KVM_CAP_XSAVE2", KVM_CAP_XSAVE2, "size of the extended register state" },
	{ "KVM_CAP_XCRS", KVM_CAP_XCRS, "XCR0" },
	{ "KVM_CAP_DEBUGREGS", KVM_CAP_DEBUGREGS, "debug registers" },
	{ "KVM_CAP_SREGS2", KVM_CAP_SREGS2, "page directory pointers with the registers" },
	{ "KVM_CAP_ADJUST_CLOCK", KVM_CAP_ADJUST_CLOCK, "kvmclock across a migration" },
	{ "KVM_CAP_KVMCLOCK_CTRL", KVM_CAP_KVMCLOCK_CTRL,
	  "telling the guest's watchdog of a pause" },
	{ "KVM_CAP_TSC_CONTROL", KVM_CAP_TSC_CONTROL, "TSC scaling to another host's frequency" },
	{ "KVM_CAP_GET_TSC_KHZ", KVM_CAP_GET_TSC_KHZ, "TSC frequency in the CPU model" },
	{ "KVM_CAP_VCPU_ATTRIBUTES", KVM_CAP_VCPU_ATTRIBUTES, "TSC offset" },
};
const unsigned int arch_ncaps = ARRAY_LEN(arch_caps);
