/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_SEND_SESSION_H
#define MIGRATION_SEND_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "migration/migration.h"
#include "migration/record_io.h"
#include "migration/send/page_out.h"

struct gmem;
struct dirty;
struct zpage_out;

/*
 * Pages rearmed by one call. Small enough that a page is read soon after it was write-protected (a hot page is caught once, not twice), large
 * enough that the TLB flush of each call does not show: 32 MiB.
 */
#define REARM_CHUNK_PAGES 8192u

/* The source's side of one migration (private to migration/send): sender.c holds the order of phases, rounds.c the live rounds, switchover.c the rest. */
struct session {
	const struct mig_send_params *params;
	struct transport *t;
	const struct mig_source_ops *ops;
	void *host;
	struct gmem *mem;
	struct dirty *dirty;
	const struct mig_observer *observer;
	struct mig_report *report;

	struct record_reader in;
	struct record_writer w;
	struct page_out *out;
	struct zpage_out *compressor; /* NULL: none asked for, or the destination knows none */
	struct buf sections; /* CONFIG, then STATE */
	struct bitmap pending; /* what the next round sends */
	struct bitmap populated; /* first round: pages that have memory behind them */
	struct policy policy;
	uint32_t round; /* the number of the round under way; the report may hold fewer */

	uint64_t start_ns;
	uint64_t next_progress_ns;
	uint64_t sent_pages, sent_zero_pages;
	uint64_t rtt_ns, pause_ns, save_ns, restore_ns,
		collect_ns; /* measured: what the prediction's fixed part is made of */
	double bandwidth, dirty_rate;
	uint64_t predicted_ns;
	struct mig_exits exits_start, exits_last; /* at logging on; at the last collect */
	uint64_t memory_sent_ns; /* the last round's pages were handed to the transport */
	bool hints_begun; /* struct mig_free_ops: end is owed */
	bool hints_asked; /* the guest names pages */
	bool paused; /* by this migration */
	bool committed; /* COMMIT was handed to the transport */
};

/* -ECANCELED when the user asked for it; -EREMOTEIO with the destination's words when it sent an ERROR. Cheap: called once per some records. */
int session_poll(struct session *s, struct err *err);
uint64_t session_fixed_ns(const struct session *s);

/* exits.c: when logging goes on; and later, the exits since the call before, while the report gets those since the start. */
void session_start_exits(struct session *s);
struct mig_exits session_take_exits(struct session *s);

/* hints.c, all of it nothing where the guest cannot be asked. begin: with everything in s->pending, once logging is on. take: takes out of s->pending, between @first and @first + @n,
 * what the guest has named so far, and returns how many pages that was. stop: at the end of the first round. end: when the guest runs, wherever that is. */
int hints_begin(struct session *s, struct err *err);
uint64_t hints_take(struct session *s, uint64_t first, uint64_t n);
void hints_stop(struct session *s);
void hints_end(struct session *s);

/* Live rounds until the policy says switch; the last collect's pages are in s->pending. */
int rounds_run(struct session *s, struct err *err);
/* ROUND_BEGIN to ROUND_END of the round that @r numbers, with the pages in s->pending, which is emptied; fills in what was sent. A round that is not the last
 * rearms each chunk of pages before it reads it. */
int rounds_send(struct session *s, struct mig_round *r, struct err *err);
/* Stop the VM, send the rest and the state, hand it over. */
int switchover_run(struct session *s, struct err *err);

#endif
