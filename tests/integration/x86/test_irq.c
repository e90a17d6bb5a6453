/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts and notifications through KVM: a message reaches its vCPU's local APIC, lines still do beside it, and a guest's writes signal an eventfd instead of coming here. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/unit/x86/images.h"
#include "vmm/arch.h"
#include "vmm/arch/x86_64/kvm_x86.h"
#include "vmm/internal.h"
#include "vmm/ioevent.h"
#include "vmm/vm.h"

#define RAM_BYTES (4u << 20)
#define PATIENCE_NS (20 * NS_PER_S)

/* A guest that rings: 1 and 2 to one doorbell, a byte to another one, then counts the round. */
#define BELL 0xd0000000u
#define SECOND_BELL 0xd0000004u
#define ROUNDS_GPA 0x300000u
extern const uint8_t bell_code[], bell_code_end[];
__asm__(".pushsection .rodata\n"
	".globl bell_code, bell_code_end\n"
	"bell_code:\n"
	"	.code32\n"
	"	movl $0xd0000000, %ebx\n"
	"	movl $0x300000, %esi\n"
	"1:	movl $1, (%ebx)\n"
	"	movl $2, (%ebx)\n"
	"	movb $3, 4(%ebx)\n"
	"	incl (%esi)\n"
	"	jmp 1b\n"
	"bell_code_end:\n"
	"	.code64\n"
	"	.popsection\n");

struct fixture {
	struct vm *vm;
	/* Writes that came here, by doorbell and value; vCPU thread. */
	_Atomic uint32_t first[4], second;
	int fd[3];
};

static void on_pio(void *opaque, uint16_t port, bool is_write, void *data, unsigned int size_bytes,
		   unsigned int count)
{
	(void)opaque;
	(void)port;
	if (!is_write)
		memset(data, 0xff, (size_t)size_bytes * count);
}

static void on_mmio(void *opaque, uint64_t gpa, bool is_write, void *data, unsigned int len_bytes)
{
	struct fixture *f = opaque;

	(void)len_bytes;
	if (!is_write)
		return;
	if (gpa == BELL)
		atomic_fetch_add(&f->first[*(const uint8_t *)data % 4], 1);
	if (gpa == SECOND_BELL)
		atomic_fetch_add(&f->second, 1);
}

static void on_exited(void *opaque, enum vm_exit_reason reason, unsigned int vcpu, const char *text)
{
	(void)opaque;
	(void)reason;
	print_error("vCPU %u stopped: %s\n", vcpu, text);
}

static int setup(void **state)
{
	static struct fixture f;
	const struct vm_client client = {
		.pio = on_pio, .mmio = on_mmio, .exited = on_exited, .opaque = &f
	};
	struct vm_config config = { .ncpus = 2, .mem = { .backing = GMEM_4K } };
	struct err err = { 0 };
	int n;

	f = (struct fixture){ 0 };
	for (unsigned int i = 0; i < 3; i++)
		f.fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	n = arch_mem_layout(RAM_BYTES, config.mem.region, &err);
	assert_int_equal(n, 1);
	config.mem.nregions = 1;
	if (vm_create(&config, &client, &f.vm, &err))
		fail_msg("%s", err.msg);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_destroy(f->vm);
	for (unsigned int i = 0; i < 3; i++)
		close(f->fd[i]);
	return 0;
}

/* ---- messages; the vCPUs never run, what has reached them stands in their local APICs ---- */

#define APIC_SVR 0xf0u
#define APIC_IRR 0x200u

static void get_lapic(struct fixture *f, unsigned int cpu, struct kvm_lapic_state *lapic)
{
	struct err err = { 0 };

	if (kvm_get_lapic(f->vm->vcpu[cpu].fd, lapic, &err) < 0)
		fail_msg("%s", err.msg);
}

static void enable_lapics(struct fixture *f)
{
	struct kvm_lapic_state lapic;
	struct err err = { 0 };

	for (unsigned int i = 0; i < 2; i++) {
		get_lapic(f, i, &lapic);
		lapic.regs[APIC_SVR + 1] = 1;
		if (kvm_set_lapic(f->vm->vcpu[i].fd, &lapic, &err) < 0)
			fail_msg("%s", err.msg);
	}
}

static bool requested(struct fixture *f, unsigned int cpu, unsigned int vector)
{
	struct kvm_lapic_state lapic;

	get_lapic(f, cpu, &lapic);
	return (uint8_t)lapic.regs[APIC_IRR + vector / 32 * 0x10 + vector % 32 / 8] >> vector % 8 &
	       1;
}

static void forget_requests(struct fixture *f, unsigned int cpu)
{
	struct kvm_lapic_state lapic;
	struct err err = { 0 };

	get_lapic(f, cpu, &lapic);
	for (unsigned int i = 0; i < 8; i++)
		memset(lapic.regs + APIC_IRR + i * 0x10, 0, 4);
	if (kvm_set_lapic(f->vm->vcpu[cpu].fd, &lapic, &err) < 0)
		fail_msg("%s", err.msg);
}

/* KVM may deliver from a workqueue. */
static void expect_request(struct fixture *f, unsigned int cpu, unsigned int vector)
{
	uint64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;

	while (!requested(f, cpu, vector)) {
		if (clock_mono_ns() > deadline_ns)
			fail_msg("vector %u does not reach vCPU %u", vector, cpu);
		usleep(100);
	}
	assert_false(requested(f, !cpu, vector));
	forget_requests(f, cpu);
}

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->msg);
}

/* Intel SDM 11.11: physical destination in bits 19-12, fixed delivery, edge. */
static struct irq_msi to(unsigned int cpu, uint32_t vector)
{
	return (struct irq_msi){ .addr = 0xfee00000u | cpu << 12, .data = vector };
}

static void messages(void **state)
{
	struct fixture *f = *state;
	const struct irq_msi a = to(1, 0x51), b = to(0, 0x62), c = to(0, 0x73);
	struct err err = { 0 };
	unsigned int v[2];

	enable_lapics(f);
	must(vm_msi_open(f->vm, f->fd[0], &v[0], &err), &err);
	must(vm_msi_open(f->vm, f->fd[1], &v[1], &err), &err);
	assert_int_not_equal(v[0], v[1]);
	must(vm_msi_set(f->vm, v[0], &a, &err), &err);
	must(vm_msi_set(f->vm, v[1], &b, &err), &err);
	assert_int_equal(eventfd_write(f->fd[0], 1), 0);
	expect_request(f, 1, 0x51);
	assert_int_equal(eventfd_write(f->fd[1], 1), 0);
	expect_request(f, 0, 0x62);
	/* The first one changes, the other one does not mind. */
	must(vm_msi_set(f->vm, v[0], &c, &err), &err);
	assert_int_equal(eventfd_write(f->fd[0], 1), 0);
	expect_request(f, 0, 0x73);
	must(vm_msi_set(f->vm, v[0], NULL, &err), &err);
	/* Both at once. */
	vm_msi_begin(f->vm);
	must(vm_msi_set(f->vm, v[0], &b, &err), &err);
	must(vm_msi_set(f->vm, v[1], &a, &err), &err);
	must(vm_msi_end(f->vm, &err), &err);
	assert_int_equal(eventfd_write(f->fd[1], 1), 0);
	expect_request(f, 1, 0x51);
	assert_int_equal(eventfd_write(f->fd[0], 1), 0);
	expect_request(f, 0, 0x62);
	vm_msi_close(f->vm, v[0]);
	vm_msi_close(f->vm, v[1]);
	/* Nobody takes the signal any more. */
	assert_int_equal(eventfd_write(f->fd[1], 1), 0);
	usleep(10000);
	assert_false(requested(f, 0, 0x62));
}

/* An edge on a line goes by the I/O APIC, before there is a table of ours and with one. */
static void lines_beside_messages(void **state)
{
	struct fixture *f = *state;
	const struct irq_msi a = to(1, 0x51);
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct err err = { 0 };
	unsigned int v;

	enable_lapics(f);
	must(kvm_get_irqchip(f->vm->fd, &chip, &err), &err);
	for (unsigned int line = 8; line < 24; line++)
		chip.chip.ioapic.redirtbl[line].bits = 0x40 + line; /* to APIC 0, edge */
	must(kvm_set_irqchip(f->vm->fd, &chip, &err), &err);
	must(vm_irqfd(f->vm, f->fd[0], 8, &err), &err);
	must(vm_irqfd(f->vm, f->fd[1], 23, &err), &err);
	assert_int_equal(eventfd_write(f->fd[0], 1), 0);
	expect_request(f, 0, 0x48);
	must(vm_msi_open(f->vm, f->fd[2], &v, &err), &err);
	must(vm_msi_set(f->vm, v, &a, &err), &err);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(eventfd_write(f->fd[0], 1), 0);
		expect_request(f, 0, 0x48);
		assert_int_equal(eventfd_write(f->fd[1], 1), 0);
		expect_request(f, 0, 0x57);
		assert_int_equal(eventfd_write(f->fd[2], 1), 0);
		expect_request(f, 1, 0x51);
	}
	assert_int_equal(vm_irq_line(f->vm, 9, true), 0);
	assert_int_equal(vm_irq_line(f->vm, 9, false), 0);
	expect_request(f, 0, 0x49);
}

/* ---- notifications ---- */

static void boot_ringer(struct fixture *f)
{
	struct elf_image e = make_elf(true);
	struct boot_config boot = { .kernel_image = &e,
				    .kernel_image_bytes = sizeof(e),
				    .cmdline = "" };
	struct err err = { 0 };

	assert_true(bell_code_end - bell_code <= (ptrdiff_t)sizeof(e.text));
	memcpy(e.text, bell_code, (size_t)(bell_code_end - bell_code));
	e.pvh_entry = 0x100000;
	must(vm_boot(f->vm, &boot, &err), &err);
}

/* So many whole rounds more, and what they did. */
static void ring(struct fixture *f, uint32_t rounds)
{
	const _Atomic uint32_t *count = gmem_ptr(vm_mem(f->vm), ROUNDS_GPA, 4);
	uint64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
	uint32_t until = atomic_load(count) + rounds;
	struct err err = { 0 };

	for (unsigned int i = 0; i < 4; i++)
		atomic_store(&f->first[i], 0);
	atomic_store(&f->second, 0);
	must(vm_resume(f->vm, &err), &err);
	while ((int32_t)(atomic_load(count) - until) < 0) {
		if (clock_mono_ns() > deadline_ns)
			fail_msg("the guest does not ring");
		usleep(1000);
	}
	must(vm_pause(f->vm, &err), &err);
}

static uint64_t signals(int fd)
{
	eventfd_t n = 0;

	return eventfd_read(fd, &n) ? 0 : n;
}

static void a_value_of_a_doorbell(void **state)
{
	struct fixture *f = *state;
	struct ioevent one = {
		.gpa = BELL, .len_bytes = 4, .match = true, .value = 1, .fd = f->fd[0]
	};
	struct ioevent same = one;
	struct err err = { 0 };

	boot_ringer(f);
	ring(f, 20);
	assert_true(atomic_load(&f->first[1]) >= 20);
	assert_int_equal(signals(f->fd[0]), 0);

	must(vm_ioevent_add(f->vm, &one, &err), &err);
	same.fd = f->fd[1];
	assert_int_equal(vm_ioevent_add(f->vm, &same, &err), -EEXIST);
	assert_string_equal(err.msg, "device notification at 0xd0000000: another one is there");
	ring(f, 20);
	assert_int_equal(atomic_load(&f->first[1]), 0);
	assert_true(atomic_load(&f->first[2]) >= 20); /* another value comes here */
	assert_true(atomic_load(&f->second) >= 20);
	assert_true(signals(f->fd[0]) >= 20);
	assert_int_equal(signals(f->fd[1]), 0);

	vm_ioevent_del(f->vm, &one);
	vm_ioevent_del(f->vm, &one);
	ring(f, 20);
	assert_true(atomic_load(&f->first[1]) >= 20);
	assert_int_equal(signals(f->fd[0]), 0);
}

/* Without a value and of any size. */
static void any_write_to_a_doorbell(void **state)
{
	struct fixture *f = *state;
	const struct ioevent all = { .gpa = BELL, .len_bytes = 4, .fd = f->fd[0] };
	const struct ioevent any = { .gpa = SECOND_BELL, .fd = f->fd[1] };
	struct err err = { 0 };

	boot_ringer(f);
	must(vm_ioevent_add(f->vm, &all, &err), &err);
	must(vm_ioevent_add(f->vm, &any, &err), &err);
	ring(f, 20);
	assert_int_equal(atomic_load(&f->first[1]) + atomic_load(&f->first[2]), 0);
	assert_int_equal(atomic_load(&f->second), 0);
	assert_true(signals(f->fd[0]) >= 40);
	assert_true(signals(f->fd[1]) >= 20);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages),
		TEST(lines_beside_messages),
		TEST(a_value_of_a_doorbell),
		TEST(any_write_to_a_doorbell),
	};

	return cmocka_run_group_tests_name("x86-irq", tests, NULL, NULL);
}
