/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine, and numbers that start.S and the C files share. Plain #defines, because the assembler
 * reads this file too. The addresses are those of vmm, and but for the serial port those of QEMU's
 * machine `virt`.
 */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#include "area.h"

#define GICD_PA 0x08000000
#define GICR_PA 0x080a0000
#define UART_PA 0x09000000
#define VIRTIO_ECAM_PA 0x30000000u
#define VIRTIO_MMIO_SLOTS VIRTIO_SLOTS(0x0a000000u, 0x1000, 16)

/* Interrupts by their GIC numbers. */
#define INTID_WAKE 0 /* SGI */
#define INTID_TICK 27 /* PPI of the virtual timer */
#define INTID_UART 33 /* SPI 1 */

/* Block and table descriptors (Arm ARM, D8.3): the attributes index the MAIR_EL1 below. */
#define PTE_TABLE 0x3
#define PTE_NORMAL 0x701 /* block, attributes 0, inner shareable, accessed, EL1 only */
#define PTE_DEVICE 0x405 /* block, attributes 1, accessed, EL1 only */
#define PTE_NEVER_EXECUTE 0x0060000000000000 /* PXN, UXN */
#define MAIR_VALUE 0x04ff /* 0: normal, write-back; 1: device nGnRE */

#endif
