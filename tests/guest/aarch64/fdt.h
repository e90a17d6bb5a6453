/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_FDT_H
#define GUEST_FDT_H

#include "boot.h"

/* booting.rst, "Setup the device tree". */
#define FDT_BYTES_MAX (2u << 20)
#define FDT_CPUS_MAX 256u

struct fdt_cpus {
	uint64_t mpidr[FDT_CPUS_MAX];
	uint32_t count; /* more than fit are left out */
};

/*
 * Takes from a flattened device tree (Devicetree Specification 0.4, chapter 5), of which no byte
 * beyond `limit` is read: the command line, the memory, the CPUs. NULL, or what is wrong with it.
 */
const char *fdt_read(const void *blob, uint32_t limit, struct boot_info *ret,
		     struct fdt_cpus *ret_cpus);

#endif
