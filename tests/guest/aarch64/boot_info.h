/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_BOOT_INFO_H
#define GUEST_BOOT_INFO_H

#include <stdint.h>

/* The CPUs of the device tree, CPU 0 too: what PSCI calls them. Once boot_read_info() was called. */
uint32_t boot_cpu_count(void);
uint64_t boot_cpu_mpidr(uint32_t i);

#endif
