/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_ACPI_H
#define VMM_ARCH_X86_64_ACPI_H

#include <stdint.h>

#include "base/buf.h"

/*
 * Firmware tables of a hardware-reduced ACPI platform (ACPI 6.5): RSDP, XSDT, FADT, MADT, DSDT, one after the other, to be
 * placed at @gpa (16-byte aligned), RSDP first. Appends to @out; the caller checks buf_ok. Pure.
 */
void acpi_build(unsigned int ncpus, uint64_t gpa, struct buf *out);

#endif
