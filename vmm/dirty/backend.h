/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DIRTY_BACKEND_H
#define VMM_DIRTY_BACKEND_H

#include <stdint.h>

#include "vmm/dirty.h"
#include "vmm/gmem.h"

/*
 * Makes the tracker of @kind (not DIRTY_AUTO). Before memory slots and vCPUs exist: the ring's size and manual protection are set here.
 * @vm_fd and @mem are borrowed. -EOPNOTSUPP names the KVM capability that is missing; -EINVAL a ring size that KVM refuses.
 */
int dirty_create(enum dirty_kind kind, int vm_fd, struct gmem *mem, uint32_t ring_entries,
		 struct dirty **ret, struct err *err);
int dirty_bitmap_create(int vm_fd, struct gmem *mem, struct dirty **ret, struct err *err);
int dirty_manual_create(int vm_fd, struct gmem *mem, struct dirty **ret, struct err *err);
int dirty_ring_create(int vm_fd, struct gmem *mem, uint32_t entries, struct dirty **ret,
		      struct err *err);

int dirty_uffd_create(struct gmem *mem, struct dirty **ret, struct err *err);
/* Whether this kernel does what dirty_uffd_create needs, tried on a page: 0, or -EOPNOTSUPP with the reason. */
int dirty_uffd_probe(struct err *err);

/* The most entries that a ring may have on this host, KVM's or a VM's @fd: 0, or -EOPNOTSUPP with the reason why there is none that can be trusted. */
int dirty_ring_probe(int fd, uint32_t *ret_max_entries, struct err *err);

/* log.c: the dirty bitmap that KVM keeps for each memory slot. */
/* Words for the largest slot's; NULL: out of memory. */
uint64_t *dirty_log_scratch(const struct gmem *mem);
/* One KVM_GET_DIRTY_LOG a slot, ORed into @acc. */
int dirty_log_read(int vm_fd, const struct gmem *mem, uint64_t *scratch, struct bitmap *acc,
		   struct err *err);

/* What bitmap and manual have in common. */
struct dirty_log {
	struct dirty d;
	int vm_fd;
	uint64_t *scratch;
};
int dirty_log_create(const struct dirty_ops *ops, int vm_fd, struct gmem *mem, struct dirty **ret,
		     struct err *err);
/* Members of dirty_ops. */
int dirty_log_start(struct dirty *d, struct err *err);
int dirty_log_collect(struct dirty *d, struct bitmap *acc, struct err *err);
void dirty_log_stop(struct dirty *d);
void dirty_log_destroy(struct dirty *d);

/*
 * The part of the RAM pages [first, first + n) that lies in region @i: true and the slot's own page numbers, or false. Region boundaries are multiples of
 * 64 pages, so a range aligned to 64 stays aligned.
 */
bool dirty_slot_range(const struct gmem *mem, unsigned int i, uint64_t first, uint64_t n,
		      uint64_t *ret_slot_first, uint64_t *ret_n);

/*
 * A ring entry as KVM wrote it: slot is (address space id << 16 | slot id), offset a page of the slot. The RAM page number in *ret, or -EBADMSG when
 * there is no such page.
 */
int dirty_ring_page(const struct gmem *mem, uint32_t slot, uint64_t offset, uint64_t *ret);

struct kvm_dirty_gfn;
/*
 * Takes the entries from *@next on that KVM has published, at most @nentries (a power of two, the ring's size): sets their bits in @acc, marks them
 * harvested, and moves *@next. Returns how many, or -EBADMSG at an entry that names no page (it counts as harvested; the others are still taken).
 */
int64_t dirty_ring_harvest(const struct gmem *mem, struct kvm_dirty_gfn *ring, uint32_t nentries,
			   uint32_t *next, struct bitmap *acc);

#endif
