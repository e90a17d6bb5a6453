/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry by the arm64 boot protocol (Documentation/arch/arm64/booting.rst), the way to the C code,
 * the start of the other CPUs, and the exception vectors.
 *
 * The work runs at EL1 with SP_EL0 as its stack; an exception switches to SP_EL1, which points into
 * page 0 of the CPU's area, so that a handler finds its CPU's flags and needs nothing of the work's
 * stack.
 */
#include "layout.h"

#define TABLE_BYTES 0x1000
#define GIB_SHIFT 30
/* 4 KiB granule, T0SZ 16 (48 bits), walks write-back and inner shareable, no TTBR1. */
#define TCR_VALUE (16 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23)
#define TCR_IPS_SHIFT 32
#define IPS_48_BITS 5
/* Bits that are 1 where what they switch is missing; and I, SA, C, M. */
#define SCTLR_VALUE 0x30d0180d
#define R_AARCH64_RELATIVE 1027
#define CURRENT_EL1 (1 << 2)
#define DAIFCLR_SERROR 4

	/* The Image header: 64 bytes. Little-endian, 4 KiB pages, anywhere in memory. */
	.section .head, "ax"
	.globl image_start
image_start:
.Limage:
	b entry
	.long 0
	.quad 0 /* text_offset */
	.quad image_end - .Limage
	.quad 0xa
	.quad 0
	.quad 0
	.quad 0
	.ascii "ARM\x64"
	.long 0

	/* CPU 0: x0 = device tree, MMU off, interrupts masked. */
	.text
entry:
	mov x19, x0
	mrs x1, currentel
	cmp x1, #CURRENT_EL1
	b.ne park
	bl build_tables
	adrp x0, boot_tables
	bl mmu_on

	/* Linked at 0: what holds an address has to be moved to where the image is. */
	adrp x1, image_start
	adrp x2, rela_start
	add x2, x2, :lo12:rela_start
	adrp x3, rela_end
	add x3, x3, :lo12:rela_end
1:	cmp x2, x3
	b.hs 2f
	ldp x4, x5, [x2], #16
	ldr x6, [x2], #8
	cmp w5, #R_AARCH64_RELATIVE
	b.ne park
	add x6, x6, x1
	str x6, [x1, x4]
	b 1b
2:
	adrp x1, boot_fdt
	str x19, [x1, :lo12:boot_fdt]
	adrp x0, bsp_area
	adrp x2, bsp_main
	add x2, x2, :lo12:bsp_main

	/* x0 = area of this CPU, x2 = function of the work that gets it. */
enter_work:
	adrp x1, vectors
	add x1, x1, :lo12:vectors
	msr vbar_el1, x1
	isb
	msr spsel, #1
	add x1, x0, #AREA_STACK_TRAP
	mov sp, x1
	add x1, x0, #AREA_STACK_WORK
	msr sp_el0, x1
	msr spsel, #0
	msr daifclr, #DAIFCLR_SERROR
	mov x29, xzr
	blr x2
park:
	wfi
	b park

	/*
	 * The other CPUs, by PSCI CPU_ON: x0 = area, MMU off. Until the MMU is on nothing is read
	 * that CPU 0 wrote, as its cache may still have it.
	 */
	.globl ap_entry
ap_entry:
	mov x19, x0
	adrp x0, boot_tables
	bl mmu_on
	mov x0, x19
	adrp x2, ap_main
	add x2, x2, :lo12:ap_main
	b enter_work

	/* The block of 1 GiB that address \pa is in, one to one; x1 = the table, x2 = attributes. */
	.macro map_gib pa
	lsr x3, \pa, #GIB_SHIFT
	cmp x3, #512
	b.hs park
	lsl x4, x3, #GIB_SHIFT
	orr x4, x4, x2
	str x4, [x1, x3, lsl #3]
	.endm

	/*
	 * x19 = device tree. One to one: the image and what comes behind it, the
	 * device tree (2 MiB at most), the devices in the first GiB. The pool has the second slot
	 * of the top level (mmu.c). All of it is written past the caches, as the MMU is off: lines
	 * that they may have of the tables are stale.
	 */
build_tables:
	adrp x0, boot_tables
	add x1, x0, #TABLE_BYTES
	orr x2, x1, #PTE_TABLE
	adrp x3, pool_table
	orr x3, x3, #PTE_TABLE
	stp x2, x3, [x0]
	mov x2, #PTE_NORMAL
	adrp x5, image_start
	map_gib x5
	adrp x5, image_end
	map_gib x5
	map_gib x19
	mov x6, #0x1fffff
	add x5, x19, x6
	map_gib x5
	mov x2, #PTE_DEVICE
	movk x2, #(PTE_NEVER_EXECUTE >> 48), lsl #48
	map_gib xzr
	dsb sy
	add x1, x0, #(2 * TABLE_BYTES)
3:	dc ivac, x0
	add x0, x0, #16 /* the smallest cache line there may be */
	cmp x0, x1
	b.lo 3b
	dsb sy
	ret

	/* x0 = the tables. */
mmu_on:
	mov x1, #MAIR_VALUE
	msr mair_el1, x1
	mov x1, #(TCR_VALUE & 0xffff)
	movk x1, #(TCR_VALUE >> 16), lsl #16
	mrs x2, id_aa64mmfr0_el1
	and x2, x2, #0xf
	mov x3, #IPS_48_BITS
	cmp x2, x3
	csel x2, x2, x3, lo
	orr x1, x1, x2, lsl #TCR_IPS_SHIFT
	msr tcr_el1, x1
	msr ttbr0_el1, x0
	isb
	tlbi vmalle1
	ic iallu
	dsb nsh
	isb
	mov x1, #(SCTLR_VALUE & 0xffff)
	movk x1, #(SCTLR_VALUE >> 16), lsl #16
	msr sctlr_el1, x1
	isb
	ret

	/* x0 = function, x1 to x3 = its arguments; x0 to x17 come back changed, as from C. */
	.globl psci_call
psci_call:
	hvc #0
	ret

	/* What C code may change; interrupts stay masked meanwhile, so ELR and SPSR do not. */
irq_entry:
	stp x0, x1, [sp, #-160]!
	stp x2, x3, [sp, #16]
	stp x4, x5, [sp, #32]
	stp x6, x7, [sp, #48]
	stp x8, x9, [sp, #64]
	stp x10, x11, [sp, #80]
	stp x12, x13, [sp, #96]
	stp x14, x15, [sp, #112]
	stp x16, x17, [sp, #128]
	stp x18, x30, [sp, #144]
	mov x0, sp
	and x0, x0, #-0x1000
	bl irq_handle
	ldp x18, x30, [sp, #144]
	ldp x16, x17, [sp, #128]
	ldp x14, x15, [sp, #112]
	ldp x12, x13, [sp, #96]
	ldp x10, x11, [sp, #80]
	ldp x8, x9, [sp, #64]
	ldp x6, x7, [sp, #48]
	ldp x4, x5, [sp, #32]
	ldp x2, x3, [sp, #16]
	ldp x0, x1, [sp], #160
	eret

	/* x0 = number of the vector. The area from the last byte of the stack, which may be empty. */
trap_entry:
	mov x1, sp
	sub x1, x1, #1
	and x1, x1, #-0x1000
	mrs x2, sp_el0
	bl trap_fatal
	b park

	/* Interrupts of the work, which runs on SP_EL0, are the second; all others are the end. */
	.balign 2048
vectors:
	.set number, 0
	.rept 16
	.balign 128
	.if number == 1
	b irq_entry
	.else
	mov x0, #number
	b trap_entry
	.endif
	.set number, number + 1
	.endr

	.data
	.balign 8
	.globl boot_fdt
boot_fdt:
	.quad 0

	.bss
	.balign 4096
boot_tables:
	.skip 2 * TABLE_BYTES
	.globl bsp_area
bsp_area:
	.skip AREA_SIZE

	.section .note.GNU-stack, "", @progbits
