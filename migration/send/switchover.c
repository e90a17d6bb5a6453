/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/clock.h"
#include "base/state.h"
#include "migration/send/session.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"

/* STATE may be split between sections only (stream.md §2.2). */
static int send_state(struct session *s, struct err *err)
{
	struct reader in = reader_over(s->sections.data, s->sections.len_bytes);
	const uint8_t *from = in.pos;
	int rc = 0;

	while (!rc && reader_left(&in)) {
		const uint8_t *before = in.pos;
		struct state_section section;

		rc = state_next_section(&in, &section, err);
		if (rc)
			return rc;
		if ((size_t)(in.pos - from) > STREAM_MAX_META && before > from) {
			buf_clear(&s->w.meta);
			buf_put(&s->w.meta, from, (size_t)(before - from));
			rc = page_out_record(s->out, REC_STATE, err);
			from = before;
		}
	}
	if (rc)
		return rc;
	buf_clear(&s->w.meta);
	buf_put(&s->w.meta, from, (size_t)(in.pos - from));
	return page_out_record(s->out, REC_STATE, err);
}

/* State and the rest of memory, one pass, nothing awaited. The state is captured first: capturing may itself write guest memory (arm64 ITS tables), which the
 * last collect then finds. */
static int send_rest(struct session *s, uint64_t pause_real_ns, struct err *err)
{
	struct mig_downtime *d = &s->report->downtime;
	struct mig_round last = { .number = s->round + 1, .last = true };
	uint64_t t0 = clock_mono_ns(), t1, t2, t3;
	struct rec_end end;
	int rc;

	buf_clear(&s->sections);
	rc = s->ops->save(s->host, &s->sections, err);
	t1 = clock_mono_ns();
	if (!rc)
		rc = dirty_finish(s->dirty, &s->pending, err);
	t2 = clock_mono_ns();
	if (!rc)
		rc = rounds_send(s, &last, err);
	t3 = s->memory_sent_ns = clock_mono_ns();
	if (!rc)
		rc = send_state(s, err);
	if (rc)
		return rc;
	end = (struct rec_end){
		.total_pages = s->sent_pages,
		.total_zero_pages = s->sent_zero_pages,
		.total_records = s->w.seq,
		.pause_real_ns = pause_real_ns,
	};
	buf_clear(&s->w.meta);
	rec_end_encode(&end, &s->w.meta);
	rc = page_out_record(s->out, REC_END, err);
	d->save_ns = t1 - t0;
	d->collect_ns = t2 - t1;
	d->memory_ns = t3 - t2;
	last.collect_ns = d->collect_ns;
	last.duration_ns = clock_mono_ns() - t0;
	last.bytes = s->out->counts.bytes;
	last.bytes_per_s = (double)last.bytes * 1e9 / (double)(last.duration_ns + 1);
	s->report->round[s->report->nrounds++] = last;
	if (!rc && s->observer->round)
		s->observer->round(s->observer->opaque, &last);
	return rc;
}

static int await_ready(struct session *s, struct err *err)
{
	struct mig_downtime *d = &s->report->downtime;
	uint64_t waited;
	struct record_header h;
	const uint8_t *meta;
	struct rec_ready ready;
	int rc;

	rc = record_expect(&s->in, REC_READY, "destination", s->t->stall_ns, &h, &meta, err);
	if (!rc)
		rc = rec_ready_decode(meta, h.meta_len, &ready, err);
	if (rc)
		return rc;
	waited = clock_mono_ns() - s->memory_sent_ns;
	d->restore_ns = ready.restore_ns;
	d->send_ns = waited > ready.restore_ns ? waited - ready.restore_ns : 0;
	return 0;
}

/* From the call of commit on the VM belongs to the destination unless that one says otherwise in so many words (stream.md §4). */
static int hand_over(struct session *s, struct err *err)
{
	struct mig_downtime *d = &s->report->downtime;
	uint64_t t0 = clock_mono_ns(), waited;
	struct rec_started started;
	struct record_header h;
	const uint8_t *meta;
	int rc;

	rc = s->ops->commit(s->host, err);
	if (rc)
		return rc;
	s->committed = true;
	buf_clear(&s->w.meta);
	rc = record_write(&s->w, REC_COMMIT, err);
	if (!rc)
		rc = record_expect(&s->in, REC_STARTED, "destination", s->t->stall_ns, &h, &meta,
				   err);
	if (rc == -EREMOTEIO) {
		/* Refused explicitly: it does not run there and will not. */
		s->ops->uncommit(s->host);
		s->committed = false;
		return rc;
	}
	if (!rc)
		rc = rec_started_decode(meta, h.meta_len, &started, err);
	if (rc) {
		err_prefix(err, "after COMMIT");
		return -EINPROGRESS;
	}
	waited = clock_mono_ns() - t0;
	d->resume_ns = started.resume_ns;
	d->commit_ns = waited > started.resume_ns ? waited - started.resume_ns : 0;
	return 0;
}

int switchover_run(struct session *s, struct err *err)
{
	struct mig_downtime *d = &s->report->downtime;
	uint64_t t0 = clock_mono_ns(), pause_real_ns;
	int rc;

	s->report->predicted_downtime_ns = s->predicted_ns;
	s->paused = true;
	rc = s->ops->pause(s->host, err);
	pause_real_ns = clock_real_ns();
	d->pause_ns = clock_mono_ns() - t0;
	if (!rc)
		rc = send_rest(s, pause_real_ns, err);
	if (!rc)
		rc = await_ready(s, err);
	if (!rc)
		rc = hand_over(s, err);
	d->total_ns = clock_mono_ns() - t0;
	return rc;
}
