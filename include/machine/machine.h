/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migration/migration.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"

/*
 * A whole VM: memory, vCPUs, devices, console, migration. The one place that knows every layer. All functions may be called from any thread; the machine
 * serialises them with its own lock, and none blocks for long (a migration runs on a thread of its own).
 */
struct machine;
struct loop;
struct dirty_rate_report; /* machine/dirty_rate.h */
struct machine_devices; /* machine/devices.h */

#define MACHINE_NAME_MAX 63
#define MACHINE_CMDLINE_MAX 2047

struct machine_config {
	char name[MACHINE_NAME_MAX + 1]; /* [A-Za-z0-9._-], not starting with . or - */
	unsigned int ncpus;
	uint64_t ram_bytes;
	enum gmem_backing backing;
	uint64_t hugepage_bytes;
	enum dirty_kind dirty;
	uint32_t ring_entries;
	struct dirty_accel_ask dirty_accel;
	const char *kernel_path; /* NULL: the built-in guest */
	const char *initrd_path;
	const char *cmdline;
	const char *console; /* tty spec */
	const char *pin;
	bool paused; /* do not run after boot */
	const struct machine_devices
		*devices; /* settled; NULL: none. Receiver: what the VM's devices are called here */
	bool mapped_only; /* receiver: no disk, interface or socket but those in devices */
	const char *record; /* receiver: file that the incoming stream is written to, or NULL */
};

enum machine_state {
	MACHINE_RECEIVING, /* waiting for or taking an incoming VM */
	MACHINE_RUNNING,
	MACHINE_PAUSED,
	MACHINE_MIGRATED, /* runs elsewhere now; this process ends */
	MACHINE_UNKNOWN, /* COMMIT sent, no answer: paused; only `stop` or an explicit `resume --force` end it */
	MACHINE_STOPPED, /* powered off, reset, crashed or stopped */
	MACHINE_STATE_COUNT
};
const char *machine_state_name(enum machine_state s); /* "running", ... */

struct machine_info {
	char name[MACHINE_NAME_MAX + 1];
	enum machine_state state;
	bool migrating;
	bool measuring; /* its dirty rate */
	unsigned int ncpus;
	uint64_t ram_bytes;
	int pid;
	uint64_t uptime_ns; /* of this process's VM */
	const char *kernel; /* path or "built-in guest" */
	const char *console; /* spec; pty path where there is one */
	const char *dirty_asked; /* "auto" */
	const char *dirty_backend; /* "manual" */
	char dirty_reason[160];
	const char *dirty_accel_asked; /* "auto" */
	const char *dirty_accel; /* "intel-pml", "none"; see struct dirty_accel */
	char dirty_accel_reason[160];
	char listen[80]; /* receiving: "127.0.0.1:35123", else "" */
	char stop_reason[256]; /* stopped: why */
};

struct machine_migrate_params {
	char to[256]; /* HOST:PORT */
	struct mig_send_params send; /* cancel is the machine's */
};

/* What happened; delivered to the one sink, on the thread where it happened, in order; must not block or call the machine. */
enum machine_event_type {
	MACHINE_EV_STATE,
	MACHINE_EV_PROGRESS,
	MACHINE_EV_ROUND,
	MACHINE_EV_MIGRATION_DONE,
	MACHINE_EV_DIRTY_RATE_DONE
};
struct machine_event {
	enum machine_event_type type;
	enum machine_state state; /* STATE */
	const char *reason; /* STATE: "guest powered off", "" */
	const struct mig_progress *progress;
	const struct mig_round *round;
	const struct mig_report *report; /* MIGRATION_DONE */
	const struct dirty_rate_report *dirty_rate; /* DIRTY_RATE_DONE */
};
struct machine_sink {
	void (*event)(void *opaque, const struct machine_event *ev);
	void *opaque;
};

/* Builds and boots a VM. @loop drives console input. */
int machine_create(const struct machine_config *config, struct loop *loop, struct machine **ret,
		   struct err *err);
/* A machine that waits for an incoming VM on @listen and takes over everything but name, console and dirty backend from the stream. The
 * socket is bound when this returns. If it fails later the state becomes STOPPED with the reason. */
int machine_create_receiver(const struct machine_config *config, const char *listen,
			    struct loop *loop, struct machine **ret, struct err *err);
void machine_destroy(struct machine *m);
/* Once, before anything runs. */
void machine_set_sink(struct machine *m, const struct machine_sink *sink);
/* Starts the vCPUs (unless config.paused) or the receiving thread. */
int machine_start(struct machine *m, struct err *err);

void machine_get_info(struct machine *m, struct machine_info *ret);
/* -EBUSY with the state named when the state does not allow it. */
int machine_pause(struct machine *m, struct err *err);
int machine_resume(struct machine *m, bool force,
		   struct err *err); /* force: leave MACHINE_UNKNOWN */
int machine_power_button(struct machine *m, struct err *err);
int machine_stop(struct machine *m, const char *reason,
		 struct err *err); /* ends the VM now; cancels a migration first */
int machine_migrate(struct machine *m, const struct machine_migrate_params *params,
		    struct err *err); /* starts it */
int machine_migrate_cancel(struct machine *m, struct err *err);
int machine_set_max_downtime(struct machine *m, uint64_t ns,
			     struct err *err); /* of the migration under way */
/* Last report (or of the one under way, result MIG_RUNNING); -ENOENT when there was none. */
int machine_migration_report(struct machine *m, struct mig_report *ret, struct err *err);
int machine_counters(struct machine *m, void (*fn)(void *opaque, const char *name, uint64_t value),
		     void *opaque, struct err *err);
/* Of vCPU @index, from 0; machine_info has how many there are. */
int machine_vcpu_counters(struct machine *m, unsigned int index,
			  void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque,
			  struct err *err);
/* An eventfd that becomes readable when the state is STOPPED or MIGRATED; the main loop ends then. 0: clean end, else the exit status for the process. */
int machine_end_fd(struct machine *m);
int machine_exit_status(struct machine *m);
/* The guest asked for a reset: whoever built the machine may build it again from the same configuration. */
bool machine_wants_reboot(struct machine *m);

/* Names and sizes of a configuration; one line naming the option. Called by machine_create; the command line calls it early. */
int machine_config_check(const struct machine_config *config, struct err *err);
/* Names of VMs and devices: letters, digits, '.', '_' and '-', not starting with '.' or '-'. */
bool machine_name_is_valid(const char *name);
/* Text that is shown to people: nothing in it moves their terminal's cursor. */
bool machine_text_is_plain(const char *s);

#endif
