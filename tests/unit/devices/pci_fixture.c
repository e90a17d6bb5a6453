/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_fixture.h"

#include <sys/eventfd.h>

#include <linux/pci_regs.h>

#include "base/bytes.h"

int pci_fixture_init(struct pci_fixture *f)
{
	const struct pci_layout layout = { PCI_ECAM_GPA, PCI_WINDOW_GPA, PCI_WINDOW_BYTES };
	int rc;

	*f = (struct pci_fixture){ 0 };
	rc = driver_init(&f->machine);
	if (rc)
		return rc;
	rc = pci_host_create(&layout, &f->machine.host, &f->mmio, &f->pci, NULL);
	if (rc)
		driver_fini(&f->machine);
	return rc;
}

void pci_fixture_fini(struct pci_fixture *f)
{
	pci_host_destroy(f->pci);
	driver_fini(&f->machine);
}

uint64_t mem_get(struct pci_fixture *f, uint64_t gpa, unsigned int size_bytes)
{
	uint8_t bytes[8] = { 0 };

	bus_access(&f->mmio, gpa, false, bytes, size_bytes);
	return le64_get(bytes);
}

void mem_put(struct pci_fixture *f, uint64_t gpa, unsigned int size_bytes, uint64_t value)
{
	uint8_t bytes[8];

	le64_put(bytes, value);
	bus_access(&f->mmio, gpa, true, bytes, size_bytes);
}

static uint64_t cfg_gpa(unsigned int slot, unsigned int reg)
{
	return PCI_ECAM_GPA + slot * 0x8000 + reg;
}

uint64_t cfg_get(struct pci_fixture *f, unsigned int slot, unsigned int reg,
		 unsigned int size_bytes)
{
	return mem_get(f, cfg_gpa(slot, reg), size_bytes);
}

void cfg_put(struct pci_fixture *f, unsigned int slot, unsigned int reg, unsigned int size_bytes,
	     uint64_t value)
{
	mem_put(f, cfg_gpa(slot, reg), size_bytes, value);
}

uint32_t bar_of(struct pci_fixture *f, unsigned int slot, unsigned int bar)
{
	return (uint32_t)cfg_get(f, slot, PCI_BASE_ADDRESS_0 + 4 * bar, 4);
}

unsigned int find_capability(struct pci_fixture *f, unsigned int slot, uint8_t id, unsigned int nth)
{
	unsigned int at = (unsigned int)cfg_get(f, slot, PCI_CAPABILITY_LIST, 1);

	for (unsigned int n = 0; at && n < 48; n++) {
		if (cfg_get(f, slot, at, 1) == id && !nth--)
			return at;
		at = (unsigned int)cfg_get(f, slot, at + PCI_CAP_LIST_NEXT, 1);
	}
	return 0;
}

void set_vector(struct pci_fixture *f, unsigned int slot, unsigned int vector, uint64_t addr,
		uint32_t data, uint32_t control)
{
	uint64_t entry = bar_of(f, slot, 1) + PCI_MSIX_ENTRY_SIZE * (uint64_t)vector;

	mem_put(f, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, PCI_MSIX_ENTRY_CTRL_MASKBIT);
	mem_put(f, entry, 8, addr);
	mem_put(f, entry + PCI_MSIX_ENTRY_DATA, 8, (uint64_t)control << 32 | data);
}

uint64_t take_signals(int eventfd)
{
	eventfd_t n;

	return eventfd_read(eventfd, &n) ? 0 : n;
}
