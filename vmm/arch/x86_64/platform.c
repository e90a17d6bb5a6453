/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/arch.h"

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
};

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
