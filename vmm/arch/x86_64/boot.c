/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <errno.h>
#include <string.h>

#include "acpi.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "layout.h"
#include "x86.h"

/* Carries out a boot plan: copies image, initrd and tables into guest memory and sets the boot CPU's registers. The other CPUs wait for INIT and
 * SIPI, as KVM creates them. */

/* The memory is fresh, so that a segment's tail is zero without being touched. */
static int load_kernel(struct gmem *mem, const struct boot_source *src,
		       const struct boot_plan *plan, struct err *err)
{
	int rc = 0;

	for (unsigned int i = 0; i < plan->nsegments && !rc; i++)
		rc = boot_source_load(src, plan->segment[i].file_off, mem, plan->segment[i].gpa,
				      plan->segment[i].file_bytes, err);
	return rc;
}

static int load_initrd(struct gmem *mem, const char *path, const struct boot_plan *plan,
		       uint64_t ram_end, struct boot_params_in *in, struct err *err)
{
	cleanup_fd int fd = -1;
	struct boot_source src = { 0 };
	int rc;

	rc = boot_source_open(path, &src, &fd, err);
	if (rc)
		return rc;
	if (!src.len_bytes)
		return err_set(err, -EINVAL, "%s: the file is empty", path);
	if (boot_place_initrd(plan, ram_end, src.len_bytes, &in->initrd))
		return err_set(
			err, -E2BIG,
			"%s: too large for the memory: %llu bytes do not fit beside the kernel",
			path, (unsigned long long)src.len_bytes);
	in->initrd_bytes = src.len_bytes;
	return boot_source_load(&src, 0, mem, in->initrd, src.len_bytes, err);
}

static int put(struct gmem *mem, uint64_t gpa, const void *data, size_t len_bytes, const char *what,
	       struct err *err)
{
	int rc = gmem_write(mem, gpa, data, len_bytes);

	return rc ? err_set(err, rc, "no memory for the %s at 0x%llx", what,
			    (unsigned long long)gpa) :
		    0;
}

static int write_acpi(struct gmem *mem, unsigned int ncpus, const struct boot_devices *devices,
		      struct err *err)
{
	struct buf tables = { 0 };
	int rc;

	acpi_build(ncpus, devices, LAYOUT_ACPI, &tables);
	if (!buf_ok(&tables) || tables.len_bytes > LAYOUT_ACPI_MAX)
		rc = err_set(err, -ENOMEM, "no memory for the ACPI tables");
	else
		rc = put(mem, LAYOUT_ACPI, tables.data, tables.len_bytes, "ACPI tables", err);
	buf_fini(&tables);
	return rc;
}

/* What a jump to the BIOS finds. Linux takes that way to reboot on hardware-reduced ACPI: it settles on the firmware's own service there
 * (efi_reboot_required), goes on to the BIOS where no EFI exists, and never tries the FADT's reset register. */
static int write_reset_vector(struct gmem *mem, struct err *err)
{
	/* mov dx, port; mov al, value; out dx, al; cli; hlt; jmp back to the hlt */
	static const uint8_t code[] = {
		0xba,
		LAYOUT_POWER_RESET & 0xff,
		LAYOUT_POWER_RESET >> 8,
		0xb0,
		LAYOUT_POWER_RESET_VALUE,
		0xee,
		0xfa,
		0xf4,
		0xeb,
		0xfd,
	};

	_Static_assert(LAYOUT_RESET_VECTOR + sizeof(code) <= LAYOUT_HIGH_RAM, "16 bytes at most");
	return put(mem, LAYOUT_RESET_VECTOR, code, sizeof(code), "reset vector", err);
}

static unsigned int memory_map(const struct gmem *mem, const struct boot_devices *devices,
			       struct boot_mem map[BOOT_MEM_MAX])
{
	unsigned int n = 0;

	map[n++] = (struct boot_mem){ 0, LAYOUT_LOW_RAM_END, BOOT_MEM_RAM };
	map[n++] = (struct boot_mem){ LAYOUT_ACPI, LAYOUT_ACPI_MAX, BOOT_MEM_ACPI };
	map[n++] = (struct boot_mem){ LAYOUT_FIRMWARE, LAYOUT_FIRMWARE_BYTES, BOOT_MEM_RESERVED };
	map[n++] = (struct boot_mem){ LAYOUT_HIGH_RAM, mem->region[0].len_bytes - LAYOUT_HIGH_RAM,
				      BOOT_MEM_RAM };
	if (devices && devices->pci)
		map[n++] = (struct boot_mem){ LAYOUT_PCI_ECAM, LAYOUT_PCI_ECAM_BYTES,
					      BOOT_MEM_RESERVED };
	for (unsigned int i = 1; i < mem->nregions && n < BOOT_MEM_MAX; i++)
		map[n++] = (struct boot_mem){ mem->region[i].gpa, mem->region[i].len_bytes,
					      BOOT_MEM_RAM };
	return n;
}

/* ---- registers ---- */

#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_DATA 0x00cf93000000ffffull
/* Busy 32-bit TSS of 0x68 bytes. */
#define GDT_TSS (0x00008b0000000067ull | (uint64_t)LAYOUT_TSS << 16)
#define SEL_CODE 0x10u /* Linux' __BOOT_CS and __BOOT_DS */
#define SEL_DATA 0x18u
#define SEL_TSS 0x20u

#define CR0_PE 1ull
#define CR0_ET (1ull << 4)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define PTE_PRESENT_RW 3ull
#define PDE_LARGE (1ull << 7)

static int write_gdt(struct gmem *mem, bool long_mode, struct err *err)
{
	uint8_t gdt[5 * 8] = { 0 };

	le64_put(gdt + SEL_CODE, long_mode ? GDT_CODE64 : GDT_CODE32);
	le64_put(gdt + SEL_DATA, GDT_DATA);
	le64_put(gdt + SEL_TSS, GDT_TSS);
	return put(mem, LAYOUT_GDT, gdt, sizeof(gdt), "GDT", err);
}

/* Identity map of the first 4 GiB in 2 MiB pages. */
static int write_page_tables(struct gmem *mem, struct err *err)
{
	uint8_t *t = gmem_ptr(mem, LAYOUT_PAGE_TABLES, LAYOUT_PAGE_TABLES_BYTES);

	if (!t)
		return err_set(err, -EFAULT, "no memory for the page tables");
	memset(t, 0, 2 * 4096);
	le64_put(t, (LAYOUT_PAGE_TABLES + 0x1000) | PTE_PRESENT_RW);
	for (uint64_t i = 0; i < 4; i++)
		le64_put(t + 0x1000 + i * 8,
			 (LAYOUT_PAGE_TABLES + 0x2000 + i * 0x1000) | PTE_PRESENT_RW);
	for (uint64_t i = 0; i < 4 * 512; i++)
		le64_put(t + 0x2000 + i * 8, i << 21 | PDE_LARGE | PTE_PRESENT_RW);
	gmem_mark_dirty(mem, LAYOUT_PAGE_TABLES, LAYOUT_PAGE_TABLES_BYTES);
	return 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool long_mode)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.l = long_mode,
		.db = !long_mode,
		.g = 1,
	};
}

/* PVH: protected mode, paging off, flat 32-bit segments (Xen docs/misc/pvh.pandoc). Linux: long mode with the identity map. */
static int set_registers(int vcpu_fd, const struct boot_plan *plan, struct err *err)
{
	bool long_mode = plan->kind != BOOT_ELF_PVH;
	struct kvm_regs regs = { .rip = plan->entry, .rflags = 2 };
	struct kvm_sregs sregs;
	int rc;

	rc = kvm_get_sregs(vcpu_fd, &sregs, err);
	if (rc < 0)
		return rc;
	sregs.cs = segment(SEL_CODE, 0xb, long_mode);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(SEL_DATA, 3, false);
	sregs.tr = (struct kvm_segment){
		.base = LAYOUT_TSS,
		.limit = 0x67,
		.selector = SEL_TSS,
		.type = 0xb,
		.present = 1,
	};
	sregs.ldt = (struct kvm_segment){ .type = 2, .unusable = 1 };
	sregs.gdt.base = LAYOUT_GDT;
	sregs.gdt.limit = 5 * 8 - 1;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr4 = 0;
	sregs.efer = 0;
	if (long_mode) {
		sregs.cr0 |= CR0_PG;
		sregs.cr3 = LAYOUT_PAGE_TABLES;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
		regs.rsi = LAYOUT_BOOT_PARAMS;
	} else {
		regs.rbx = LAYOUT_START_INFO;
	}
	rc = kvm_set_sregs(vcpu_fd, &sregs, err);
	if (rc >= 0)
		rc = kvm_set_regs(vcpu_fd, &regs, err);
	return MIN(rc, 0);
}

static int write_params(struct gmem *mem, const struct boot_plan *plan,
			const struct boot_params_in *in, const char *cmdline, struct err *err)
{
	uint8_t page[BOOT_PAGE_BYTES] = { 0 };
	size_t len = strlen(cmdline) + 1;
	bool pvh = plan->kind == BOOT_ELF_PVH;
	int rc;

	if (len > plan->cmdline_max)
		return err_set(err, -E2BIG, "command line of %zu bytes, the kernel takes %u",
			       len - 1, plan->cmdline_max - 1);
	rc = put(mem, LAYOUT_CMDLINE, cmdline, len, "command line", err);
	if (rc)
		return rc;
	if (pvh)
		boot_write_start_info(in, page);
	else
		boot_write_zero_page(plan, in, page);
	return put(mem, pvh ? LAYOUT_START_INFO : LAYOUT_BOOT_PARAMS, page, sizeof(page),
		   "boot parameters", err);
}

static int boot_from(struct arch_vm *av, struct gmem *mem, const struct boot_source *src,
		     const struct boot_config *boot, struct err *err)
{
	struct boot_mem map[BOOT_MEM_MAX];
	struct boot_params_in in = { .mem = map, .rsdp = LAYOUT_ACPI, .cmdline = LAYOUT_CMDLINE };
	uint64_t ram_end = mem->region[0].len_bytes;
	struct boot_plan plan;
	int rc;

	rc = boot_plan_image(src, ram_end, &plan, err);
	if (!rc)
		rc = load_kernel(mem, src, &plan, err);
	if (!rc && boot->initrd_path)
		rc = load_initrd(mem, boot->initrd_path, &plan, ram_end, &in, err);
	if (rc)
		return rc;
	in.nmem = memory_map(mem, boot->devices, map);
	rc = write_params(mem, &plan, &in, boot->cmdline ? boot->cmdline : "", err);
	if (!rc)
		rc = write_acpi(mem, av->ncpus, boot->devices, err);
	if (!rc)
		rc = write_reset_vector(mem, err);
	if (!rc)
		rc = write_gdt(mem, plan.kind != BOOT_ELF_PVH, err);
	if (!rc && plan.kind != BOOT_ELF_PVH)
		rc = write_page_tables(mem, err);
	if (!rc)
		rc = set_registers(av->vcpu[0]->fd, &plan, err);
	return rc;
}

int arch_boot(struct arch_vm *av, struct gmem *mem, const struct boot_config *boot, struct err *err)
{
	struct boot_source src = {
		.data = boot->kernel_image,
		.fd = -1,
		.len_bytes = boot->kernel_image_bytes,
		.name = "built-in guest",
	};
	cleanup_fd int fd = -1;

	if (!av->vcpu[0] || !mem->nregions || mem->region[0].len_bytes < LAYOUT_MIN_RAM)
		return err_set(err, -EINVAL, "no vCPU or no memory to boot with");
	if (boot->kernel_path) {
		int rc = boot_source_open(boot->kernel_path, &src, &fd, err);

		if (rc)
			return rc;
	}
	return boot_from(av, mem, &src, boot, err);
}
