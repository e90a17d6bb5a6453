/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_MIGRATION_H
#define MIGRATION_MIGRATION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migration/host.h"
#include "migration/policy.h"
#include "migration/stats.h"
#include "migration/transport.h"

enum mig_compress { MIG_COMPRESS_AUTO, MIG_COMPRESS_NONE, MIG_COMPRESS_ZLIB };

/* Observers; called on the migration's thread, must not block. All may be NULL. */
struct mig_observer {
	void (*progress)(void *opaque, const struct mig_progress *p);
	void (*round)(void *opaque, const struct mig_round *r);
	void *opaque;
};

struct mig_send_params {
	struct policy_params policy;
	uint64_t max_bandwidth; /* bytes per second on the wire, 0: none */
	enum mig_compress compress;
	int compress_level; /* 1..9 */
	unsigned int workers; /* compression threads; 0: as many as host CPUs */
	atomic_uint_least64_t *
		max_downtime_ns; /* optional; read before each decision, so that a user may change the ceiling on the way */
	atomic_bool *
		cancel; /* polled; whoever sets it also calls transport_cancel if he wants it at once */
};

/* How the pages that @report counts are found. */
void mig_report_tracking(struct mig_report *report, const struct dirty *dirty);

/*
 * Moves the VM behind @host over @t. Blocks; returns 0 when the destination runs the VM. On failure before COMMIT the VM runs again (as it did before) and
 * the dirty log is off. ret_report is always filled in. -EINPROGRESS: COMMIT was sent and no answer came: the VM stays paused (MIG_OUTCOME_UNKNOWN).
 */
int mig_send(const struct mig_send_params *params, struct transport *t,
	     const struct mig_source_ops *ops, void *host, struct gmem *mem, struct dirty *dirty,
	     const struct mig_observer *observer, struct mig_report *ret_report, struct err *err);

/* Takes a VM from @t. Returns 0 when it runs here. On any error before start the VM must be thrown away by the caller. */
struct mig_receive_report {
	uint64_t pages, zero_pages, zpages, bytes, rounds, unproven_seen;
	uint64_t receive_ns, restore_ns, resume_ns;
	bool met_source; /* whoever connected spoke the protocol; else it was no source, and one may still come */
};
int mig_receive(struct transport *t, const struct mig_destination_ops *ops, void *host,
		struct mig_receive_report *ret_report, struct err *err);

/* Reads a recorded stream (stream.md §5). @dump prints a line a record through @line, verify only the errors and the summary. */
int mig_stream_check(int fd, bool dump, void (*line)(void *opaque, const char *text), void *opaque,
		     struct err *err);

#endif
