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
 *   0x09030000   general-purpose lines, PL061: the power button
 *   0x0a000000   virtio-mmio devices, 4 KiB each
 *   0x10000000   where there is a PCI bus: the window of its devices' BARs, 512 MiB
 *   0x30000000   its configuration space, 1 MiB
 *   1 GiB        RAM, in one piece: device tree, kernel, initrd; with a generation ID the last 64 KiB are its own
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

#define LAYOUT_GPIO 0x09030000ull
#define LAYOUT_GPIO_BYTES 0x1000ull
#define LAYOUT_GPIO_BUTTON 3u /* the line; include/devices/device.h has the same number */

#define LAYOUT_VIRTIO 0x0a000000ull
#define LAYOUT_VIRTIO_BYTES 0x1000ull
#define LAYOUT_VIRTIO_SLOTS 16u
#define LAYOUT_PCI_WINDOW 0x10000000ull
#define LAYOUT_PCI_WINDOW_BYTES 0x20000000ull
#define LAYOUT_PCI_ECAM 0x30000000ull
#define LAYOUT_PCI_ECAM_BYTES 0x100000ull /* one bus */

/* Not RAM as the guest is told, in pages of whatever size. */
#define LAYOUT_GENID_BYTES 0x10000ull

#define LAYOUT_RAM 0x40000000ull
#define LAYOUT_MIN_RAM 0x1000000ull /* device tree, and a kernel of some size */

/* A line (GSI) of the machine is the shared peripheral interrupt of the same number; INTIDs of those start at 32. */
#define LAYOUT_SERIAL_GSI 1u
#define LAYOUT_RTC_GSI 2u
#define LAYOUT_GPIO_GSI 3u
#define LAYOUT_GENID_GSI 4u
#define LAYOUT_VIRTIO_GSI 16u /* of slot 0; the others follow */
#define LAYOUT_SPI_BASE 32u
#define LAYOUT_IRQS 128u /* INTIDs: 16 SGIs, 16 PPIs, 96 SPIs */

/* Private interrupts of the generic timer, as INTIDs. */
#define LAYOUT_PPI_TIMER_HYP 26u
#define LAYOUT_PPI_TIMER_VIRT 27u
#define LAYOUT_PPI_TIMER_SECURE 29u
#define LAYOUT_PPI_TIMER_PHYS 30u

#endif
