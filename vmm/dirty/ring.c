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
 * What KVM writes outside any vCPU has no ring to go to. On arm64 those are the tables of the interrupt controller when it is saved; KVM keeps a bitmap for them
 * where it is asked to before there are slots, and the same bitmap is what makes it map single pages while it logs (arch/arm64/kvm/mmu.c, memslot_is_logging): without it a ring names one
 * page of 512. finish reads it, last of all: those writes come with the guest stopped, and what wrote them is saved before the last collect.
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
	uint64_t *backup; /* room for the backup bitmap of a slot; NULL: this host needs none */
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
	struct dirty_ring *r = self(d);
	int e = deliver(d, acc, false, err);

	if (e == 0 && r->backup) {
		e = dirty_log_read(r->vm_fd, d->mem, r->backup, acc, err);
		if (e < 0)
			err_prefix(err, "backup bitmap of the ring");
	}
	return e;
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
	free(r->backup);
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

/* What a VM has to ask for. */
struct ring_caps {
	uint32_t ring; /* KVM_CAP_* */
	uint32_t max_entries;
	bool has_backup;
};

/*
 * ACQ_REL says that the flags are meant for acquire and release accesses. The older capability is offered where every access is one, which is x86 alone; there
 * KVM writes guest memory on behalf of a vCPU only and has no backup bitmap. A host with neither is refused: where its KVM's own writes go is not known.
 */
static int probe(int fd, struct ring_caps *ret, struct err *err)
{
	int plain = kvm_check_extension(fd, KVM_CAP_DIRTY_LOG_RING);
	int acq_rel = kvm_check_extension(fd, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
	bool has_backup = kvm_check_extension(fd, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP) > 0;
	int bytes = acq_rel > 0 ? acq_rel : plain;

	if (bytes <= 0)
		return err_set(err, -EOPNOTSUPP,
			       "dirty tracking ring: KVM_CAP_DIRTY_LOG_RING: not on this host");
	if (plain <= 0 && !has_backup)
		return err_set(
			err, -EOPNOTSUPP,
			"dirty tracking ring: KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP: not on this host, and the ring alone misses writes");
	*ret = (struct ring_caps){
		.ring = acq_rel > 0 ? KVM_CAP_DIRTY_LOG_RING_ACQ_REL : KVM_CAP_DIRTY_LOG_RING,
		.max_entries = (uint32_t)bytes / (uint32_t)sizeof(struct kvm_dirty_gfn),
		.has_backup = has_backup
	};
	return 0;
}

int dirty_ring_probe(int fd, uint32_t *ret_max_entries, struct err *err)
{
	struct ring_caps caps = { 0 };
	int r = probe(fd, &caps, err);

	if (r == 0)
		*ret_max_entries = caps.max_entries;
	return r;
}

/* The ring first, then its bitmap, both before memory slots and vCPUs (api.rst 8.29). */
static int enable_ring(int vm_fd, uint32_t entries, bool *ret_has_backup, struct err *err)
{
	struct ring_caps caps = { 0 };
	int r = probe(vm_fd, &caps, err);

	if (r < 0)
		return r;
	if (entries > caps.max_entries)
		return err_set(err, -EINVAL, "dirty ring: %u entries, this host has at most %u",
			       entries, caps.max_entries);
	r = kvm_enable_cap(vm_fd, caps.ring, entries * sizeof(struct kvm_dirty_gfn), err);
	if (r < 0)
		return err_prefix(err, "dirty ring of %u entries", entries), r;
	if (caps.has_backup)
		r = kvm_enable_cap(vm_fd, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0, err);
	if (r < 0)
		return err_prefix(err, "backup bitmap of the dirty ring"), r;
	*ret_has_backup = caps.has_backup;
	return 0;
}

static struct dirty_ring *alloc_ring(const struct gmem *mem, bool has_backup)
{
	struct dirty_ring *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	if (has_backup)
		r->backup = dirty_log_scratch(mem);
	if ((has_backup && !r->backup) || bitmap_init(&r->pending, mem->npages) < 0) {
		free(r->backup);
		free(r);
		return NULL;
	}
	return r;
}

int dirty_ring_create(int vm_fd, struct gmem *mem, uint32_t entries, struct dirty **ret,
		      struct err *err)
{
	struct dirty_ring *r;
	bool has_backup = false;
	int e;

	if (entries < DIRTY_RING_MIN_ENTRIES || (entries & (entries - 1)) != 0)
		return err_set(err, -EINVAL,
			       "dirty ring: %u entries is not a power of two from %u on", entries,
			       DIRTY_RING_MIN_ENTRIES);
	e = enable_ring(vm_fd, entries, &has_backup, err);
	if (e < 0)
		return e;
	r = alloc_ring(mem, has_backup);
	if (!r)
		return err_set(err, -ENOMEM, "dirty tracking: out of memory");
	r->d.ops = &ops;
	r->d.mem = mem;
	r->vm_fd = vm_fd;
	r->nentries = entries;
	r->bytes = (size_t)entries * sizeof(struct kvm_dirty_gfn);
	pthread_mutex_init(&r->lock, NULL);
	*ret = &r->d;
	return 0;
}
