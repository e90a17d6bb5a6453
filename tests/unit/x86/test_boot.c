/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel loaders: good images, every truncation, and each way an image can lie. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "devices/device.h"
#include "images.h"

static int plan(const void *image, size_t len, uint64_t ram_end, struct boot_plan *ret,
		struct err *err)
{
	struct boot_source src = { .data = image, .fd = -1, .len_bytes = len, .name = "img" };

	return boot_plan_image(&src, ram_end, ret, err);
}

static void expect(const void *image, size_t len, int code, const char *text)
{
	struct boot_plan p;
	struct err err = { 0 };

	memset(&p, 0x5a, sizeof(p));
	assert_int_equal(plan(image, len, TEST_RAM_END, &p, &err), code);
	assert_int_equal(err.code, code);
	if (strncmp(err.msg, "img: ", 5) || !strstr(err.msg, text))
		fail_msg("message is \"%s\", expected \"img: ...%s\"", err.msg, text);
	/* outputs are untouched on failure */
	for (size_t i = 0; i < sizeof(p); i++)
		assert_int_equal(((uint8_t *)&p)[i], 0x5a);
}

static void test_elf_pvh(void **state)
{
	struct elf_image e = make_elf(true);
	struct boot_plan p;

	assert_int_equal(plan(&e, sizeof(e), TEST_RAM_END, &p, NULL), 0);
	assert_int_equal(p.kind, BOOT_ELF_PVH);
	assert_int_equal(p.entry, 0x100020);
	assert_int_equal(p.nsegments, 2);
	assert_int_equal(p.segment[1].gpa, 0x200000);
	assert_int_equal(p.segment[1].file_bytes, 32);
	assert_int_equal(p.segment[1].mem_bytes, 0x3000);
	assert_true(plan_is_sound(&p, sizeof(e), TEST_RAM_END));
}

static void test_elf_pvh_8_byte_desc(void **state)
{
	struct elf_image e = make_elf(true);
	struct boot_plan p;

	/* The value's upper half are the first 4 bytes of the text: zero, so that it is the same entry. */
	e.nhdr.n_descsz = 8;
	memset(e.text, 0, 4);
	e.phdr[2].p_filesz += 4;
	assert_int_equal(plan(&e, sizeof(e), TEST_RAM_END, &p, NULL), 0);
	assert_int_equal(p.entry, 0x100020);
	e.text[0] = 1; /* 0x1_0010_0020 */
	expect(&e, sizeof(e), -EINVAL, "entry point");
}

static void test_elf_vmlinux(void **state)
{
	struct elf_image e = make_elf(false);
	struct boot_plan p;

	assert_int_equal(plan(&e, sizeof(e), TEST_RAM_END, &p, NULL), 0);
	assert_int_equal(p.kind, BOOT_ELF_LINUX);
	assert_int_equal(p.entry, 0x100010);
	e.ehdr.e_entry = 0xffffffff80200004;
	assert_int_equal(plan(&e, sizeof(e), TEST_RAM_END, &p, NULL), 0);
	assert_int_equal(p.entry, 0x200004);
	e.ehdr.e_entry = 0x300000;
	expect(&e, sizeof(e), -EINVAL, "entry point 0x300000");
}

static void test_elf32_pvh(void **state)
{
	struct {
		Elf32_Ehdr ehdr;
		Elf32_Phdr phdr[2];
		Elf32_Nhdr nhdr;
		char name[4];
		uint32_t entry;
		uint8_t text[16];
	} e = {
		.ehdr = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
			  .e_type = ET_EXEC,
			  .e_machine = EM_386,
			  .e_phoff = sizeof(Elf32_Ehdr),
			  .e_phentsize = sizeof(Elf32_Phdr),
			  .e_phnum = 2 },
		.nhdr = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.entry = 0x100004,
	};
	struct boot_plan p;

	e.phdr[0] = (Elf32_Phdr){ .p_type = PT_LOAD,
				  .p_paddr = 0x100000,
				  .p_filesz = 16,
				  .p_memsz = 16,
				  .p_offset = (Elf32_Off)((uint8_t *)e.text - (uint8_t *)&e) };
	e.phdr[1] = (Elf32_Phdr){ .p_type = PT_NOTE,
				  .p_filesz = 20,
				  .p_offset = (Elf32_Off)((uint8_t *)&e.nhdr - (uint8_t *)&e) };
	assert_int_equal(plan(&e, sizeof(e), TEST_RAM_END, &p, NULL), 0);
	assert_int_equal(p.kind, BOOT_ELF_PVH);
	assert_int_equal(p.entry, 0x100004);
	e.ehdr.e_phnum = 1;
	expect(&e, sizeof(e), -ENOEXEC, "32-bit ELF file without a PVH note");
}

static void test_elf_truncated_everywhere(void **state)
{
	struct elf_image e = make_elf(true);

	for (size_t len = 1; len < sizeof(e); len++) {
		/* A copy of exactly this size, so that a sanitizer sees a read past it. */
		uint8_t *copy = malloc(len);

		assert_non_null(copy);
		memcpy(copy, &e, len);
		if (len < EI_NIDENT)
			expect(copy, len, -ENOEXEC, "neither an ELF kernel");
		else
			expect(copy, len, -ENODATA, "truncated");
		free(copy);
	}
	expect(&e, 0, -ENOEXEC, "empty");
}

static void test_elf_overlap(void **state)
{
	struct elf_image e = make_elf(true);

	e.phdr[1].p_paddr = 0x10007f;
	expect(&e, sizeof(e), -EINVAL, "overlap");
	e = make_elf(true);
	e.phdr[1].p_paddr = 0x100000 - 0x2fff;
	expect(&e, sizeof(e), -EINVAL, "start-up data");
	e = make_elf(true);
	e.phdr[0].p_paddr = LAYOUT_CMDLINE;
	expect(&e, sizeof(e), -EINVAL, "start-up data");
	e.phdr[0].p_paddr = LAYOUT_BOOT_END; /* free for the guest, but the entry is not there */
	expect(&e, sizeof(e), -EINVAL, "entry point");
}

static void test_elf_too_large(void **state)
{
	static const struct {
		uint64_t paddr, memsz;
	} bad[] = {
		{ TEST_RAM_END, 64 },     { TEST_RAM_END - 63, 64 }, { 0x200000, TEST_RAM_END },
		{ 0x200000, UINT64_MAX }, { UINT64_MAX, 64 },        { UINT64_MAX - 63, 64 },
	};
	struct elf_image e = make_elf(true);
	struct boot_plan p;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e.phdr[1].p_paddr = bad[i].paddr;
		e.phdr[1].p_memsz = bad[i].memsz;
		expect(&e, sizeof(e), -E2BIG, "too large for the memory");
	}
	e.phdr[1].p_paddr = TEST_RAM_END - 64;
	e.phdr[1].p_memsz = 64;
	assert_int_equal(plan(&e, sizeof(e), TEST_RAM_END, &p, NULL), 0);
}

static void test_elf_contradictions(void **state)
{
	struct elf_image e = make_elf(true);

	e.phdr[0].p_filesz = 129;
	expect(&e, sizeof(e), -EINVAL, "larger in the file");
	e = make_elf(true);
	e.phdr[0].p_offset = UINT64_MAX;
	expect(&e, sizeof(e), -ENODATA, "truncated");
	e = make_elf(true);
	e.phdr[2].p_offset = UINT64_MAX - 3;
	expect(&e, sizeof(e), -ENODATA, "truncated");
	e = make_elf(true);
	e.other.n_descsz = UINT32_MAX;
	expect(&e, sizeof(e), -EINVAL, "note");
	e = make_elf(true);
	e.other.n_namesz = UINT32_MAX;
	expect(&e, sizeof(e), -EINVAL, "note");
	e = make_elf(true);
	e.ehdr.e_phnum = 0;
	expect(&e, sizeof(e), -EINVAL, "0 program headers");
	e.ehdr.e_phnum = 65;
	expect(&e, sizeof(e), -EINVAL, "65 program headers");
	e = make_elf(true);
	e.ehdr.e_phentsize = 55;
	expect(&e, sizeof(e), -EINVAL, "program headers of 55 bytes");
	e = make_elf(true);
	e.ehdr.e_phoff = UINT64_MAX;
	expect(&e, sizeof(e), -ENODATA, "program headers");
	e = make_elf(true);
	e.ehdr.e_machine = EM_AARCH64;
	expect(&e, sizeof(e), -ENOEXEC, "another machine");
	e = make_elf(true);
	e.ehdr.e_type = ET_DYN;
	expect(&e, sizeof(e), -ENOEXEC, "not an executable");
	e = make_elf(true);
	e.phdr[0].p_type = e.phdr[1].p_type = PT_NULL;
	expect(&e, sizeof(e), -EINVAL, "nothing to load");
	e = make_elf(true);
	e.pvh_entry = 0x400000;
	expect(&e, sizeof(e), -EINVAL, "entry point 0x400000");
	/* The virtual address counts for a 64-bit entry only. */
	e.pvh_entry = 0x100080;
	expect(&e, sizeof(e), -EINVAL, "entry point");
}

static void test_bzimage(void **state)
{
	uint8_t b[BZ_BYTES];
	struct boot_plan p;

	make_bzimage(b);
	assert_int_equal(plan(b, sizeof(b), TEST_RAM_END, &p, NULL), 0);
	assert_int_equal(p.kind, BOOT_BZIMAGE);
	assert_int_equal(p.entry, 0x1000200);
	assert_int_equal(p.segment[0].gpa, 0x1000000);
	assert_int_equal(p.segment[0].file_off, 1024);
	assert_int_equal(p.segment[0].file_bytes, BZ_SYS_BYTES);
	assert_int_equal(p.segment[0].mem_bytes, 0x800000);
	assert_int_equal(p.initrd_max, 0x7fffffff);
	assert_int_equal(p.cmdline_max, 2048);
	assert_int_equal(p.hdr_bytes, 0x26c - 0x1f1);
	assert_memory_equal(p.hdr, b + 0x1f1, p.hdr_bytes);
	assert_true(plan_is_sound(&p, sizeof(b), TEST_RAM_END));

	/* Less memory than the preferred address wants: as low as the alignment allows. */
	assert_int_equal(plan(b, sizeof(b), 0x1000000, &p, NULL), 0);
	assert_int_equal(p.entry, 0x200200);
	b[0x234] = 0; /* not relocatable */
	assert_int_equal(plan(b, sizeof(b), 0x1000000, &p, NULL), -E2BIG);
	/* 0 setup sectors mean 4. */
	make_bzimage(b);
	b[0x1f1] = 0;
	expect(b, sizeof(b), -ENODATA, "truncated");
}

static void test_bzimage_truncated_everywhere(void **state)
{
	uint8_t b[BZ_BYTES];

	make_bzimage(b);
	for (size_t len = 1; len + 15 < sizeof(b); len++) {
		uint8_t *copy = malloc(len);

		assert_non_null(copy);
		memcpy(copy, b, len);
		if (len < 0x208)
			expect(copy, len, -ENOEXEC, "nor a Linux bzImage");
		else
			expect(copy, len, -ENODATA, "truncated");
		free(copy);
	}
}

static void test_bzimage_contradictions(void **state)
{
	uint8_t b[BZ_BYTES];

	make_bzimage(b);
	le16_put(b + 0x206, 0x020b);
	expect(b, sizeof(b), -ENOEXEC, "2.11 is too old");
	make_bzimage(b);
	le16_put(b + 0x236, 2);
	expect(b, sizeof(b), -ENOEXEC, "no 64-bit entry");
	make_bzimage(b);
	b[0x201] = 0x10;
	expect(b, sizeof(b), -EINVAL, "setup header ends at");
	b[0x201] = 0xff;
	expect(b, sizeof(b), -EINVAL, "setup header ends at");
	make_bzimage(b);
	le32_put(b + 0x260, 0xffffffff);
	expect(b, sizeof(b), -EINVAL, "claims to need");
	le32_put(b + 0x260, TEST_RAM_END);
	expect(b, sizeof(b), -E2BIG, "too large for the memory");
	make_bzimage(b);
	le32_put(b + 0x1f4, 0);
	expect(b, sizeof(b), -EINVAL, "protected-mode part of 0 bytes");
	make_bzimage(b);
	le64_put(b + 0x258, UINT64_MAX);
	le32_put(b + 0x230, 3);
	expect(b, sizeof(b), -EINVAL, "alignment");
	b[0x1fe] = 0;
	expect(b, sizeof(b), -ENOEXEC, "neither");
}

static void test_source_file(void **state)
{
	struct elf_image e = make_elf(true);
	char path[] = "/tmp/vmm-test-boot-XXXXXX";
	int fd = mkstemp(path);
	struct boot_source src = { .fd = fd, .len_bytes = sizeof(e), .name = path };
	struct boot_plan p;
	struct err err = { 0 };
	uint8_t byte;

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, &e, sizeof(e)), sizeof(e));
	assert_int_equal(boot_plan_image(&src, TEST_RAM_END, &p, &err), 0);
	assert_int_equal(p.entry, 0x100020);
	assert_int_equal(boot_source_read(&src, sizeof(e), &byte, 1), -ENODATA);
	assert_int_equal(boot_source_read(&src, UINT64_MAX, &byte, 1), -ENODATA);
	/* Cut short after its length was taken. */
	assert_int_equal(ftruncate(fd, 32), 0);
	assert_int_equal(boot_plan_image(&src, TEST_RAM_END, &p, &err), -ENODATA);
	close(fd);
}

static void test_initrd_place(void **state)
{
	struct boot_plan p = {
		.nsegments = 2,
		.segment = { { .gpa = 0x3000000, .mem_bytes = 0xf00000 },
			     { .gpa = 0x100000, .mem_bytes = 0x100000 } },
		.initrd_max = 0x3fffffff,
	};
	uint64_t gpa = 1;

	assert_int_equal(boot_place_initrd(&p, TEST_RAM_END, 0x1000, &gpa), 0);
	assert_int_equal(gpa, TEST_RAM_END - 0x1000);
	assert_int_equal(boot_place_initrd(&p, TEST_RAM_END, 0x100001, &gpa), 0);
	assert_int_equal(gpa, 0x3000000 - 0x101000);
	assert_int_equal(boot_place_initrd(&p, TEST_RAM_END, 0x3000000 - 0x200000, &gpa), 0);
	assert_int_equal(gpa, 0x200000);
	assert_int_equal(boot_place_initrd(&p, TEST_RAM_END, 0x3000000 - 0x1fffff, &gpa), -E2BIG);
	assert_int_equal(boot_place_initrd(&p, TEST_RAM_END, UINT64_MAX, &gpa), -E2BIG);
	assert_int_equal(gpa, 0x200000);
	p.initrd_max = 0x2ffffff;
	assert_int_equal(boot_place_initrd(&p, TEST_RAM_END, 0x1000, &gpa), 0);
	assert_int_equal(gpa, 0x2fff000);
	p.initrd_max = 0;
	assert_int_equal(boot_place_initrd(&p, TEST_RAM_END, 0x1000, &gpa), -E2BIG);
}

static const struct boot_mem map[] = {
	{ 0, LAYOUT_LOW_RAM_END, BOOT_MEM_RAM },
	{ LAYOUT_ACPI, LAYOUT_ACPI_MAX, BOOT_MEM_ACPI },
	{ LAYOUT_HOLE_END, 0x40000000, BOOT_MEM_RAM },
};

static void test_start_info(void **state)
{
	struct boot_params_in in = { .mem = map,
				     .nmem = 3,
				     .rsdp = 0xe0000,
				     .cmdline = 0x20000,
				     .initrd = 0x3000000,
				     .initrd_bytes = 5 };
	uint8_t page[BOOT_PAGE_BYTES] = { 0 };
	const uint8_t *m = page + (LAYOUT_MEMMAP - LAYOUT_START_INFO);

	boot_write_start_info(&in, page);
	assert_int_equal(le32_get(page), 0x336ec578);
	assert_int_equal(le32_get(page + 4), 1);
	assert_int_equal(le32_get(page + 12), 1);
	assert_int_equal(le64_get(page + 16), LAYOUT_MODLIST);
	assert_int_equal(le64_get(page + 24), 0x20000);
	assert_int_equal(le64_get(page + 32), 0xe0000);
	assert_int_equal(le64_get(page + 40), LAYOUT_MEMMAP);
	assert_int_equal(le32_get(page + 48), 3);
	assert_int_equal(le64_get(page + 0x80), 0x3000000);
	assert_int_equal(le64_get(page + 0x88), 5);
	assert_int_equal(le64_get(m + 2 * 24), LAYOUT_HOLE_END);
	assert_int_equal(le64_get(m + 2 * 24 + 8), 0x40000000);
	assert_int_equal(le32_get(m + 24 + 16), BOOT_MEM_ACPI);
}

static void test_zero_page(void **state)
{
	struct boot_params_in in = { .mem = map,
				     .nmem = 3,
				     .rsdp = 0xe0000,
				     .cmdline = 0x20000,
				     .initrd = 0x123456789000,
				     .initrd_bytes = 0x500000001 };
	uint8_t page[BOOT_PAGE_BYTES] = { 0 };
	uint8_t b[BZ_BYTES];
	struct boot_plan p;

	make_bzimage(b);
	assert_int_equal(plan(b, sizeof(b), TEST_RAM_END, &p, NULL), 0);
	boot_write_zero_page(&p, &in, page);
	assert_memory_equal(page + 0x202, "HdrS", 4);
	assert_int_equal(page[0x1ef],
			 0); /* sentinel: a dirty one makes the kernel wipe what is here */
	assert_int_equal(page[0x210], 0xff);
	assert_int_equal(le64_get(page + 0x70), 0xe0000);
	assert_int_equal(le32_get(page + 0x228), 0x20000);
	assert_int_equal(le32_get(page + 0x218), 0x56789000);
	assert_int_equal(le32_get(page + 0xc0), 0x1234);
	assert_int_equal(le32_get(page + 0x21c), 1);
	assert_int_equal(le32_get(page + 0xc4), 5);
	assert_int_equal(le64_get(page + 0x258), 0x1000000);
	assert_int_equal(page[0x1e8], 3);
	assert_int_equal(le64_get(page + 0x2d0 + 40), LAYOUT_HOLE_END);
	assert_int_equal(le32_get(page + 0x2d0 + 20 + 16), BOOT_MEM_ACPI);
}

/* layout.h repeats what devices/ defines, because vmm/ may not include it. */
static void test_layout_agrees_with_devices(void **state)
{
	assert_int_equal(LAYOUT_POWER_PORT, POWER_PORT);
	assert_int_equal(LAYOUT_POWER_EVENT, POWER_PORT + POWER_PORT_LEN - 1);
	assert_int_equal(LAYOUT_POWER_RESET_VALUE, POWER_RESET_VALUE);
	assert_int_equal(LAYOUT_POWER_SLEEP_S5, POWER_SLEEP_S5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf_pvh),
		cmocka_unit_test(test_elf_pvh_8_byte_desc),
		cmocka_unit_test(test_elf_vmlinux),
		cmocka_unit_test(test_elf32_pvh),
		cmocka_unit_test(test_elf_truncated_everywhere),
		cmocka_unit_test(test_elf_overlap),
		cmocka_unit_test(test_elf_too_large),
		cmocka_unit_test(test_elf_contradictions),
		cmocka_unit_test(test_bzimage),
		cmocka_unit_test(test_bzimage_truncated_everywhere),
		cmocka_unit_test(test_bzimage_contradictions),
		cmocka_unit_test(test_source_file),
		cmocka_unit_test(test_initrd_place),
		cmocka_unit_test(test_start_info),
		cmocka_unit_test(test_zero_page),
		cmocka_unit_test(test_layout_agrees_with_devices),
	};

	return cmocka_run_group_tests_name("x86-boot", tests, NULL, NULL);
}
