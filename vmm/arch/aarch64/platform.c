/* SPDX-License-Identifier: Apache-2.0 */
#include <asm/kvm.h>

#include "layout.h"
#include "vmm/arch.h"

/* No power block: PSCI is KVM's, and powers off and resets by KVM_EXIT_SYSTEM_EVENT. */
const struct arch_platform arch_platform = {
	.name = "arm64",
	.mmio = true,
	.serial_base = LAYOUT_SERIAL,
	.serial_gsi = LAYOUT_SERIAL_GSI,
	.rtc_base = LAYOUT_RTC,
	.rtc_gsi = LAYOUT_RTC_GSI,
};

/*
 * KVM_IRQ_LINE takes type and INTID (api.rst 4.25). KVM_IRQFD takes the GSI itself: the routing that KVM sets up with its GIC sends GSI n to SPI n
 * (Linux: arch/arm64/kvm/vgic/vgic-irqfd.c).
 */
uint32_t arch_irq_line(unsigned int gsi)
{
	return KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (gsi + LAYOUT_SPI_BASE);
}
