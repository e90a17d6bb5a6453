/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_HOST_H
#define MIGRATION_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct bitmap;
struct gmem;
struct dirty;
struct mig_exits;

/*
 * What the guest does not use, in its own words: pages whose contents it has given up until it writes to them again (virtio 1.2 §5.5.6.4). None of the calls waits for
 * the guest. docs/adr/0005 has why nothing is lost.
 */
struct mig_free_ops {
	/* Once, before the first round: -ENOTSUP with the reason when this guest cannot be asked, which is no failure. The guest is not asked yet. */
	int (*begin)(void *host, struct err *err);
	/* Asks it. Every page has been rearmed: whatever the guest writes to a page after it named it is in the dirty log. */
	void (*ask)(void *host);
	/* Clears from @pages those of [first, first + n), multiples of 64, that the guest has named since, and returns how many were set. During the first round. */
	uint64_t (*take)(void *host, uint64_t first, uint64_t n, struct bitmap *pages);
	/* No more are wanted; the guest holds on to those that it named. */
	void (*stop)(void *host);
	/* The migration is over here, one way or the other: if the guest runs here, it may use them again. After each begin that succeeded. */
	void (*end)(void *host);
};

/*
 * What the engine needs of a VM; src/machine/migrate_host.c gives it for a real one, tests/fake for tests. All calls come from the migration's
 * thread. A source host has all of the first group, a destination all of the second.
 */
struct mig_source_ops {
	/* The CONFIG sections (stream.md §2.2). */
	int (*describe)(void *host, struct buf *out, struct err *err);
	/* Stop and continue the vCPUs. pause is bounded in time. resume after pause must work as long as commit was not called. */
	int (*pause)(void *host, struct err *err);
	int (*resume)(void *host, struct err *err);
	/* All STATE sections; vCPUs are stopped. Reads only. */
	int (*save)(void *host, struct buf *out, struct err *err);
	/* COMMIT is about to be handed to the transport: from here on the host refuses to run the VM, whatever a user asks (but see uncommit). The last moment at which a
	 * user's cancel counts: -ECANCELED, and nothing changed. */
	int (*commit)(void *host, struct err *err);
	/* The destination refused explicitly after COMMIT: the host may run the VM again. */
	void (*uncommit)(void *host);
	/* Optional. What the hypervisor counted since the VM was made; called once a round, so it must be cheap. -ENOTSUP, with the reason. */
	int (*exits)(void *host, struct mig_exits *ret, struct err *err);
	/* Optional. */
	const struct mig_free_ops *free;
};

struct mig_destination_ops {
	/* Check CONFIG and build the VM, stopped. Nothing is left behind on failure. *ret_restore_ns: a trial restore of all its state. */
	int (*prepare)(void *host, const void *config, size_t len_bytes, struct gmem **ret_mem,
		       uint64_t *ret_restore_ns, struct err *err);
	/* Decode and check all sections, then apply. */
	int (*load)(void *host, const void *state, size_t len_bytes, uint64_t pause_real_ns,
		    struct err *err);
	/* Run the vCPUs; the VM is this side's from now on. */
	int (*start)(void *host, struct err *err);
};

#endif
