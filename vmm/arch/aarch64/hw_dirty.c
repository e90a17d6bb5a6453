/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "../../kvm.h"
#include "base/fd.h"
#include "vmm/arch.h"

/*
 * The dirty state of stage 2 (FEAT_HAFDBS; Arm ARM D8.5.4), beneath KVM's bitmap: KVM_CAP_ARM_HW_DIRTY_LOG of this project's kernel series, see kernel/README.md. No released
 * kernel has it, and its number may mean something else elsewhere: only a KVM_ENABLE_CAP that succeeds proves it. Its argument is the number of
 * pages in a group, 0 for the hardware alone.
 */

static int enable(int vm_fd, uint32_t group_pages, struct err *err)
{
	return kvm_enable_cap(vm_fd, KVM_CAP_ARM_HW_DIRTY_LOG,
			      group_pages == DIRTY_GROUP_ALL ? 0 : group_pages, err);
}

/* On a VM of its own, with whatever guest-physical address size this host has (0: the default of all hosts). */
static int enable_on_trial(uint32_t group_pages, struct err *err)
{
	int kvm_fd = -1, vm_fd = -1;
	int r = kvm_open(&kvm_fd, err);

	if (r == 0)
		r = kvm_create_vm(
			kvm_fd, (unsigned long)kvm_check_extension(kvm_fd, KVM_CAP_ARM_VM_IPA_SIZE),
			&vm_fd, err);
	if (r == 0)
		r = enable(vm_fd, group_pages, err);
	fd_close(&vm_fd);
	fd_close(&kvm_fd);
	return r;
}

static void ask(int vm_fd, uint32_t group_pages, struct dirty_accel *ret)
{
	struct err why = { 0 };
	int r;

	if (group_pages == 0)
		group_pages = DIRTY_GROUP_DEFAULT;
	r = vm_fd < 0 ? enable_on_trial(group_pages, &why) : enable(vm_fd, group_pages, &why);
	if (r < 0) {
		snprintf(
			ret->reason, sizeof(ret->reason),
			"KVM_CAP_ARM_HW_DIRTY_LOG is not in this kernel, or the CPU lacks DBM: %.80s",
			why.msg);
	} else if (group_pages == DIRTY_GROUP_ALL) {
		ret->name = "arm64-dbm";
		snprintf(ret->reason, sizeof(ret->reason),
			 "the CPU marks each page that is written; reading the log looks at all");
	} else {
		ret->name = "arm64-combined-log";
		snprintf(ret->reason, sizeof(ret->reason),
			 "after one fault in %u pages the CPU marks those that are written",
			 group_pages);
	}
}

bool arch_accel_ask(int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		    struct dirty_accel *ret)
{
	ret->name = "none";
	if (asked.mode == DIRTY_ACCEL_OFF)
		snprintf(ret->reason, sizeof(ret->reason),
			 "off: KVM uses it only for a VM that asked");
	else if (kind == DIRTY_RING)
		snprintf(ret->reason, sizeof(ret->reason),
			 "KVM_CAP_ARM_HW_DIRTY_LOG goes with the bitmap, not with the ring");
	else
		ask(vm_fd, asked.group_pages, ret);
	return true;
}
