/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "internal.h"

#define CONNECT_TIMEOUT_NS (10 * NS_PER_S)

static int source_describe(void *host, struct buf *out, struct err *err)
{
	struct machine *m = host;
	struct machine_section section;
	int rc;

	machine_section_fill(m, &section);
	rc = state_encode(&machine_section_desc, 0, &section, out, err);
	if (!rc)
		rc = device_sections_encode(m->devices, out, err);
	return rc ? rc : vm_cpu_model(m->vm, out, err);
}

static int source_pause(void *host, struct err *err)
{
	struct machine *m = host;
	int rc;

	pthread_mutex_lock(&m->lock);
	m->mig_paused = true;
	machine_open_input(m, false);
	rc = machine_halt(m, err);
	pthread_mutex_unlock(&m->lock);
	if (!rc && atomic_load(&m->guest_end) != GUEST_RUNS)
		rc = err_set(err, -ESHUTDOWN, "%s", m->guest_text);
	return rc;
}

static int source_resume(void *host, struct err *err)
{
	struct machine *m = host;
	struct err why = { 0 };
	bool lost;
	int rc;

	pthread_mutex_lock(&m->lock);
	/* Somebody else has what the VM cannot run without: it waits, and each resume tries again. */
	rc = device_set_take(m->devices, &why);
	lost = rc != 0;
	if (lost) {
		m->user_paused = true;
		m->state = MACHINE_PAUSED;
	} else if (!m->user_paused) {
		rc = machine_go(m, &why);
	}
	m->mig_paused = false;
	machine_open_input(m, true);
	pthread_cond_broadcast(&m->mig_resumed);
	pthread_mutex_unlock(&m->lock);
	if (lost)
		machine_emit_state(m, MACHINE_PAUSED, why.msg);
	if (rc && err)
		*err = why;
	return rc;
}

static int source_save(void *host, struct buf *out, struct err *err)
{
	struct machine *m = host;

	return state_save_all(m->entries, m->nentries, out, err);
}

/* What was released is taken back when the VM goes on (source_resume). */
static void source_uncommit(void *host)
{
	struct machine *m = host;

	pthread_mutex_lock(&m->lock);
	m->committed = false;
	pthread_mutex_unlock(&m->lock);
}

static int source_commit(void *host, struct err *err)
{
	struct machine *m = host;
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (atomic_load(&m->cancel))
		rc = err_set(err, -ECANCELED, "cancelled");
	else
		m->committed = true;
	pthread_mutex_unlock(&m->lock);
	if (rc)
		return rc;
	/* From here on the destination may open what only one host can have. Nobody but this thread touches the devices now, so that a slow disk holds up nobody else. */
	rc = device_set_release(m->devices, err);
	if (rc)
		source_uncommit(m);
	return rc;
}

static int source_exits(void *host, struct mig_exits *ret, struct err *err)
{
	struct machine *m = host;
	struct vm_exits now;
	int rc = vm_exits(m->vm, &now, err);

	if (rc)
		return rc;
	*ret = (struct mig_exits){
		.exits_known = true,
		.faults_known = now.faults_known,
		.exits = now.exits,
		.faults = now.faults,
	};
	return 0;
}

static const struct mig_source_ops source_ops = {
	.describe = source_describe,
	.pause = source_pause,
	.resume = source_resume,
	.save = source_save,
	.commit = source_commit,
	.uncommit = source_uncommit,
	.exits = source_exits,
};

/* The balloon asks the guest what it does not use. */
static struct virtio *balloon_of(void *host)
{
	const struct machine *m = host;

	return device_set_find(m->devices, MACHINE_BALLOON);
}

static int free_begin(void *host, struct err *err)
{
	return virtio_balloon_hint_begin(balloon_of(host), err);
}

static void free_ask(void *host)
{
	virtio_balloon_hint_ask(balloon_of(host));
}

static uint64_t free_take(void *host, uint64_t first, uint64_t n, struct bitmap *pages)
{
	return virtio_balloon_hint_take(balloon_of(host), first, n, pages);
}

static void free_stop(void *host)
{
	virtio_balloon_hint_stop(balloon_of(host));
}

static void free_end(void *host)
{
	virtio_balloon_hint_end(balloon_of(host));
}

static const struct mig_free_ops free_ops = {
	.begin = free_begin,
	.ask = free_ask,
	.take = free_take,
	.stop = free_stop,
	.end = free_end,
};

static void emit(struct machine *m, const struct machine_event *ev)
{
	if (m->sink.event)
		m->sink.event(m->sink.opaque, ev);
}

static void on_progress(void *opaque, const struct mig_progress *p)
{
	emit(opaque, &(struct machine_event){ .type = MACHINE_EV_PROGRESS, .progress = p });
}

static void on_round(void *opaque, const struct mig_round *r)
{
	struct machine *m = opaque;

	pthread_mutex_lock(&m->lock);
	if (m->report.nrounds < MIG_MAX_ROUNDS)
		m->report.round[m->report.nrounds++] = *r;
	if (!r->last) { /* the engine sums up at the end */
		m->report.pages_dirtied += r->dirty_pages;
		m->report.exits.exits_known = r->exits.exits_known;
		m->report.exits.faults_known = r->exits.faults_known;
		m->report.exits.exits += r->exits.exits;
		m->report.exits.faults += r->exits.faults;
	}
	pthread_mutex_unlock(&m->lock);
	emit(m, &(struct machine_event){ .type = MACHINE_EV_ROUND, .round = r });
}

/* What the end of the migration makes of the machine. */
static void conclude(struct machine *m, const struct mig_report *report)
{
	bool unknown = report->result == MIG_OUTCOME_UNKNOWN;

	pthread_mutex_lock(&m->lock);
	m->report = *report;
	m->migrating = false;
	if (unknown)
		m->state = MACHINE_UNKNOWN;
	pthread_mutex_unlock(&m->lock);
	emit(m, &(struct machine_event){ .type = MACHINE_EV_MIGRATION_DONE, .report = report });
	if (report->result == MIG_COMPLETED)
		machine_end(m, MACHINE_MIGRATED, 0, "migrated to %s", m->migrate.to);
	else if (unknown)
		machine_emit_state(m, MACHINE_UNKNOWN, report->reason);
}

static void connect_failed(struct machine *m, struct mig_report *report, int rc,
			   const struct err *err)
{
	report->result = rc == -ECANCELED ? MIG_CANCELLED : MIG_FAILED;
	report->max_downtime_ns = m->migrate.send.policy.max_downtime_ns;
	report->npages = vm_mem(m->vm)->npages;
	mig_report_tracking(report, vm_dirty(m->vm));
	report->compress = "none";
	snprintf(report->reason, sizeof(report->reason), "%s", err->msg);
}

/* What the engine saw as a cancel or a pause that failed was the guest's own end. */
static void blame_guest(struct machine *m, struct mig_report *report)
{
	if (atomic_load(&m->guest_end) == GUEST_RUNS || report->result == MIG_COMPLETED ||
	    report->result == MIG_OUTCOME_UNKNOWN)
		return;
	report->result = MIG_FAILED;
	snprintf(report->reason, sizeof(report->reason), "the VM ended while it was migrated: %s",
		 m->guest_text);
}

static void *send_thread(void *opaque)
{
	struct machine *m = opaque;
	const struct mig_observer observer = { .progress = on_progress,
					       .round = on_round,
					       .opaque = m };
	struct mig_source_ops ops = source_ops;
	struct mig_report report = { 0 };
	struct transport *t = NULL;
	struct err err = { 0 };
	int rc;

	pthread_setname_np(pthread_self(), "migrate");
	if (balloon_of(m))
		ops.free = &free_ops;
	rc = tcp_connect(m->migrate.to, CONNECT_TIMEOUT_NS, m->peer_cancel_fd, &t, &err);
	pthread_mutex_lock(&m->lock);
	m->transport = t;
	if (t && atomic_load(&m->cancel)) /* while it was being connected */
		transport_cancel(t);
	pthread_mutex_unlock(&m->lock);
	if (!rc)
		(void)mig_send(&m->migrate.send, t, &ops, m, vm_mem(m->vm), vm_dirty(m->vm),
			       &observer, &report, &err);
	else
		connect_failed(m, &report, rc, &err);
	pthread_mutex_lock(&m->lock);
	m->transport = NULL;
	pthread_mutex_unlock(&m->lock);
	transport_destroy(t);
	blame_guest(m, &report);
	conclude(m, &report);
	machine_migration_thread_ended(m);
	return NULL;
}

/* Takes the machine for a migration; from here on no other one can start. */
static int reserve(struct machine *m, const struct machine_migrate_params *params, struct err *err)
{
	eventfd_t left_over;
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = machine_guard(m, STATE_BIT(MACHINE_RUNNING) | STATE_BIT(MACHINE_PAUSED), "migrate",
			   err);
	if (!rc && m->migrating)
		rc = err_set(err, -EBUSY, "cannot migrate: a migration to %s is under way",
			     m->migrate.to);
	if (!rc && m->measuring)
		rc = err_set(
			err, -EBUSY,
			"cannot migrate: the dirty rate is being measured; try again when that is over, or cancel it");
	if (!rc) {
		m->migrating = true;
		m->migrate = *params;
		m->migrate.send.cancel = &m->cancel;
		m->migrate.send.max_downtime_ns = &m->max_downtime_ns;
		atomic_store(&m->max_downtime_ns, params->send.policy.max_downtime_ns);
		atomic_store(&m->cancel, false);
		(void)eventfd_read(m->peer_cancel_fd, &left_over);
		memset(&m->report, 0, sizeof(m->report));
		mig_report_tracking(&m->report, vm_dirty(m->vm));
		m->report.compress = "";
		m->have_report = true;
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_migrate(struct machine *m, const struct machine_migrate_params *params, struct err *err)
{
	int rc = reserve(m, params, err);

	if (rc)
		return rc;
	rc = machine_start_thread(m, send_thread);
	if (!rc)
		return 0;
	pthread_mutex_lock(&m->lock);
	m->migrating = false;
	m->report.result = MIG_FAILED;
	snprintf(m->report.reason, sizeof(m->report.reason), "no thread for the migration");
	pthread_mutex_unlock(&m->lock);
	return err_sys(err, rc, "starting the migration's thread");
}

int machine_migrate_cancel(struct machine *m, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->migrating)
		rc = err_set(err, -EBUSY, "no migration is under way");
	else if (m->committed)
		rc = err_set(err, -EBUSY,
			     "too late to cancel: the VM is being handed over to its destination");
	else {
		atomic_store(&m->cancel, true);
		(void)eventfd_write(m->peer_cancel_fd, 1);
		if (m->transport)
			transport_cancel(m->transport);
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_set_max_downtime(struct machine *m, uint64_t ns, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->migrating)
		rc = err_set(err, -EBUSY, "no migration is under way");
	else
		atomic_store(&m->max_downtime_ns, ns);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_migration_report(struct machine *m, struct mig_report *ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->have_report)
		*ret = m->report;
	else
		rc = err_set(err, -ENOENT, "no migration was started");
	pthread_mutex_unlock(&m->lock);
	return rc;
}
