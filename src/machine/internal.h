/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "device_set.h"
#include "devices/bus.h"
#include "devices/device.h"
#include "devices/genid.h"
#include "machine/dirty_rate.h"
#include "machine/machine.h"
#include "vmm/vm.h"

/*
 * The machine's insides (private to src/machine). machine.c puts it together, lifecycle.c holds the states, migrate_out.c and migrate_in.c
 * are the two sides of a migration, dirtyrate.c measures without one, config.c the checks of options.
 *
 * One lock guards all fields below it; it is held over calls into the VM that stop or continue vCPUs, never over a call of the sink, a thread join or
 * the network. vCPU threads never take it: they leave a note in @guest_end and wake the main loop.
 */
#define MACHINE_MAX_STATE STATE_MAX_SECTIONS
/* Besides the VM's: serial, power, gpio, rtc, run, and virtio devices. */
#define MACHINE_OWN_STATE (5 + DEVICE_SET_MAX_STATE)

enum guest_end { GUEST_RUNS, GUEST_OFF, GUEST_RESET, GUEST_CRASHED, GUEST_ERROR };

struct trace_writer;

struct machine {
	/* Fixed once built. */
	struct machine_config config; /* strings are the copies below */
	char *strings
		[6]; /* kernel, initrd, cmdline, console, pin, record: copies, any may be NULL */
	struct machine_devices *asked_devices; /* a copy too; NULL: none */
	struct loop *loop;
	struct machine_sink sink;
	uint64_t created_ns;
	int end_fd;
	int guest_fd; /* vCPU thread, or a console's -> loop: @guest_end or @quit_asked was set */

	struct bus pio, mmio;
	struct tty *tty;
	struct serial *serial;
	struct power *power; /* NULL where the platform has none */
	struct pl061 *gpio; /* the same */
	struct genid *genid; /* NULL without devices */
	struct rtc *rtc; /* the same */
	int rtc_fd; /* its alarm */
	struct vm *vm; /* receiver: NULL until CONFIG was accepted */
	struct device_set *devices; /* made and dropped with the VM; NULL: it has none */
	struct state_entry *entries;
	unsigned int nentries;

	struct tcp_listener *listener;
	int peer_cancel_fd; /* ends waiting for a connection, as receiver and as source */
	int record_fd;

	_Atomic(enum guest_end) guest_end;
	char guest_text[128]; /* written before guest_end is set, read after */
	atomic_bool quit_asked; /* from a console */

	/* Keys reach the serial port, and alarms the clock, only while its state is nobody's business but the guest's: not before the VM is here, not once a migration may have captured it. */
	pthread_mutex_t input_lock; /* taken after @lock, never around it */
	bool input_open;

	pthread_mutex_t lock;
	enum machine_state state;
	bool user_paused; /* wanted by the user, whatever the migration does in between */
	bool migrating;
	bool mig_paused; /* the migration has stopped the vCPUs, perhaps captured them: nobody else lets them run or changes a device */
	pthread_cond_t mig_resumed; /* mig_paused has become false */
	bool committed; /* COMMIT is out: the VM must not run here */
	bool loaded; /* receiver: READY is out or about to be, and COMMIT may be on its way */
	bool stop_after; /* stop as soon as the migration under way has ended */
	char stop_reason[256];
	int exit_status;
	bool wants_reboot;
	char listen[80];
	char kernel_name[256];

	pthread_t thread; /* migration out, or in, or measurement: one at a time */
	bool thread_valid;
	struct transport *transport; /* of the migration under way */
	struct machine_migrate_params migrate;
	atomic_bool cancel;
	atomic_uint_least64_t max_downtime_ns;
	struct mig_report report;
	bool have_report;

	bool measuring; /* the dirty rate; shares @cancel and @thread with migrations, and their log */
	pthread_cond_t rate_wake; /* a measurement has to end */
	struct trace_writer *rate_trace; /* on its way to the thread */
	struct dirty_rate_report rate_report;
	bool have_rate;
};

/* What the `machine` section of CONFIG holds (docs/spec/state.md). */
struct machine_section {
	uint8_t name[MACHINE_NAME_MAX + 1];
	uint8_t kernel_name[256];
	uint32_t ncpus;
	uint32_t backing;
	uint64_t ram_bytes;
	uint64_t hugepage_bytes;
	uint32_t nregions;
	uint8_t paused;
	uint64_t region_gpa[GMEM_MAX_REGIONS];
	uint64_t region_bytes[GMEM_MAX_REGIONS];
};
extern const struct state_desc machine_section_desc;
/* The `run` section of STATE: whether the user wants the VM paused. The device is the machine. */
extern const struct state_desc machine_run_desc;
void machine_section_fill(struct machine *m, struct machine_section *ret);

/* build.c: the VM and its virtio devices, stopped (a receiver builds them when CONFIG comes, with what came as @cpu_model and @came; else NULL). */
int machine_build_vm(struct machine *m, const struct buf *cpu_model,
		     const struct device_sections *came, struct err *err);
void machine_drop_vm(struct machine *m);
int machine_boot(struct machine *m, struct err *err);
/* Whether console input and alarms reach their devices; what comes meanwhile is held. Any thread but a vCPU's. */
void machine_open_input(struct machine *m, bool open);

/* build.c. The first of several ends decides; @text NULL: what @how says. A vCPU's thread. */
void machine_note_guest_end(struct machine *m, enum guest_end how, const char *text);
/* build.c. Somebody quits from a console; the main thread stops the machine. Any thread; @opaque is the machine. */
void machine_note_quit(void *opaque);
/* For struct irq_pin; does nothing while there is no VM. */
void machine_irq(void *opaque, unsigned int gsi, bool level);

/* power.c. destroy: as machine_destroy_rtc. entries: at most 2. */
int machine_build_power(struct machine *m, struct bus *bus, struct err *err);
void machine_destroy_power(struct machine *m);
unsigned int machine_power_entries(struct machine *m, struct state_entry *entries);
void machine_press_button(struct machine *m);

/* rtc.c. destroy: after the vCPU threads' end, half-built or not built at all (rtc_fd -1) too. */
int machine_build_rtc(struct machine *m, const struct irq_pin *irq, struct bus *bus,
		      struct err *err);
void machine_destroy_rtc(struct machine *m);
/* An alarm that has come, if one has; any thread but a vCPU's. */
void machine_tick_rtc(struct machine *m);

/* lifecycle.c. Locked versions are called with m->lock held. */
void machine_emit_state(struct machine *m, enum machine_state state, const char *reason);
/* To STOPPED (or MIGRATED) with a reason and an exit status; signals end_fd. Emits. Called without the lock. */
void machine_end(struct machine *m, enum machine_state state, int exit_status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* vCPUs first, then what they gave the devices to do is done: nothing writes guest memory after it, and state can be captured. On failure all goes on as it did. Locked. */
int machine_halt(struct machine *m, struct err *err);
/* The other way round, once the devices have what they need of the host. On failure all stands still. Locked. */
int machine_go(struct machine *m, struct err *err);
int machine_guard(struct machine *m, unsigned int allowed_states, const char *what,
		  struct err *err);
/* The same for whoever touches vCPUs or devices: waits out the moment for which a migration stops them at its start. Locked, and gives the lock away meanwhile. */
int machine_guard_vcpus(struct machine *m, unsigned int allowed_states, const char *what,
			struct err *err);
#define STATE_BIT(s) (1u << (s))
void machine_on_guest_end(void *opaque, int fd, uint32_t events);
void machine_migration_thread_ended(struct machine *m);

/* Joins the thread before it, which is past its end or nearly so, and starts @fn with @m. The caller has reserved the machine. 0 or -errno. */
int machine_start_thread(struct machine *m, void *(*fn)(void *opaque));

/* dirtyrate.c. Locked: tells a measurement under way, if there is one, to stop. */
void machine_end_measurement(struct machine *m);

/* migrate_in.c */
void *machine_receive_thread(void *opaque);

#endif
