/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/num.h"
#include "internal.h"
#include "io/loop.h"

/*
 * The states of a machine and who may do what in which:
 *
 *   RECEIVING --start--> RUNNING <--pause/resume--> PAUSED
 *   RUNNING, PAUSED --migrated--> MIGRATED      --no answer after COMMIT--> UNKNOWN --resume --force--> RUNNING
 *   any --stop, guest's end, failed reception--> STOPPED
 */
static const char *const state_names[MACHINE_STATE_COUNT] = {
	[MACHINE_RECEIVING] = "receiving", [MACHINE_RUNNING] = "running",
	[MACHINE_PAUSED] = "paused",       [MACHINE_MIGRATED] = "migrated",
	[MACHINE_UNKNOWN] = "unknown",     [MACHINE_STOPPED] = "stopped",
};

const char *machine_state_name(enum machine_state s)
{
	return s < MACHINE_STATE_COUNT ? state_names[s] : "invalid";
}

int machine_guard(struct machine *m, unsigned int allowed_states, const char *what, struct err *err)
{
	if (m->committed && m->state != MACHINE_UNKNOWN)
		return err_set(err, -EBUSY,
			       "cannot %s: the VM is being handed over to its destination", what);
	if (!(allowed_states & STATE_BIT(m->state)))
		return err_set(err, -EBUSY, "cannot %s: the VM is %s", what,
			       machine_state_name(m->state));
	return 0;
}

/* Waits out the moment for which a migration stops the vCPUs at its start; a switch-over takes longer and says so. CLOCK_MONOTONIC. */
#define MIG_PAUSE_WAIT_NS (200 * NS_PER_MS)

int machine_guard_vcpus(struct machine *m, unsigned int allowed_states, const char *what,
			struct err *err)
{
	uint64_t until = clock_mono_ns() + MIG_PAUSE_WAIT_NS;
	struct timespec ts = { .tv_sec = (time_t)(until / NS_PER_S),
			       .tv_nsec = (long)(until % NS_PER_S) };
	int rc = 0;

	while (!rc && m->mig_paused && !m->committed)
		rc = pthread_cond_clockwait(&m->mig_resumed, &m->lock, CLOCK_MONOTONIC, &ts);
	if (m->mig_paused && !m->committed)
		return err_set(
			err, -EBUSY,
			"cannot %s: the VM stands still for its migration; try again when that is over, or cancel it",
			what);
	return machine_guard(m, allowed_states, what, err);
}

void machine_emit_state(struct machine *m, enum machine_state state, const char *reason)
{
	const struct machine_event ev = { .type = MACHINE_EV_STATE,
					  .state = state,
					  .reason = reason };

	if (m->sink.event)
		m->sink.event(m->sink.opaque, &ev);
}

void machine_end(struct machine *m, enum machine_state state, int exit_status, const char *fmt, ...)
{
	struct err ignored;
	char reason[sizeof(m->stop_reason)];
	bool first;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);

	pthread_mutex_lock(&m->lock);
	first = m->state != MACHINE_STOPPED && m->state != MACHINE_MIGRATED;
	if (first) {
		m->state = state;
		m->exit_status = exit_status;
		memcpy(m->stop_reason, reason, sizeof(reason));
		if (m->vm)
			(void)vm_pause(m->vm, &ignored);
		machine_end_measurement(m);
	}
	pthread_mutex_unlock(&m->lock);
	if (!first)
		return;
	machine_emit_state(m, state, reason);
	(void)eventfd_write(m->end_fd, 1);
}

/* As long as vm_pause gives the vCPUs. */
#define DEVICES_PAUSE_NS (5 * NS_PER_S)

int machine_halt(struct machine *m, struct err *err)
{
	bool ran = !vm_is_paused(m->vm);
	struct err why;
	int rc = vm_pause(m->vm, err);

	if (rc)
		return rc;
	rc = device_set_pause(m->devices, clock_mono_ns() + DEVICES_PAUSE_NS, err);
	if (rc && ran && vm_resume(m->vm, &why))
		err_prefix(err, "the vCPUs stand still (%s), but", why.msg);
	return rc;
}

/* vCPUs before devices: theirs is the step that may fail. What they kick meanwhile is kept in the eventfds. */
int machine_go(struct machine *m, struct err *err)
{
	int rc = device_set_take(m->devices, err);

	if (!rc)
		rc = vm_resume(m->vm, err);
	if (!rc)
		device_set_resume(m->devices);
	return rc;
}

int machine_pause(struct machine *m, struct err *err)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = machine_guard_vcpus(m, STATE_BIT(MACHINE_RUNNING) | STATE_BIT(MACHINE_PAUSED), "pause",
				 err);
	if (!rc)
		rc = machine_halt(m, err);
	if (!rc) {
		m->user_paused = true;
		m->state = MACHINE_PAUSED;
	}
	pthread_mutex_unlock(&m->lock);
	if (!rc)
		machine_emit_state(m, MACHINE_PAUSED, "");
	return rc;
}

int machine_resume(struct machine *m, bool force, struct err *err)
{
	unsigned int allowed = STATE_BIT(MACHINE_RUNNING) | STATE_BIT(MACHINE_PAUSED) |
			       (force ? STATE_BIT(MACHINE_UNKNOWN) : 0);
	int rc;

	pthread_mutex_lock(&m->lock);
	if (m->state == MACHINE_UNKNOWN && !force)
		rc = err_set(
			err, -EBUSY,
			"cannot resume: the destination may run this VM; look there first, then resume with --force here or stop the VM here");
	else
		rc = machine_guard_vcpus(m, allowed, "resume", err);
	/* After a migration: a disk that the other side has open says who runs the VM. */
	if (!rc && device_set_take(m->devices, err))
		rc = -EBUSY;
	if (!rc) {
		m->committed = false;
		m->mig_paused = false;
		machine_open_input(m, true);
		rc = machine_go(m, err);
	}
	if (!rc) {
		m->user_paused = false;
		m->state = MACHINE_RUNNING;
	}
	pthread_mutex_unlock(&m->lock);
	if (!rc)
		machine_emit_state(m, MACHINE_RUNNING, "");
	return rc;
}

int machine_power_button(struct machine *m, struct err *err)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = machine_guard_vcpus(m, STATE_BIT(MACHINE_RUNNING), "press the power button", err);
	if (!rc && !m->config.kernel_path)
		rc = err_set(err, -EOPNOTSUPP, "the built-in guest has no power button");
	pthread_mutex_unlock(&m->lock);
	if (!rc)
		machine_press_button(m);
	return rc;
}

int machine_stop(struct machine *m, const char *reason, struct err *err)
{
	bool wait_for_migration;

	pthread_mutex_lock(&m->lock);
	if (m->committed && m->state != MACHINE_UNKNOWN) {
		pthread_mutex_unlock(&m->lock);
		return err_set(err, -EBUSY,
			       "cannot stop: the VM is being handed over to its destination");
	}
	wait_for_migration = m->migrating || m->state == MACHINE_RECEIVING;
	if (wait_for_migration) {
		m->stop_after = true;
		snprintf(m->stop_reason, sizeof(m->stop_reason), "%s", reason);
		atomic_store(&m->cancel, true);
		(void)eventfd_write(m->peer_cancel_fd, 1);
		/* A source that has handed over must hear a refusal, not a broken connection: COMMIT is answered with it, and soon. */
		if (m->transport && !m->loaded)
			transport_cancel(m->transport);
	}
	pthread_mutex_unlock(&m->lock);
	if (!wait_for_migration)
		machine_end(m, MACHINE_STOPPED, 0, "%s", reason);
	return 0;
}

int machine_start_thread(struct machine *m, void *(*fn)(void *opaque))
{
	int rc;

	/* Without the lock: the one before may need it for its last steps. */
	if (m->thread_valid)
		pthread_join(m->thread, NULL);
	rc = -pthread_create(&m->thread, NULL, fn, m);
	m->thread_valid = !rc;
	return rc;
}

/* The thread of a migration is through with the machine but for what a stop in between left to do. */
void machine_migration_thread_ended(struct machine *m)
{
	char reason[sizeof(m->stop_reason)];
	bool stop;

	pthread_mutex_lock(&m->lock);
	stop = m->stop_after && m->state != MACHINE_MIGRATED && m->state != MACHINE_UNKNOWN;
	memcpy(reason, m->stop_reason, sizeof(reason));
	pthread_mutex_unlock(&m->lock);
	if (stop)
		machine_end(m, MACHINE_STOPPED, 0, "%s", reason);
	else if (atomic_load(&m->guest_end) != GUEST_RUNS)
		(void)eventfd_write(m->guest_fd, 1); /* it ended while the migration had the VM */
}

/* Loop thread: the guest ended by itself, or somebody at a console ends it. */
void machine_on_guest_end(void *opaque, int fd, uint32_t events)
{
	static const int status[] = {
		[GUEST_OFF] = 0, [GUEST_RESET] = 0, [GUEST_CRASHED] = 3, [GUEST_ERROR] = 4
	};
	struct machine *m = opaque;
	enum guest_end how;
	eventfd_t count;
	bool migrating;

	(void)events;
	(void)eventfd_read(fd, &count);
	how = atomic_load(&m->guest_end); /* behind the read: what comes now wakes us again */
	if (atomic_exchange(&m->quit_asked, false))
		(void)machine_stop(m, "quit from the console", NULL);
	if (how == GUEST_RUNS)
		return;
	pthread_mutex_lock(&m->lock);
	migrating = m->migrating;
	if (migrating) {
		/* The migration finds out by itself: pausing for the switch fails, or the destination was told nothing yet. */
		atomic_store(&m->cancel, true);
	} else if (how == GUEST_RESET && m->state != MACHINE_RECEIVING) {
		m->wants_reboot = true;
	}
	pthread_mutex_unlock(&m->lock);
	if (!migrating)
		machine_end(m, MACHINE_STOPPED, status[how], "%s", m->guest_text);
}
