/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kvm.h"
#include "../slots.h"
#include "backend.h"
#include "vmm/vm.h"

/*
 * KVM's dirty ring (api.rst 8.29): a vCPU pushes each page it dirties into a ring of its own and leaves KVM_RUN when that is nearly full.
 * Harvested entries are re-protected by KVM_RESET_DIRTY_RINGS, always before anybody reads the pages' bytes.
 *
 * Lock: rings, pending and broken. A vCPU whose ring is full harvests too, into pending, so that it need not wait for the next collect.
 */

struct vcpu_ring {
	struct kvm_dirty_gfn *gfns;
	uint32_t next; /* free-running index of the next entry to harvest */
};

struct dirty_ring {
	struct dirty d;
	int vm_fd;
	uint32_t nentries;
	size_t bytes; /* of one ring */
	pthread_mutex_t lock;
	unsigned int nrings;
	struct vcpu_ring rings[VM_MAX_VCPUS];
	struct bitmap pending;
	uint64_t full_exits;
	int broken; /* an entry named no page, or a reset failed: -errno, told by the next collect */
};

static struct dirty_ring *self(struct dirty *d)
{
	return (struct dirty_ring *)d;
}

int dirty_ring_page(const struct gmem *mem, uint32_t slot, uint64_t offset, uint64_t *ret)
{
	/* Slots exist in address space 0 alone, so that its id's bits are an unknown slot too. */
	if (slot >= mem->nregions || offset >= mem->region[slot].len_bytes >> GMEM_PAGE_SHIFT)
		return -EBADMSG;
	*ret = mem->region[slot].first_page + offset;
	return 0;
}

int64_t dirty_ring_harvest(const struct gmem *mem, struct kvm_dirty_gfn *ring, uint32_t nentries,
			   uint32_t *next, struct bitmap *acc)
{
	int64_t n = 0;
	bool bad = false;

	/* KVM cannot publish more than a ring's worth before the reset, and no more are taken whatever the memory says. */
	while (n < nentries) {
		struct kvm_dirty_gfn *e = &ring[*next & (nentries - 1)];
		uint64_t page;

		/* Acquire: slot and offset were written before the flag. */
		if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		if (dirty_ring_page(mem, e->slot, e->offset, &page) == 0)
			bitmap_set(acc, page);
		else
			bad = true;
		/* Release: KVM may reuse the entry once it sees the flag. */
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		(*next)++;
		n++;
	}
	return bad ? -EBADMSG : n;
}

/* All rings into @acc; lock held. Failures go into ->broken. */
static void harvest_all(struct dirty_ring *r, struct bitmap *acc)
{
	for (unsigned int i = 0; i < r->nrings; i++) {
		int64_t n = dirty_ring_harvest(r->d.mem, r->rings[i].gfns, r->nentries,
					       &r->rings[i].next, acc);

		if (n < 0)
			r->broken = (int)n;
	}
}

/* The reset comes even when nothing was found: entries may wait for it since finish, and a vCPU whose ring is full of them would exit for ever. */
static void harvest_and_reset(struct dirty_ring *r, struct bitmap *acc)
{
	int e;

	harvest_all(r, acc);
	e = kvm_reset_dirty_rings(r->vm_fd, NULL);
	if (e < 0)
		r->broken = e;
}

static int start(struct dirty *d, struct err *err)
{
	struct dirty_ring *r = self(d);

	pthread_mutex_lock(&r->lock);
	harvest_and_reset(r, &r->pending);
	bitmap_zero(&r->pending);
	r->full_exits = 0;
	r->broken = 0;
	pthread_mutex_unlock(&r->lock);
	return slots_set_logging(r->vm_fd, d->mem, true, err);
}

static int deliver(struct dirty *d, struct bitmap *acc, bool reset, struct err *err)
{
	struct dirty_ring *r = self(d);
	int broken;

	pthread_mutex_lock(&r->lock);
	if (reset)
		harvest_and_reset(r, acc);
	else
		harvest_all(r, acc);
	bitmap_or(acc, &r->pending);
	bitmap_zero(&r->pending);
	d->stats.ring_full_exits = r->full_exits;
	broken = r->broken;
	pthread_mutex_unlock(&r->lock);
	if (broken == -EBADMSG)
		return err_set(err, broken, "KVM's dirty ring names a page that is no RAM");
	if (broken < 0)
		return err_sys(err, broken, "KVM_RESET_DIRTY_RINGS");
	return 0;
}

static int collect(struct dirty *d, struct bitmap *acc, struct err *err)
{
	return deliver(d, acc, true, err);
}

/* The reset is stop's: nothing runs that could need it, and the downtime has no room for it. */
static int finish(struct dirty *d, struct bitmap *acc, struct err *err)
{
	return deliver(d, acc, false, err);
}

static void ring_full(struct dirty *d)
{
	struct dirty_ring *r = self(d);

	pthread_mutex_lock(&r->lock);
	r->full_exits++;
	harvest_and_reset(r, &r->pending);
	pthread_mutex_unlock(&r->lock);
}

static void stop(struct dirty *d)
{
	struct dirty_ring *r = self(d);

	slots_set_logging(r->vm_fd, d->mem, false, NULL);
	/* The rings are left empty; what was in them goes with the attempt. finish leaves entries that only want the reset. */
	pthread_mutex_lock(&r->lock);
	harvest_all(r, &r->pending);
	kvm_reset_dirty_rings(r->vm_fd, NULL);
	bitmap_zero(&r->pending);
	pthread_mutex_unlock(&r->lock);
}

static int attach_vcpu(struct dirty *d, int vcpu_fd, struct err *err)
{
	struct dirty_ring *r = self(d);
	off_t offset = (off_t)KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE);
	void *p;

	if (r->nrings == VM_MAX_VCPUS)
		return err_set(err, -ENOSPC, "dirty ring: too many vCPUs");
	p = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, offset);
	if (p == MAP_FAILED)
		return err_sys(err, -errno, "mmap of the dirty ring");
	r->rings[r->nrings++] = (struct vcpu_ring){ .gfns = p };
	return 0;
}

static void destroy(struct dirty *d)
{
	struct dirty_ring *r = self(d);

	for (unsigned int i = 0; i < r->nrings; i++)
		munmap(r->rings[i].gfns, r->bytes);
	bitmap_fini(&r->pending);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static const struct dirty_ops ops = {
	.name = "ring",
	.start = start,
	.collect = collect,
	.finish = finish,
	.stop = stop,
	.attach_vcpu = attach_vcpu,
	.ring_full = ring_full,
	.destroy = destroy,
};

/* ACQ_REL says that the flags are meant for acquire and release accesses; the older capability exists on x86 alone, where every access is one. */
static int enable_ring(int vm_fd, uint32_t entries, struct err *err)
{
	uint64_t bytes = (uint64_t)entries * sizeof(struct kvm_dirty_gfn);
	uint32_t cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
	int max = kvm_check_extension(vm_fd, cap);
	int e;

	if (max <= 0) {
		cap = KVM_CAP_DIRTY_LOG_RING;
		max = kvm_check_extension(vm_fd, cap);
	}
	if (max <= 0)
		return err_set(err, -EOPNOTSUPP,
			       "dirty tracking ring: KVM_CAP_DIRTY_LOG_RING: not on this host");
	if (bytes > (uint64_t)max)
		return err_set(err, -EINVAL, "dirty ring: %u entries, this host has at most %zu",
			       entries, (size_t)max / sizeof(struct kvm_dirty_gfn));
	e = kvm_enable_cap(vm_fd, cap, bytes, err);
	if (e < 0)
		err_prefix(err, "dirty ring of %u entries", entries);
	return e;
}

int dirty_ring_create(int vm_fd, struct gmem *mem, uint32_t entries, struct dirty **ret,
		      struct err *err)
{
	struct dirty_ring *r;
	int e;

	if (entries < DIRTY_RING_MIN_ENTRIES || (entries & (entries - 1)) != 0)
		return err_set(err, -EINVAL,
			       "dirty ring: %u entries is not a power of two from %u on", entries,
			       DIRTY_RING_MIN_ENTRIES);
	e = enable_ring(vm_fd, entries, err);
	if (e < 0)
		return e;
	r = calloc(1, sizeof(*r));
	if (!r || bitmap_init(&r->pending, mem->npages) < 0) {
		free(r);
		return err_set(err, -ENOMEM, "dirty tracking: out of memory");
	}
	r->d.ops = &ops;
	r->d.mem = mem;
	r->vm_fd = vm_fd;
	r->nentries = entries;
	r->bytes = (size_t)entries * sizeof(struct kvm_dirty_gfn);
	pthread_mutex_init(&r->lock, NULL);
	*ret = &r->d;
	return 0;
}
