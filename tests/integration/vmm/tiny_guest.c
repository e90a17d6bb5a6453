/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/arch/x86_64/kvm_x86.h"
#include "vmm/internal.h"

/* RAM pages of the set-up; all in the first region. */
#define PML4_PAGE 1u
#define PDPT_PAGE 2u
#define PD_PAGE 3u
#define TSS_PAGE 8u /* and two more: 104 bytes, then the I/O bitmap */
#define TSS_IO_BASE 104u
#define CONTROL_PAGE 16u
#define CODE_PAGE 32u
#define PTE_PRESENT_RW_USER 7u
#define PTE_LARGE 0x80u

/* rdi: the control page. */
asm(".pushsection .rodata\n"
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
    "	inc %rbx\n"
    "	jmp 1b\n"
    "tiny_in_end:\n"
    ".popsection\n");
extern const uint8_t tiny_work_start[], tiny_work_end[], tiny_in_start[], tiny_in_end[];
_Static_assert(offsetof(struct tiny_control, done) == 8, "the code above knows it");
_Static_assert(offsetof(struct tiny_control, first_va) == 32, "the code above knows it");

static void on_pio(void *opaque, uint16_t port, bool is_write, void *data, unsigned int size_bytes,
		   unsigned int count)
{
	struct tiny *t = opaque;

	(void)port;
	if (is_write)
		return;
	memset(data, 0x5a, (size_t)size_bytes * count);
	atomic_fetch_add(&t->port_reads, 1);
	while (atomic_load(&t->stuck))
		usleep(1000);
}

static void on_mmio(void *opaque, uint64_t gpa, bool is_write, void *data, unsigned int len_bytes)
{
	(void)opaque;
	(void)gpa;
	if (!is_write)
		memset(data, 0xff, len_bytes);
}

static void on_exit(void *opaque, enum vm_exit_reason reason, unsigned int vcpu, const char *text)
{
	struct tiny *t = opaque;

	(void)reason;
	snprintf(t->exit_text, sizeof(t->exit_text), "vCPU %u: %s", vcpu, text);
	atomic_fetch_add(&t->exits, 1);
}

static uint64_t page_gpa(const struct gmem *m, uint64_t page)
{
	for (unsigned int i = m->nregions; i-- > 0;) {
		if (page >= m->region[i].first_page)
			return m->region[i].gpa + ((page - m->region[i].first_page) << 12);
	}
	return 0;
}

static void write_tables_and_code(struct vm *vm, enum tiny_program program)
{
	struct gmem *m = vm_mem(vm);
	uint64_t *pd = (uint64_t *)(void *)gmem_page(m, PD_PAGE);
	const uint8_t *code = program == TINY_WORK ? tiny_work_start : tiny_in_start;
	const uint8_t *end = program == TINY_WORK ? tiny_work_end : tiny_in_end;

	*(uint64_t *)(void *)gmem_page(m, PML4_PAGE) = (PDPT_PAGE << 12) | PTE_PRESENT_RW_USER;
	((uint64_t *)(void *)gmem_page(m, PDPT_PAGE))[TINY_RAM_VA >> 30] =
		(PD_PAGE << 12) | PTE_PRESENT_RW_USER;
	for (uint64_t p = 0; p < m->npages; p += 512)
		pd[p / 512] = page_gpa(m, p) | PTE_LARGE | PTE_PRESENT_RW_USER;
	/* IOPL does not survive everywhere that user mode runs natively; a bitmap of zeroes allows every port just as well. */
	*(uint16_t *)(void *)(gmem_page(m, TSS_PAGE) + 102) = TSS_IO_BASE;
	memcpy(gmem_page(m, CODE_PAGE), code, (size_t)(end - code));
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

static int set_registers(struct vcpu *v, struct err *err)
{
	struct kvm_mp_state running = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs = {
		.rip = TINY_RAM_VA + (CODE_PAGE << 12),
		.rdi = TINY_RAM_VA + ((CONTROL_PAGE + v->index) << 12),
		.rflags = 2 | 3 << 12, /* IOPL 3 */
	};
	struct kvm_sregs s;
	int r = kvm_get_sregs(v->fd, &s, err);

	if (r < 0)
		return r;
	s.cs = user_segment(11, 0x33, true);
	s.ds = s.es = s.ss = s.fs = s.gs = user_segment(3, 0x2b, false);
	s.tr = (struct kvm_segment){ .base = TINY_RAM_VA + (TSS_PAGE << 12),
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

int tiny_create(const struct tiny_config *config, struct tiny *t, struct err *err)
{
	struct vm_client client = {
		.pio = on_pio, .mmio = on_mmio, .exited = on_exit, .opaque = t
	};
	struct vm_config vc = { .ncpus = config->ncpus,
				.dirty = config->dirty,
				.ring_entries = config->ring_entries };
	uint64_t bytes = config->pages << 12;
	int r;

	memset(t, 0, sizeof(*t));
	vc.mem.nregions = config->two_regions ? 2 : 1;
	vc.mem.region[0].len_bytes = config->two_regions ? bytes / 2 : bytes;
	vc.mem.region[1] = (struct gmem_region){ .gpa = 4ULL << 30, .len_bytes = bytes / 2 };
	r = vm_create(&vc, &client, &t->vm, err);
	if (r < 0)
		return r;
	write_tables_and_code(t->vm, config->program);
	for (unsigned int i = 0; r == 0 && i < config->ncpus; i++)
		r = set_registers(&t->vm->vcpu[i], err);
	if (r < 0)
		tiny_destroy(t);
	return r;
}

void tiny_destroy(struct tiny *t)
{
	vm_destroy(t->vm);
	t->vm = NULL;
}

struct tiny_control *tiny_control(struct tiny *t, unsigned int cpu)
{
	return (struct tiny_control *)(void *)gmem_page(vm_mem(t->vm), CONTROL_PAGE + cpu);
}

void tiny_set_work(struct tiny *t, unsigned int cpu, uint64_t first, uint64_t npages, uint64_t mul)
{
	struct tiny_control *c = tiny_control(t, cpu);

	c->mul = mul;
	c->mask = npages - 1;
	c->first_va = TINY_RAM_VA + (first << 12);
}

uint64_t tiny_page(struct tiny *t, unsigned int cpu, uint64_t i)
{
	struct tiny_control *c = tiny_control(t, cpu);

	return ((c->first_va - TINY_RAM_VA) >> 12) + (i * c->mul & c->mask);
}

void tiny_allow(struct tiny *t, unsigned int cpu, uint64_t limit)
{
	atomic_store(&tiny_control(t, cpu)->limit, limit);
}

bool tiny_wait_done(struct tiny *t, unsigned int cpu, uint64_t n)
{
	uint64_t deadline_ns = clock_mono_ns() + 60 * NS_PER_S;

	while (atomic_load(&tiny_control(t, cpu)->done) < n) {
		if (atomic_load(&t->exits) != 0 || clock_mono_ns() > deadline_ns)
			return false;
		usleep(100);
	}
	return true;
}
