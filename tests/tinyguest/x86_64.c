/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/kvm_para.h>

#include "arch.h"
#include "vmm/arch/x86_64/kvm_x86.h"

/* RAM pages of the set-up, beside TINY_CODE_PAGE and TINY_CONTROL_PAGE; all in the first region. */
#define PML4_PAGE 1u
#define PDPT_PAGE 2u
#define FIRST_PD_PAGE 3u
#define TSS_PAGE 8u /* and two more: 104 bytes, then the I/O bitmap */
#define TSS_IO_BASE 104u
/* Accessed and dirty are set from the start: a processor has no reason to write to these tables. */
#define PTE_PRESENT_RW_USER 0x27u
#define PTE_LARGE_DIRTY 0xc0u
#define PTE_NEVER_USED 0x7u /* present, writable, user */
_Static_assert(TINY_TABLES_PAGE + (TINY_MAX_RAM_BYTES >> 30) - 1 <= TINY_WORK_FIRST_PAGE, "tables");
_Static_assert(TINY_TABLES_PAGE + TINY_WALKER_MAX_PAGES / 512 <= TINY_WORK_FIRST_PAGE, "tables");
_Static_assert(VM_MAX_VCPUS <= 256, "control pages");

/* rdi: the control page. */
asm(".pushsection .rodata\n"
    ".globl tiny_work_start, tiny_work_end, tiny_in_start, tiny_in_end, tiny_in_read\n"
    ".globl tiny_pass_start_of_code, tiny_pass_end_of_code\n"
    "tiny_work_start:\n"
    "1:	mov 8(%rdi), %rax\n"
    "2:	cmp (%rdi), %rax\n"
    "	jb 3f\n"
    "	pause\n"
    "	jmp 2b\n"
    "3:	mov %rax, %rcx\n"
    "	imul 16(%rdi), %rcx\n"
    "	and 24(%rdi), %rcx\n"
    "	shl $12, %rcx\n"
    "	add 32(%rdi), %rcx\n"
    "	inc %rax\n"
    "	mov %rax, (%rcx)\n"
    "	mov %rax, 8(%rdi)\n"
    "	jmp 1b\n"
    "tiny_work_end:\n"
    "tiny_in_start:\n"
    "	mov $0x510, %edx\n"
    "	xor %ebx, %ebx\n"
    "1:	in %dx, %al\n"
    "tiny_in_read:\n"
    "	inc %rbx\n"
    "	jmp 1b\n"
    "tiny_in_end:\n"
    /* rbx steps done, rsi npages, r8 first va, r9 percent, r10 random order, r11 random number, r12 value, r13 and r14 its constants. */
    "tiny_pass_start_of_code:\n"
    "	movabs $6364136223846793005, %r13\n"
    "	movabs $1442695040888963407, %r14\n"
    "1:	mov 40(%rdi), %eax\n"
    "	mov $0x514, %edx\n"
    "	out %eax, %dx\n"
    "	mov 64(%rdi), %r8\n"
    "	mov 72(%rdi), %rsi\n"
    "	mov 80(%rdi), %r9\n"
    "	mov 88(%rdi), %r10\n"
    "	mov 96(%rdi), %r11\n"
    "	mov 104(%rdi), %r12\n"
    "	xor %ebx, %ebx\n"
    "2:	cmp %rsi, %rbx\n"
    "	jae 1b\n"
    "	imul %r13, %r11\n"
    "	add %r14, %r11\n"
    "	mov %rbx, %rcx\n"
    "	test %r10, %r10\n"
    "	jz 3f\n"
    "	mov %r11, %rcx\n"
    "	shr $32, %rcx\n"
    "	imul %rsi, %rcx\n"
    "	shr $32, %rcx\n"
    "3:	shl $12, %rcx\n"
    "	add %r8, %rcx\n"
    "	imul %r13, %r11\n"
    "	add %r14, %r11\n"
    "	mov %r11, %rax\n"
    "	shr $32, %rax\n"
    "	imul $100, %rax, %rax\n"
    "	shr $32, %rax\n"
    "	inc %rbx\n"
    "	cmp %r9, %rax\n"
    "	jae 4f\n"
    "	mov %r12, (%rcx)\n"
    "	jmp 2b\n"
    "4:	mov (%rcx), %rax\n"
    "	jmp 2b\n"
    "tiny_pass_end_of_code:\n"
    ".popsection\n");

static void map_singly(struct gmem *m, uint64_t first)
{
	for (uint64_t i = 0; i < 512; i++)
		tiny_table(m, tiny_table_page(first))[i] = tiny_gpa(m, first + i) | PTE_NEVER_USED;
}

void tiny_arch_load(struct gmem *m, const struct tiny_config *config)
{
	*tiny_table(m, PML4_PAGE) = (PDPT_PAGE << 12) | PTE_PRESENT_RW_USER;
	for (uint64_t p = 0; p < m->npages; p += 512) {
		uint64_t gib = p >> 18;
		uint64_t pd = gib == 0 ? FIRST_PD_PAGE : TINY_TABLES_PAGE + gib - 1;
		uint64_t *entry = &tiny_table(m, pd)[p / 512 % 512];

		tiny_table(m, PDPT_PAGE)[(TINY_RAM_VA >> 30) + gib] =
			pd << 12 | PTE_PRESENT_RW_USER;
		*entry = tiny_gpa(m, p) | PTE_LARGE_DIRTY | PTE_PRESENT_RW_USER;
		if (config->walker && p >= TINY_WORK_FIRST_PAGE) {
			map_singly(m, p);
			*entry = tiny_table_page(p) << 12 | PTE_PRESENT_RW_USER;
		}
	}
	/* IOPL does not survive everywhere that user mode runs natively; a bitmap of zeroes allows every port just as well. */
	*(uint16_t *)(void *)(gmem_page(m, TSS_PAGE) + 102) = TSS_IO_BASE;
}

static struct kvm_segment user_segment(uint8_t type, uint16_t selector, bool code)
{
	return (struct kvm_segment){ .limit = 0xffffffff,
				     .selector = selector,
				     .type = type,
				     .present = 1,
				     .dpl = 3,
				     .db = !code,
				     .s = 1,
				     .l = code,
				     .g = 1 };
}

int tiny_arch_set_registers(struct vcpu *v, const struct tiny_config *config, struct err *err)
{
	struct kvm_mp_state running = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs = {
		.rip = tiny_va(TINY_CODE_PAGE),
		.rdi = tiny_va(TINY_CONTROL_PAGE + v->index),
		/* IOPL 3. Nothing interrupts this guest, but some emulated processors keep the host's interrupts off while IF is clear in the guest. */
		.rflags = 2 | 3 << 12 | 1 << 9,
	};
	struct kvm_sregs s;
	int r = kvm_get_sregs(v->fd, &s, err);

	if (r < 0)
		return r;
	s.cs = user_segment(11, 0x33, true);
	s.ds = s.es = s.ss = s.fs = s.gs = user_segment(3, 0x2b, false);
	s.tr = (struct kvm_segment){ .base = tiny_va(TSS_PAGE),
				     .limit = TSS_IO_BASE + 8192,
				     .selector = 0x40,
				     .type = 11,
				     .present = 1 };
	s.cr3 = PML4_PAGE << 12;
	s.cr4 = 1 << 5; /* PAE */
	s.cr0 = 1u << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1; /* PG WP NE ET PE */
	s.efer = 1 << 10 | 1 << 8; /* LMA LME */
	r = kvm_set_sregs(v->fd, &s, err);
	if (r == 0)
		r = kvm_set_regs(v->fd, &regs, err);
	if (r == 0)
		r = kvm_set_mp_state(v->fd, &running, err);
	return r;
}

/* The wall clock of KVM: 12 bytes at the address that the MSR is set to. */
int tiny_kvm_write(struct tiny *t, uint64_t page, struct err *err)
{
	union {
		struct kvm_msrs head;
		uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msrs = { .head = { .nmsrs = 1 } };
	int r;

	msrs.head.entries[0].index = MSR_KVM_WALL_CLOCK_NEW;
	msrs.head.entries[0].data = tiny_gpa(vm_mem(t->vm), page);
	r = kvm_set_msrs(t->vm->vcpu[0].fd, &msrs.head, err);
	if (r == 0)
		return err_set(err, -EOPNOTSUPP, "this KVM has no wall clock");
	return r < 0 ? r : 0;
}

int tiny_in_state(struct tiny *t, unsigned int cpu, struct tiny_in_state *ret, struct err *err)
{
	int fd = t->vm->vcpu[cpu].fd;
	uint64_t read_rip = tiny_va(TINY_CODE_PAGE) + (uint64_t)(tiny_in_read - tiny_in_start);
	struct kvm_regs regs;
	int r = kvm_get_regs(fd, &regs, err);

	if (r == 0)
		r = kvm_set_regs(fd, &regs, err);
	if (r < 0)
		return r;
	*ret = (struct tiny_in_state){ .counted = regs.rbx,
				       .uncounted = regs.rip == read_rip,
				       .last = (uint8_t)regs.rax };
	return 0;
}
