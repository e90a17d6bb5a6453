/* SPDX-License-Identifier: Apache-2.0 */
#include "vms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/x86/images.h"

extern const uint8_t bsp_code[], bsp_code_end[], ap_code[], ap_code_end[];

__asm__(".pushsection .rodata\n"
	"bsp_code:\n"
	"	.code32\n"
	"	movl $0x300000, %ebx\n"
	"1:	incl (%ebx)\n"
	"	rdtsc\n"
	"	movl %eax, %esi\n"
	"	movl %edx, %edi\n"
	"	subl 8(%ebx), %eax\n"
	"	sbbl 12(%ebx), %edx\n"
	"	jae 2f\n"
	"	incl 16(%ebx)\n"
	"2:	movl %esi, 8(%ebx)\n"
	"	movl %edi, 12(%ebx)\n"
	"	cmpl $1, 20(%ebx)\n"
	"	jne 1b\n"
	"	movl $0, 20(%ebx)\n"
	"	movl $0x01000000, 0xfee00310\n" /* to APIC 1 */
	"	movl $0x4500, 0xfee00300\n" /* INIT */
	"	movl $0x4630, 0xfee00300\n" /* SIPI, start at 0x30000 */
	"	jmp 1b\n"
	"bsp_code_end:\n"
	"ap_code:\n"
	"	.code16\n"
	"	movw $0x3100, %ax\n"
	"	movw %ax, %ds\n"
	"1:	incl 0\n"
	"	jmp 1b\n"
	"ap_code_end:\n"
	"	.code64\n"
	"	.popsection\n");

const uint64_t test_ram_bytes = TEST_RAM_BYTES;

void test_vm_boot(struct vm *vm)
{
	struct elf_image e = make_elf(true);
	struct boot_config boot = { .kernel_image = &e,
				    .kernel_image_bytes = sizeof(e),
				    .cmdline = "" };
	struct err err = { 0 };

	assert_true(bsp_code_end - bsp_code <= (ptrdiff_t)sizeof(e.text));
	assert_true(ap_code_end - ap_code <= (ptrdiff_t)sizeof(e.data));
	memcpy(e.text, bsp_code, (size_t)(bsp_code_end - bsp_code));
	memcpy(e.data, ap_code, (size_t)(ap_code_end - ap_code));
	e.pvh_entry = 0x100000;
	e.phdr[1].p_paddr = LAYOUT_BOOT_END;
	e.phdr[1].p_memsz = sizeof(e.data);
	if (vm_boot(vm, &boot, &err))
		fail_msg("%s", err.msg);
}
