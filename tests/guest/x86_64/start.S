/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry by the PVH boot ABI, the way to ring 3, the trap and interrupt stubs, the start of the
 * other CPUs, and the page tables. Ring 0 may be interpreted by the host at microseconds an
 * instruction, so nothing here loops, and everything that can be done in ring 3 is left to the C
 * code (the IDT, the interrupt controllers, all of memory).
 */
#include "layout.h"

#define CR0_VALUE 0x80000033 /* PG NE ET MP PE */
#define CR4_VALUE 0x00000020 /* PAE */
#define EFER_VALUE 0x00000100 /* LME */

	/*
	 * XEN_ELFNOTE_PHYS32_ENTRY: a loader that knows PVH enters here in 32-bit protected mode,
	 * paging off.
	 */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4
	.long 8
	.long 18
	.asciz "Xen"
	.quad pvh_entry

	.text
	.code32
	.globl pvh_entry
pvh_entry:
	movl %ebx, boot_start_info
	movl $bsp_area + AREA_TSS, %eax
	movw %ax, bsp_area + AREA_GDT + SEL_TSS + 2
	shrl $16, %eax
	movb %al, bsp_area + AREA_GDT + SEL_TSS + 4
	movb %ah, bsp_area + AREA_GDT + SEL_TSS + 7
	lgdt bsp_area + AREA_GDTR
	movl $bsp64, %edi

	/*
	 * Both kinds of CPU come through here; edi = where to go on in 64-bit mode, the table of
	 * the BSP loaded.
	 */
to_long_mode:
	movl $CR4_VALUE, %eax
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl $EFER_VALUE, %eax
	xorl %edx, %edx
	wrmsr
	movl $CR0_VALUE, %eax
	movl %eax, %cr0
	ljmp $SEL_CODE0, $long_mode

	.code64
long_mode:
	movl %edi, %edi
	jmp *%rdi

bsp64:
	/*
	 * kvmclock, if the host says that it is KVM: its parameters tell the frequency of the TSC.
	 * CPUID is asked here and not in ring 3, where some hosts cannot intercept it.
	 */
	movl $0x40000000, %eax
	cpuid
	cmpl $0x4b4d564b, %ebx /* "KVMK" */
	jne 1f
	movl $0x40000001, %eax
	cpuid
	testl $(1 << 3), %eax /* KVM_FEATURE_CLOCKSOURCE2 */
	jz 1f
	movl $boot_pvclock + 1, %eax
	xorl %edx, %edx
	movl $MSR_KVM_SYSTEM_TIME_NEW, %ecx
	wrmsr
1:
	/* Ring 3 runs with interrupts on: none may come before it has set up the 8259. */
	movb $0xff, %al
	outb %al, $0x21
	outb %al, $0xa1
	movl $bsp_area, %ebx
	movl $bsp_main, %esi

	/*
	 * rbx = area of this CPU, rsi = function of ring 3 that gets it. Two keys to the ports: an
	 * emulated iretq drops IOPL 3, there the TSS opens them; QEMU's emulator looks into a TSS
	 * only while TR is of type "available", which after a migration it is not, there IOPL does.
	 */
enter_user:
	leaq AREA_STACK_TRAP(%rbx), %rsp
	lidt boot_idtr
	movl $SEL_TSS, %eax
	ltr %ax
	movl $SEL_DATA3, %eax
	movl %eax, %ds
	movl %eax, %es
	pushq %rax
	leaq AREA_STACK_WORK - 8(%rbx), %rcx
	pushq %rcx
	pushq $0x3202
	pushq $SEL_CODE3
	pushq %rsi
	movq %rbx, %rdi
	iretq

ap64:
	movl $1, %ebx
	lock xaddl %ebx, boot_ap_next
	cmpl %ebx, boot_ap_limit
	jbe 2f
	shlq $AREA_SHIFT, %rbx
	addq boot_ap_areas, %rbx
	lgdt AREA_GDTR(%rbx)
	movl $ap_main, %esi
	jmp enter_user
2:
	cli
	hlt
	jmp 2b

	/* Copied to TRAMPOLINE_PA; real mode, cs = TRAMPOLINE_PA / 16. */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl ap_gdtr - ap_trampoline
	movl $ap32, %edi
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $ap32
	.balign 4
ap_gdtr:
	.word GDT_SLOTS * 8 - 1
	.long bsp_area + AREA_GDT
ap_trampoline_end:

	.code32
ap32:
	movl $ap64, %edi
	jmp to_long_mode

	/*
	 * Interrupts. The page of the ring-0 stack starts with the flags of this CPU, so the stack
	 * pointer finds them.
	 */
	.code64
	.globl irq_uart, irq_tick, irq_wake, irq_ignore
irq_uart:
	pushq %rax
	movq %rsp, %rax
	andq $-0x1000, %rax
	movl $1, AREA_RX(%rax)
	movl $1, AREA_WAKE(%rax)
	movb $0x20, %al
	outb %al, $0x20
	popq %rax
	iretq

irq_tick:
	pushq %rax
	movq %rsp, %rax
	andq $-0x1000, %rax
	incl AREA_TICKS(%rax)
	jmp 3f
irq_wake:
	pushq %rax
	movq %rsp, %rax
	andq $-0x1000, %rax
3:
	movl $1, AREA_WAKE(%rax)
	movl $LAPIC_PA + LAPIC_EOI, %eax
	movl $0, (%rax)
	popq %rax
irq_ignore:
	iretq

	/*
	 * #GP. A hlt in ring 3 is how ring 3 asks for a real one: rdi points to a flag, and the CPU
	 * sleeps unless it is set. Checked with interrupts off, so that an interrupt just before
	 * the hlt is not slept through.
	 */
gp_entry:
	testb $3, 16(%rsp)
	jz trap_13
	pushq %rax
	movq 16(%rsp), %rax
	cmpb $0xf4, (%rax)
	popq %rax
	jne trap_13
	incq 8(%rsp)
	cmpl $0, (%rdi)
	jne 4f
	sti
	hlt
4:
	addq $8, %rsp
	iretq

	/*
	 * Every other trap is the end: vector, error code (0 where the CPU pushes none) and frame
	 * go to C.
	 */
	.altmacro
	.macro trap_stub vec, has_error
trap_\vec:
	.if \has_error == 0
	pushq $0
	.endif
	pushq $\vec
	jmp trap_common
	.endm
	.macro trap_slot vec
	.quad trap_\vec
	.endm

	.set vec, 0
	.rept 32
	trap_stub %vec, %(((vec == 8) || ((vec >= 10) && (vec <= 14)) || (vec == 17) || (vec == 21)) & 1)
	.set vec, vec + 1
	.endr

trap_common:
	movq %rsp, %rdi
	movq %cr2, %rsi
	cld
	call trap_fatal
5:
	hlt
	jmp 5b

	.section .rodata, "a"
	.balign 8
	.globl trap_table
trap_table:
	.set vec, 0
	.rept 32
	.if vec == VEC_GP
	.quad gp_entry
	.else
	trap_slot %vec
	.endif
	.set vec, vec + 1
	.endr

	.data
	.balign 8
	.globl boot_start_info, boot_ap_next, boot_ap_limit, boot_ap_areas, boot_pvclock
boot_idtr:
	.word 256 * 16 - 1
	.quad idt
	.balign 8
boot_start_info:
	.quad 0
boot_ap_areas: /* area of CPU 0 if it were in the array: index << AREA_SHIFT is added */
	.quad 0
boot_ap_next: /* index that the next CPU to arrive takes */
	.long 1
boot_ap_limit: /* CPUs with an index from here on are not wanted */
	.long 1
	.balign 64
boot_pvclock:
	.skip 64

	.balign 4096
	.globl bsp_area
bsp_area:
	.skip AREA_GDT
	.quad 0
	.quad 0x00209b0000000000 /* SEL_CODE0 */
	.quad 0x00cf9b000000ffff /* SEL_CODE32 */
	.quad 0x00cff3000000ffff /* SEL_DATA3 */
	.quad 0x0020fb0000000000 /* SEL_CODE3 */
	.quad 0x0000890000000000 + TSS_LIMIT /* SEL_TSS, base filled in at entry */
	.quad 0
	.quad 0
	.word GDT_SLOTS * 8 - 1
	.quad bsp_area + AREA_GDT
	.org bsp_area + AREA_TSS + TSS_RSP0
	.quad bsp_area + AREA_STACK_TRAP
	.org bsp_area + AREA_TSS + TSS_IOMAP_BASE
	.word TSS_FIXED_SIZE
	.org bsp_area + AREA_TSS + TSS_LIMIT
	.byte 0xff
	.org bsp_area + AREA_SIZE

	/*
	 * 4 GiB mapped one to one with 2 MiB pages, open to ring 3, accessed and dirty already set;
	 * the second slot of the top level is for the pool (memory.c). The last GiB has the
	 * interrupt controllers: not cached.
	 */
	.balign 4096
pml4:
	.quad pdpt + 0x27
	.quad pool_pdpt + 0x27
	.org pml4 + 4096
pdpt:
	.quad pd + 0x27
	.quad pd + 0x1027
	.quad pd + 0x2027
	.quad pd + 0x3027
	.org pdpt + 4096
pd:
	.set pa, 0
	.rept 1536
	.quad pa + 0xe7
	.set pa, pa + 0x200000
	.endr
	.rept 512
	.quad pa + 0xff
	.set pa, pa + 0x200000
	.endr

	.section .note.GNU-stack, "", @progbits
