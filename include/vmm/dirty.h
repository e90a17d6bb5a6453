/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DIRTY_H
#define VMM_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/err.h"

struct dirty;
struct gmem;

/*
 * Dirty tracking: one vtable per way of finding writes. A backend is chosen when the VM is created (the ring's size is fixed before the first vCPU).
 * One thread at a time calls these (the migration thread); vCPUs may run beside all of them but finish.
 *
 * The contract every backend keeps, and the conformance suite checks: a write to guest memory by a vCPU, by KVM on its behalf, or by gmem_write after the
 * page was rearmed is in a later collect (or in finish). A caller rearms a page BEFORE it reads the bytes. A failed attempt never loses bits: the next start begins
 * from "all dirty".
 */
enum dirty_kind {
	DIRTY_AUTO,
	DIRTY_BITMAP, /* KVM_GET_DIRTY_LOG */
	DIRTY_MANUAL, /* the same, rearmed by KVM_CLEAR_DIRTY_LOG */
	DIRTY_RING, /* KVM's dirty rings */
	DIRTY_UFFD, /* the host's page tables: no KVM log */
};
const char *dirty_kind_name(enum dirty_kind kind); /* "auto", "bitmap", ... */

enum dirty_flags {
	DIRTY_SPLIT_REARM =
		1
		<< 0, /* collect does not rearm: the caller does, in chunks, just before it reads the pages */
	DIRTY_STARTS_FULL =
		1
		<< 1, /* the kernel starts with every page dirty (INITIALLY_SET); callers treat all backends so */
	DIRTY_SEES_HOST_WRITES =
		1
		<< 2, /* what this process writes into guest memory is found too, without gmem_mark_dirty */
};

/*
 * Hardware beneath a backend (Intel PML, AMD PML, the dirty state of arm64) finds writes without a fault for each page. On x86 the host's module parameters
 * switch it, so that `off` cannot take it away; on arm64 KVM uses it for a VM that asked. What is asked for and what is in force are two things, and both are told.
 */
enum dirty_accel_mode { DIRTY_ACCEL_AUTO, DIRTY_ACCEL_ON, DIRTY_ACCEL_OFF };
const char *dirty_accel_mode_name(enum dirty_accel_mode mode); /* "auto", "on", "off" */

/* arm64's combined log: one fault lets the hardware track this many pages around it, an aligned group. */
#define DIRTY_GROUP_DEFAULT 64u
#define DIRTY_GROUP_MAX 512u
#define DIRTY_GROUP_ALL UINT32_MAX /* no faults: the hardware tracks every page from the start */
struct dirty_accel_ask {
	enum dirty_accel_mode mode;
	uint32_t
		group_pages; /* 0: the default; a power of two from 2 to DIRTY_GROUP_MAX; or DIRTY_GROUP_ALL */
};
/* "auto", "on", "off", the first two also with ",group=N" or ",group=all": 0 or -EINVAL. */
int dirty_accel_parse(const char *s, struct dirty_accel_ask *ret, struct err *err);

struct dirty_accel {
	enum dirty_accel_mode asked;
	const char *
		name; /* in force: "intel-pml", "amd-pml", "arm64-combined-log", "arm64-dbm", "none"; "unknown" where the host does not tell; NULL before vm_create set it */
	char reason[160];
};

struct dirty_stats {
	uint64_t collect_ns; /* sums since start, of the ioctls alone */
	uint64_t rearm_ns;
	uint64_t start_ns;
	uint64_t collects;
	uint64_t rearms;
	uint64_t pages_found; /* bits that collects delivered, host_log's included */
	uint64_t ring_full_exits; /* ring backend */
};

struct dirty_ops {
	const char *name; /* "bitmap", "manual", "ring", "uffd" */
	uint32_t flags;
	/* Logging on. The caller takes every page as dirty after it. */
	int (*start)(struct dirty *d, struct err *err);
	/* ORs the pages written since they were rearmed into @acc (npages bits). Backends without SPLIT_REARM rearm what they deliver. */
	int (*collect)(struct dirty *d, struct bitmap *acc, struct err *err);
	/* SPLIT_REARM: rearm exactly the pages of [first, first + n) whose bit is set in @pages; first is a multiple of 64, n too unless it ends the
	 * RAM. No-op elsewhere. */
	int (*rearm)(struct dirty *d, const struct bitmap *pages, uint64_t first, uint64_t n,
		     struct err *err);
	/* The last collect, vCPUs stopped and their exits completed: also what hardware buffers, rings or backup bitmaps still hold. What it
	 * delivers is not rearmed (that would be paid in the downtime): only stop may follow. */
	int (*finish)(struct dirty *d, struct bitmap *acc, struct err *err);
	/* Logging off. Idempotent; called after success, failure and cancel alike. */
	void (*stop)(struct dirty *d);
	/* A vCPU exists (before its first run; controlling thread; NULL where the backend needs nothing of it). */
	int (*attach_vcpu)(struct dirty *d, int vcpu_fd, struct err *err);
	/* A vCPU left KVM_RUN with KVM_EXIT_DIRTY_RING_FULL (vCPU thread; ring only, may be NULL). */
	void (*ring_full)(struct dirty *d);
	void (*destroy)(struct dirty *d);
};

/* Embedded first in each backend's own struct. */
struct dirty {
	const struct dirty_ops *ops;
	struct gmem *mem;
	struct dirty_stats stats;
	struct dirty_accel accel;
	char reason[160]; /* why this backend: asked for, or why auto took it */
	bool started;
};

/* Wrappers every caller uses: they keep the stats, switch gmem's host_log on and off and OR it into what collect and finish deliver. */
int dirty_start(struct dirty *d, struct err *err);
int dirty_collect(struct dirty *d, struct bitmap *acc, struct err *err);
int dirty_rearm(struct dirty *d, const struct bitmap *pages, uint64_t first, uint64_t n,
		struct err *err);
int dirty_finish(struct dirty *d, struct bitmap *acc, struct err *err);
void dirty_stop(struct dirty *d);

/* "auto", "bitmap", "manual", "ring", "ring,entries=N", "uffd". N is a power of two within these bounds, and 0 or -EINVAL. KVM keeps 64 entries of a ring in reserve and, where
 * a processor logs 512 pages at once (PML), 512 more: below 1024 a ring that works on one host is refused on the next. Above 65536 it is refused everywhere. */
#define DIRTY_RING_MIN_ENTRIES 1024u
#define DIRTY_RING_MAX_ENTRIES 65536u
#define DIRTY_RING_DEFAULT_ENTRIES 16384u
int dirty_parse(const char *s, enum dirty_kind *ret_kind, uint32_t *ret_ring_entries,
		struct err *err);

#endif
