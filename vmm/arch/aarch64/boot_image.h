/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_BOOT_IMAGE_H
#define VMM_ARCH_AARCH64_BOOT_IMAGE_H

#include <stdint.h>

#include "../../boot_source.h"
#include "base/err.h"

/*
 * The kernel's Image (Documentation/arch/arm64/booting.rst): its header, and where kernel, device tree and initrd go. Pure, but for what is read from a
 * source; every number is hostile. Errors are "NAME: reason", and *ret is written only on success.
 */
#define ARM64_IMAGE_HEADER_BYTES 64u

struct arm64_image {
	uint64_t text_offset; /* from a 2 MiB boundary */
	uint64_t image_size; /* with what is zero at its end */
	unsigned int page_kib; /* 4, 16 or 64; 0: the header does not say */
};

/* @header: the first @len_bytes bytes, 64 when there are as many. -ENOEXEC: something else (and what, where it is known); -ENODATA: too short; -EINVAL: a kernel
 * that cannot run here. */
int arm64_image_parse(const uint8_t header[ARM64_IMAGE_HEADER_BYTES], uint64_t len_bytes,
		      const char *name, struct arm64_image *ret, struct err *err);

/* A plain Image that is an EFI program as well names the ends of its sections: -ENODATA when the file has less. 0 where nothing tells. */
int arm64_image_check_length(const struct boot_source *src, struct err *err);

/* Guest-physical. The kernel stands at the start of RAM, as kernels want that cannot use what is below them; the device tree has the 2 MiB block behind it for
 * itself, and the initrd follows. */
struct arm64_plan {
	uint64_t kernel;
	uint64_t fdt;
	uint64_t initrd; /* page-aligned; 0: none */
};
#define ARM64_FDT_MAX_BYTES 0x200000u

/* RAM is [ram, ram + ram_bytes), on a 2 MiB boundary. @initrd: NULL: none. -E2BIG: does not fit, named. */
int arm64_image_plan(const struct arm64_image *image, const char *name, uint64_t ram,
		     uint64_t ram_bytes, const struct boot_source *initrd, struct arm64_plan *ret,
		     struct err *err);

#endif
