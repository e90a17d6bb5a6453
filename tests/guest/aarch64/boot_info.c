/* SPDX-License-Identifier: Apache-2.0 */
/* What the loader says, by the arm64 boot protocol: a device tree. */
#include "boot_info.h"
#include "fdt.h"
#include "guest.h"

extern uint64_t boot_fdt;

static struct fdt_cpus cpus;

bool boot_read_info(struct boot_info *ret)
{
	const char *why = "there is none";
	struct line l;

	/* start.S maps as much as a device tree can have. */
	if (boot_fdt)
		why = fdt_read((const void *)boot_fdt, FDT_BYTES_MAX, ret, &cpus);
	if (!why)
		return true;
	l.len = 0;
	line_str(&l, "vmm-guest: ERROR device tree: ");
	line_str(&l, why);
	line_print(&l);
	return false;
}

uint32_t boot_cpu_count(void)
{
	return cpus.count;
}

uint64_t boot_cpu_mpidr(uint32_t i)
{
	return cpus.mpidr[i];
}
