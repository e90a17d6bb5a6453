/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_LAYOUT_H
#define VMM_ARCH_X86_64_LAYOUT_H

/*
 * The guest-physical addresses, ports and interrupt lines of an x86_64 machine, all in one place.
 *
 *   0          what the boot code needs: GDT, page tables, boot parameters, command line
 *   0x30000    free for the guest (trampolines of secondary CPUs and the like)
 *   0x9fc00    not RAM as the guest is told: where a BIOS would have its data area, video memory
 *   0xe0000    ACPI tables, where a scan for the RSDP looks too
 *   0xf0000    a BIOS' place: nothing but a reset vector at its end
 *   1 MiB      RAM up to 3 GiB: kernel at its own address, initrd at the top
 *   3 GiB      hole: interrupt controllers at its end; where there is a PCI bus, the window of its devices' BARs, and from 3.5 GiB on
 *              its configuration space; virtio-mmio devices from 0xe8000000 on
 *   4 GiB      RAM beyond 3 GiB
 */
#define LAYOUT_GDT 0x1000u
#define LAYOUT_TSS 0x1800u
#define LAYOUT_PAGE_TABLES 0x2000u /* PML4, PDPT, 4 page directories: 4 GiB in 2 MiB pages */
#define LAYOUT_PAGE_TABLES_BYTES 0x6000u
#define LAYOUT_BOOT_PARAMS 0x8000u /* Linux boot protocol: the "zero page" */
#define LAYOUT_START_INFO 0x9000u /* PVH: hvm_start_info, then module list and memory map */
#define LAYOUT_MODLIST 0x9080u
#define LAYOUT_MEMMAP 0x9100u
#define LAYOUT_CMDLINE 0x20000u
#define LAYOUT_CMDLINE_MAX 0x10000u /* with the terminating zero */
#define LAYOUT_BOOT_END 0x30000u

#define LAYOUT_LOW_RAM_END 0x9fc00u
#define LAYOUT_ACPI 0xe0000u
#define LAYOUT_ACPI_MAX 0x10000u
#define LAYOUT_FIRMWARE 0xf0000u
#define LAYOUT_FIRMWARE_BYTES 0x10000u
#define LAYOUT_RESET_VECTOR 0xffff0u /* F000:FFF0, the last 16 bytes below 1 MiB */
#define LAYOUT_HIGH_RAM 0x100000u
#define LAYOUT_HOLE 0xc0000000ull
#define LAYOUT_HOLE_END 0x100000000ull
#define LAYOUT_MIN_RAM 0x200000ull

#define LAYOUT_PCI_WINDOW 0xc0000000u
#define LAYOUT_PCI_WINDOW_BYTES 0x20000000u
#define LAYOUT_PCI_ECAM 0xe0000000u
#define LAYOUT_PCI_ECAM_BYTES 0x100000u /* one bus */
#define LAYOUT_VIRTIO 0xe8000000u
#define LAYOUT_VIRTIO_BYTES 0x1000u /* a slot */
#define LAYOUT_VIRTIO_SLOTS 16u
#define LAYOUT_VIRTIO_GSI 8u /* of slot 0; the others follow, up to the I/O APIC's last line */
/* 16 bytes of the BIOS' place. */
#define LAYOUT_GENID LAYOUT_FIRMWARE
#define LAYOUT_GENID_GSI 6u

#define LAYOUT_IOAPIC 0xfec00000u
#define LAYOUT_LAPIC 0xfee00000u
/* KVM's own pages on hosts that cannot run real mode natively: 1 + 3 pages below the 4 GiB line. */
#define LAYOUT_IDENTITY_MAP 0xfffbc000u
#define LAYOUT_KVM_TSS 0xfffbd000u

#define LAYOUT_SERIAL_PORT 0x3f8u
#define LAYOUT_SERIAL_PORT_LEN 8u
#define LAYOUT_SERIAL_GSI 4u
/* The power block; the same numbers stand in include/devices/device.h, and tests/unit/x86 compares them. */
#define LAYOUT_POWER_PORT 0x600u
#define LAYOUT_POWER_SLEEP_CONTROL (LAYOUT_POWER_PORT + 0)
#define LAYOUT_POWER_RESET (LAYOUT_POWER_PORT + 1)
#define LAYOUT_POWER_SLEEP_STATUS (LAYOUT_POWER_PORT + 2)
#define LAYOUT_POWER_EVENT (LAYOUT_POWER_PORT + 3)
#define LAYOUT_POWER_RESET_VALUE 1u
#define LAYOUT_POWER_SLEEP_S5 5u
#define LAYOUT_POWER_GSI 5u

#endif
