/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ACCEL_H
#define VMM_ACCEL_H

#include "vmm/caps.h"

/*
 * What the kernel may use underneath a dirty-tracking backend, read from module parameters below @sysfs ("/sys/module"; a test gives its own tree).
 * Nothing here needs a call to be enabled on x86.
 */
void accel_kvm_module(const char *sysfs, char *ret, unsigned int ret_bytes);
/* Intel PML, AMD PML, arm64 DBM, arm64 HDBSS, eager page split: returns how many items were written, or 0 when @max is below ACCELS. */
#define ACCELS 5u
unsigned int accel_probe(const char *sysfs, struct caps_item *ret, unsigned int max);
/* caps_dirty_accel below @sysfs. */
int accel_choose(const char *sysfs, enum dirty_kind kind, enum dirty_accel_mode asked,
		 struct dirty_accel *ret, struct err *err);

#endif
