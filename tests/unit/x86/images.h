/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_X86_IMAGES_H
#define TESTS_UNIT_X86_IMAGES_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "vmm/arch/x86_64/boot.h"
#include "vmm/arch/x86_64/layout.h"

/* Small kernel images for the loaders' tests and seeds, and what every plan must keep to. */

#define TEST_RAM_END (64u << 20)

/* Header, PT_LOAD at 1 MiB, PT_LOAD at 2 MiB with a zeroed tail, PT_NOTE. All headers come first, the loaded bytes fill the end. */
struct elf_image {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[3];
	Elf64_Nhdr other; /* another note ahead of the one that counts */
	char other_name[4];
	uint8_t other_desc[4];
	Elf64_Nhdr nhdr;
	char name[4];
	uint32_t pvh_entry;
	uint8_t text[128];
	uint8_t data[32];
};

static inline struct elf_image make_elf(bool pvh)
{
	struct elf_image e = {
		.ehdr = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = 0x100010,
			.e_phoff = offsetof(struct elf_image, phdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = pvh ? 3 : 2,
		},
		.phdr = {
			{ .p_type = PT_LOAD, .p_offset = offsetof(struct elf_image, text),
			  .p_vaddr = 0xffffffff80100000, .p_paddr = 0x100000, .p_filesz = 128,
			  .p_memsz = 128 },
			{ .p_type = PT_LOAD, .p_offset = offsetof(struct elf_image, data),
			  .p_vaddr = 0xffffffff80200000, .p_paddr = 0x200000, .p_filesz = 32,
			  .p_memsz = 0x3000 },
			{ .p_type = PT_NOTE, .p_offset = offsetof(struct elf_image, other),
			  .p_filesz = offsetof(struct elf_image, text) -
				      offsetof(struct elf_image, other) },
		},
		.other = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.other_name = "GNU",
		.nhdr = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.pvh_entry = 0x100020,
	};

	memset(e.text, 0x90, sizeof(e.text));
	memset(e.data, 0xda, sizeof(e.data));
	return e;
}

#define BZ_SETUP_SECTS 1u
#define BZ_SYS_BYTES 1024u
#define BZ_BYTES ((BZ_SETUP_SECTS + 1) * 512 + BZ_SYS_BYTES)

static inline void make_bzimage(uint8_t image[BZ_BYTES])
{
	memset(image, 0, BZ_BYTES);
	memset(image + BZ_BYTES - BZ_SYS_BYTES, 0x90, BZ_SYS_BYTES);
	image[0x1f1] = BZ_SETUP_SECTS;
	le32_put(image + 0x1f4, BZ_SYS_BYTES / 16);
	le16_put(image + 0x1fe, 0xaa55);
	image[0x201] = 0x6a; /* the header ends at 0x26c */
	memcpy(image + 0x202, "HdrS", 4);
	le16_put(image + 0x206, 0x020f);
	image[0x211] = 1;
	le32_put(image + 0x22c, 0x7fffffff);
	le32_put(image + 0x230, 0x200000);
	image[0x234] = 1;
	le16_put(image + 0x236, 3);
	le32_put(image + 0x238, 2047);
	le64_put(image + 0x258, 0x1000000);
	le32_put(image + 0x260, 0x800000);
}

/* What boot.c relies on, for any plan of any image. */
static inline bool plan_is_sound(const struct boot_plan *p, uint64_t image_bytes, uint64_t ram_end)
{
	bool entry_inside = false;

	if (!p->nsegments || p->nsegments > BOOT_MAX_SEGMENTS || p->hdr_bytes > sizeof(p->hdr) ||
	    !p->cmdline_max || p->cmdline_max > LAYOUT_CMDLINE_MAX)
		return false;
	for (unsigned int i = 0; i < p->nsegments; i++) {
		const struct boot_segment *s = &p->segment[i];

		if (s->file_bytes > s->mem_bytes || s->file_off > image_bytes ||
		    s->file_bytes > image_bytes - s->file_off || s->gpa >= ram_end ||
		    s->mem_bytes > ram_end - s->gpa || s->gpa < LAYOUT_BOOT_END)
			return false;
		if (s->gpa < LAYOUT_HIGH_RAM && s->gpa + s->mem_bytes > LAYOUT_LOW_RAM_END)
			return false;
		for (unsigned int j = 0; j < i; j++) {
			const struct boot_segment *o = &p->segment[j];

			if (s->gpa < o->gpa + o->mem_bytes && o->gpa < s->gpa + s->mem_bytes)
				return false;
		}
		if (p->entry >= s->gpa && p->entry - s->gpa < s->mem_bytes)
			entry_inside = true;
	}
	return entry_inside;
}

#endif
