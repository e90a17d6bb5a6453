/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_FDT_H
#define VMM_ARCH_AARCH64_FDT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/vm.h"

#define ARM64_FDT_SEED_BYTES 32u

/* What the guest is told in its device tree, besides what layout.h fixes. */
struct arm64_fdt {
	uint64_t ram_bytes; /* without the generation ID's, which is behind it */
	unsigned int ncpus;
	const uint64_t *mpidr; /* of each vCPU, as its MPIDR_EL1 reads */
	const char *cmdline;
	const struct boot_devices *devices; /* NULL: only those of each machine */
	uint64_t initrd; /* guest-physical */
	uint64_t initrd_bytes; /* 0: none */
	uint64_t kaslr_seed; /* 0: none */
	uint8_t rng_seed[ARM64_FDT_SEED_BYTES];
};

/* Writes the flattened device tree (Devicetree Specification 0.4, chapter 5) into @out; pure. *ret_bytes is its size. -E2BIG: @out_bytes are too few. */
int arm64_fdt_build(const struct arm64_fdt *config, void *out, size_t out_bytes, size_t *ret_bytes,
		    struct err *err);

#endif
