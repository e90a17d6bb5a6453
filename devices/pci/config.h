/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_PCI_CONFIG_H
#define DEVICES_PCI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pci.h"

/*
 * Configuration space of a function (PCI Local Bus 3.0 §6.1, header type 0): bytes, which bits of them the guest may write, and what of it means an address.
 * Pure; the owner locks.
 */
#define PCI_CONFIG_BYTES 256u
#define PCI_NBARS 2u /* 0: the device's own, 1: the MSI-X structures */
#define PCI_BAR_MIN_BYTES 4096u
/* What the guest may set in the command register. */
#define PCI_COMMAND_WRITABLE (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)

struct pci_config {
	uint8_t bytes[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES];
	/* Of each byte that the device answers for itself: the offset of its capability; else 0. */
	uint8_t owner[PCI_CONFIG_BYTES];
	uint32_t bar_bytes[PCI_NBARS]; /* 0: none */
	unsigned int caps_end; /* first free byte */
	unsigned int last_cap; /* 0: none yet */
};

/* The header, without BARs and capabilities. */
void pci_config_init(struct pci_config *c, const struct pci_device_config *config);
/* A 32-bit memory BAR of @len_bytes, a power of two, at @gpa. */
void pci_config_add_bar(struct pci_config *c, unsigned int bar, uint32_t len_bytes, uint32_t gpa);
/* See pci_add_capability. */
int pci_config_add_capability(struct pci_config *c, uint8_t id, const void *body, size_t len_bytes,
			      bool intercept);

/* [offset, offset + len_bytes) lies within the space. */
void pci_config_read(const struct pci_config *c, unsigned int offset, unsigned int len_bytes,
		     uint8_t *bytes);
void pci_config_write(struct pci_config *c, unsigned int offset, unsigned int len_bytes,
		      const uint8_t *bytes);

/* Where @bar answers; 0: nowhere, for memory space is off or it does not lie wholly within the window (as while it is sized). */
uint64_t pci_config_bar_gpa(const struct pci_config *c, unsigned int bar,
			    const struct pci_layout *layout);

#endif
