/* SPDX-License-Identifier: Apache-2.0 */
#include "msr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "kvm_x86.h"

/* Numbers: Intel SDM vol. 4, AMD APM vol. 2 appendix A, Documentation/virt/kvm/x86/msr.rst. */

static const struct msr_range {
	uint32_t first;
	uint32_t last;
	const char *reason;
} msr_skip[] = {
	{ MSR_IA32_TSC, MSR_IA32_TSC, "time: a section of its own corrects it for the blackout" },
	{ 0x1b, 0x1b, "APIC base: part of sregs" },
	{ 0xc0000080, 0xc0000080, "EFER: part of sregs" },
	{ 0x11, 0x11,
	  "kvmclock wall clock: a write makes KVM store into guest memory, once, at boot" },
	{ 0x4b564d00, 0x4b564d00, "kvmclock wall clock: as above" },
	{ 0x3a, 0x3a, "feature control: of VMX, which the guest does not have" },
	{ 0x480, 0x491, "VMX capabilities: the guest has no VMX" },
	{ 0xc0010114, 0xc0010117, "SVM: the guest has no SVM" },
	{ 0x40000000, 0x400001ff, "Hyper-V interface: the guest has none" },
	{ 0xc1, 0xc8, "performance counters: the guest has none" },
	{ 0x186, 0x18d, "performance counters: as above" },
	{ 0x309, 0x30c, "performance counters: as above" },
	{ 0x345, 0x345, "performance capabilities: as above" },
	{ 0x38d, 0x390, "performance counters: as above" },
	{ 0x3f1, 0x3f2, "PEBS: as above" },
	{ 0x4c1, 0x4c8, "performance counters: as above" },
	{ 0x600, 0x600, "debug store: as above" },
	{ 0xc0000300, 0xc0000303, "performance counters: as above" },
	{ 0xc0010000, 0xc0010007, "performance counters: as above" },
	{ 0xc0010200, 0xc001020b, "performance counters: as above" },
	{ 0x560, 0x58b, "processor trace: the guest has none" },
};

/* State that KVM's list has not always had. Absent or unreadable ones are left out. */
static const struct msr_range msr_extra[] = {
	{ 0x200, 0x20f, "variable MTRRs" },    { 0x250, 0x250, "fixed MTRRs" },
	{ 0x258, 0x259, "fixed MTRRs" },       { 0x268, 0x26f, "fixed MTRRs" },
	{ 0x2ff, 0x2ff, "MTRR default type" },
};

/* Their value describes the host; the cpu model was checked for what the guest may rely on. */
static const struct msr_range msr_host_owned[] = {
	{ 0x34, 0x34, "SMI count" },
	{ 0x8b, 0x8b, "microcode revision" },
	{ 0xce, 0xce, "platform information" },
	{ MSR_IA32_ARCH_CAPABILITIES, MSR_IA32_ARCH_CAPABILITIES, "architectural capabilities" },
	{ 0x140, 0x140, "misc feature enables" },
	{ 0xc0010015, 0xc0010015, "AMD hardware configuration" },
};

static const struct msr_range *in_ranges(const struct msr_range *r, unsigned int n, uint32_t index)
{
	for (unsigned int i = 0; i < n; i++) {
		if (index >= r[i].first && index <= r[i].last)
			return &r[i];
	}
	return NULL;
}

const char *msr_skip_reason(uint32_t index)
{
	const struct msr_range *r = in_ranges(msr_skip, ARRAY_LEN(msr_skip), index);

	return r ? r->reason : NULL;
}

static void list_add(struct msr_list *list, uint32_t index)
{
	for (uint32_t i = 0; i < list->n; i++) {
		if (list->index[i] == index)
			return;
	}
	if (list->n < MSR_MAX)
		list->index[list->n++] = index;
}

static int list_candidates(int kvm_fd, struct msr_list *ret, struct err *err)
{
	cleanup_free struct kvm_msr_list *raw = NULL;
	uint32_t max = 2048;
	int rc;

	raw = calloc(1, sizeof(*raw) + max * sizeof(raw->indices[0]));
	if (!raw)
		return err_set(err, -ENOMEM, "no memory for the MSR list");
	raw->nmsrs = max;
	rc = kvm_get_msr_index_list(kvm_fd, raw, err);
	if (rc < 0)
		return rc;
	ret->n = 0;
	for (uint32_t i = 0; i < MIN(raw->nmsrs, max); i++) {
		if (!msr_skip_reason(raw->indices[i]))
			list_add(ret, raw->indices[i]);
	}
	for (unsigned int r = 0; r < ARRAY_LEN(msr_extra); r++) {
		for (uint32_t i = msr_extra[r].first; i <= msr_extra[r].last; i++)
			list_add(ret, i);
	}
	if (ret->n == MSR_MAX)
		return err_set(err, -E2BIG, "KVM lists more MSRs than a section holds");
	return 0;
}

/* Fills the batch with indices (or entries) and runs the ioctl; returns how many went through. */
static int get_batch(int fd, const uint32_t *index, uint32_t n, union msr_batch *b, struct err *err)
{
	memset(&b->head, 0, sizeof(b->head));
	b->head.nmsrs = n;
	for (uint32_t i = 0; i < n; i++)
		b->head.entries[i] = (struct kvm_msr_entry){ .index = index[i] };
	return kvm_get_msrs(fd, &b->head, err);
}

/* Keeps of @all what can be read on this vCPU. */
static void keep_readable(int vcpu_fd, const struct msr_list *all, struct msr_list *ret)
{
	union msr_batch b;

	ret->n = 0;
	for (uint32_t at = 0; at < all->n;) {
		uint32_t n = MIN(all->n - at, MSR_BATCH);
		int rc = get_batch(vcpu_fd, all->index + at, n, &b, NULL);
		uint32_t good = rc < 0 ? 0 : MIN((uint32_t)rc, n);

		for (uint32_t i = 0; i < good; i++)
			ret->index[ret->n++] = all->index[at + i];
		/* The one it stopped at cannot be read: not part of this vCPU. */
		at += good < n ? good + 1 : n;
	}
}

int msr_list_probe(int kvm_fd, int vcpu_fd, struct msr_list *ret, struct err *err)
{
	struct msr_list *all = malloc(sizeof(*all));
	int rc;

	if (!all)
		return err_set(err, -ENOMEM, "no memory for the MSR list");
	rc = list_candidates(kvm_fd, all, err);
	if (!rc)
		keep_readable(vcpu_fd, all, ret);
	free(all);
	return rc;
}

int msr_read(int vcpu_fd, const struct msr_list *list, struct kvm_msr_entry *entries,
	     struct err *err)
{
	union msr_batch b;

	for (uint32_t at = 0; at < list->n;) {
		uint32_t n = MIN(list->n - at, MSR_BATCH);
		int rc = get_batch(vcpu_fd, list->index + at, n, &b, err);

		if (rc < 0)
			return rc;
		if ((uint32_t)rc < n)
			return err_set(err, -EIO, "cannot read MSR 0x%x",
				       list->index[at + (uint32_t)rc]);
		memcpy(entries + at, b.head.entries, n * sizeof(*entries));
		at += n;
	}
	return 0;
}

static int check_refused(int vcpu_fd, const struct kvm_msr_entry *e, struct err *err)
{
	union msr_batch b;

	if (in_ranges(msr_host_owned, ARRAY_LEN(msr_host_owned), e->index))
		return 0;
	if (get_batch(vcpu_fd, &e->index, 1, &b, NULL) == 1 && b.head.entries[0].data == e->data)
		return 0;
	return err_set(err, -EOPNOTSUPP, "KVM refuses the guest's value of MSR 0x%x", e->index);
}

int msr_write(int vcpu_fd, const struct kvm_msr_entry *entries, uint32_t n, struct err *err)
{
	union msr_batch b;

	for (uint32_t at = 0; at < n;) {
		uint32_t count = MIN(n - at, MSR_BATCH);
		int rc;

		memset(&b.head, 0, sizeof(b.head));
		b.head.nmsrs = count;
		memcpy(b.head.entries, entries + at, count * sizeof(*entries));
		rc = kvm_set_msrs(vcpu_fd, &b.head, NULL);
		if (rc < 0)
			rc = 0;
		at += MIN((uint32_t)rc, count);
		if ((uint32_t)rc < count) {
			rc = check_refused(vcpu_fd, &entries[at], err);
			if (rc)
				return rc;
			at++;
		}
	}
	return 0;
}

int msr_set_boot_values(int vcpu_fd, struct err *err)
{
	/* Fast strings on (Linux takes ERMS away without it); MTRRs on, default type write-back. */
	static const struct kvm_msr_entry boot[] = {
		{ .index = 0x1a0, .data = 1 },
		{ .index = 0x2ff, .data = 1u << 11 | 6 },
	};

	return msr_write(vcpu_fd, boot, ARRAY_LEN(boot), err);
}
