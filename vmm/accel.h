/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ACCEL_H
#define VMM_ACCEL_H

#include "vmm/caps.h"

/*
 * What the kernel may use underneath a dirty-tracking backend: on x86 read from module parameters below @sysfs ("/sys/module"; a test gives its own tree), on
 * arm64 asked of KVM (arch_accel_ask).
 */
void accel_kvm_module(const char *sysfs, char *ret, unsigned int ret_bytes);
/* Intel PML, AMD PML, arm64 combined log, arm64 DBM, arm64 HDBSS, eager page split: returns how many items were written, or 0 when @max is below ACCELS. */
#define ACCELS 6u
unsigned int accel_probe(const char *sysfs, struct caps_item *ret, unsigned int max);
/* caps_dirty_accel below @sysfs. */
int accel_choose(const char *sysfs, int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		 struct dirty_accel *ret, struct err *err);

#endif
