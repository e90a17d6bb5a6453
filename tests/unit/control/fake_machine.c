/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_machine.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "machine/devices.h"
#include "machine/dirty_rate.h"

struct machine {
	pthread_mutex_t lock;
	struct machine_info info;
	struct machine_sink sink;
	struct mig_report report;
	struct dirty_rate_report rate;
	bool rated;
	bool reported;
	bool cancel;
	unsigned int nrounds; /* of the script */
	char script[16];
	pthread_t thread;
	bool threaded;
	int end_fd;
	uint64_t balloon_pages;
};

const char *machine_state_name(enum machine_state s)
{
	static const char *const names[] = { "receiving", "running", "paused",
					     "migrated",  "unknown", "stopped" };

	return s < MACHINE_STATE_COUNT ? names[s] : "invalid";
}

struct machine *fake_machine_create(const char *name, const char *kernel, enum machine_state state)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	pthread_mutex_init(&m->lock, NULL);
	snprintf(m->info.name, sizeof(m->info.name), "%s", name);
	m->info.state = state;
	m->info.ncpus = 2;
	m->info.ram_bytes = 2ULL << 30;
	m->info.pid = getpid();
	m->info.uptime_ns = 12345678901;
	m->info.kernel = kernel;
	m->info.console = "stdio";
	m->info.dirty_asked = "auto";
	m->info.dirty_backend = "manual";
	snprintf(m->info.dirty_reason, sizeof(m->info.dirty_reason), "it has split rearm");
	m->info.dirty_accel_asked = "auto";
	m->info.dirty_accel = "none";
	snprintf(m->info.dirty_accel_reason, sizeof(m->info.dirty_accel_reason), "no such CPU");
	if (state == MACHINE_RECEIVING)
		snprintf(m->info.listen, sizeof(m->info.listen), "127.0.0.1:35123");
	m->end_fd = eventfd(0, EFD_CLOEXEC);
	return m;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	if (m->threaded) {
		pthread_mutex_lock(&m->lock);
		m->cancel = true;
		pthread_mutex_unlock(&m->lock);
		pthread_join(m->thread, NULL);
	}
	pthread_mutex_destroy(&m->lock);
	close(m->end_fd);
	free(m);
}

void machine_set_sink(struct machine *m, const struct machine_sink *sink)
{
	m->sink = *sink;
}

static void emit(struct machine *m, const struct machine_event *ev)
{
	if (m->sink.event)
		m->sink.event(m->sink.opaque, ev);
}

/* With the lock held. */
static void set_state(struct machine *m, enum machine_state state, const char *reason)
{
	m->info.state = state;
	snprintf(m->info.stop_reason, sizeof(m->info.stop_reason), "%s", reason);
	emit(m, &(struct machine_event){
			.type = MACHINE_EV_STATE, .state = state, .reason = m->info.stop_reason });
	if (state == MACHINE_STOPPED || state == MACHINE_MIGRATED)
		eventfd_write(m->end_fd, 1);
}

static int wrong_state(const struct machine *m, const char *what, struct err *err)
{
	return err_set(err, -EBUSY, "cannot %s: the VM is %s", what,
		       machine_state_name(m->info.state));
}

void machine_get_info(struct machine *m, struct machine_info *ret)
{
	pthread_mutex_lock(&m->lock);
	*ret = m->info;
	pthread_mutex_unlock(&m->lock);
}

static int change(struct machine *m, bool allowed, enum machine_state to, const char *what,
		  const char *reason, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (allowed)
		set_state(m, to, reason);
	else
		rc = wrong_state(m, what, err);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_pause(struct machine *m, struct err *err)
{
	return change(m, m->info.state == MACHINE_RUNNING, MACHINE_PAUSED, "pause", "", err);
}

int machine_resume(struct machine *m, bool force, struct err *err)
{
	bool allowed =
		m->info.state == MACHINE_PAUSED || (force && m->info.state == MACHINE_UNKNOWN);

	return change(m, allowed, MACHINE_RUNNING, "resume", "", err);
}

/* A guest whose kernel is called deaf has a power button, and does nothing about it. */
int machine_power_button(struct machine *m, struct err *err)
{
	if (!strcmp(m->info.kernel, "built-in guest"))
		return err_set(err, -EOPNOTSUPP, "the built-in guest has no power button");
	if (!strcmp(m->info.kernel, "deaf"))
		return 0;
	return change(m, m->info.state == MACHINE_RUNNING, MACHINE_STOPPED,
		      "press the power button", "guest powered off", err);
}

int machine_stop(struct machine *m, const char *reason, struct err *err)
{
	return change(m, m->info.state != MACHINE_STOPPED, MACHINE_STOPPED, "stop", reason, err);
}

static struct mig_round make_round(unsigned int number, bool last)
{
	return (struct mig_round){
		.number = number,
		.last = last,
		.duration_ns = 500 * NS_PER_MS / number,
		.pages = 100000 / number,
		.zero_pages = 400000 / number,
		.zpages = 1000,
		.bytes = 410000000 / number,
		.saved_bytes = 3000000,
		.compress_ns = 20 * NS_PER_MS,
		.blocked_ns = 30 * NS_PER_MS,
		.collect_ns = 13000,
		.rearm_ns = 9 * NS_PER_MS,
		.dirty_pages = last ? 0 : 20000 / number,
		.dirty_pages_per_s = last ? 0 : 100000.5,
		.bytes_per_s = 820000000.25,
		.predicted_downtime_ns = last ? 0 : 14 * NS_PER_MS,
		.compress_on = true,
		.exits = { .exits_known = !last,
			   .faults_known = !last,
			   .exits = 25000,
			   .faults = 20000 / number },
	};
}

static void one_round(struct machine *m, bool last)
{
	unsigned int number = ++m->report.nrounds;
	struct mig_round r = make_round(number, last);
	struct mig_progress p = {
		.round = number,
		.sent_bytes = 205000000,
		.left_pages = 50000,
		.bytes_per_s = 820000000,
		.dirty_pages_per_s = 100000,
		.predicted_downtime_ns = 14 * NS_PER_MS,
		.elapsed_ns = number * 250 * NS_PER_MS,
	};

	m->report.round[MIN(number - 1, MIG_MAX_ROUNDS - 1)] = r;
	m->report.bytes_sent += r.bytes;
	m->report.pages_dirtied += r.dirty_pages;
	emit(m, &(struct machine_event){ .type = MACHINE_EV_PROGRESS, .progress = &p });
	emit(m, &(struct machine_event){ .type = MACHINE_EV_ROUND, .round = &r });
}

static void finish(struct machine *m, enum mig_result result, const char *reason)
{
	m->report.result = result;
	snprintf(m->report.reason, sizeof(m->report.reason), "%s", reason);
	m->report.total_ns = 1234 * NS_PER_MS;
	m->report.setup_ns = 2 * NS_PER_MS;
	m->report.cpu_ns = 700 * NS_PER_MS;
	m->report.exits = (struct mig_exits){ .exits_known = true, .exits = 30000 };
	snprintf(m->report.exits_reason, sizeof(m->report.exits_reason), "faults are not counted");
	m->report.predicted_downtime_ns = 14 * NS_PER_MS;
	if (result == MIG_COMPLETED)
		m->report.downtime = (struct mig_downtime){
			.pause_ns = 100000,
			.collect_ns = 20000,
			.memory_ns = 7000000,
			.save_ns = 300000,
			.send_ns = 1200000,
			.restore_ns = 900000,
			.resume_ns = 150000,
			.commit_ns = 200000,
			.total_ns = 10000000,
		};
	m->info.migrating = false;
	emit(m, &(struct machine_event){ .type = MACHINE_EV_MIGRATION_DONE, .report = &m->report });
	if (result == MIG_COMPLETED)
		set_state(m, MACHINE_MIGRATED, "migrated");
	else if (result == MIG_OUTCOME_UNKNOWN)
		set_state(m, MACHINE_UNKNOWN, reason);
}

static void *migrate(void *opaque)
{
	struct machine *m = opaque;
	bool ok, going = true;

	pthread_mutex_lock(&m->lock);
	ok = !strcmp(m->script, "ok") || !strcmp(m->script, "many");
	while (going && !m->cancel) {
		one_round(m, ok && m->report.nrounds + 1 == m->nrounds);
		going = !strcmp(m->script, "wait") || m->report.nrounds < m->nrounds;
		pthread_mutex_unlock(&m->lock);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
		pthread_mutex_lock(&m->lock);
	}
	if (!strcmp(m->script, "die"))
		_exit(9);
	if (m->cancel)
		finish(m, MIG_CANCELLED, "cancelled");
	else if (!strcmp(m->script, "fail"))
		finish(m, MIG_FAILED, "the destination closed the connection");
	else if (!strcmp(m->script, "unknown"))
		finish(m, MIG_OUTCOME_UNKNOWN, "no answer to the commit");
	else
		finish(m, MIG_COMPLETED, "");
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static bool script_known(const char *to, struct machine *m)
{
	static const char *const scripts[] = { "ok", "many", "fail", "wait", "unknown", "die" };
	const char *colon = strchr(to, ':');

	for (size_t i = 0; colon && i < ARRAY_LEN(scripts); i++) {
		if (strlen(scripts[i]) != (size_t)(colon - to) ||
		    strncmp(scripts[i], to, strlen(scripts[i])))
			continue;
		snprintf(m->script, sizeof(m->script), "%s", scripts[i]);
		m->nrounds = !strcmp(m->script, "many") ? (unsigned int)atoi(colon + 1) :
			     !strcmp(m->script, "ok")   ? 2 :
							  1;
		return true;
	}
	return false;
}

int machine_migrate(struct machine *m, const struct machine_migrate_params *params, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->info.migrating)
		rc = err_set(err, -EBUSY, "cannot migrate: a migration is under way");
	else if (m->info.state != MACHINE_RUNNING && m->info.state != MACHINE_PAUSED)
		rc = wrong_state(m, "migrate", err);
	else if (!script_known(params->to, m))
		rc = err_set(err, -EINVAL, "to: \"%s\" is not HOST:PORT", params->to);
	if (!rc) {
		if (m->threaded)
			pthread_join(m->thread, NULL);
		m->info.migrating = m->threaded = m->reported = true;
		m->cancel = false;
		m->report = (struct mig_report){
			.result = MIG_RUNNING,
			.max_downtime_ns = params->send.policy.max_downtime_ns,
			.npages = 524288,
			.dirty_backend = "manual",
			.dirty_accel_asked = "auto",
			.dirty_accel = "none",
			.dirty_accel_reason = "no such CPU",
			.compress = params->send.compress == MIG_COMPRESS_NONE ? "none" : "auto"
		};
		pthread_create(&m->thread, NULL, migrate, m);
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_migrate_cancel(struct machine *m, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->info.migrating)
		m->cancel = true;
	else
		rc = err_set(err, -EBUSY, "no migration is under way");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_set_max_downtime(struct machine *m, uint64_t ns, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->info.migrating)
		m->report.max_downtime_ns = ns;
	else
		rc = err_set(err, -EBUSY, "no migration is under way");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_migration_report(struct machine *m, struct mig_report *ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->reported)
		*ret = m->report;
	else
		rc = err_set(err, -ENOENT, "there was no migration");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static void rate_done(struct machine *m, enum dirty_rate_result result)
{
	struct dirty_rate_report *r = &m->rate;

	r->result = result;
	r->nintervals = 10;
	r->measured_ns = NS_PER_S;
	r->pages_per_s = (struct dirty_rate_spread){ 20000, 19000, 21000, 20100.5 };
	r->pages_dirtied = 20000;
	r->working_set_pages = 4100;
	r->hot_set_known = true;
	r->hot_set_pages = 4096;
	r->npoints = 2;
	r->point[0] = (struct dirty_rate_point){ 1, 10, 100 * NS_PER_MS, 2000, 2100 };
	r->point[1] = (struct dirty_rate_point){ 10, 1, NS_PER_S, 4100, 4100 };
	r->start_ns = r->arm_ns = r->stop_ns = 100000;
	r->collect_ns = (struct dirty_rate_spread){ 13000, 12000, 14000, 13000 };
	r->rearm_ns = (struct dirty_rate_spread){ 50000, 0, 60000, 50000 };
	r->exits = (struct mig_exits){ .exits_known = true, .exits = 22000 };
	snprintf(r->exits_reason, sizeof(r->exits_reason), "faults are not counted");
	r->first_round_pages = 65536;
	r->fixed_ns = 5 * NS_PER_MS;
	r->npredictions = 2;
	r->prediction[0] = (struct dirty_rate_prediction){ .bandwidth = 125000000,
							   .converges = true,
							   .rounds = 3,
							   .total_ns = 2300 * NS_PER_MS,
							   .downtime_ns = 70 * NS_PER_MS,
							   .bytes = 285000000,
							   .reason = "so it is" };
	r->prediction[1] = (struct dirty_rate_prediction){ .bandwidth = 1250000,
							   .rounds = 30,
							   .total_ns = 99 * NS_PER_S,
							   .bytes = 123,
							   .reason = "rounds stopped shrinking" };
	m->info.measuring = false;
	emit(m, &(struct machine_event){ .type = MACHINE_EV_DIRTY_RATE_DONE, .dirty_rate = r });
}

/* What is to last longer than a second lasts until it is cancelled, and with the name of a trace that ends in /die the process ends instead. */
int machine_dirty_rate(struct machine *m, const struct machine_dirty_rate_params *params,
		       struct err *err)
{
	size_t len = strlen(params->trace);
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->info.migrating || m->info.measuring)
		rc = err_set(err, -EBUSY, "cannot measure the dirty rate: busy");
	else if (m->info.state != MACHINE_RUNNING && m->info.state != MACHINE_PAUSED)
		rc = wrong_state(m, "measure the dirty rate", err);
	if (!rc) {
		if (len > 4 && !strcmp(params->trace + len - 4, "/die"))
			_exit(9);
		m->info.measuring = m->rated = true;
		m->rate = (struct dirty_rate_report){ .asked = *params,
						      .npages = 524288,
						      .dirty_backend = "manual",
						      .dirty_accel_asked = "auto",
						      .dirty_accel = "none",
						      .dirty_accel_reason = "no such CPU" };
		if (params->for_ns <= NS_PER_S)
			rate_done(m, DIRTY_RATE_COMPLETED);
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_dirty_rate_cancel(struct machine *m, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->info.measuring)
		rate_done(m, DIRTY_RATE_CANCELLED);
	else
		rc = err_set(err, -EBUSY, "no measurement is under way");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_dirty_rate_report(struct machine *m, struct dirty_rate_report *ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->rated)
		*ret = m->rate;
	else
		rc = err_set(err, -ENOENT, "no dirty rate was measured");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_counters(struct machine *m, void (*fn)(void *opaque, const char *name, uint64_t value),
		     void *opaque, struct err *err)
{
	fn(opaque, "exits", 1234);
	fn(opaque, "serial.bytes_out", 77);
	return 0;
}

int machine_vcpu_counters(struct machine *m, unsigned int index,
			  void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque,
			  struct err *err)
{
	fn(opaque, "exits", 1000 + index);
	return 0;
}

int machine_end_fd(struct machine *m)
{
	return m->end_fd;
}

int machine_exit_status(struct machine *m)
{
	return 0;
}

/* A disk, a console with two ports, and a balloon of whatever size. */
int machine_device_info(struct machine *m, unsigned int index, struct machine_device_info *ret,
			void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque)
{
	static const struct machine_device_info devices[] = {
		{ .kind = "blk", .id = "disk0", .local = "/d.img", .slot = 1 },
		{ .kind = "console", .id = "console0", .local = "/dev/pts/7", .slot = 2 },
	};

	(void)m;
	if (index >= ARRAY_LEN(devices))
		return -ENOENT;
	*ret = devices[index];
	fn(opaque, "requests", 5 + index);
	return 0;
}

int machine_device_port(struct machine *m, unsigned int index, unsigned int port,
			struct machine_port_info *ret)
{
	static const struct machine_port_info ports[] = {
		{ .id = "console0", .local = "/dev/pts/7" },
		{ .id = "console1", .name = "agent", .local = "unix:/a.sock" },
	};

	(void)m;
	if (index != 1 || port >= ARRAY_LEN(ports))
		return -ENOENT;
	*ret = ports[port];
	return 0;
}

int machine_balloon_resize(struct machine *m, uint64_t bytes, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->info.state == MACHINE_RUNNING)
		m->balloon_pages = bytes / GMEM_PAGE_SIZE;
	else
		rc = wrong_state(m, "resize the balloon", err);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* The guest answers once the balloon has a size; a machine that is not there yet has none. */
int machine_balloon_stats(struct machine *m, struct balloon_stats *ret, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (m->info.state == MACHINE_RECEIVING)
		rc = err_set(err, -EOPNOTSUPP, "the VM has no balloon");
	else
		*ret = (struct balloon_stats){ .target_pages = m->balloon_pages,
					       .actual_pages = m->balloon_pages,
					       .known = m->balloon_pages > 0,
					       .free_bytes = 4096,
					       .total_bytes = 2ULL << 30 };
	pthread_mutex_unlock(&m->lock);
	return rc;
}
