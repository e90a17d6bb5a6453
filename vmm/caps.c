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
#include "vmm/arch.h"

#define SYSFS_MODULES "/sys/module"

static const struct arch_cap used[] = {
	{ "KVM_CAP_USER_MEMORY", KVM_CAP_USER_MEMORY, "guest memory from this process" },
	{ "KVM_CAP_IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT, "stopping vCPUs; required" },
	{ "KVM_CAP_MAX_VCPUS", KVM_CAP_MAX_VCPUS, "most vCPUs of one VM" },
	{ "KVM_CAP_NR_VCPUS", KVM_CAP_NR_VCPUS, "recommended most vCPUs of one VM" },
	{ "KVM_CAP_NR_MEMSLOTS", KVM_CAP_NR_MEMSLOTS, "memory regions of one VM" },
	{ "KVM_CAP_IRQCHIP", KVM_CAP_IRQCHIP, "interrupt controllers in the kernel" },
	{ "KVM_CAP_IRQFD", KVM_CAP_IRQFD, "interrupts through eventfds" },
	{ "KVM_CAP_IRQ_ROUTING", KVM_CAP_IRQ_ROUTING,
	  "message-signalled interrupts: most lines and vectors" },
	{ "KVM_CAP_IOEVENTFD", KVM_CAP_IOEVENTFD, "device notifications without exits" },
	{ "KVM_CAP_IOEVENTFD_ANY_LENGTH", KVM_CAP_IOEVENTFD_ANY_LENGTH,
	  "device notifications of any size" },
	{ "KVM_CAP_VCPU_EVENTS", KVM_CAP_VCPU_EVENTS, "pending events" },
	{ "KVM_CAP_MP_STATE", KVM_CAP_MP_STATE, "halted and waiting vCPUs" },
	{ "KVM_CAP_BINARY_STATS_FD", KVM_CAP_BINARY_STATS_FD, "exit counters" },
	{ "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	  "backend manual: bit 0 manual protection, bit 1 initially set" },
	{ "KVM_CAP_DIRTY_LOG_RING", KVM_CAP_DIRTY_LOG_RING, "backend ring: most bytes of a ring" },
	{ "KVM_CAP_DIRTY_LOG_RING_ACQ_REL", KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
	  "backend ring with acquire and release: most bytes of a ring" },
	{ "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP", KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP,
	  "ring with a bitmap for writes outside any vCPU" },
};
_Static_assert(ARRAY_LEN(used) < CAPS_MAX_ITEMS, "struct caps is too small");

static void set_item(struct caps_item *item, const char *name, int64_t value, const char *present,
		     const char *absent)
{
	item->name = name;
	item->state = value > 0 ? CAPS_PRESENT : CAPS_ABSENT;
	item->value = value;
	snprintf(item->reason, sizeof(item->reason), "%.*s", (int)sizeof(item->reason) - 1,
		 value > 0 ? present : absent);
}

static void probe_caps(int kvm_fd, const struct arch_cap *caps, unsigned int n, struct caps *c)
{
	for (unsigned int i = 0; i < n && c->ncaps < CAPS_MAX_ITEMS; i++)
		set_item(&c->cap[c->ncaps++], caps[i].name,
			 kvm_check_extension(kvm_fd, caps[i].cap), caps[i].use,
			 "KVM_CHECK_EXTENSION says 0");
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
	struct err why = { 0 }, why_no_ring = { 0 };
	uint32_t entries = 0;

	(void)dirty_ring_probe(kvm_fd, &entries, &why_no_ring);
	set_item(&c->backend[0], "bitmap", 1, "KVM_GET_DIRTY_LOG, in every KVM", "");
	set_item(&c->backend[1], "manual", has_manual(manual) ? manual : 0,
		 "KVM_CLEAR_DIRTY_LOG by the chunk, initially set",
		 "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 lacks bit 0 or 1");
	set_item(&c->backend[2], "ring", entries, "value: most entries a vCPU", why_no_ring.msg);
	set_item(&c->backend[3], "uffd", dirty_uffd_probe(&why) == 0,
		 "host page tables (userfaultfd, PAGEMAP_SCAN), no KVM log", why.msg);
	c->nbackends = 4;
}

int caps_dirty_accel(int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		     struct dirty_accel *ret, struct err *err)
{
	return accel_choose(SYSFS_MODULES, vm_fd, kind, asked, ret, err);
}

/* x86 has module parameters for it (vmm/accel.c), arm64 a capability that each VM of ours takes. */
static void probe_eager_split(int kvm_fd, struct caps *c)
{
	int sizes = kvm_check_extension(kvm_fd, KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES);

	if (kvm_check_extension(kvm_fd, KVM_CAP_ARM_VM_IPA_SIZE) > 0 && c->naccels == ACCELS)
		set_item(&c->accel[ACCELS - 1], c->accel[ACCELS - 1].name, sizes,
			 "huge pages are split when they are rearmed; value: block sizes",
			 "KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES is 0 (before Linux 6.5)");
}

int caps_probe(struct caps *ret, struct err *err)
{
	struct caps c = { .kvm_api = KVM_API_VERSION };
	struct utsname uts;
	int fd;
	int r = kvm_open(&fd, err);

	if (r < 0)
		return r;
	probe_caps(fd, used, ARRAY_LEN(used), &c);
	probe_caps(fd, arch_caps, arch_ncaps, &c);
	probe_backends(fd, &c);
	c.auto_pick = caps_dirty_auto(fd, c.auto_reason, sizeof(c.auto_reason));
	if (uname(&uts) == 0)
		snprintf(c.kernel, sizeof(c.kernel), "%s", uts.release);
	accel_kvm_module(SYSFS_MODULES, c.kvm_module, sizeof(c.kvm_module));
	c.naccels = accel_probe(SYSFS_MODULES, c.accel, ARRAY_LEN(c.accel));
	probe_eager_split(fd, &c);
	fd_close(&fd);
	*ret = c;
	return 0;
}
