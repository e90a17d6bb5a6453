/* SPDX-License-Identifier: Apache-2.0 */
#include "base/compat_kvm.h"
#include "base/num.h"
#include "vmm/arch.h"

const struct arch_cap arch_caps[] = {
	{ "KVM_CAP_ARM_VM_IPA_SIZE", KVM_CAP_ARM_VM_IPA_SIZE,
	  "most bits of a guest-physical address" },
	{ "KVM_CAP_ARM_PSCI_0_2", KVM_CAP_ARM_PSCI_0_2,
	  "switching vCPUs on, power off and reset; required" },
	{ "KVM_CAP_ONE_REG", KVM_CAP_ONE_REG, "registers of vCPUs; required" },
	{ "KVM_CAP_DEVICE_CTRL", KVM_CAP_DEVICE_CTRL, "GICv3 and ITS in the kernel; required" },
	{ "KVM_CAP_MSI_DEVID", KVM_CAP_MSI_DEVID,
	  "message-signalled interrupts: telling the ITS which device they are of" },
	{ "KVM_CAP_ARM_NISV_TO_USER", KVM_CAP_ARM_NISV_TO_USER,
	  "naming an access to a device that KVM cannot take apart" },
	{ "KVM_CAP_COUNTER_OFFSET", KVM_CAP_COUNTER_OFFSET,
	  "the guest's counter across a migration" },
	{ "KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES", KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES,
	  "eager page split: sizes it can work in, a bit each" },
};
const unsigned int arch_ncaps = ARRAY_LEN(arch_caps);
