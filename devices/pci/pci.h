/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_PCI_PCI_H
#define DEVICES_PCI_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/pci.h"

/*
 * A function on the bus, for those who build one (devices/virtio/pci.c). One memory BAR of the device's own (BAR 0) and the MSI-X structures in BAR 1 are enough for a
 * virtio device. The configuration space and the MSI-X table belong to the bus; the device sees accesses to its own BAR.
 */
struct pci_device;

#define PCI_MAX_MSIX 64u

struct pci_device_ops {
	/* Accesses to BAR 0, offset from its start, sizes 1, 2, 4, 8, never across its end. vCPU threads, no lock of the bus held. */
	struct bus_ops bar;
	/* BAR 0 is now at @gpa, or decoded nowhere (0): memory space was switched off or the BAR is being sized or moved. Called only when that changes, in order, with the bus's lock held: it
	 * moves ioeventfds and calls nothing of the bus. */
	void (*bar_moved)(void *dev, uint64_t gpa);
	/* A write to a device-specific capability (pci_add_capability's `writable`); reads of it when @read is set fill the bytes first. May be NULL. */
	void (*cap_read)(void *dev, unsigned int cap_offset, unsigned int offset,
			 unsigned int len_bytes, uint8_t *bytes);
	void (*cap_write)(void *dev, unsigned int cap_offset, unsigned int offset,
			  unsigned int len_bytes, const uint8_t *bytes);
};

struct pci_device_config {
	unsigned int slot; /* 1 .. PCI_SLOTS - 1, free */
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint32_t bar_bytes; /* of BAR 0; a power of two, at least 4096 */
	unsigned int nvectors; /* MSI-X table size, 1 .. PCI_MAX_MSIX */
};

int pci_device_create(struct pci_host *host, const struct pci_device_config *config,
		      const struct pci_device_ops *ops, void *dev, struct pci_device **ret,
		      struct err *err);
void pci_device_destroy(struct pci_device *d);
/* A capability (PCI 3.0 §6.7) of @len_bytes with its first two bytes filled in by this call; returns its offset in configuration space or -ENOSPC. Before the guest runs.
 * @intercept: accesses from its third byte on go through cap_read and cap_write. */
int pci_add_capability(struct pci_device *d, uint8_t id, const void *body, size_t len_bytes,
		       bool intercept);

/* Sends vector @vector, or sets its pending bit while it or the function is masked; dropped while MSI-X is off. Any thread; never blocks on the bus's lock for long. */
void pci_msix_send(struct pci_device *d, unsigned int vector);
unsigned int pci_msix_count(const struct pci_device *d);

#endif
