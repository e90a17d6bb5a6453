/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_ACPI_H
#define VMM_ARCH_X86_64_ACPI_H

#include <stdint.h>

#include "base/buf.h"
#include "vmm/vm.h"

/*
 * Firmware tables of a hardware-reduced ACPI platform (ACPI 6.5): RSDP, XSDT, FADT, MADT, DSDT, and MCFG where there is a PCI bus, one after the other, to be
 * placed at @gpa (16-byte aligned), RSDP first. @devices: NULL: only those of each machine. Appends to @out; the caller checks buf_ok. Pure.
 */
void acpi_build(unsigned int ncpus, const struct boot_devices *devices, uint64_t gpa,
		struct buf *out);

/* dsdt.c: the DSDT's definitions, behind its header. */
void acpi_put_dsdt(struct buf *b, const struct boot_devices *devices);

#endif
