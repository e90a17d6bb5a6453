/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "internal.h"
#include "predict.h"
#include "rate_sums.h"
#include "trace/trace.h"
#include "vmm/caps.h"
#include "vmm/dirty.h"

/* Pages rearmed by one call, as a migration does it. */
#define REARM_CHUNK_PAGES 8192u

/* One measurement, on its own thread. */
struct measurement {
	struct machine *m;
	struct dirty *dirty;
	struct dirty_rate_report *report;
	struct trace_writer *trace; /* NULL: none */
	struct rate_sums *sums;
	struct bitmap pages; /* of the interval under way */
	uint64_t origin_ns; /* every page was armed */
};

/* False: cancelled. */
static bool sleep_until(struct machine *m, uint64_t until_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(until_ns / NS_PER_S),
			       .tv_nsec = (long)(until_ns % NS_PER_S) };
	bool go_on;

	pthread_mutex_lock(&m->lock);
	while (!atomic_load(&m->cancel) && clock_mono_ns() < until_ns)
		pthread_cond_clockwait(&m->rate_wake, &m->lock, CLOCK_MONOTONIC, &ts);
	go_on = !atomic_load(&m->cancel);
	pthread_mutex_unlock(&m->lock);
	return go_on;
}

/* What the collect found is armed again, where that is not done yet. */
static int rearm(struct measurement *w, struct err *err)
{
	uint64_t npages = w->report->npages;

	if (!(w->dirty->ops->flags & DIRTY_SPLIT_REARM))
		return 0;
	for (uint64_t at = 0; at < npages; at += REARM_CHUNK_PAGES) {
		uint64_t n = MIN((uint64_t)REARM_CHUNK_PAGES, npages - at), first, count;
		int rc;

		if (!bitmap_next_run(&w->pages, at, at + n, &first, &count))
			continue;
		rc = dirty_rearm(w->dirty, &w->pages, at, n, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Every page is armed and the log is empty: where the first interval begins. What is written meanwhile is no part of it. */
static int arm(struct measurement *w, struct err *err)
{
	uint64_t t0 = clock_mono_ns();
	int rc = dirty_start(w->dirty, err);

	if (rc)
		return rc;
	w->report->start_ns = clock_mono_ns() - t0;
	t0 = clock_mono_ns();
	bitmap_fill(&w->pages);
	rc = rearm(w, err);
	bitmap_zero(&w->pages);
	if (!rc)
		rc = dirty_collect(w->dirty, &w->pages, err);
	if (!rc)
		rc = rearm(w, err);
	w->origin_ns = clock_mono_ns();
	w->report->arm_ns = w->origin_ns - t0;
	return rc;
}

static int one_interval(struct measurement *w, uint64_t *start_ns, bool last, struct err *err)
{
	const struct dirty_stats *stats = &w->dirty->stats;
	struct rate_interval i;
	uint64_t t0 = clock_mono_ns(), t1;
	int rc;

	bitmap_zero(&w->pages);
	rc = dirty_collect(w->dirty, &w->pages, err);
	t1 = clock_mono_ns();
	i.duration_ns = t1 - *start_ns;
	i.collect_ns = t1 - t0;
	/* Nobody reads the log again: what follows would be paid for nothing. */
	if (!rc && !last)
		rc = rearm(w, err);
	i.rearm_ns = clock_mono_ns() - t1;
	if (!rc)
		rc = rate_sums_add(w->sums, &w->pages, &i, err);
	if (!rc && w->trace)
		rc = trace_writer_interval(w->trace, t1 - w->origin_ns, &w->pages, err);
	w->report->ring_full_exits = stats->ring_full_exits;
	*start_ns = t1;
	return rc;
}

/* The end of the interval that begins at @start_ns. A rest of less than half an interval is made part of the last one: it would be a rate of nearly nothing. */
static uint64_t interval_end(uint64_t start_ns, uint64_t end_ns, uint64_t interval_ns)
{
	uint64_t next = start_ns + interval_ns;

	return next + interval_ns / 2 > end_ns ? end_ns : next;
}

static int read_log(struct measurement *w, struct err *err)
{
	const struct machine_dirty_rate_params *asked = &w->report->asked;
	uint64_t end_ns = w->origin_ns + asked->for_ns, start_ns = w->origin_ns;
	bool last = false;

	while (!last) {
		uint64_t until_ns = interval_end(start_ns, end_ns, asked->interval_ns);
		int rc;

		if (!sleep_until(w->m, until_ns))
			return err_set(err, -ECANCELED, "cancelled");
		/* A collect that takes longer than an interval makes the next ones late, not many. */
		last = clock_mono_ns() >= end_ns;
		rc = one_interval(w, &start_ns, last, err);
		if (rc)
			return rc;
	}
	return 0;
}

static void note_exits(struct measurement *w, const struct vm_exits *before, int rc_before,
		       struct err *err)
{
	struct dirty_rate_report *r = w->report;
	struct vm_exits now;

	if (!rc_before && !vm_exits(w->m->vm, &now, err)) {
		r->exits = (struct mig_exits){
			.exits_known = true,
			.faults_known = now.faults_known,
			.exits = now.exits - before->exits,
			.faults = now.faults - before->faults,
		};
		if (!now.faults_known)
			err_set(err, -ENOTSUP, "KVM does not count page faults on this host");
	}
	if (err->code)
		memcpy(r->exits_reason, err->msg, sizeof(r->exits_reason));
}

/* What has memory behind it is what a migration would have to look at in its first round; before logging, since a page that is read then is no longer untouched. */
static uint64_t populated_pages(struct measurement *w)
{
	const struct gmem *mem = vm_mem(w->m->vm);

	if (gmem_populated(mem, 0, mem->npages, &w->pages))
		return mem->npages;
	return bitmap_count(&w->pages);
}

static int measure(struct measurement *w, struct err *err)
{
	struct dirty_rate_report *r = w->report;
	struct vm_exits before;
	struct err exits_err = { 0 };
	uint64_t t0;
	int rc, rc_exits;

	if (bitmap_init(&w->pages, r->npages))
		return err_set(err, -ENOMEM, "no memory for a bitmap");
	rc = rate_sums_create(r->npages, (uint32_t)(r->asked.for_ns / r->asked.interval_ns) + 1,
			      &w->sums, err);
	if (rc)
		return rc;
	r->first_round_pages = populated_pages(w);
	rc = arm(w, err);
	rc_exits = vm_exits(w->m->vm, &before, &exits_err);
	if (!rc)
		rc = read_log(w, err);
	note_exits(w, &before, rc_exits, &exits_err);
	t0 = clock_mono_ns();
	dirty_stop(w->dirty);
	r->stop_ns = clock_mono_ns() - t0;
	rate_sums_report(w->sums, r);
	predict_migrations(r);
	if (!rc && w->trace)
		rc = trace_writer_finish(w->trace, err);
	return rc;
}

static void conclude(struct machine *m, struct dirty_rate_report *report, int rc,
		     const struct err *err)
{
	const struct machine_event ev = { .type = MACHINE_EV_DIRTY_RATE_DONE,
					  .dirty_rate = report };

	pthread_mutex_lock(&m->lock);
	if (rc == -ECANCELED && (m->state == MACHINE_STOPPED || m->state == MACHINE_MIGRATED)) {
		report->result = DIRTY_RATE_FAILED;
		snprintf(report->reason, sizeof(report->reason), "%s",
			 "the VM ended while its dirty rate was measured");
	} else if (rc) {
		report->result = rc == -ECANCELED ? DIRTY_RATE_CANCELLED : DIRTY_RATE_FAILED;
		memcpy(report->reason, err->msg, sizeof(report->reason));
	} else {
		report->result = DIRTY_RATE_COMPLETED;
	}
	m->rate_report = *report;
	m->measuring = false;
	pthread_mutex_unlock(&m->lock);
	if (m->sink.event)
		m->sink.event(m->sink.opaque, &ev);
}

static void *measure_thread(void *opaque)
{
	struct machine *m = opaque;
	struct dirty_rate_report report;
	struct measurement w = { .m = m, .dirty = vm_dirty(m->vm), .report = &report };
	struct err err = { 0 };
	int rc;

	pthread_setname_np(pthread_self(), "dirtyrate");
	pthread_mutex_lock(&m->lock);
	report = m->rate_report;
	w.trace = m->rate_trace;
	m->rate_trace = NULL;
	pthread_mutex_unlock(&m->lock);
	rc = measure(&w, &err);
	trace_writer_destroy(w.trace);
	rate_sums_destroy(w.sums);
	bitmap_fini(&w.pages);
	conclude(m, &report, rc, &err);
	return NULL;
}

static int check_params(const struct machine_dirty_rate_params *p, struct err *err)
{
	if (!p->for_ns || p->for_ns > DIRTY_RATE_MAX_NS)
		return err_set(err, -EINVAL, "for_ns: expected up to an hour, got %llu ns",
			       (unsigned long long)p->for_ns);
	if (p->interval_ns < DIRTY_RATE_MIN_INTERVAL_NS || p->interval_ns > p->for_ns)
		return err_set(err, -EINVAL,
			       "interval_ns: expected 1 ms to all of the time, got %llu ns",
			       (unsigned long long)p->interval_ns);
	if (p->for_ns / p->interval_ns >= DIRTY_RATE_MAX_INTERVALS)
		return err_set(err, -EINVAL, "interval_ns: more than %u intervals",
			       DIRTY_RATE_MAX_INTERVALS);
	if (!p->max_downtime_ns)
		return err_set(err, -EINVAL, "max_downtime_ns: expected more than 0");
	if (p->trace[0] && p->trace[0] != '/')
		return err_set(err, -EINVAL, "trace: expected an absolute path, got \"%s\"",
			       p->trace);
	return 0;
}

static void init_report(struct machine *m, const struct machine_dirty_rate_params *params)
{
	const struct dirty *d = vm_dirty(m->vm);
	struct dirty_rate_report *r = &m->rate_report;

	*r = (struct dirty_rate_report){
		.asked = *params,
		.npages = vm_mem(m->vm)->npages,
		.dirty_backend = d->ops->name,
		.dirty_accel_asked = dirty_accel_mode_name(m->config.dirty_accel.mode),
		.dirty_accel = d->accel.name,
	};
	memcpy(r->dirty_accel_reason, d->accel.reason, sizeof(r->dirty_accel_reason));
}

/* Takes the machine; from here on neither a migration nor another measurement can start. */
static int reserve(struct machine *m, const struct machine_dirty_rate_params *params,
		   struct err *err)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = machine_guard(m, STATE_BIT(MACHINE_RUNNING) | STATE_BIT(MACHINE_PAUSED),
			   "measure the dirty rate", err);
	if (!rc && m->migrating)
		rc = err_set(err, -EBUSY,
			     "cannot measure the dirty rate: a migration to %s is under way",
			     m->migrate.to);
	if (!rc && m->measuring)
		rc = err_set(err, -EBUSY,
			     "cannot measure the dirty rate: another measurement is under way");
	if (!rc) {
		m->measuring = true;
		m->have_rate = true;
		atomic_store(&m->cancel, false);
		init_report(m, params);
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static void describe(struct machine *m, const struct machine_dirty_rate_params *p, struct buf *text)
{
	struct caps caps;

	buf_printf(text, "name=%s\n", m->config.name);
	if (!caps_probe(&caps, NULL))
		buf_printf(text, "kernel=%s\nkvm_module=%s\n", caps.kernel, caps.kvm_module);
	buf_printf(text, "dirty_backend=%s\ndirty_accel=%s\ncpus=%u\nguest=%s\n",
		   vm_dirty(m->vm)->ops->name, vm_dirty(m->vm)->accel.name, m->config.ncpus,
		   m->kernel_name);
	buf_printf(text, "interval_ns=%llu\nfor_ns=%llu\n", (unsigned long long)p->interval_ns,
		   (unsigned long long)p->for_ns);
	/* Names and paths may hold anything. */
	for (size_t i = 0; i < text->len_bytes; i++)
		if (text->data[i] != '\n' && (text->data[i] < ' ' || text->data[i] > '~'))
			text->data[i] = '?';
}

static int open_trace(struct machine *m, const struct machine_dirty_rate_params *p, struct err *err)
{
	struct trace_header h = { .page_bytes = GMEM_PAGE_SIZE,
				  .npages = vm_mem(m->vm)->npages,
				  .interval_ns = p->interval_ns };
	struct trace_writer *trace;
	struct buf text = { 0 };
	int rc;

	describe(m, p, &text);
	if (buf_ok(&text) && text.len_bytes <= TRACE_MAX_TEXT)
		memcpy(h.text, text.data, text.len_bytes);
	buf_fini(&text);
	rc = trace_writer_create(p->trace, &h, &trace, err);
	if (rc) {
		err_prefix(err, "trace");
		return rc == -ENOMEM ? rc : -EINVAL; /* it is the path that is wrong */
	}
	pthread_mutex_lock(&m->lock);
	m->rate_trace = trace;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static void give_back(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	trace_writer_destroy(m->rate_trace);
	m->rate_trace = NULL;
	m->measuring = m->have_rate = false;
	pthread_mutex_unlock(&m->lock);
}

int machine_dirty_rate(struct machine *m, const struct machine_dirty_rate_params *params,
		       struct err *err)
{
	int rc = check_params(params, err);

	if (!rc)
		rc = reserve(m, params, err);
	if (rc)
		return rc;
	if (params->trace[0])
		rc = open_trace(m, params, err);
	if (!rc) {
		rc = machine_start_thread(m, measure_thread);
		if (rc)
			err_sys(err, rc, "starting the measurement's thread");
	}
	if (rc)
		give_back(m);
	return rc;
}

int machine_dirty_rate_cancel(struct machine *m, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->measuring)
		machine_end_measurement(m);
	else
		rc = err_set(err, -EBUSY, "no measurement is under way");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

void machine_end_measurement(struct machine *m)
{
	if (!m->measuring)
		return;
	atomic_store(&m->cancel, true);
	pthread_cond_broadcast(&m->rate_wake);
}

int machine_dirty_rate_report(struct machine *m, struct dirty_rate_report *ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->have_rate)
		*ret = m->rate_report;
	else
		rc = err_set(err, -ENOENT, "no dirty rate was measured");
	pthread_mutex_unlock(&m->lock);
	return rc;
}
