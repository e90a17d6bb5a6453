/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/caps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "accel.h"
#include "base/fd.h"
#include "base/num.h"
#include "dirty/backend.h"
#include "kvm.h"

#define SYSFS_MODULES "/sys/module"

static const struct {
	const char *name;
	uint32_t cap;
	const char *use;
} used[] = {
	{ "KVM_CAP_USER_MEMORY", KVM_CAP_USER_MEMORY, "guest memory from this process" },
	{ "KVM_CAP_IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT, "stopping vCPUs; required" },
	{ "KVM_CAP_MAX_VCPUS", KVM_CAP_MAX_VCPUS, "most vCPUs of one VM" },
	{ "KVM_CAP_NR_VCPUS", KVM_CAP_NR_VCPUS, "recommended most vCPUs of one VM" },
	{ "KVM_CAP_NR_MEMSLOTS", KVM_CAP_NR_MEMSLOTS, "memory regions of one VM" },
	{ "KVM_CAP_IRQCHIP", KVM_CAP_IRQCHIP, "interrupt controllers in the kernel" },
	{ "KVM_CAP_PIT2", KVM_CAP_PIT2, "i8254 timer in the kernel" },
	{ "KVM_CAP_IRQFD", KVM_CAP_IRQFD, "interrupts through eventfds" },
	{ "KVM_CAP_IOEVENTFD", KVM_CAP_IOEVENTFD, "device notifications without exits" },
	{ "KVM_CAP_SIGNAL_MSI", KVM_CAP_SIGNAL_MSI, "message-signalled interrupts" },
	{ "KVM_CAP_EXT_CPUID", KVM_CAP_EXT_CPUID, "CPUID as the guest sees it" },
	{ "KVM_CAP_GET_MSR_FEATURES", KVM_CAP_GET_MSR_FEATURES, "MSR features in the CPU model" },
	{ "KVM_CAP_XSAVE", KVM_CAP_XSAVE, "extended register state" },
	{ "KVM_CAP_XSAVE2", KVM_CAP_XSAVE2, "size of the extended register state" },
	{ "KVM_CAP_XCRS", KVM_CAP_XCRS, "XCR0" },
	{ "KVM_CAP_VCPU_EVENTS", KVM_CAP_VCPU_EVENTS, "pending events" },
	{ "KVM_CAP_DEBUGREGS", KVM_CAP_DEBUGREGS, "debug registers" },
	{ "KVM_CAP_MP_STATE", KVM_CAP_MP_STATE, "halted and waiting vCPUs" },
	{ "KVM_CAP_SREGS2", KVM_CAP_SREGS2, "page directory pointers with the registers" },
	{ "KVM_CAP_ADJUST_CLOCK", KVM_CAP_ADJUST_CLOCK, "kvmclock across a migration" },
	{ "KVM_CAP_KVMCLOCK_CTRL", KVM_CAP_KVMCLOCK_CTRL,
	  "telling the guest's watchdog of a pause" },
	{ "KVM_CAP_TSC_CONTROL", KVM_CAP_TSC_CONTROL, "TSC scaling to another host's frequency" },
	{ "KVM_CAP_GET_TSC_KHZ", KVM_CAP_GET_TSC_KHZ, "TSC frequency in the CPU model" },
	{ "KVM_CAP_VCPU_ATTRIBUTES", KVM_CAP_VCPU_ATTRIBUTES, "TSC offset" },
	{ "KVM_CAP_BINARY_STATS_FD", KVM_CAP_BINARY_STATS_FD, "exit counters" },
	{ "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	  "backend manual: bit 0 manual protection, bit 1 initially set" },
	{ "KVM_CAP_DIRTY_LOG_RING", KVM_CAP_DIRTY_LOG_RING, "backend ring: most bytes of a ring" },
	{ "KVM_CAP_DIRTY_LOG_RING_ACQ_REL", KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
	  "backend ring with acquire and release: most bytes of a ring" },
	{ "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP", KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP,
	  "ring with a bitmap for writes outside any vCPU" },
};
_Static_assert(ARRAY_LEN(used) <= CAPS_MAX_ITEMS, "struct caps is too small");

static void set_item(struct caps_item *item, const char *name, int64_t value, const char *present,
		     const char *absent)
{
	item->name = name;
	item->state = value > 0 ? CAPS_PRESENT : CAPS_ABSENT;
	item->value = value;
	snprintf(item->reason, sizeof(item->reason), "%.*s", (int)sizeof(item->reason) - 1,
		 value > 0 ? present : absent);
}

static bool has_manual(int value)
{
	int both = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;

	return (value & both) == both;
}

enum dirty_kind caps_dirty_auto(int kvm_fd, char *reason, unsigned int reason_bytes)
{
	int value = kvm_check_extension(kvm_fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	bool manual = has_manual(value);

	if (reason && manual)
		snprintf(
			reason, reason_bytes,
			"manual is offered (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is %d): starting and reading protect nothing, a page is protected just before it is sent",
			value);
	else if (reason)
		snprintf(
			reason, reason_bytes,
			"manual is not offered (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is %d, not 3); bitmap is in every KVM and never stops a vCPU, as a full ring does",
			value);
	return manual ? DIRTY_MANUAL : DIRTY_BITMAP;
}

static void probe_backends(int kvm_fd, struct caps *c)
{
	int manual = kvm_check_extension(kvm_fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	int ring = kvm_check_extension(kvm_fd, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
	struct err why = { 0 };

	if (ring <= 0)
		ring = kvm_check_extension(kvm_fd, KVM_CAP_DIRTY_LOG_RING);
	set_item(&c->backend[0], "bitmap", 1, "KVM_GET_DIRTY_LOG, in every KVM", "");
	set_item(&c->backend[1], "manual", has_manual(manual) ? manual : 0,
		 "KVM_CLEAR_DIRTY_LOG by the chunk, initially set",
		 "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 lacks bit 0 or 1");
	set_item(&c->backend[2], "ring", ring / (int)sizeof(struct kvm_dirty_gfn),
		 "value: most entries a vCPU", "KVM_CAP_DIRTY_LOG_RING is 0");
	set_item(&c->backend[3], "uffd", dirty_uffd_probe(&why) == 0,
		 "host page tables (userfaultfd, PAGEMAP_SCAN), no KVM log", why.msg);
	c->nbackends = 4;
}

int caps_dirty_accel(int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		     struct dirty_accel *ret, struct err *err)
{
	return accel_choose(SYSFS_MODULES, vm_fd, kind, asked, ret, err);
}

int caps_probe(struct caps *ret, struct err *err)
{
	struct caps c = { .kvm_api = KVM_API_VERSION };
	struct utsname uts;
	int fd;
	int r = kvm_open(&fd, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(used); i++)
		set_item(&c.cap[i], used[i].name, kvm_check_extension(fd, used[i].cap), used[i].use,
			 "KVM_CHECK_EXTENSION says 0");
	c.ncaps = ARRAY_LEN(used);
	probe_backends(fd, &c);
	c.auto_pick = caps_dirty_auto(fd, c.auto_reason, sizeof(c.auto_reason));
	fd_close(&fd);
	if (uname(&uts) == 0)
		snprintf(c.kernel, sizeof(c.kernel), "%s", uts.release);
	accel_kvm_module(SYSFS_MODULES, c.kvm_module, sizeof(c.kvm_module));
	c.naccels = accel_probe(SYSFS_MODULES, c.accel, ARRAY_LEN(c.accel));
	*ret = c;
	return 0;
}
