/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CAPS_H
#define VMM_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/dirty.h"

/* What this host offers, probed through /dev/kvm and module parameters; nothing is changed on the host. Strings are static or inside the struct. */
enum caps_state { CAPS_PRESENT, CAPS_ABSENT, CAPS_UNKNOWN };

struct caps_item {
	const char *name; /* "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", "Intel PML" */
	enum caps_state state;
	int64_t value; /* KVM_CHECK_EXTENSION's answer, or 0 */
	char reason[120]; /* why absent or unknown, what it is used for when present */
};

#define CAPS_MAX_ITEMS 64
struct caps {
	int kvm_api;
	char kvm_module
		[64]; /* which module drives /dev/kvm: kvm_intel, kvm_amd, kvm_pvm, kvm (built into an arm64 kernel), unknown */
	char kernel[128]; /* uname release */
	unsigned int ncaps;
	struct caps_item cap[CAPS_MAX_ITEMS];
	unsigned int nbackends;
	struct caps_item backend[8]; /* bitmap, manual, ring, uffd */
	unsigned int naccels;
	struct caps_item
		accel[8]; /* Intel PML, AMD PML, arm64 combined log, DBM, HDBSS, eager page split */
	enum dirty_kind auto_pick;
	char auto_reason[160];
};

/* -errno with text when /dev/kvm cannot be opened or speaks another API version than 12. */
int caps_probe(struct caps *ret, struct err *err);
/* What --dirty auto takes on this host, and why in @reason (may be NULL). */
enum dirty_kind caps_dirty_auto(int kvm_fd, char *reason, unsigned int reason_bytes);

/* The hardware beneath backend @kind (auto: a KVM log), as @asked. -EOPNOTSUPP with the reason where it is asked for (on) and is not there or
 * cannot be proved to be there, or where groups are asked for and the hardware knows of none. Where KVM uses it only for a VM that asked (arm64) it is asked
 * for @vm_fd, which has neither memory slots nor vCPUs yet; -1: for a VM that is made for the question. */
int caps_dirty_accel(int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		     struct dirty_accel *ret, struct err *err);

#endif
