/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_image.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

enum {
	HDR_CODE0 = 0, /* "MZ" where the kernel is an EFI program as well */
	HDR_ZBOOT_MAGIC =
		4, /* "zimg": a decompressor around the kernel (drivers/firmware/efi/libstub/zboot-header.S) */
	HDR_TEXT_OFFSET = 8,
	HDR_IMAGE_SIZE = 16,
	HDR_FLAGS = 24,
	HDR_MAGIC = 56,
	HDR_PE_OFFSET = 60,
};
#define IMAGE_MAGIC 0x644d5241u /* "ARM\x64" */
#define FLAG_BIG_ENDIAN 1u
#define FLAG_PAGE_SHIFT 1
#define FLAG_PAGE_MASK 3u

#define BLOCK_BYTES 0x200000ull
#define PAGE_BYTES 0x1000ull
/* Kernel and initrd lie in one window of this size on a 1 GiB boundary; RAM starts on one. */
#define INITRD_WINDOW_BYTES (32ull << 30)

static int refuse_other(const uint8_t *header, const char *name, struct err *err)
{
	if (memcmp(header, "\177ELF", 4) == 0)
		return err_set(err, -ENOEXEC,
			       "%s: an ELF file, expected an arm64 Image, plain or gzip", name);
	if (memcmp(header + HDR_CODE0, "MZ", 2) == 0 &&
	    memcmp(header + HDR_ZBOOT_MAGIC, "zimg", 4) == 0)
		return err_set(
			err, -ENOEXEC,
			"%s: an EFI zboot image, which unpacks itself by EFI: expected the Image in it, plain or gzip",
			name);
	return err_set(err, -ENOEXEC,
		       "%s: no arm64 Image: 0x%08x at byte 56, expected 0x%08x, or gzip", name,
		       le32_get(header + HDR_MAGIC), IMAGE_MAGIC);
}

int arm64_image_parse(const uint8_t header[ARM64_IMAGE_HEADER_BYTES], uint64_t len_bytes,
		      const char *name, struct arm64_image *ret, struct err *err)
{
	static const unsigned int page_kib[] = { 0, 4, 16, 64 };
	uint64_t flags;
	struct arm64_image image;

	if (len_bytes < ARM64_IMAGE_HEADER_BYTES)
		return err_set(err, -ENODATA,
			       "%s: %llu bytes, an arm64 Image starts with a header of %u", name,
			       (unsigned long long)len_bytes, ARM64_IMAGE_HEADER_BYTES);
	if (le32_get(header + HDR_MAGIC) != IMAGE_MAGIC)
		return refuse_other(header, name, err);
	flags = le64_get(header + HDR_FLAGS);
	image = (struct arm64_image){
		.text_offset = le64_get(header + HDR_TEXT_OFFSET),
		.image_size = le64_get(header + HDR_IMAGE_SIZE),
		.page_kib = page_kib[flags >> FLAG_PAGE_SHIFT & FLAG_PAGE_MASK],
	};
	if (image.image_size < ARM64_IMAGE_HEADER_BYTES)
		return err_set(
			err, -EINVAL,
			"%s: image_size %llu in its header, expected the kernel's size (Linux 3.17 or newer)",
			name, (unsigned long long)image.image_size);
	if (flags & FLAG_BIG_ENDIAN)
		return err_set(err, -EINVAL, "%s: a big-endian kernel, expected little-endian",
			       name);
	if (image.text_offset % PAGE_BYTES)
		return err_set(err, -EINVAL, "%s: text_offset 0x%llx, expected a multiple of 4 KiB",
			       name, (unsigned long long)image.text_offset);
	*ret = image;
	return 0;
}

/* PE/COFF specification, sections 2 to 4; Linux: arch/arm64/kernel/efi-header.S. */
enum {
	PE_NSECTIONS = 6,
	PE_OPTIONAL_BYTES = 20,
	PE_HEADER_BYTES = 24,
	SECTION_BYTES = 40,
	SECTION_RAW_BYTES = 16,
	SECTION_RAW_OFFSET = 20,
};
#define PE_MAX_SECTIONS 96u

/* Where the last section's bytes end; 0: no EFI program. -ENODATA: the tables are not whole. */
static int pe_end(const struct boot_source *src, uint64_t *ret)
{
	uint8_t header[ARM64_IMAGE_HEADER_BYTES], pe[PE_HEADER_BYTES], section[SECTION_BYTES];
	uint64_t at, end = 0;
	unsigned int nsections;
	int r = boot_source_read(src, 0, header, sizeof(header));

	*ret = 0;
	if (r < 0 || memcmp(header, "MZ", 2) != 0)
		return r;
	at = le32_get(header + HDR_PE_OFFSET);
	r = boot_source_read(src, at, pe, sizeof(pe));
	if (r < 0)
		return r;
	nsections = le16_get(pe + PE_NSECTIONS);
	if (memcmp(pe, "PE\0\0", 4) != 0 || nsections > PE_MAX_SECTIONS)
		return 0;
	at += PE_HEADER_BYTES + le16_get(pe + PE_OPTIONAL_BYTES);
	for (unsigned int i = 0; i < nsections && r == 0; i++, at += SECTION_BYTES) {
		r = boot_source_read(src, at, section, sizeof(section));
		if (r == 0)
			end = MAX(end, (uint64_t)le32_get(section + SECTION_RAW_OFFSET) +
					       le32_get(section + SECTION_RAW_BYTES));
	}
	if (r == 0)
		*ret = end;
	return r;
}

int arm64_image_check_length(const struct boot_source *src, struct err *err)
{
	uint64_t end;
	int r = pe_end(src, &end);

	if (r == -ENODATA)
		return err_set(err, r, "%s: truncated: it ends inside its headers", src->name);
	if (r < 0)
		return err_sys(err, r, "%s: cannot read", src->name);
	if (end > src->len_bytes)
		return err_set(
			err, -ENODATA,
			"%s: truncated: the file has %llu bytes, the kernel's end is at %llu",
			src->name, (unsigned long long)src->len_bytes, (unsigned long long)end);
	return 0;
}

static int too_large(const char *name, const char *what, uint64_t bytes, uint64_t ram_bytes,
		     struct err *err)
{
	return err_set(err, -E2BIG, "%s: too large: %s %llu bytes do not fit into %llu of memory",
		       name, what, (unsigned long long)bytes, (unsigned long long)ram_bytes);
}

int arm64_image_plan(const struct arm64_image *image, const char *name, uint64_t ram,
		     uint64_t ram_bytes, const struct boot_source *initrd, struct arm64_plan *ret,
		     struct err *err)
{
	uint64_t left, used;
	struct arm64_plan plan = { 0 };

	/* Offsets from RAM's start, so that no sum leaves 64 bits: each is at most ram_bytes. */
	if (image->text_offset > ram_bytes || image->image_size > ram_bytes - image->text_offset)
		return too_large(name, "the kernel's", image->image_size, ram_bytes, err);
	if (!align_up(image->text_offset + image->image_size, BLOCK_BYTES, &used) ||
	    used > ram_bytes || ram_bytes - used < ARM64_FDT_MAX_BYTES)
		return too_large(name, "with 2 MiB for the device tree, the kernel's",
				 image->image_size, ram_bytes, err);
	plan.kernel = ram + image->text_offset;
	plan.fdt = ram + used;
	used += ARM64_FDT_MAX_BYTES;
	if (initrd) {
		left = MIN(ram_bytes, INITRD_WINDOW_BYTES);
		left = left > used ? left - used : 0;
		if (initrd->len_bytes > left)
			return too_large(initrd->name, "behind the kernel, the initrd's",
					 initrd->len_bytes, ram_bytes, err);
		plan.initrd = ram + used;
	}
	*ret = plan;
	return 0;
}
