/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot.h"
#include "layout.h"

/* ELF images: System V ABI, and the Xen note that gives a PVH entry (xen/include/public/elfnote.h). */

#define XEN_ELFNOTE_PHYS32_ENTRY 18u
#define NOTES_MAX_BYTES 65536u

struct elf_info {
	bool is64;
	uint64_t entry;
	uint64_t phoff;
	unsigned int phnum;
	unsigned int phentsize;
};

struct elf_segment {
	uint32_t type;
	uint64_t offset;
	uint64_t vaddr;
	uint64_t paddr;
	uint64_t filesz;
	uint64_t memsz;
	uint64_t align;
};

static int truncated(const struct boot_source *src, struct err *err, int rc, const char *what)
{
	if (rc != -ENODATA)
		return err_sys(err, rc, "%s: cannot read the %s", src->name, what);
	return err_set(err, rc, "%s: truncated: the file ends within the %s", src->name, what);
}

static int read_header(const struct boot_source *src, struct elf_info *ret, struct err *err)
{
	uint8_t h[sizeof(Elf64_Ehdr)] = { 0 };
	uint16_t machine;
	int rc;

	rc = boot_source_read(src, 0, h, EI_NIDENT);
	if (rc == -ENODATA || (!rc && memcmp(h, ELFMAG, SELFMAG)))
		return -ENOEXEC;
	if (rc)
		return truncated(src, err, rc, "ELF header");
	if ((h[EI_CLASS] != ELFCLASS64 && h[EI_CLASS] != ELFCLASS32) || h[EI_DATA] != ELFDATA2LSB ||
	    h[EI_VERSION] != EV_CURRENT)
		return err_set(err, -ENOEXEC, "%s: not a little-endian ELF file", src->name);
	ret->is64 = h[EI_CLASS] == ELFCLASS64;
	rc = boot_source_read(src, 0, h, ret->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr));
	if (rc)
		return truncated(src, err, rc, "ELF header");
	machine = le16_get(h + offsetof(Elf64_Ehdr, e_machine));
	if (machine != (ret->is64 ? EM_X86_64 : EM_386))
		return err_set(err, -ENOEXEC, "%s: an ELF file for another machine (e_machine %u)",
			       src->name, machine);
	if (le16_get(h + offsetof(Elf64_Ehdr, e_type)) != ET_EXEC)
		return err_set(err, -ENOEXEC, "%s: not an executable ELF file (e_type %u)",
			       src->name, le16_get(h + offsetof(Elf64_Ehdr, e_type)));
	if (ret->is64) {
		ret->entry = le64_get(h + offsetof(Elf64_Ehdr, e_entry));
		ret->phoff = le64_get(h + offsetof(Elf64_Ehdr, e_phoff));
		ret->phentsize = le16_get(h + offsetof(Elf64_Ehdr, e_phentsize));
		ret->phnum = le16_get(h + offsetof(Elf64_Ehdr, e_phnum));
	} else {
		ret->entry = le32_get(h + offsetof(Elf32_Ehdr, e_entry));
		ret->phoff = le32_get(h + offsetof(Elf32_Ehdr, e_phoff));
		ret->phentsize = le16_get(h + offsetof(Elf32_Ehdr, e_phentsize));
		ret->phnum = le16_get(h + offsetof(Elf32_Ehdr, e_phnum));
	}
	if (ret->phentsize != (ret->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return err_set(err, -EINVAL, "%s: program headers of %u bytes", src->name,
			       ret->phentsize);
	if (!ret->phnum || ret->phnum > BOOT_MAX_SEGMENTS)
		return err_set(err, -EINVAL, "%s: %u program headers (1 to %u can be loaded)",
			       src->name, ret->phnum, BOOT_MAX_SEGMENTS);
	return 0;
}

static void decode_phdr(const struct elf_info *elf, const uint8_t *p, struct elf_segment *ret)
{
	if (elf->is64) {
		ret->type = le32_get(p + offsetof(Elf64_Phdr, p_type));
		ret->offset = le64_get(p + offsetof(Elf64_Phdr, p_offset));
		ret->vaddr = le64_get(p + offsetof(Elf64_Phdr, p_vaddr));
		ret->paddr = le64_get(p + offsetof(Elf64_Phdr, p_paddr));
		ret->filesz = le64_get(p + offsetof(Elf64_Phdr, p_filesz));
		ret->memsz = le64_get(p + offsetof(Elf64_Phdr, p_memsz));
		ret->align = le64_get(p + offsetof(Elf64_Phdr, p_align));
		return;
	}
	ret->type = le32_get(p + offsetof(Elf32_Phdr, p_type));
	ret->offset = le32_get(p + offsetof(Elf32_Phdr, p_offset));
	ret->vaddr = le32_get(p + offsetof(Elf32_Phdr, p_vaddr));
	ret->paddr = le32_get(p + offsetof(Elf32_Phdr, p_paddr));
	ret->filesz = le32_get(p + offsetof(Elf32_Phdr, p_filesz));
	ret->memsz = le32_get(p + offsetof(Elf32_Phdr, p_memsz));
	ret->align = le32_get(p + offsetof(Elf32_Phdr, p_align));
}

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* One PT_LOAD: inside the file, inside RAM, away from what the boot code writes and from the segments before it. */
static int add_segment(const struct boot_source *src, const struct elf_segment *s, uint64_t ram_end,
		       struct boot_plan *plan, struct err *err)
{
	if (s->filesz > s->memsz)
		return err_set(err, -EINVAL,
			       "%s: segment at 0x%llx is larger in the file than in memory",
			       src->name, (unsigned long long)s->paddr);
	if (s->offset > src->len_bytes || s->filesz > src->len_bytes - s->offset)
		return err_set(err, -ENODATA,
			       "%s: truncated: the file ends within the segment at 0x%llx",
			       src->name, (unsigned long long)s->paddr);
	if (s->paddr >= ram_end || s->memsz > ram_end - s->paddr)
		return err_set(
			err, -E2BIG,
			"%s: too large for the memory: segment of %llu bytes at 0x%llx, RAM ends at 0x%llx",
			src->name, (unsigned long long)s->memsz, (unsigned long long)s->paddr,
			(unsigned long long)ram_end);
	if (s->paddr < LAYOUT_BOOT_END ||
	    overlaps(s->paddr, s->memsz, LAYOUT_LOW_RAM_END, LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END))
		return err_set(err, -EINVAL, "%s: segment at 0x%llx lies over the start-up data",
			       src->name, (unsigned long long)s->paddr);
	for (unsigned int i = 0; i < plan->nsegments; i++) {
		const struct boot_segment *o = &plan->segment[i];

		if (overlaps(s->paddr, s->memsz, o->gpa, o->mem_bytes))
			return err_set(err, -EINVAL, "%s: segments at 0x%llx and 0x%llx overlap",
				       src->name, (unsigned long long)o->gpa,
				       (unsigned long long)s->paddr);
	}
	plan->segment[plan->nsegments++] = (struct boot_segment){
		.gpa = s->paddr,
		.file_off = s->offset,
		.file_bytes = s->filesz,
		.mem_bytes = s->memsz,
	};
	return 0;
}

/* Walks one PT_NOTE. 1 and *ret_entry when the PVH note is there, 0 when it is not. */
static int find_pvh_note(const struct boot_source *src, const struct elf_segment *s,
			 uint64_t *ret_entry, struct err *err)
{
	/* Notes of 8-byte alignment are GNU properties' (gABI; Linux elf.h); all others align by 4. */
	uint64_t align = s->align == 8 ? 8 : 4;
	uint64_t off = 0;

	if (s->filesz > NOTES_MAX_BYTES)
		return 0;
	while (s->filesz - off >= sizeof(Elf64_Nhdr)) {
		uint8_t note[sizeof(Elf64_Nhdr) + 4 + 8] = { 0 };
		uint64_t left = s->filesz - off;
		uint64_t at, name, desc, next;
		uint32_t namesz, descsz;
		int rc;

		if (__builtin_add_overflow(s->offset, off, &at))
			return err_set(err, -ENODATA,
				       "%s: truncated: the file ends within its notes", src->name);
		rc = boot_source_read(src, at, note, MIN(left, sizeof(note)));
		if (rc)
			return truncated(src, err, rc, "notes");
		namesz = le32_get(note);
		descsz = le32_get(note + 4);
		/* 32-bit sizes in 64-bit sums: cannot wrap. */
		align_up(sizeof(Elf64_Nhdr) + (uint64_t)namesz, align, &name);
		desc = name;
		align_up(desc + descsz, align, &next);
		if (desc + descsz > left)
			return err_set(err, -EINVAL, "%s: a note is longer than its segment",
				       src->name);
		if (le32_get(note + 8) == XEN_ELFNOTE_PHYS32_ENTRY && namesz == 4 &&
		    !memcmp(note + 12, "Xen", 4) && (descsz == 4 || descsz == 8)) {
			*ret_entry = descsz == 4 ? le32_get(note + 16) : le64_get(note + 16);
			return 1;
		}
		if (next >= left)
			break;
		off += next;
	}
	return 0;
}

/* The physical address of the 64-bit entry: vmlinux has it in e_entry, other kernels a virtual one. */
static bool entry_in_segments(const struct elf_segment *segs, unsigned int n, uint64_t entry,
			      uint64_t *ret)
{
	for (unsigned int i = 0; i < n; i++) {
		if (segs[i].type == PT_LOAD && entry >= segs[i].paddr &&
		    entry - segs[i].paddr < segs[i].memsz) {
			*ret = entry;
			return true;
		}
	}
	for (unsigned int i = 0; i < n; i++) {
		if (segs[i].type == PT_LOAD && entry >= segs[i].vaddr &&
		    entry - segs[i].vaddr < segs[i].memsz) {
			*ret = entry - segs[i].vaddr + segs[i].paddr;
			return true;
		}
	}
	return false;
}

static int choose_entry(const struct boot_source *src, const struct elf_info *elf,
			const struct elf_segment *segs, struct boot_plan *plan, struct err *err)
{
	uint64_t entry = 0;

	plan->kind = BOOT_ELF_LINUX;
	for (unsigned int i = 0; i < elf->phnum && plan->kind != BOOT_ELF_PVH; i++) {
		int rc = segs[i].type == PT_NOTE ? find_pvh_note(src, &segs[i], &entry, err) : 0;

		if (rc < 0)
			return rc;
		if (rc)
			plan->kind = BOOT_ELF_PVH;
	}
	if (plan->kind == BOOT_ELF_LINUX) {
		if (!elf->is64)
			return err_set(err, -ENOEXEC, "%s: a 32-bit ELF file without a PVH note",
				       src->name);
		entry = elf->entry;
	}
	if (!entry_in_segments(segs, elf->phnum, entry, &plan->entry) ||
	    (plan->kind == BOOT_ELF_PVH && plan->entry != entry))
		return err_set(err, -EINVAL, "%s: the entry point 0x%llx lies in no segment",
			       src->name, (unsigned long long)entry);
	return 0;
}

int boot_elf_plan(const struct boot_source *src, uint64_t ram_end, struct boot_plan *plan,
		  struct err *err)
{
	uint8_t raw[BOOT_MAX_SEGMENTS * sizeof(Elf64_Phdr)];
	struct elf_segment segs[BOOT_MAX_SEGMENTS];
	struct elf_info elf = { 0 };
	int rc;

	rc = read_header(src, &elf, err);
	if (rc)
		return rc;
	rc = boot_source_read(src, elf.phoff, raw, (uint64_t)elf.phnum * elf.phentsize);
	if (rc)
		return truncated(src, err, rc, "program headers");
	for (unsigned int i = 0; i < elf.phnum; i++) {
		decode_phdr(&elf, raw + i * elf.phentsize, &segs[i]);
		if (segs[i].type != PT_LOAD || !segs[i].memsz)
			continue;
		rc = add_segment(src, &segs[i], ram_end, plan, err);
		if (rc)
			return rc;
	}
	if (!plan->nsegments)
		return err_set(err, -EINVAL, "%s: an ELF file with nothing to load", src->name);
	rc = choose_entry(src, &elf, segs, plan, err);
	if (rc)
		return rc;
	/* Without a setup header that says more: what every 64-bit Linux since 2.6 takes. */
	plan->initrd_max = plan->kind == BOOT_ELF_PVH ? LAYOUT_HOLE_END - 1 : 0x7fffffff;
	plan->cmdline_max = plan->kind == BOOT_ELF_PVH ? LAYOUT_CMDLINE_MAX : 2048;
	return 0;
}
