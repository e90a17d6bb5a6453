/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/arch.h"

#include <linux/kvm.h>

#include "layout.h"

/* Port 0x64 of the keyboard controller: its reset command is the fallback of kernels that find no ACPI. */
#define KBC_COMMAND_PORT 0x64u

const struct arch_platform arch_platform = {
	.name = "x86",
	.serial_base = LAYOUT_SERIAL_PORT,
	.serial_gsi = LAYOUT_SERIAL_GSI,
	.power_base = LAYOUT_POWER_PORT,
	.power_gsi = LAYOUT_POWER_GSI,
	.kbc_base = KBC_COMMAND_PORT,
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
	(void)mem;
	return LAYOUT_GENID;
}

/* PML is a parameter of KVM's module: vmm/accel.c reads it. */
bool arch_accel_ask(int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		    struct dirty_accel *ret)
{
	(void)vm_fd;
	(void)kind;
	(void)asked;
	(void)ret;
	return false;
}

#define IOAPIC_LINES 24u
#define PIC_LINES 16u

static struct kvm_irq_routing_entry pin_route(unsigned int gsi, uint32_t chip, unsigned int pin)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* The first 16 lead to the I/O APIC and to a PIC (Linux: arch/x86/kvm/irq_comm.c, default_routing). */
unsigned int arch_line_routes(const struct arch_vm *av, struct kvm_irq_routing_entry *routes,
			      unsigned int max, unsigned int *ret_lines)
{
	unsigned int n = 0;

	(void)av;
	for (unsigned int gsi = 0; gsi < IOAPIC_LINES; gsi++, n++) {
		if (n < max)
			routes[n] = pin_route(gsi, KVM_IRQCHIP_IOAPIC, gsi);
	}
	for (unsigned int gsi = 0; gsi < PIC_LINES; gsi++, n++) {
		if (n < max)
			routes[n] =
				pin_route(gsi,
					  gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
					  gsi % 8);
	}
	*ret_lines = IOAPIC_LINES;
	return n;
}
