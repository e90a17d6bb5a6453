/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/kvm.h>

#include "base/num.h"
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
	.gpio_base = LAYOUT_GPIO,
	.gpio_gsi = LAYOUT_GPIO_GSI,
	.pci_ecam_base = LAYOUT_PCI_ECAM,
	.pci_window_base = LAYOUT_PCI_WINDOW,
	.pci_window_bytes = LAYOUT_PCI_WINDOW_BYTES,
	.virtio_base = LAYOUT_VIRTIO,
	.virtio_gsi = LAYOUT_VIRTIO_GSI,
	.virtio_slots = LAYOUT_VIRTIO_SLOTS,
	.genid_gsi = LAYOUT_GENID_GSI,
};

uint64_t arch_genid_gpa(const struct gmem *mem)
{
	return mem->region[0].gpa + mem->region[0].len_bytes - LAYOUT_GENID_BYTES;
}

/* One for each SPI (Linux: arch/arm64/kvm/vgic/vgic-irqfd.c, kvm_vgic_setup_default_irq_routing). */
unsigned int arch_line_routes(const struct arch_vm *av, struct kvm_irq_routing_entry *routes,
			      unsigned int max, unsigned int *ret_lines)
{
	unsigned int n = LAYOUT_IRQS - LAYOUT_SPI_BASE;

	(void)av;
	for (unsigned int i = 0; i < MIN(n, max); i++)
		routes[i] = (struct kvm_irq_routing_entry){ .gsi = i,
							    .type = KVM_IRQ_ROUTING_IRQCHIP,
							    .u.irqchip.pin = i };
	*ret_lines = n;
	return n;
}

/*
 * KVM_IRQ_LINE takes type and INTID (api.rst 4.25). KVM_IRQFD takes the GSI itself: the routing that KVM sets up with its GIC sends GSI n to SPI n
 * (Linux: arch/arm64/kvm/vgic/vgic-irqfd.c).
 */
uint32_t arch_irq_line(unsigned int gsi)
{
	return KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (gsi + LAYOUT_SPI_BASE);
}
