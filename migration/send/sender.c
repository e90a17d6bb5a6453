/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/num.h"
#include "migration/send/session.h"
#include "migration/send/zpage_out.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"

/* The policy looks at the end of a round, and a round may be long. Only what ends in a cancel can be decided here: to switch is the policy's to say. */
static bool timed_out(const struct session *s)
{
	const struct policy_params *p = &s->params->policy;

	return p->timeout_ns && !p->switch_on_timeout &&
	       clock_mono_ns() - s->start_ns >= p->timeout_ns;
}

int session_poll(struct session *s, struct err *err)
{
	struct record_header h;
	const uint8_t *meta;
	int rc;

	if (s->params->cancel && atomic_load(s->params->cancel))
		return err_set(err, -ECANCELED, "cancelled");
	if (timed_out(s))
		return err_set(err, -ETIMEDOUT, "timeout: not over after %.1f s",
			       (double)s->params->policy.timeout_ns / NS_PER_S);
	if (!record_readable(&s->in))
		return 0;
	/* Nothing is owed to us at this point: it can only be the reason why the destination gives up. */
	rc = record_read(&s->in, s->t->stall_ns, &h, &meta, err);
	if (rc)
		return rc;
	if (h.type == REC_ERROR)
		return record_peer_error(&h, meta, "destination", err);
	return err_set(err, -EPROTO, "record %u: destination sent %s unasked", h.seq,
		       record_name(h.type));
}

uint64_t session_fixed_ns(const struct session *s)
{
	/* READY and COMMIT/STARTED are an exchange each. */
	return s->pause_ns + s->save_ns + s->collect_ns + s->restore_ns + 2 * s->rtt_ns;
}

static int exchange_hello(struct session *s, struct rec_hello *ret, struct err *err)
{
	const struct rec_hello mine = {
		.version_min = STREAM_VERSION,
		.version_max = STREAM_VERSION,
		.features = s->params->compress == MIG_COMPRESS_NONE ? 0 : STREAM_FEATURE_ZPAGES,
		.page_size = STREAM_PAGE_BYTES,
		.max_payload = STREAM_MAX_PAYLOAD,
	};
	uint64_t t0 = clock_mono_ns();
	struct record_header h;
	const uint8_t *meta;
	int rc;

	buf_clear(&s->w.meta);
	rec_hello_encode(&mine, &s->w.meta);
	rc = record_write(&s->w, REC_HELLO, err);
	if (!rc)
		rc = record_expect(&s->in, REC_HELLO, "destination", s->t->stall_ns, &h, &meta,
				   err);
	if (!rc)
		rc = rec_hello_decode(meta, h.meta_len, ret, err);
	if (rc)
		return rc;
	s->rtt_ns = clock_mono_ns() - t0;
	if (ret->version_min != STREAM_VERSION || ret->version_max != STREAM_VERSION)
		return err_set(err, -EPROTONOSUPPORT,
			       "destination chose stream version %u, expected %u", ret->version_max,
			       STREAM_VERSION);
	if (ret->page_size != STREAM_PAGE_BYTES)
		return err_set(err, -EPROTONOSUPPORT,
			       "destination has pages of %u bytes, expected %u", ret->page_size,
			       STREAM_PAGE_BYTES);
	if (ret->features & ~mine.features)
		return err_set(err, -EPROTO,
			       "destination chose features %#llx that were not offered",
			       (unsigned long long)ret->features);
	return 0;
}

static int trial_save(struct session *s, uint64_t *ret_pause_ns, uint64_t *ret_save_ns,
		      struct err *err)
{
	uint64_t t0 = clock_mono_ns(), t1;
	int rc;

	s->paused = true;
	rc = s->ops->pause(s->host, err);
	t1 = clock_mono_ns();
	buf_clear(&s->sections);
	if (!rc)
		rc = s->ops->save(s->host, &s->sections, err);
	*ret_pause_ns = t1 - t0;
	*ret_save_ns = clock_mono_ns() - t1;
	if (!rc) {
		rc = s->ops->resume(s->host, err);
		s->paused = rc != 0;
	}
	return rc;
}

static uint64_t median3(const uint64_t v[3])
{
	return MAX(MIN(v[0], v[1]), MIN(MAX(v[0], v[1]), v[2]));
}

/*
 * Stop, save and let run before anything depends on it: the guest loses about a millisecond, the prediction gains its fixed part, and a state that cannot be
 * saved shows before any memory moved. Three times, because one hiccup of the host's scheduler would be taken for a cost of every switch.
 */
static int trial_saves(struct session *s, struct err *err)
{
	uint64_t pause_ns[3], save_ns[3];

	for (unsigned int i = 0; i < 3; i++) {
		int rc = trial_save(s, &pause_ns[i], &save_ns[i], err);

		if (rc)
			return rc;
	}
	s->pause_ns = median3(pause_ns);
	s->save_ns = median3(save_ns);
	return 0;
}

/* The destination builds a VM and may have to find its memory first: it gets more than the stall limit, but no more than the user's timeout. */
static uint64_t build_patience_ns(const struct session *s)
{
	uint64_t limit = 6 * s->t->stall_ns, timeout = s->params->policy.timeout_ns;

	return timeout ? MIN(limit, timeout) : limit;
}

static int exchange_config(struct session *s, struct err *err)
{
	struct rec_config_ok ok;
	struct record_header h;
	const uint8_t *meta;
	int rc;

	buf_clear(&s->w.meta);
	rc = s->ops->describe(s->host, &s->w.meta, err);
	if (!rc)
		rc = record_write(&s->w, REC_CONFIG, err);
	if (!rc)
		rc = record_expect(&s->in, REC_CONFIG_OK, "destination", build_patience_ns(s), &h,
				   &meta, err);
	if (!rc)
		rc = rec_config_ok_decode(meta, h.meta_len, &ok, err);
	if (rc)
		return rc;
	s->restore_ns = ok.restore_ns;
	if (ok.npages != s->mem->npages)
		return err_set(err, -EPROTO, "destination has %llu RAM pages, expected %llu",
			       (unsigned long long)ok.npages, (unsigned long long)s->mem->npages);
	return 0;
}

static int set_up(struct session *s, struct err *err)
{
	struct rec_hello hello;
	int rc;

	rc = exchange_hello(s, &hello, err);
	if (!rc)
		rc = exchange_config(s, err);
	if (!rc)
		rc = trial_saves(s, err);
	if (!rc && (hello.features & STREAM_FEATURE_ZPAGES))
		rc = zpage_out_create(s->params->compress, s->params->workers,
				      s->params->compress_level, &s->compressor, err);
	if (!rc)
		rc = page_out_create(&s->w, s->mem, s->params->max_bandwidth, hello.max_payload,
				     s->compressor, &s->out, err);
	if (!rc && (bitmap_init(&s->pending, s->mem->npages) ||
		    bitmap_init(&s->populated, s->mem->npages)))
		rc = err_set(err, -ENOMEM, "no memory for the page bitmaps");
	if (!rc)
		rc = dirty_start(s->dirty, err);
	if (!rc)
		session_start_exits(s);
	s->report->setup_ns = clock_mono_ns() - s->start_ns;
	return rc;
}

/* A connection that broke because the destination gave up may still hold its reason. */
static int prefer_peer_reason(struct session *s, int rc, struct err *err)
{
	struct record_header h;
	const uint8_t *meta;

	if (rc != -EPIPE && rc != -ECONNRESET)
		return rc;
	if (!record_readable(&s->in) || record_read(&s->in, NS_PER_S, &h, &meta, NULL) ||
	    h.type != REC_ERROR)
		return rc;
	return record_peer_error(&h, meta, "destination", err);
}

/* The VM runs here again, whatever happened, unless COMMIT is out. It comes first: without COMMIT the destination cannot start it, and telling that one why may
 * take as long as a stall. */
static void fall_back(struct session *s, int rc, struct err *err)
{
	struct err resume_err = { 0 }, why = *err;

	if (s->committed)
		return;
	if (s->paused && s->ops->resume(s->host, &resume_err))
		err_prefix(err, "the VM could not be resumed here either (%s)", resume_err.msg);
	s->paused = false;
	if (rc != -EREMOTEIO)
		record_write_text(&s->w, rc == -ECANCELED ? REC_CANCEL : REC_ERROR, rc, why.msg);
}

static void finish_report(struct session *s, int rc, uint64_t cpu0_ns, const struct err *err)
{
	struct mig_report *r = s->report;

	r->total_ns = clock_mono_ns() - s->start_ns;
	r->bytes_sent = s->t->bytes_sent;
	r->cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu0_ns;
	if (!rc)
		r->result = MIG_COMPLETED;
	else if (rc == -EINPROGRESS)
		r->result = MIG_OUTCOME_UNKNOWN;
	else
		r->result = rc == -ECANCELED ? MIG_CANCELLED : MIG_FAILED;
	if (rc)
		snprintf(r->reason, sizeof(r->reason), "%s", err->msg);
}

void mig_report_tracking(struct mig_report *report, const struct dirty *dirty)
{
	report->dirty_backend = dirty->ops->name;
	report->dirty_accel_asked = dirty_accel_mode_name(dirty->accel.asked);
	report->dirty_accel = dirty->accel.name;
	memcpy(report->dirty_accel_reason, dirty->accel.reason, sizeof(report->dirty_accel_reason));
}

int mig_send(const struct mig_send_params *params, struct transport *t,
	     const struct mig_source_ops *ops, void *host, struct gmem *mem, struct dirty *dirty,
	     const struct mig_observer *observer, struct mig_report *ret_report, struct err *err)
{
	static const struct mig_observer nobody;
	static const char *const compress_name[] = { [MIG_COMPRESS_AUTO] = "auto",
						     [MIG_COMPRESS_NONE] = "none",
						     [MIG_COMPRESS_ZLIB] = "zlib" };
	uint64_t cpu0_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	struct session s = {
		.params = params,
		.t = t,
		.ops = ops,
		.host = host,
		.mem = mem,
		.dirty = dirty,
		.observer = observer ? observer : &nobody,
		.report = ret_report,
		.start_ns = clock_mono_ns(),
	};
	struct err local = { 0 };
	int rc;

	memset(ret_report, 0, sizeof(*ret_report));
	ret_report->npages = mem->npages;
	ret_report->max_downtime_ns = params->policy.max_downtime_ns;
	mig_report_tracking(ret_report, dirty);
	ret_report->compress = compress_name[params->compress];
	record_reader_init(&s.in, t);
	record_writer_init(&s.w, t);
	policy_init(&s.policy, &params->policy);

	rc = set_up(&s, &local);
	if (!rc)
		rc = rounds_run(&s, &local);
	if (!rc)
		rc = switchover_run(&s, &local);
	if (dirty->started) { /* by this migration; while the vCPUs stand still, if they do */
		(void)session_take_exits(&s);
		ret_report->pages_dirtied = dirty->stats.pages_found;
	}
	if (rc && !s.committed)
		rc = prefer_peer_reason(&s, rc, &local);
	if (rc)
		fall_back(&s, rc, &local);
	hints_end(&s);
	finish_report(&s, rc, cpu0_ns, &local);
	dirty_stop(dirty); /* after the blackout, and after the guest runs again */
	if (rc && err)
		*err = local;

	page_out_destroy(s.out);
	zpage_out_destroy(s.compressor);
	bitmap_fini(&s.pending);
	bitmap_fini(&s.populated);
	buf_fini(&s.sections);
	record_writer_fini(&s.w);
	record_reader_fini(&s.in);
	return rc;
}
