/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ACCEL_H
#define VMM_ACCEL_H

#include "vmm/caps.h"

/*
 * What the kernel may use underneath a dirty-tracking backend, read from module parameters below @sysfs ("/sys/module"; a test gives its own tree).
 * Nothing here needs a call to be enabled on x86.
 */
void accel_kvm_module(const char *sysfs, char *ret, unsigned int ret_bytes);
/* Intel PML, AMD PML, arm64 DBM, arm64 HDBSS: returns how many items were written (@max at least 4). */
unsigned int accel_probe(const char *sysfs, struct caps_item *ret, unsigned int max);

#endif
