/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_STATS_H
#define MIGRATION_STATS_H

#include <stdbool.h>
#include <stdint.h>

/* How often vCPUs left the guest, all of them together. */
struct mig_exits {
	bool exits_known, faults_known; /* where not, the number means nothing */
	uint64_t exits; /* for whatever reason: page faults, timers, interrupts, I/O */
	uint64_t faults; /* of them: page faults that the hypervisor mended */
};

/* What a migration did. Times are CLOCK_MONOTONIC differences in ns, sizes bytes. Filled in by the engine, read by control and tools. */
struct mig_round {
	uint32_t number; /* from 1 */
	bool last; /* sent with the vCPUs stopped */
	uint64_t duration_ns; /* ROUND_BEGIN to ROUND_ACK (to ROUND_END for the last) */
	uint64_t pages; /* sent with data, raw or compressed */
	uint64_t zero_pages;
	uint64_t zpages; /* of pages: compressed */
	uint64_t free_pages; /* left out: the guest had named them free (first round) */
	uint64_t bytes; /* on the wire, headers included */
	uint64_t saved_bytes; /* by compression */
	uint64_t compress_ns; /* CPU time of the workers */
	uint64_t blocked_ns; /* the sender waited for the link (or the bandwidth limit) */
	uint64_t collect_ns; /* dirty log read at its end */
	uint64_t rearm_ns;
	uint64_t dirty_pages; /* found by the collect after it: what is left for the next */
	double dirty_pages_per_s;
	double bytes_per_s;
	uint64_t predicted_downtime_ns; /* if it switched after this round */
	bool compress_on;
	struct mig_exits
		exits; /* from the collect before it (first round: logging on) to the one at its end; the last round: unknown */
};

enum mig_result { MIG_RUNNING, MIG_COMPLETED, MIG_FAILED, MIG_CANCELLED, MIG_OUTCOME_UNKNOWN };

/* Parts of the downtime, from both ends (the destination's come with READY and STARTED). */
struct mig_downtime {
	uint64_t pause_ns; /* vCPUs stopping */
	uint64_t collect_ns; /* last collect */
	uint64_t memory_ns; /* last pages handed to the transport */
	uint64_t save_ns; /* device and vCPU state captured and encoded */
	/* from then until READY, less the destination's restore: state, wire, the receiver's backlog */
	uint64_t send_ns;
	uint64_t restore_ns; /* destination: decode, check, apply */
	uint64_t resume_ns; /* destination: COMMIT received until vCPUs run */
	uint64_t commit_ns; /* COMMIT sent until STARTED, less resume: the last exchange */
	uint64_t total_ns; /* before the pause call until STARTED arrived, one clock (source) */
};

#define MIG_MAX_ROUNDS 64 /* kept; later rounds overwrite the last slot but one */

struct mig_report {
	enum mig_result result;
	char reason[256]; /* failure text; why it switched when it stalled */
	char switch_reason[160]; /* the policy's word */
	bool stalled; /* rounds stopped shrinking */
	uint64_t total_ns;
	uint64_t setup_ns; /* connect to CONFIG_OK, trial save included */
	uint64_t bytes_sent;
	uint64_t npages;
	uint64_t predicted_downtime_ns; /* at the decision to switch */
	uint64_t max_downtime_ns;
	uint64_t cpu_ns; /* of the sending side's migration threads */
	struct mig_downtime downtime;
	uint32_t nrounds;
	struct mig_round round[MIG_MAX_ROUNDS];
	const char *dirty_backend;
	const char *dirty_accel_asked; /* vmm/dirty.h, struct dirty_accel */
	const char *dirty_accel;
	char dirty_accel_reason[160];
	const char *compress;
	uint64_t
		pages_dirtied; /* found by all collects together; a page that three rounds found counts three times */
	uint64_t free_pages; /* left out of the first round: the guest had named them free */
	char free_reason
		[256]; /* why the guest was not asked; "" when it was, and for a VM without a balloon */
	struct mig_exits exits; /* from logging on until the last collect */
	char exits_reason[256]; /* why exits or faults are not known; else "" */
};

/* The live line: sent a few times a second. */
struct mig_progress {
	uint32_t round;
	uint64_t sent_bytes;
	uint64_t left_pages;
	double bytes_per_s;
	double dirty_pages_per_s;
	uint64_t predicted_downtime_ns;
	uint64_t elapsed_ns;
};

#endif
