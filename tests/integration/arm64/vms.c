/* SPDX-License-Identifier: Apache-2.0 */
#include "vms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

extern const uint8_t test_image[], test_image_end[];

/* Documentation/arch/arm64/booting.rst: the header, then the code. */
__asm__(".pushsection .rodata\n"
	".balign 8\n"
	/* global: the compiler takes their addresses from the GOT, which knows no place within a section */
	".globl test_image, test_image_end\n"
	"test_image:\n"
	"	b 1f\n"
	"	.word 0\n"
	"	.quad 0, 0x10000, 0xa, 0, 0, 0\n" /* offset, size; 4 KiB pages, anywhere */
	"	.ascii \"ARM\\x64\"\n"
	"	.word 0\n"
	"1:	movz x19, #0x4080, lsl #16\n" /* GUEST_DATA */
	"2:	dc civac, x19\n"
	"	dsb sy\n"
	"	ldr w0, [x19]\n"
	"	add w0, w0, #1\n"
	"	str w0, [x19]\n"
	"	isb\n"
	"	mrs x1, cntvct_el0\n"
	"	ldr x2, [x19, #8]\n"
	"	cmp x1, x2\n"
	"	b.hs 3f\n"
	"	ldr w3, [x19, #16]\n"
	"	add w3, w3, #1\n"
	"	str w3, [x19, #16]\n"
	"3:	str x1, [x19, #8]\n"
	"	mrs x5, S3_0_C12_C12_2\n" /* ICC_HPPIR1_EL1 */
	"	str w5, [x19, #32]\n"
	"	dsb sy\n"
	"	dc civac, x19\n"
	"	add x4, x19, #0x200\n"
	"	dc civac, x4\n"
	"	dsb sy\n"
	"	ldr w3, [x4]\n"
	"	cmp w3, #1\n"
	"	b.ne 2b\n"
	"	str wzr, [x4]\n"
	"	dsb sy\n"
	"	dc civac, x4\n"
	"	movz w0, #0xc400, lsl #16\n" /* CPU_ON of vCPU 1, with GUEST_DATA as its x0 */
	"	movk w0, #3\n"
	"	mov x1, #1\n"
	"	adr x2, 4f\n"
	"	mov x3, x19\n"
	"	hvc #0\n"
	"	str w0, [x19, #24]\n"
	"	b 2b\n"
	"4:	add x20, x0, #0x400\n"
	"5:	dc civac, x20\n"
	"	dsb sy\n"
	"	ldr w1, [x20]\n"
	"	add w1, w1, #1\n"
	"	str w1, [x20]\n"
	"	dsb sy\n"
	"	dc civac, x20\n"
	"	b 5b\n"
	"test_image_end:\n"
	"	.popsection\n");

const uint64_t test_ram_bytes = TEST_RAM_BYTES;

void test_vm_boot(struct vm *vm)
{
	static uint8_t image[0x1000];
	struct boot_config boot = {
		.kernel_image = image,
		.kernel_image_bytes = sizeof(image),
		.cmdline = "",
	};
	struct err err = { 0 };

	assert_true(test_image_end - test_image <= (ptrdiff_t)sizeof(image));
	memcpy(image, test_image, (size_t)(test_image_end - test_image));
	if (vm_boot(vm, &boot, &err))
		fail_msg("%s", err.msg);
}
