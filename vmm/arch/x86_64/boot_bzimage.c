/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot.h"
#include "layout.h"

/* Linux x86 boot protocol, 64-bit entry (Documentation/arch/x86/boot.rst): offsets in the image. */
enum {
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4, /* 16-byte units */
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LEN = 0x201, /* the header ends at 0x202 + this byte */
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_LOADFLAGS = 0x211,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_KERNEL_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_NEEDED = 0x264,
};

#define BOOT_FLAG 0xaa55u
#define VERSION_XLOADFLAGS 0x020cu
#define XLF_KERNEL_64 1u
#define ENTRY_64 0x200u
#define SECTOR_BYTES 512u
#define INIT_SIZE_MAX (1u << 30)

/* @end: where the setup header ends in the file, copied whole to the zero page. */
static int read_setup_header(const struct boot_source *src, uint8_t h[BOOT_HDR_MAX_END],
			     uint32_t *ret_end, struct err *err)
{
	uint32_t end;
	int rc;

	memset(h, 0, BOOT_HDR_MAX_END);
	rc = boot_source_read(src, 0, h, HDR_VERSION + 2);
	if (rc == -ENODATA ||
	    (!rc && (le16_get(h + HDR_BOOT_FLAG) != BOOT_FLAG || memcmp(h + HDR_MAGIC, "HdrS", 4))))
		return -ENOEXEC;
	if (!rc && le16_get(h + HDR_VERSION) < VERSION_XLOADFLAGS)
		return err_set(
			err, -ENOEXEC,
			"%s: Linux boot protocol %u.%02u is too old (2.12 has the 64-bit entry)",
			src->name, le16_get(h + HDR_VERSION) >> 8,
			le16_get(h + HDR_VERSION) & 0xff);
	end = HDR_MAGIC + h[HDR_JUMP_LEN];
	if (!rc && (end < HDR_NEEDED || end > BOOT_HDR_MAX_END))
		return err_set(err, -EINVAL, "%s: the setup header ends at offset 0x%x", src->name,
			       end);
	/* Each byte is read once: what was checked is what is used, even if the file changes meanwhile. */
	if (!rc)
		rc = boot_source_read(src, HDR_VERSION + 2, h + HDR_VERSION + 2,
				      end - (HDR_VERSION + 2));
	if (rc == -ENODATA)
		return err_set(err, rc, "%s: truncated: the file ends within the setup header",
			       src->name);
	if (rc)
		return err_sys(err, rc, "%s: cannot read the setup header", src->name);
	*ret_end = end;
	return 0;
}

/* Where the kernel may lie with @need bytes of room: its preferred address, else (relocatable) as low as its alignment allows. */
static int choose_address(const struct boot_source *src, const uint8_t *h, uint64_t need,
			  uint64_t ram_end, uint64_t *ret, struct err *err)
{
	uint64_t pref = le64_get(h + HDR_PREF_ADDRESS);
	uint64_t align = le32_get(h + HDR_KERNEL_ALIGNMENT);
	uint64_t low;

	if (pref >= LAYOUT_HIGH_RAM && pref < ram_end && need <= ram_end - pref) {
		*ret = pref;
		return 0;
	}
	if (h[HDR_RELOCATABLE]) {
		if (!align || (align & (align - 1)))
			return err_set(err, -EINVAL, "%s: kernel alignment of 0x%llx", src->name,
				       (unsigned long long)align);
		align_up(LAYOUT_HIGH_RAM, align, &low);
		if (low < ram_end && need <= ram_end - low) {
			*ret = low;
			return 0;
		}
	}
	return err_set(
		err, -E2BIG,
		"%s: too large for the memory: needs %llu bytes at 0x%llx, RAM ends at 0x%llx",
		src->name, (unsigned long long)need, (unsigned long long)pref,
		(unsigned long long)ram_end);
}

int boot_bzimage_plan(const struct boot_source *src, uint64_t ram_end, struct boot_plan *plan,
		      struct err *err)
{
	uint8_t h[BOOT_HDR_MAX_END];
	uint64_t start, len, sys_bytes, need, gpa = 0;
	uint32_t end = 0, cmdline_size;
	int rc;

	rc = read_setup_header(src, h, &end, err);
	if (rc)
		return rc;
	if (!(le16_get(h + HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return err_set(err, -ENOEXEC, "%s: the kernel has no 64-bit entry", src->name);
	start = ((h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4u) + 1u) * (uint64_t)SECTOR_BYTES;
	sys_bytes = (uint64_t)le32_get(h + HDR_SYSSIZE) * 16;
	if (sys_bytes <= ENTRY_64)
		return err_set(err, -EINVAL, "%s: protected-mode part of %llu bytes", src->name,
			       (unsigned long long)sys_bytes);
	/* syssize is rounded up: the file may end up to 15 bytes earlier. Signatures may follow and stay behind. */
	len = src->len_bytes > start ? src->len_bytes - start : 0;
	if (len + 15 < sys_bytes)
		return err_set(err, -ENODATA, "%s: truncated: %llu bytes of a kernel of %llu",
			       src->name, (unsigned long long)len, (unsigned long long)sys_bytes);
	len = MIN(len, sys_bytes);
	need = MAX(len, (uint64_t)le32_get(h + HDR_INIT_SIZE));
	if (need > INIT_SIZE_MAX)
		return err_set(err, -EINVAL, "%s: claims to need %llu bytes to unpack", src->name,
			       (unsigned long long)need);
	rc = choose_address(src, h, need, ram_end, &gpa, err);
	if (rc)
		return rc;
	plan->kind = BOOT_BZIMAGE;
	plan->entry = gpa + ENTRY_64;
	plan->nsegments = 1;
	plan->segment[0] = (struct boot_segment){ gpa, start, len, need };
	plan->initrd_max = le32_get(h + HDR_INITRD_ADDR_MAX);
	cmdline_size = le32_get(h + HDR_CMDLINE_SIZE);
	plan->cmdline_max =
		cmdline_size < LAYOUT_CMDLINE_MAX ? cmdline_size + 1 : LAYOUT_CMDLINE_MAX;
	plan->hdr_bytes = end - BOOT_HDR_OFF;
	memcpy(plan->hdr, h + BOOT_HDR_OFF, plan->hdr_bytes);
	return 0;
}
