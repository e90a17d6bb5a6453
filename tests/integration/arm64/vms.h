/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_INTEGRATION_ARM64_VMS_H
#define TESTS_INTEGRATION_ARM64_VMS_H

#include "tests/integration/state_vms.h"

/*
 * VMs of two vCPUs whose guest, a kernel Image of some instructions, runs with the MMU off. vCPU 0 counts at GUEST_COUNT, reads CNTVCT_EL0 each time and counts at GUEST_BACKWARDS how often
 * it was below the time before; at GUEST_PENDING it says which interrupt the GIC would give it next (ICC_HPPIR1_EL1; it takes none); it switches vCPU 1 on by PSCI once the host writes 1 to GUEST_START, which then counts at GUEST_SECOND_COUNT. What the two sides
 * write lies in cache lines of their own, and the guest cleans and invalidates its own: without the MMU its accesses pass the caches by.
 */
#define TEST_RAM 0x40000000u
#define TEST_RAM_BYTES (16u << 20)
#define GUEST_DATA (TEST_RAM + 0x800000u)
#define GUEST_COUNT GUEST_DATA
#define GUEST_COUNTER (GUEST_DATA + 8)
#define GUEST_BACKWARDS (GUEST_DATA + 16)
#define GUEST_PSCI_RESULT (GUEST_DATA + 24)
#define GUEST_PENDING (GUEST_DATA + 32)
#define GUEST_START (GUEST_DATA + 0x200)
#define GUEST_SECOND_COUNT (GUEST_DATA + 0x400)

void test_vm_boot(struct vm *vm);

#endif
