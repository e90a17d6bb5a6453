/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_POLICY_H
#define MIGRATION_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * When to switch: pure functions of numbers. The sender reports a sample at the end of each live round (after the collect), the policy answers. No clock, no allocation; the
 * state is a plain struct that the caller zeroes (policy_init), so that recorded traces can be replayed on it.
 */
struct policy_params {
	uint64_t max_downtime_ns; /* a ceiling, not a target */
	uint64_t timeout_ns; /* 0: none; since the start */
	bool switch_on_timeout; /* --on-timeout switch: at the timeout or stall stop the VM and send what is left; else cancel */
};

struct policy_sample {
	uint64_t elapsed_ns; /* since the migration began */
	uint64_t round_ns; /* of the round just acknowledged */
	uint64_t round_bytes; /* its bytes on the wire */
	uint64_t round_pages; /* its pages, zero pages not counted */
	uint64_t left_pages; /* dirty after the collect */
	uint64_t fixed_ns; /* measured: pause + last collect + state save + restore + exchange */
	double bytes_per_page; /* on the wire, of recent data pages (compression) */
};

enum policy_next { POLICY_ROUND, POLICY_SWITCH, POLICY_CANCEL };

struct policy_decision {
	enum policy_next next;
	uint64_t predicted_downtime_ns; /* if it switched now */
	double bandwidth; /* cautious estimate, bytes per second */
	double shrink; /* left now over left one round ago, smoothed; 1.0 when unknown */
	bool stalled; /* rounds stopped shrinking while over the ceiling */
	char reason[160]; /* one sentence for people */
};

/* Rules and reasons: docs/spec/policy.md. */
struct policy {
	struct policy_params params; /* max_downtime_ns may be raised or lowered while it runs */
	unsigned int nrounds;
	double bandwidth
		[2]; /* of the last two rounds that moved enough to tell, newest first; 0: none */
	double bandwidth_small[2]; /* of the last two rounds of any size */
	uint64_t left_pages; /* after the round before this one */
	double shrink; /* smoothed; 0: not known */
	uint64_t lowest_pages; /* of all rounds before this one */
	uint64_t progress_pages; /* left when it last got markedly lower */
	unsigned int stalls; /* rounds in a row over the ceiling that did not shrink */
};

void policy_init(struct policy *p, const struct policy_params *params);
/* To be called once a live round. predicted_downtime_ns is UINT64_MAX while no bandwidth is known. */
void policy_step(struct policy *p, const struct policy_sample *s, struct policy_decision *ret);

/*
 * Compression on or off for the next stretch: `auto` turns it on only while the link is what limits, and off again when it does not pay. A stretch is any
 * part of a round, with compression on or off throughout; short ones (COMPRESS_STRETCH_PAGES, and see compress_policy_done) keep a trial cheap.
 */
#define COMPRESS_STRETCH_PAGES 2048u
struct compress_sample {
	uint64_t wall_ns; /* of this stretch */
	uint64_t blocked_ns; /* waiting for the link */
	uint64_t pages; /* data pages sent in it */
	uint64_t saved_bytes; /* of them, by compression */
	bool on; /* was compression on */
};
struct compress_policy {
	bool on;
	double max_pages_per_s; /* the workers cannot compress more; 0: no such bound */
	double pages_per_s_off, pages_per_s_on; /* smoothed; 0: not known */
	unsigned int backoff,
		hold; /* stretches to wait before the next trial; doubles after each trial that did not pay */
	unsigned int recheck,
		since_on; /* stretches until `off` is measured again; doubles each time */
};
void compress_policy_init(struct compress_policy *c, unsigned int workers);
/* The stretch has told what there is to tell: it is long enough, or compression is on and cannot pay any more, since after so many pages it saves next to nothing, or since all pages of a
 * whole stretch would be out by now without it. */
#define COMPRESS_HOPELESS_PAGES 128u
bool compress_policy_done(const struct compress_policy *c, const struct compress_sample *s);
bool compress_policy_step(struct compress_policy *c,
			  const struct compress_sample *s); /* returns on for the next stretch */

#endif
