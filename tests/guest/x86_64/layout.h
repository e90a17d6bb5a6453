/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that start.S and the C files of the guest share: selectors, vectors, and what lies in page
 * 0 of a CPU's area besides area.h. Plain #defines, because the assembler reads this file too.
 */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#include "area.h"

/* Selectors. Each CPU has its own copy of the table, since its TSS descriptor is its own. */
#define SEL_CODE0 0x08 /* 64-bit code, ring 0 */
#define SEL_CODE32 0x10 /* 32-bit code, ring 0, on the way to long mode only */
#define SEL_DATA3 0x1b /* data, ring 3 */
#define SEL_CODE3 0x23 /* 64-bit code, ring 3 */
#define SEL_TSS 0x28 /* two slots */
#define GDT_SLOTS 8

/* Interrupt vectors. */
#define VEC_GP 13
#define VEC_PIC 0x20 /* IRQ 0 of the first 8259 */
#define VEC_UART (VEC_PIC + 4)
#define VEC_TICK 0x40
#define VEC_WAKE 0x41
#define VEC_SPURIOUS 0xff

/* struct cpu_area, page 0. */
#define AREA_GDT AREA_ARCH
#define AREA_GDTR 0x080
#define AREA_TSS 0x100

/*
 * TSS: 104 bytes, then a permission bitmap that opens the ports 0 to 0x607, then a byte of ones
 * (SDM vol. 1, 19.5.2).
 */
#define TSS_RSP0 4
#define TSS_IOMAP_BASE 102
#define TSS_FIXED_SIZE 104
#define IOMAP_BYTES 0xc1
#define TSS_LIMIT (TSS_FIXED_SIZE + IOMAP_BYTES)

/*
 * Where the application processors start, in real mode. Free memory on every machine that this
 * guest knows.
 */
#define TRAMPOLINE_PA 0x8000

#define MSR_EFER 0xc0000080
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01

#define UART_PORT 0x3f8
#define LAPIC_PA 0xfee00000
#define LAPIC_EOI 0xb0
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_MASKED 0x10000
#define LAPIC_EXTINT 0x700

/* Where vmm has PCI's configuration space, and virtio devices on MMIO; QEMU's microvm has those at the second place. */
#define VIRTIO_ECAM_PA 0xe0000000u
#define VIRTIO_MMIO_SLOTS \
	VIRTIO_SLOTS(0xe8000000u, 0x1000, 16), VIRTIO_SLOTS(0xfeb00000u, 0x200, 24)

#endif
