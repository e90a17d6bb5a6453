/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of a few instructions, booted by the arm64 boot protocol: how they end, what they find at entry and on the buses, interrupt lines; and kernels that are refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/num.h"
#include "vmm/arch.h"
#include "vmm/arch/aarch64/layout.h"
#include "vmm/ioevent.h"
#include "vmm/vm.h"

#define RAM_BYTES (16ull << 20)
#define IMAGE_BYTES 4096u
#define HEADER_BYTES 64u
#define PATIENCE_NS (60 * NS_PER_S)

/* Position-independent, after the header. w0 is PSCI's function, 0x84000008 SYSTEM_OFF, 0x84000009 SYSTEM_RESET. */
extern const uint8_t code_off[], code_reset[], code_nisv[], code_entry[], code_unclaimed[],
	code_irqs[], code_bell[], code_end[];
__asm__(".pushsection .rodata\n"
	".balign 4\n"
	/* global: the compiler takes their addresses from the GOT, which knows no place within a section */
	".globl code_off, code_reset, code_nisv, code_entry, code_unclaimed, code_irqs, code_bell, code_end\n"
	"code_off:\n"
	"	movz w0, #0x8400, lsl #16\n"
	"	movk w0, #8\n"
	"	hvc #0\n"
	"	b .\n"
	"code_reset:\n"
	"	movz w0, #0x8400, lsl #16\n"
	"	movk w0, #9\n"
	"	hvc #0\n"
	"	b .\n"
	"code_nisv:\n" /* a pair has no syndrome */
	"	movz x0, #0x0900, lsl #16\n"
	"	ldp x1, x2, [x0]\n"
	"	b .\n"
	"code_entry:\n" /* powers off if the CPU is at EL1h, masked, MMU off, x1 to x3 are 0 and x0 leads to a device tree; else spins */
	"	mrs x4, currentel\n"
	"	cmp x4, #4\n"
	"	b.ne .\n"
	"	mrs x4, daif\n"
	"	cmp x4, #0x3c0\n"
	"	b.ne .\n"
	"	mrs x4, sctlr_el1\n"
	"	tbnz x4, #0, .\n"
	"	orr x4, x1, x2\n"
	"	orr x4, x4, x3\n"
	"	cbnz x4, .\n"
	"	tst x0, #7\n"
	"	b.ne .\n"
	"	ldr w4, [x0]\n"
	"	movz w5, #0xedfe, lsl #16\n"
	"	movk w5, #0x0dd0\n"
	"	cmp w4, w5\n"
	"	b.ne .\n"
	"	b code_off\n"
	"code_unclaimed:\n" /* powers off if nobody's address reads as ones */
	"	movz x0, #0x0a00, lsl #16\n"
	"	ldr x1, [x0]\n"
	"	add x1, x1, #1\n"
	"	cbnz x1, .\n"
	"	b code_off\n"
	"code_irqs:\n" /* powers off when GICD_ISPENDR1 shows SPIs 1 and 2 pending */
	"	movz x0, #0x0800, lsl #16\n"
	"1:	ldr w1, [x0, #0x204]\n"
	"	and w1, w1, #6\n"
	"	cmp w1, #6\n"
	"	b.ne 1b\n"
	"	b code_off\n"
	"code_bell:\n" /* writes 1 and 2 to a device, and powers off */
	"	movz x0, #0x0a00, lsl #16\n"
	"	mov w1, #1\n"
	"	str w1, [x0, #0x50]\n"
	"	mov w1, #2\n"
	"	str w1, [x0, #0x50]\n"
	"	b code_off\n"
	"code_end:\n"
	".popsection\n");

/* The code goes as a whole, with a branch to where the test wants to begin. */
static void make_image(uint8_t image[IMAGE_BYTES], const uint8_t *entry, uint64_t flags)
{
	uint32_t at = HEADER_BYTES + (uint32_t)(entry - code_off);

	memset(image, 0, IMAGE_BYTES);
	le32_put(image, 0x14000000 | at / 4); /* b */
	le64_put(image + 16, IMAGE_BYTES);
	le64_put(image + 24, flags);
	memcpy(image + 56, "ARM\x64", 4);
	memcpy(image + HEADER_BYTES, code_off, (size_t)(code_end - code_off));
}
#define PAGES_4K (1u << 1)
#define ANYWHERE (1u << 3)

struct ending {
	int fd;
	enum vm_exit_reason reason;
	char text[160];
	unsigned int nwrites; /* that came here, and the last one's value */
	uint32_t written;
};

static void on_pio(void *opaque, uint16_t port, bool is_write, void *data, unsigned int size_bytes,
		   unsigned int count)
{
	fail_msg("arm64 has no ports");
}

static void on_mmio(void *opaque, uint64_t gpa, bool is_write, void *data, unsigned int len_bytes)
{
	struct ending *e = opaque;

	if (!is_write) {
		memset(data, 0xff, len_bytes);
		return;
	}
	e->nwrites++;
	e->written = len_bytes == 4 ? le32_get(data) : 0;
}

static void on_exited(void *opaque, enum vm_exit_reason reason, unsigned int vcpu, const char *text)
{
	struct ending *e = opaque;

	e->reason = reason;
	strncpy(e->text, text, sizeof(e->text) - 1);
	(void)eventfd_write(e->fd, 1);
}

static struct vm *make_vm(struct ending *e)
{
	struct vm_client client = {
		.pio = on_pio, .mmio = on_mmio, .exited = on_exited, .opaque = e
	};
	struct vm_config config = { .ncpus = 2,
				    .dirty = DIRTY_BITMAP,
				    .mem = { .backing = GMEM_4K } };
	struct err err = { 0 };
	struct vm *vm;
	int n = arch_mem_layout(RAM_BYTES, config.mem.region, &err);

	assert_int_equal(n, 1);
	config.mem.nregions = 1;
	*e = (struct ending){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (vm_create(&config, &client, &vm, &err))
		fail_msg("%s", err.msg);
	return vm;
}

static void end_vm(struct vm *vm, struct ending *e)
{
	vm_destroy(vm);
	close(e->fd);
}

static void start(struct vm *vm, const void *image, size_t len_bytes)
{
	struct boot_config boot = { .kernel_image = image,
				    .kernel_image_bytes = len_bytes,
				    .cmdline = "" };
	struct err err = { 0 };

	if (vm_boot(vm, &boot, &err) || vm_resume(vm, &err))
		fail_msg("%s", err.msg);
}

static void wait_for_end(const struct ending *e)
{
	uint64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;
	eventfd_t count;

	while (eventfd_read(e->fd, &count) < 0) {
		if (clock_mono_ns() > deadline_ns)
			fail_msg("the guest does not end");
		usleep(1000);
	}
}

static void expect_end(const uint8_t *entry, enum vm_exit_reason reason, const char *text)
{
	uint8_t image[IMAGE_BYTES];
	struct ending e;
	struct vm *vm = make_vm(&e);

	make_image(image, entry, PAGES_4K | ANYWHERE);
	start(vm, image, sizeof(image));
	wait_for_end(&e);
	assert_string_equal(e.text, text);
	assert_int_equal(e.reason, reason);
	end_vm(vm, &e);
}

static void test_power_off(void **state)
{
	expect_end(code_off, VM_EXIT_SHUTDOWN, "guest powered off");
}

static void test_reset(void **state)
{
	expect_end(code_reset, VM_EXIT_RESET, "guest asked for a reset");
}

static void test_access_without_syndrome(void **state)
{
	struct ending e;
	struct vm *vm = make_vm(&e);
	uint8_t image[IMAGE_BYTES];

	make_image(image, code_nisv, PAGES_4K);
	start(vm, image, sizeof(image));
	wait_for_end(&e);
	assert_int_equal(e.reason, VM_EXIT_ERROR);
	assert_non_null(strstr(e.text, "access to device address 0x9000000 with an instruction"));
	end_vm(vm, &e);
}

static void test_registers_at_entry(void **state)
{
	expect_end(code_entry, VM_EXIT_SHUTDOWN, "guest powered off");
}

static void test_unclaimed_reads_ones(void **state)
{
	expect_end(code_unclaimed, VM_EXIT_SHUTDOWN, "guest powered off");
}

/* GSI n is SPI n, for lines and for eventfds: each alone is not enough for the guest. */
static void test_interrupt_lines(void **state)
{
	uint8_t image[IMAGE_BYTES];
	struct err err = { 0 };
	struct ending e;
	struct vm *vm = make_vm(&e);
	int fd = eventfd(0, EFD_CLOEXEC);
	eventfd_t count;

	make_image(image, code_irqs, 0);
	start(vm, image, sizeof(image));
	if (vm_irqfd(vm, fd, LAYOUT_RTC_GSI, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(vm_irq_line(vm, LAYOUT_SERIAL_GSI, true), 0);
	usleep(100000);
	assert_true(eventfd_read(e.fd, &count) < 0 && errno == EAGAIN);
	assert_int_equal(eventfd_write(fd, 1), 0);
	wait_for_end(&e);
	assert_int_equal(e.reason, VM_EXIT_SHUTDOWN);
	end_vm(vm, &e);
	close(fd);
}

/* A write that is a notification does not come here. */
static void test_notification(void **state)
{
	struct ioevent event = { .gpa = 0x0a000050, .len_bytes = 4, .match = true, .value = 1 };
	uint8_t image[IMAGE_BYTES];
	struct err err = { 0 };
	struct ending e;
	struct vm *vm = make_vm(&e);
	eventfd_t count = 0;

	event.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm_ioevent_add(vm, &event, &err))
		fail_msg("%s", err.msg);
	make_image(image, code_bell, 0);
	start(vm, image, sizeof(image));
	wait_for_end(&e);
	assert_int_equal(e.reason, VM_EXIT_SHUTDOWN);
	assert_int_equal(e.nwrites, 1);
	assert_int_equal(e.written, 2);
	assert_int_equal(eventfd_read(event.fd, &count), 0);
	assert_int_equal(count, 1);
	vm_ioevent_del(vm, &event);
	end_vm(vm, &e);
	close(event.fd);
}

static void test_gzip(void **state)
{
	uint8_t image[IMAGE_BYTES], packed[IMAGE_BYTES];
	z_stream z = { .next_in = image,
		       .avail_in = sizeof(image),
		       .next_out = packed,
		       .avail_out = sizeof(packed) };
	struct ending e;
	struct vm *vm = make_vm(&e);

	make_image(image, code_entry, PAGES_4K);
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	start(vm, packed, sizeof(packed) - z.avail_out);
	deflateEnd(&z);
	wait_for_end(&e);
	assert_int_equal(e.reason, VM_EXIT_SHUTDOWN);
	end_vm(vm, &e);
}

static void expect_refusal(const void *image, size_t len_bytes, int code, const char *text)
{
	struct boot_config boot = { .kernel_image = image, .kernel_image_bytes = len_bytes };
	struct err err = { 0 };
	struct ending e;
	struct vm *vm = make_vm(&e);

	assert_int_equal(vm_boot(vm, &boot, &err), code);
	if (strncmp(err.msg, "built-in guest: ", 16) || !strstr(err.msg, text))
		fail_msg("message is \"%s\", expected \"...%s\"", err.msg, text);
	end_vm(vm, &e);
}

static void test_refused(void **state)
{
	size_t long_bytes = IMAGE_BYTES + (1u << 20);
	uint8_t *image = calloc(1, long_bytes + 1);

	assert_non_null(image);
	make_image(image, code_off, 1);
	expect_refusal(image, IMAGE_BYTES, -EINVAL, "big-endian");
	expect_refusal(image, 63, -ENODATA, "header of 64");
	make_image(image, code_off, 0);
	expect_refusal(image, long_bytes + 1, -EINVAL, "goes on behind the 4096 bytes");
	le64_put(image + 16, RAM_BYTES);
	expect_refusal(image, IMAGE_BYTES, -E2BIG, "too large");
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_off),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_access_without_syndrome),
		cmocka_unit_test(test_registers_at_entry),
		cmocka_unit_test(test_unclaimed_reads_ones),
		cmocka_unit_test(test_interrupt_lines),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_gzip),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
