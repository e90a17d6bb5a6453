/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ENGINE_FAKE_VM_H
#define TESTS_ENGINE_FAKE_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "migration/migration.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"

/*
 * Two VMs without KVM for engine tests: memory, a dirty log that a writer thread feeds, a few bytes of state, and the flags that show who runs. A source may be
 * moved several times in a row.
 */
#ifndef FAKE_PAGES /* a program with many attempts takes less */
#define FAKE_PAGES 2048u
#endif

struct fake_source;

struct fake_dirty {
	struct dirty d;
	struct bitmap log;
	bool on;
};

/* A guest that names free pages. Nothing of it is there before the test makes `named`. */
struct fake_free {
	struct bitmap named; /* what it has named since it was asked */
	struct bitmap left_out; /* what the engine took out of its first round because of it */
	void (*play)(struct fake_source *s,
		     uint64_t first); /* the guest's turn, ahead of each take; may be NULL */
	unsigned int begun, asked, stopped, ended;
	unsigned int rearms_when_asked, pauses_when_stopped;
	bool running_when_ended;
};

struct fake_source {
	struct gmem *mem;
	struct fake_dirty dirty;
	atomic_bool running;
	bool committed;
	uint64_t counter; /* the "vCPU state": written by the writer, moved by save */
	pthread_t writer;
	atomic_bool quit;
	atomic_bool parked;
	unsigned int hot_pages; /* the writer's working set; 0: no writer */
	unsigned int pauses, resumes;
	atomic_bool cancel;
	bool cancel_at_commit;
	uint64_t commit_delay_ns;
	bool fail_save;
	bool no_exit_counts;
	struct fake_free free;
	unsigned int
		exits_asked; /* it counts 100 exits and 10 faults from one time that it is asked to the next */
};

struct fake_destination {
	struct gmem *mem;
	bool prepared, loaded, running;
	uint64_t counter;
	const atomic_bool *prepare_waits_for; /* NULL: for nothing */
	bool fail_prepare, fail_load, fail_start;
};

extern const struct mig_source_ops fake_source_ops;
extern const struct mig_destination_ops fake_destination_ops;

/* A guest that can be asked for its free pages. */
void fake_source_offer_free(struct fake_source *s);
void fake_source_init(struct fake_source *s, unsigned int hot_pages);
void fake_source_fini(struct fake_source *s);
void fake_destination_fini(struct fake_destination *d);

/* One attempt over the two ends of a connection; runs the receiver on a thread. Both transports are destroyed. */
struct attempt {
	struct mig_send_params params;
	const struct mig_observer *observer; /* may be NULL */
	int send_rc, receive_rc;
	atomic_bool send_ended;
	struct err send_err, receive_err;
	struct mig_report report;
	struct mig_receive_report received;
};
void attempt_run(struct attempt *a, struct fake_source *s, struct fake_destination *d,
		 struct transport *at_source, struct transport *at_destination);
void attempt_defaults(struct attempt *a);

/* A connected pair over a socket pair. */
void transport_pair(struct transport **ret_a, struct transport **ret_b);

/* What must hold after every attempt, whatever happened in it: never both run, never none without -EINPROGRESS; and when the destination runs, its memory and state are the source's, but for pages that were
 * left out: those are the source's or zero. */
void assert_one_owner(const struct attempt *a, struct fake_source *s, struct fake_destination *d);

/* What a test of one source and one destination begins with: defaults, and VMs that are yet to be made. cmocka's set-up and tear-down for it. */
struct fixture {
	struct fake_source s;
	struct fake_destination d;
	struct attempt a;
};
int fixture_set_up(void **state);
int fixture_tear_down(void **state);
/* One attempt over a socket pair, after which exactly one side has the VM. */
void fixture_attempt(struct fixture *f);

#endif
