/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include <stdint.h>

#include "base/err.h"
#include "base/state.h"
#include "devices/bus.h"
#include "devices/host.h"

/*
 * One PCI segment with one bus: a host bridge in slot 0, single-function endpoints in the others, configuration through ECAM (PCI Express Base 3.0 §7.2.2), memory BARs in one
 * window below 4 GiB, interrupts by MSI-X alone. There is no firmware: BARs have addresses when the guest starts, and it may move them within the window.
 */
#define PCI_SLOTS 32u
#define PCI_ECAM_BYTES (PCI_SLOTS * 8u * 4096u) /* bus 0 */

struct pci_layout {
	uint64_t ecam_gpa; /* multiple of PCI_ECAM_BYTES */
	uint64_t window_gpa; /* memory BARs; 32-bit, multiples of 64 KiB */
	uint64_t window_bytes;
};

struct pci_host;
/* Adds its ranges to @mmio. @host is borrowed for the bus's life. */
int pci_host_create(const struct pci_layout *layout, const struct dev_host *host, struct bus *mmio,
		    struct pci_host **ret, struct err *err);
/* After its devices. */
void pci_host_destroy(struct pci_host *p);

/* Section "pci", one instance a device (its slot): configuration space as the guest left it, MSI-X table and pending bits. The device is a struct pci_device. */
extern const struct state_desc pci_device_state;

#endif
