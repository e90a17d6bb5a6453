/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_BOOT_H
#define VMM_ARCH_X86_64_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../boot_source.h"
#include "base/err.h"

/*
 * Kernel images. Parsing makes a plan (which bytes go where, how the CPU enters) and touches no guest memory; boot.c carries the plan out.
 * Every number of the image is hostile: read once, checked against the image's length and the guest's memory.
 */

enum boot_kind {
	BOOT_ELF_PVH, /* 32-bit protected mode, ebx = hvm_start_info (xen/include/public/arch-x86/hvm/start_info.h) */
	BOOT_ELF_LINUX, /* 64-bit, rsi = boot_params */
	BOOT_BZIMAGE, /* the same; boot_params carry the image's setup header */
};

#define BOOT_MAX_SEGMENTS 64
struct boot_segment {
	uint64_t gpa;
	uint64_t file_off;
	uint64_t file_bytes;
	uint64_t mem_bytes; /* the rest is zero */
};

/* Setup header of a bzImage: image offsets 0x1f1 up to at most 0x290 (Documentation/arch/x86/boot.rst). */
#define BOOT_HDR_OFF 0x1f1u
#define BOOT_HDR_MAX_END 0x290u

struct boot_plan {
	enum boot_kind kind;
	uint64_t entry;
	unsigned int nsegments;
	struct boot_segment segment[BOOT_MAX_SEGMENTS];
	uint64_t initrd_max; /* last byte an initrd may take */
	uint32_t cmdline_max; /* bytes with the terminating zero */
	uint32_t hdr_bytes;
	uint8_t hdr[BOOT_HDR_MAX_END - BOOT_HDR_OFF];
};

/*
 * Finds out what the image is and plans it into RAM [LAYOUT_HIGH_RAM, ram_end) or, for ELF segments, also into what is free below.
 * 0; -ENOEXEC: none of the kinds; -ENODATA: truncated; -EINVAL: contradicts itself; -E2BIG: too large for the memory.
 * The message is "NAME: reason". *ret is written only on success.
 */
int boot_plan_image(const struct boot_source *src, uint64_t ram_end, struct boot_plan *ret,
		    struct err *err);

/* One per format; -ENOEXEC without a message when the magic is another's. */
int boot_elf_plan(const struct boot_source *src, uint64_t ram_end, struct boot_plan *plan,
		  struct err *err);
int boot_bzimage_plan(const struct boot_source *src, uint64_t ram_end, struct boot_plan *plan,
		      struct err *err);

/* Highest page-aligned place for @len_bytes below RAM's end and plan->initrd_max that no segment occupies; -E2BIG. */
int boot_place_initrd(const struct boot_plan *plan, uint64_t ram_end, uint64_t len_bytes,
		      uint64_t *ret_gpa);

/* What the guest is told about its memory. Linux's e820 types are the same numbers as PVH's. */
enum boot_mem_type { BOOT_MEM_RAM = 1, BOOT_MEM_RESERVED = 2, BOOT_MEM_ACPI = 3 };
struct boot_mem {
	uint64_t gpa;
	uint64_t len_bytes;
	uint32_t type;
};
#define BOOT_MEM_MAX 8

struct boot_params_in {
	const struct boot_mem *mem;
	unsigned int nmem;
	uint64_t rsdp;
	uint64_t cmdline;
	uint64_t initrd;
	uint64_t initrd_bytes; /* 0: none */
};

/* The start structures as bytes. @page is one zeroed page that goes to LAYOUT_START_INFO, or to LAYOUT_BOOT_PARAMS. */
#define BOOT_PAGE_BYTES 4096u
void boot_write_start_info(const struct boot_params_in *in, uint8_t page[BOOT_PAGE_BYTES]);
void boot_write_zero_page(const struct boot_plan *plan, const struct boot_params_in *in,
			  uint8_t page[BOOT_PAGE_BYTES]);

#endif
