/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "migration/send/session.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"

#define PROGRESS_INTERVAL_NS (200 * NS_PER_MS)
#define POLL_INTERVAL_PAGES 2048u

static void report_progress(struct session *s, uint64_t left_pages)
{
	uint64_t now = clock_mono_ns();
	struct mig_progress p;

	if (!s->observer->progress || now < s->next_progress_ns)
		return;
	s->next_progress_ns = now + PROGRESS_INTERVAL_NS;
	p = (struct mig_progress){
		.round = s->round,
		.sent_bytes = s->t->bytes_sent,
		.left_pages = left_pages,
		.bytes_per_s = (double)s->t->bytes_sent * 1e9 / (double)(now - s->start_ns + 1),
		.dirty_pages_per_s = s->dirty_rate,
		.predicted_downtime_ns = s->predicted_ns,
		.elapsed_ns = now - s->start_ns,
	};
	s->observer->progress(s->observer->opaque, &p);
}

/* The pages [first, first + n) of one run that has memory behind it. */
static int send_run(struct session *s, uint64_t first, uint64_t n, uint64_t *left, struct err *err)
{
	for (uint64_t i = 0; i < n; i++) {
		int rc = page_out_page(s->out, first + i, err);

		if (rc)
			return rc;
		if ((--*left % POLL_INTERVAL_PAGES) == 0) {
			rc = session_poll(s, err);
			if (rc)
				return rc;
			report_progress(s, *left);
		}
	}
	return 0;
}

/* First round: pages nobody ever touched are known to be zero and are not even read (reading would map the zero page for each). */
static int send_run_populated(struct session *s, uint64_t first, uint64_t n, uint64_t *left,
			      struct err *err)
{
	uint64_t end = first + n;

	while (first < end) {
		uint64_t at, count;
		int rc;

		if (!bitmap_next_run(&s->populated, first, end, &at, &count)) {
			at = end;
			count = 0;
		}
		if (at > first) {
			rc = page_out_zero(s->out, first, at - first, err);
			if (rc)
				return rc;
			*left -= at - first;
		}
		rc = send_run(s, at, count, left, err);
		if (rc)
			return rc;
		first = at + count;
	}
	return 0;
}

static int send_chunk(struct session *s, uint64_t chunk, uint64_t n, bool first_round,
		      uint64_t *left, struct err *err)
{
	uint64_t pos = chunk, at, count;
	bool skip_untouched = false;
	int rc = 0;

	if (first_round) /* after the rearm: a first write from here on is in the log */
		skip_untouched = gmem_populated(s->mem, chunk, n, &s->populated) == 0;
	while (!rc && bitmap_next_run(&s->pending, pos, chunk + n, &at, &count)) {
		rc = skip_untouched ? send_run_populated(s, at, count, left, err) :
				      send_run(s, at, count, left, err);
		pos = at + count;
	}
	return rc;
}

/* One round's pages out of s->pending, which is emptied. @live: rearm each chunk before it is read. */
static int send_pages(struct session *s, bool live, bool first, struct err *err)
{
	uint64_t left = bitmap_count(&s->pending);
	uint64_t npages = s->mem->npages;
	uint64_t at, count;

	for (uint64_t chunk = 0; left && chunk < npages; chunk += REARM_CHUNK_PAGES) {
		uint64_t n = MIN((uint64_t)REARM_CHUNK_PAGES, npages - chunk);
		int rc = 0;

		if (first)
			left -= hints_take(s, chunk, n);
		if (!bitmap_next_run(&s->pending, chunk, chunk + n, &at, &count))
			continue;
		if (live && (s->dirty->ops->flags & DIRTY_SPLIT_REARM))
			rc = dirty_rearm(s->dirty, &s->pending, chunk, n, err);
		if (!rc)
			rc = send_chunk(s, chunk, n, first, &left, err);
		if (rc)
			return rc;
	}
	bitmap_zero(&s->pending);
	return page_out_flush(s->out, err);
}

static int await_ack(struct session *s, uint32_t number, struct err *err)
{
	struct record_header h;
	const uint8_t *meta;
	struct rec_round_ack ack;
	int rc;

	rc = record_expect(&s->in, REC_ROUND_ACK, "destination", s->t->stall_ns, &h, &meta, err);
	if (!rc)
		rc = rec_round_ack_decode(meta, h.meta_len, &ack, err);
	if (!rc && ack.round != number)
		rc = err_set(err, -EPROTO, "destination acknowledged round %u, expected %u",
			     ack.round, number);
	return rc;
}

/* Adds what the round sent to @r and to the session's totals. */
static void take_counts(struct session *s, struct mig_round *r)
{
	const struct page_out_counts *c = &s->out->counts;

	r->pages = c->pages;
	r->zero_pages = c->zero_pages;
	r->zpages = c->zpages;
	r->bytes = c->bytes;
	r->saved_bytes = c->saved_bytes;
	r->compress_ns = c->compress_ns;
	r->compress_on = c->zpages != 0;
	s->report->cpu_ns += c->compress_ns;
	r->blocked_ns += c->paced_ns;
	s->sent_pages += c->pages;
	s->sent_zero_pages += c->zero_pages;
}

int rounds_send(struct session *s, struct mig_round *r, struct err *err)
{
	const struct rec_round_begin begin = { .round = r->number, .last = r->last };
	struct rec_round_end end = { .round = r->number };
	uint64_t blocked0 = s->t->blocked_ns;
	int rc;

	page_out_reset_counts(s->out);
	buf_clear(&s->w.meta);
	rec_round_begin_encode(&begin, &s->w.meta);
	rc = page_out_record(s->out, REC_ROUND_BEGIN, err);
	if (!rc)
		rc = send_pages(s, !r->last, r->number == 1, err);
	if (rc)
		return rc;
	end.pages = s->out->counts.pages;
	end.zero_pages = s->out->counts.zero_pages;
	end.bytes = s->out->counts.bytes;
	buf_clear(&s->w.meta);
	rec_round_end_encode(&end, &s->w.meta);
	rc = page_out_record(s->out, REC_ROUND_END, err);
	r->blocked_ns = s->t->blocked_ns - blocked0;
	take_counts(s, r);
	return rc;
}

static int send_round(struct session *s, struct mig_round *r, struct err *err)
{
	uint64_t t0 = clock_mono_ns(), rearm0 = s->dirty->stats.rearm_ns;
	int rc = r->number == 1 ? hints_begin(s, err) : 0;

	if (!rc)
		rc = rounds_send(s, r, err);
	if (r->number == 1) {
		hints_stop(s);
		r->free_pages = s->report->free_pages;
	}
	if (!rc)
		rc = await_ack(s, r->number, err);
	r->duration_ns = clock_mono_ns() - t0;
	r->rearm_ns = s->dirty->stats.rearm_ns - rearm0;
	r->bytes_per_s = (double)r->bytes * 1e9 / (double)(r->duration_ns + 1);
	return rc;
}

static int collect(struct session *s, struct mig_round *r, struct err *err)
{
	uint64_t t0 = clock_mono_ns();
	int rc = dirty_collect(s->dirty, &s->pending, err);

	r->collect_ns = clock_mono_ns() - t0;
	s->collect_ns = r->collect_ns;
	r->dirty_pages = bitmap_count(&s->pending);
	r->exits = session_take_exits(s);
	r->dirty_pages_per_s = (double)r->dirty_pages * 1e9 / (double)(r->duration_ns + 1);
	s->dirty_rate = r->dirty_pages_per_s;
	return rc;
}

static void ask_policy(struct session *s, struct mig_round *r, struct policy_decision *decision)
{
	struct policy_sample sample = {
		.elapsed_ns = clock_mono_ns() - s->start_ns,
		.round_ns = r->duration_ns,
		.round_bytes = r->bytes,
		.round_pages = r->pages,
		.left_pages = r->dirty_pages,
		.fixed_ns = session_fixed_ns(s),
		.bytes_per_page =
			r->pages ? (double)r->bytes / (double)r->pages : (double)STREAM_PAGE_BYTES,
	};

	if (s->params->max_downtime_ns)
		s->policy.params.max_downtime_ns = atomic_load(s->params->max_downtime_ns);
	policy_step(&s->policy, &sample, decision);
	r->predicted_downtime_ns = decision->predicted_downtime_ns;
	s->predicted_ns = decision->predicted_downtime_ns;
}

/* Keep the newest rounds when there are more than the report has room for. */
static void keep_round(struct mig_report *report, const struct mig_round *r)
{
	uint32_t slot = MIN(report->nrounds, (uint32_t)MIG_MAX_ROUNDS - 2);

	report->round[slot] = *r;
	report->nrounds = slot + 1;
}

int rounds_run(struct session *s, struct err *err)
{
	bitmap_fill(&s->pending);
	for (uint32_t number = 1;; number++) {
		struct policy_decision decision;
		struct mig_round round = { .number = number };
		int rc;

		s->round = number;
		rc = session_poll(s, err);
		if (!rc)
			rc = send_round(s, &round, err);
		if (!rc)
			rc = collect(s, &round, err);
		if (rc)
			return rc;
		ask_policy(s, &round, &decision);
		keep_round(s->report, &round);
		if (s->observer->round)
			s->observer->round(s->observer->opaque, &round);
		s->report->stalled |= decision.stalled;
		memcpy(s->report->switch_reason, decision.reason, sizeof(s->report->switch_reason));
		if (decision.next == POLICY_SWITCH)
			return 0;
		if (decision.next == POLICY_CANCEL)
			return err_set(err, -ETIMEDOUT, "%s", decision.reason);
	}
}
