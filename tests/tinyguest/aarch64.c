/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "arch.h"
#include "vmm/arch/aarch64/arm64.h"
#include "vmm/arch/aarch64/kvm_arm64.h"
#include "vmm/arch/aarch64/layout.h"

/*
 * Arm ARM (DDI 0487), D8: stage 1 with 4 KiB granules and 39 bits of virtual address, so that its tables begin at level 1. The guest runs at EL1 without a vector
 * table: there is no exception that it could want.
 */

/* RAM pages of the set-up, beside TINY_CODE_PAGE and TINY_CONTROL_PAGE; all in the first region. */
#define L1_PAGE 2u
#define FIRST_L2_PAGE 3u
_Static_assert(TINY_TABLES_PAGE + (TINY_MAX_RAM_BYTES >> 30) - 1 <= TINY_WORK_FIRST_PAGE, "tables");
_Static_assert(TINY_TABLES_PAGE + TINY_WALKER_MAX_PAGES / 512 <= TINY_WORK_FIRST_PAGE, "tables");
_Static_assert(VM_MAX_VCPUS <= 256, "control pages");

#define DESC_BLOCK 1ULL
#define DESC_TABLE 3ULL
#define DESC_PAGE 3ULL
#define DESC_NORMAL (0ULL << 2) /* index into MAIR */
#define DESC_DEVICE (1ULL << 2)
#define DESC_READ_ONLY (1ULL << 7)
#define DESC_INNER_SHAREABLE (3ULL << 8)
#define DESC_ACCESSED (1ULL << 10)
#define DESC_DBM (1ULL << 51) /* read-only means clean: a write makes it writable */
#define DESC_NEVER_EXECUTE (3ULL << 53)

#define MAIR 0xffULL /* 0: normal memory, write-back; 1: device, nGnRnE */
#define TCR_T0SZ 25ULL
#define TCR_WRITE_BACK (1ULL << 8 | 1ULL << 10) /* of the walks, inner and outer */
#define TCR_INNER_SHAREABLE (3ULL << 12)
#define TCR_EPD1 (1ULL << 23) /* nothing behind TTBR1 */
#define TCR_IPS_40_BITS (2ULL << 32)
#define TCR_HA (1ULL << 39)
#define TCR_HD (1ULL << 40)
#define SCTLR_RES1 0x30d00800ULL
#define SCTLR_MMU_AND_CACHES 0x1005ULL /* M, C, I */
#define PSTATE_EL1H_MASKED 0x3c5ULL

#define REG_CORE(name) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))
#define REG_SCTLR_EL1 ARM64_SYS_REG(3, 0, 1, 0, 0)
#define REG_TTBR0_EL1 ARM64_SYS_REG(3, 0, 2, 0, 0)
#define REG_TCR_EL1 ARM64_SYS_REG(3, 0, 2, 0, 2)
#define REG_MAIR_EL1 ARM64_SYS_REG(3, 0, 10, 2, 0)
#define REG_ID_AA64MMFR1_EL1 ARM64_SYS_REG(3, 0, 0, 7, 1)

/* Of the ITS (IHI 0069, 12.19): GITS_BASER1 is KVM's collection table. */
#define GITS_BASER1 0x108u
#define GITS_BASER_VALID (1ULL << 63)

/* x0: the control page, x1: the page of MMIO. */
asm(".pushsection .rodata\n"
    ".globl tiny_work_start, tiny_work_end, tiny_in_start, tiny_in_end, tiny_in_read\n"
    ".globl tiny_pass_start_of_code, tiny_pass_end_of_code\n"
    "	.balign 8\n"
    "tiny_work_start:\n"
    "	add x6, x0, #8\n"
    "1:	ldr x2, [x6]\n"
    /* Acquire: what the work is was written before the limit. */
    "2:	ldar x3, [x0]\n"
    "	cmp x2, x3\n"
    "	b.lo 3f\n"
    "	yield\n"
    "	b 2b\n"
    "3:	ldr x4, [x0, #16]\n"
    "	mul x4, x4, x2\n"
    "	ldr x5, [x0, #24]\n"
    "	and x4, x4, x5\n"
    "	ldr x5, [x0, #32]\n"
    "	add x4, x5, x4, lsl #12\n"
    "	add x2, x2, #1\n"
    "	str x2, [x4]\n"
    /* Release: who sees the count sees the page. */
    "	stlr x2, [x6]\n"
    "	b 1b\n"
    "tiny_work_end:\n"
    "tiny_in_start:\n"
    "	mov x2, #0\n"
    "1:	ldrb w3, [x1, #0x510]\n"
    "tiny_in_read:\n"
    "	add x2, x2, #1\n"
    "	b 1b\n"
    "tiny_in_end:\n"
    "	.balign 8\n"
    /* x2 steps done, x3 npages, x8 first va, x9 percent, x10 random order, x11 random number, x12 value, x13 and x14 its constants. */
    "tiny_pass_start_of_code:\n"
    "	ldr x13, 5f\n"
    "	ldr x14, 6f\n"
    "1:	ldr w5, [x0, #40]\n"
    "	str w5, [x1, #0x514]\n"
    "	ldp x8, x3, [x0, #64]\n"
    "	ldp x9, x10, [x0, #80]\n"
    "	ldp x11, x12, [x0, #96]\n"
    "	mov x2, #0\n"
    "2:	cmp x2, x3\n"
    "	b.hs 1b\n"
    "	madd x11, x11, x13, x14\n"
    "	mov x4, x2\n"
    "	cbz x10, 3f\n"
    "	lsr x4, x11, #32\n"
    "	mul x4, x4, x3\n"
    "	lsr x4, x4, #32\n"
    "3:	add x4, x8, x4, lsl #12\n"
    "	madd x11, x11, x13, x14\n"
    "	lsr x5, x11, #32\n"
    "	mov x6, #100\n"
    "	mul x5, x5, x6\n"
    "	lsr x5, x5, #32\n"
    "	add x2, x2, #1\n"
    "	cmp x5, x9\n"
    "	b.hs 4f\n"
    "	str x12, [x4]\n"
    "	b 2b\n"
    "4:	ldr x5, [x4]\n"
    "	b 2b\n"
    "	.balign 8\n"
    "5:	.quad 6364136223846793005\n"
    "6:	.quad 1442695040888963407\n"
    "tiny_pass_end_of_code:\n"
    ".popsection\n");

/* The page of MMIO: the first from the machine's serial port on that is no RAM, so that KVM's interrupt controller is not there either. */
static uint64_t device_gpa(const struct gmem *m)
{
	uint64_t gpa = LAYOUT_SERIAL;

	for (unsigned int i = 0; i < m->nregions; i++) {
		/* Regions come in the order of their addresses. */
		if (gpa >= m->region[i].gpa && gpa - m->region[i].gpa < m->region[i].len_bytes)
			gpa = m->region[i].gpa + m->region[i].len_bytes;
	}
	return gpa;
}

/* Guests see the GiB of it from 0 on, below TINY_RAM_VA. */
static uint64_t device_va(const struct gmem *m)
{
	return device_gpa(m) % (1ULL << 30);
}

static void map_singly(struct gmem *m, uint64_t first)
{
	for (uint64_t i = 0; i < 512; i++)
		tiny_table(m, tiny_table_page(first))[i] = tiny_gpa(m, first + i) | DESC_PAGE |
							   DESC_NORMAL | DESC_INNER_SHAREABLE |
							   DESC_READ_ONLY | DESC_DBM;
}

void tiny_arch_load(struct gmem *m, const struct tiny_config *config)
{
	tiny_table(m, L1_PAGE)[0] = (device_gpa(m) - device_va(m)) | DESC_BLOCK | DESC_DEVICE |
				    DESC_ACCESSED | DESC_NEVER_EXECUTE;
	for (uint64_t p = 0; p < m->npages; p += 512) {
		uint64_t gib = p >> 18;
		uint64_t l2 = gib == 0 ? FIRST_L2_PAGE : TINY_TABLES_PAGE + gib - 1;
		uint64_t *entry = &tiny_table(m, l2)[p / 512 % 512];

		tiny_table(m, L1_PAGE)[(TINY_RAM_VA >> 30) + gib] = tiny_gpa(m, l2) | DESC_TABLE;
		/* Accessed from the start, and writable is as good as dirty: a processor has no reason to write to these tables. */
		*entry = tiny_gpa(m, p) | DESC_BLOCK | DESC_NORMAL | DESC_INNER_SHAREABLE |
			 DESC_ACCESSED;
		if (config->walker && p >= TINY_WORK_FIRST_PAGE) {
			map_singly(m, p);
			*entry = tiny_gpa(m, tiny_table_page(p)) | DESC_TABLE;
		}
	}
}

/* FEAT_HAFDBS with dirty state: ID_AA64MMFR1_EL1.HAFDBS is 2 or more. */
static int check_walker(struct vcpu *v, struct err *err)
{
	uint64_t mmfr1;
	int r = kvm_get_one_reg(v->fd, REG_ID_AA64MMFR1_EL1, &mmfr1, err);

	if (r == 0 && (mmfr1 & 15) < 2)
		return err_set(
			err, -EOPNOTSUPP,
			"this processor's table walk keeps no dirty state (ID_AA64MMFR1_EL1.HAFDBS is %u)",
			(unsigned int)(mmfr1 & 15));
	return r;
}

int tiny_arch_set_registers(struct vcpu *v, const struct tiny_config *config, struct err *err)
{
	struct kvm_mp_state running = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct gmem *m = vm_mem(v->vm);
	const struct {
		uint64_t id, value;
	} regs[] = {
		{ REG_MAIR_EL1, MAIR },
		{ REG_TCR_EL1, TCR_T0SZ | TCR_WRITE_BACK | TCR_INNER_SHAREABLE | TCR_EPD1 |
				       TCR_IPS_40_BITS | (config->walker ? TCR_HA | TCR_HD : 0) },
		{ REG_TTBR0_EL1, tiny_gpa(m, L1_PAGE) },
		{ REG_SCTLR_EL1, SCTLR_RES1 | SCTLR_MMU_AND_CACHES },
		{ REG_CORE(regs.pstate), PSTATE_EL1H_MASKED },
		{ REG_CORE(regs.pc), tiny_va(TINY_CODE_PAGE) },
		{ REG_CORE(regs.regs[0]), tiny_va(TINY_CONTROL_PAGE + v->index) },
		{ REG_CORE(regs.regs[1]), device_va(m) },
	};
	int r = config->walker ? check_walker(v, err) : 0;

	for (size_t i = 0; r == 0 && i < sizeof(regs) / sizeof(regs[0]); i++)
		r = kvm_set_one_reg(v->fd, regs[i].id, &regs[i].value, err);
	/* All but the first wait to be switched on. */
	return r < 0 ? r : kvm_set_mp_state(v->fd, &running, err);
}

/* Saving the ITS writes the entry that ends its collection table, outside any vCPU. */
int tiny_kvm_write(struct tiny *t, uint64_t page, struct err *err)
{
	uint64_t baser = GITS_BASER_VALID | tiny_gpa(vm_mem(t->vm), page);
	int fd = t->vm->arch->its_fd;
	int r;

	if (fd < 0)
		return err_set(err, -EOPNOTSUPP, "this KVM has no ITS");
	r = kvm_set_device_attr(fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, GITS_BASER1, &baser, err);
	if (r == 0)
		r = kvm_set_device_attr(fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_SAVE_TABLES,
					NULL, err);
	return r;
}

int tiny_in_state(struct tiny *t, unsigned int cpu, struct tiny_in_state *ret, struct err *err)
{
	static const uint64_t ids[] = { REG_CORE(regs.pc), REG_CORE(regs.regs[2]),
					REG_CORE(regs.regs[3]) };
	uint64_t read_pc = tiny_va(TINY_CODE_PAGE) + (uint64_t)(tiny_in_read - tiny_in_start);
	int fd = t->vm->vcpu[cpu].fd;
	uint64_t value[3];
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < 3; i++) {
		r = kvm_get_one_reg(fd, ids[i], &value[i], err);
		if (r == 0)
			r = kvm_set_one_reg(fd, ids[i], &value[i], err);
	}
	if (r < 0)
		return r;
	*ret = (struct tiny_in_state){ .counted = value[1],
				       .uncounted = value[0] == read_pc,
				       .last = (uint8_t)value[2] };
	return 0;
}
