/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "../kvm.h"
#include "backend.h"
#include "base/num.h"

/*
 * KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 (api.rst 7.10) with KVM_DIRTY_LOG_INITIALLY_SET: reading the log only reads, KVM_CLEAR_DIRTY_LOG rearms the
 * pages its caller is about to send, and switching logging on protects nothing: each page costs its first fault only after it was sent.
 */

#define MANUAL_FLAGS (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET)
/* num_pages is 32 bits wide and counts in 64s. */
#define MAX_CLEAR_PAGES (1ULL << 30)

/* One slot's part: [first, first + n) of the slot, @words its slice of the caller's bitmap. Words without a bit at either end are left out. */
static int clear_slot(int vm_fd, unsigned int slot, uint64_t first, uint64_t n,
		      const uint64_t *words, struct err *err)
{
	uint64_t from = 0, to = bitmap_nwords(n);

	while (from < to && words[from] == 0)
		from++;
	while (to > from && words[to - 1] == 0)
		to--;
	while (from < to) {
		uint64_t pages = MIN((to - from) * 64, MAX_CLEAR_PAGES);
		int r;

		/* Only the slot's end may be no multiple of 64. */
		pages = MIN(pages, n - from * 64);
		r = kvm_clear_dirty_log(vm_fd, slot, first + from * 64, (uint32_t)pages,
					words + from, err);
		if (r < 0) {
			err_prefix(err, "memory slot %u", slot);
			return r;
		}
		from += bitmap_nwords(pages);
	}
	return 0;
}

static int rearm(struct dirty *d, const struct bitmap *pages, uint64_t first, uint64_t n,
		 struct err *err)
{
	for (unsigned int i = 0; i < d->mem->nregions; i++) {
		uint64_t slot_first, slot_n;
		int r;

		if (!dirty_slot_range(d->mem, i, first, n, &slot_first, &slot_n))
			continue;
		r = clear_slot(((struct dirty_log *)d)->vm_fd, i, slot_first, slot_n,
			       pages->words + (d->mem->region[i].first_page + slot_first) / 64,
			       err);
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct dirty_ops ops = {
	.name = "manual",
	.flags = DIRTY_SPLIT_REARM | DIRTY_STARTS_FULL,
	.start = dirty_log_start,
	.collect = dirty_log_collect,
	.rearm = rearm,
	.finish = dirty_log_collect,
	.stop = dirty_log_stop,
	.destroy = dirty_log_destroy,
};

int dirty_manual_create(int vm_fd, struct gmem *mem, struct dirty **ret, struct err *err)
{
	int offered = kvm_check_extension(vm_fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	int r;

	if ((offered & (int)MANUAL_FLAGS) != (int)MANUAL_FLAGS)
		return err_set(
			err, -EOPNOTSUPP,
			"dirty tracking manual: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is %d on this host, 3 is needed",
			offered);
	r = kvm_enable_cap(vm_fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, MANUAL_FLAGS, err);
	if (r < 0)
		return err_prefix(err, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2"), r;
	return dirty_log_create(&ops, vm_fd, mem, ret, err);
}
