/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_LAYOUT_H
#define VMM_ARCH_AARCH64_LAYOUT_H

/*
 * The guest-physical addresses and interrupt lines of an arm64 machine, all in one place.
 *
 *   0x08000000   GICv3 distributor, 64 KiB
 *   0x08080000   ITS, 128 KiB: control frame, then the frame that devices signal into
 *   0x080a0000   redistributors, 128 KiB a vCPU, up to the serial port
 *   0x09000000   serial port, 16550
 *   0x09010000   real-time clock, PL031
 *   1 GiB        RAM, in one piece: device tree, kernel, and the initrd at the top
 */
#define LAYOUT_GICD 0x08000000ull
#define LAYOUT_GICD_BYTES 0x10000ull
#define LAYOUT_ITS 0x08080000ull
#define LAYOUT_ITS_BYTES 0x20000ull
#define LAYOUT_GICR 0x080a0000ull
#define LAYOUT_GICR_BYTES 0x20000ull /* of one vCPU: its control and its SGI frame */
#define LAYOUT_MAX_VCPUS ((LAYOUT_SERIAL - LAYOUT_GICR) / LAYOUT_GICR_BYTES)

#define LAYOUT_SERIAL 0x09000000ull
#define LAYOUT_SERIAL_BYTES 8ull
#define LAYOUT_RTC 0x09010000ull
#define LAYOUT_RTC_BYTES 0x1000ull

#define LAYOUT_RAM 0x40000000ull
#define LAYOUT_MIN_RAM 0x1000000ull /* device tree, and a kernel of some size */

/* A line (GSI) of the machine is the shared peripheral interrupt of the same number; INTIDs of those start at 32. */
#define LAYOUT_SERIAL_GSI 1u
#define LAYOUT_RTC_GSI 2u
#define LAYOUT_SPI_BASE 32u
#define LAYOUT_IRQS 128u /* INTIDs: 16 SGIs, 16 PPIs, 96 SPIs */

/* Private interrupts of the generic timer, as INTIDs. */
#define LAYOUT_PPI_TIMER_HYP 26u
#define LAYOUT_PPI_TIMER_VIRT 27u
#define LAYOUT_PPI_TIMER_SECURE 29u
#define LAYOUT_PPI_TIMER_PHYS 30u

#endif
