/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_INTEGRATION_X86_VMS_H
#define TESTS_INTEGRATION_X86_VMS_H

#include "tests/integration/state_vms.h"

/*
 * VMs of 4 MiB that run a guest of two CPUs, booted as a PVH image. CPU 0 counts at GUEST_BSP_COUNT, reads the TSC each time and counts at GUEST_BACKWARDS how often it
 * was below the time before; it starts CPU 1 by INIT and SIPI once the host writes GUEST_START_AP, which then counts in real mode at GUEST_AP_COUNT.
 */
#define TEST_RAM_BYTES (4u << 20)
#define GUEST_BSP_COUNT 0x300000u
#define GUEST_TSC 0x300008u
#define GUEST_BACKWARDS 0x300010u
#define GUEST_START_AP 0x300014u
#define GUEST_AP_COUNT 0x31000u

void test_vm_boot(struct vm *vm);

#endif
