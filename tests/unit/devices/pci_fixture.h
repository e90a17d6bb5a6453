/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_PCI_FIXTURE_H
#define TESTS_UNIT_DEVICES_PCI_FIXTURE_H

#include <stdint.h>

#include "devices/pci.h"
#include "virtio_driver.h"

/* A PCI bus within the machine of virtio_driver.h, and a guest's accesses to it. */
#define PCI_ECAM_GPA 0xe0000000u
#define PCI_WINDOW_GPA 0xc0000000u
#define PCI_WINDOW_BYTES 0x100000u

struct pci_fixture {
	struct driver machine;
	struct bus mmio;
	struct pci_host *pci;
};

/* 0 or -errno. */
int pci_fixture_init(struct pci_fixture *f);
/* After the devices. */
void pci_fixture_fini(struct pci_fixture *f);

/* Accesses of 1, 2, 4, 8 bytes: to function 0 of a slot's configuration space, to a physical address. */
uint64_t cfg_get(struct pci_fixture *f, unsigned int slot, unsigned int reg,
		 unsigned int size_bytes);
void cfg_put(struct pci_fixture *f, unsigned int slot, unsigned int reg, unsigned int size_bytes,
	     uint64_t value);
uint64_t mem_get(struct pci_fixture *f, uint64_t gpa, unsigned int size_bytes);
void mem_put(struct pci_fixture *f, uint64_t gpa, unsigned int size_bytes, uint64_t value);

/* The BAR's address as the guest reads it. */
uint32_t bar_of(struct pci_fixture *f, unsigned int slot, unsigned int bar);
/* The @nth capability (from 0) with @id: its offset; 0: none, or a list without end. */
unsigned int find_capability(struct pci_fixture *f, unsigned int slot, uint8_t id,
			     unsigned int nth);
/* Writes a vector's message and control word into its table. */
void set_vector(struct pci_fixture *f, unsigned int slot, unsigned int vector, uint64_t addr,
		uint32_t data, uint32_t control);
/* How often @eventfd was signalled since the last call. */
uint64_t take_signals(int eventfd);

#endif
