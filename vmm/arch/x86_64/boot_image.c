/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot.h"
#include "layout.h"

/* What all kernel images share: choosing the format, the initrd's place and the start structures. Nothing here knows KVM. */

int boot_plan_image(const struct boot_source *src, uint64_t ram_end, struct boot_plan *ret,
		    struct err *err)
{
	struct boot_plan plan = { 0 };
	struct err why = { 0 };
	int rc;

	if (!src->len_bytes)
		return err_set(err, -ENOEXEC, "%s: the file is empty", src->name);
	rc = boot_elf_plan(src, ram_end, &plan, &why);
	if (rc == -ENOEXEC && !why.code) {
		memset(&plan, 0, sizeof(plan));
		rc = boot_bzimage_plan(src, ram_end, &plan, &why);
	}
	if (rc == -ENOEXEC && !why.code)
		return err_set(err, rc,
			       "%s: neither an ELF kernel (PVH or vmlinux) nor a Linux bzImage",
			       src->name);
	if (rc) {
		if (err)
			*err = why;
		return rc;
	}
	*ret = plan;
	return 0;
}

int boot_place_initrd(const struct boot_plan *plan, uint64_t ram_end, uint64_t len_bytes,
		      uint64_t *ret_gpa)
{
	uint64_t end =
		MIN(ram_end, plan->initrd_max == UINT64_MAX ? ram_end : plan->initrd_max + 1);
	bool moved = true;
	uint64_t gpa = 0;

	/* Each pass steps below at least one segment that was in the way. */
	while (moved) {
		if (end < LAYOUT_HIGH_RAM || len_bytes > end - LAYOUT_HIGH_RAM)
			return -E2BIG;
		gpa = align_down(end - len_bytes, BOOT_PAGE_BYTES);
		if (gpa < LAYOUT_HIGH_RAM)
			return -E2BIG;
		moved = false;
		for (unsigned int i = 0; i < plan->nsegments; i++) {
			const struct boot_segment *s = &plan->segment[i];

			if (gpa < s->gpa + s->mem_bytes && s->gpa < gpa + len_bytes) {
				end = s->gpa;
				moved = true;
			}
		}
	}
	*ret_gpa = gpa;
	return 0;
}

/* hvm_start_info version 1 (xen/include/public/arch-x86/hvm/start_info.h). */
#define START_INFO_MAGIC 0x336ec578u

void boot_write_start_info(const struct boot_params_in *in, uint8_t page[BOOT_PAGE_BYTES])
{
	uint8_t *mod = page + (LAYOUT_MODLIST - LAYOUT_START_INFO);
	uint8_t *map = page + (LAYOUT_MEMMAP - LAYOUT_START_INFO);

	le32_put(page + 0, START_INFO_MAGIC);
	le32_put(page + 4, 1);
	le32_put(page + 8, 0);
	le32_put(page + 12, in->initrd_bytes ? 1 : 0);
	le64_put(page + 16, in->initrd_bytes ? LAYOUT_MODLIST : 0);
	le64_put(page + 24, in->cmdline);
	le64_put(page + 32, in->rsdp);
	le64_put(page + 40, LAYOUT_MEMMAP);
	le32_put(page + 48, in->nmem);
	if (in->initrd_bytes) {
		le64_put(mod, in->initrd);
		le64_put(mod + 8, in->initrd_bytes);
	}
	for (unsigned int i = 0; i < in->nmem; i++) {
		le64_put(map + i * 24, in->mem[i].gpa);
		le64_put(map + i * 24 + 8, in->mem[i].len_bytes);
		le32_put(map + i * 24 + 16, in->mem[i].type);
	}
}

/* Documentation/arch/x86/zero-page.rst */
enum {
	ZP_ACPI_RSDP = 0x070,
	ZP_EXT_RAMDISK_IMAGE = 0x0c0,
	ZP_EXT_RAMDISK_SIZE = 0x0c4,
	ZP_E820_ENTRIES = 0x1e8,
	ZP_BOOT_FLAG = 0x1fe,
	ZP_MAGIC = 0x202,
	ZP_VERSION = 0x206,
	ZP_TYPE_OF_LOADER = 0x210,
	ZP_LOADFLAGS = 0x211,
	ZP_RAMDISK_IMAGE = 0x218,
	ZP_RAMDISK_SIZE = 0x21c,
	ZP_CMD_LINE_PTR = 0x228,
	ZP_KERNEL_ALIGNMENT = 0x230,
	ZP_E820_TABLE = 0x2d0,
};

#define LINUX_MAGIC 0x53726448u /* "HdrS" */

void boot_write_zero_page(const struct boot_plan *plan, const struct boot_params_in *in,
			  uint8_t page[BOOT_PAGE_BYTES])
{
	if (plan->hdr_bytes) {
		memcpy(page + BOOT_HDR_OFF, plan->hdr, plan->hdr_bytes);
	} else {
		le16_put(page + ZP_BOOT_FLAG, 0xaa55);
		le32_put(page + ZP_MAGIC, LINUX_MAGIC);
		le16_put(page + ZP_VERSION, 0x020f);
		page[ZP_LOADFLAGS] = 1; /* LOADED_HIGH */
		le32_put(page + ZP_KERNEL_ALIGNMENT, 0x200000);
	}
	page[ZP_TYPE_OF_LOADER] = 0xff; /* no number assigned */
	le64_put(page + ZP_ACPI_RSDP, in->rsdp);
	le32_put(page + ZP_CMD_LINE_PTR, (uint32_t)in->cmdline);
	le32_put(page + ZP_RAMDISK_IMAGE, (uint32_t)in->initrd);
	le32_put(page + ZP_RAMDISK_SIZE, (uint32_t)in->initrd_bytes);
	le32_put(page + ZP_EXT_RAMDISK_IMAGE, (uint32_t)(in->initrd >> 32));
	le32_put(page + ZP_EXT_RAMDISK_SIZE, (uint32_t)(in->initrd_bytes >> 32));
	page[ZP_E820_ENTRIES] = (uint8_t)in->nmem;
	for (unsigned int i = 0; i < in->nmem; i++) {
		uint8_t *e = page + ZP_E820_TABLE + i * 20;

		le64_put(e, in->mem[i].gpa);
		le64_put(e + 8, in->mem[i].len_bytes);
		le32_put(e + 16, in->mem[i].type);
	}
}
