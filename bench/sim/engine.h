/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SIM_ENGINE_H
#define BENCH_SIM_ENGINE_H

#include "heap.h"
#include "pattern.h"
#include "replay.h"
#include "sim.h"

/* A page's state, one byte each. */
enum page_bits {
	PAGE_OPEN = 1 << 0, /* writes cost nothing more */
	PAGE_ARMED = 1 << 1, /* not open: hardware notes the first write, there is no fault */
	PAGE_LOGGED = 1 << 2, /* written since it was rearmed: the next reading delivers it */
	PAGE_TAKEN = 1 << 3, /* delivered, and to be rearmed by the next clear (see sim_splits) */
	PAGE_RANDOM = 1 << 4, /* its first write came in random order */
	PAGE_GONE = 1 << 5, /* UFFD: rearming unmapped it from the guest, so that reads fault too */
};

enum pending { PENDING_NOTHING, PENDING_ACCESS, PENDING_FAULT, PENDING_RING_FULL };

struct vcpu {
	double now_ns;
	double penalty_ns; /* the time that kicks took from it and that it has not paid yet */
	struct source source;
	uint64_t steps_left; /* PASSES */
	uint32_t buffered; /* entries of its hardware buffer */
	uint32_t in_ring;
	enum pending pending;
	struct access next; /* PENDING_ACCESS: is to come. PENDING_FAULT: has faulted */
};

enum reader_stage { READER_GET, READER_CLEAR };

struct reader {
	enum reader_stage stage;
	double next_get_ns;
	double last_get_ns;
	uint64_t chunk; /* first page of the next clear */
	bool drained; /* the vCPUs are done, this reading is the last */
};

struct sim {
	const struct sim_config *c;
	uint64_t npages;
	uint8_t *pages;
	uint64_t scannable; /* COMBINED: pages whose entries have hardware tracking on */
	struct vcpu *vcpus;
	struct heap heap;
	uint32_t ring_limit;
	uint64_t ring_harvested; /* pages taken out of full rings since the last reading */
	double lock_free_ns;
	uint32_t lock_owner;
	unsigned int busy; /* vCPUs that are not done */
	double limit_ns; /* vCPUs do not run past it: the reader's next move */
	bool lockstep; /* vCPUs share pages: they take turns step by step */
	struct reader reader;
	struct replay replay;
	struct sim_counts counts; /* since the last step was closed */
	struct sim_result *result;
	unsigned int steps_cap;
};

/* The reader's id in the heap: behind every vCPU at the same time. */
#define READER_ID UINT32_MAX
#define NO_OWNER (UINT32_MAX - 1)

/* Reading only reads, and rearming is a call of its own, in chunks; such backends start with every page in the log and none protected. */
static inline bool sim_splits(const struct sim *s)
{
	return s->c->backend == SIM_MANUAL || s->c->backend == SIM_UFFD;
}

/* pages.c: what a page's state does. */
void sim_pages_start(struct sim *s);
/* True when the write went through at *ret_ns of cost; false when it faults. */
bool sim_page_write(struct sim *s, struct vcpu *v, uint64_t page, double *ret_ns);
/* A read: true when it went through, false when it faults. */
bool sim_page_read(struct sim *s, uint64_t page);
/* The handling of a write's fault under the lock: logs the page; how many neighbours it armed. */
uint64_t sim_page_fault(struct sim *s, struct vcpu *v, uint64_t page);
/* A page's next write shows again. */
void sim_page_rearm(struct sim *s, uint64_t page);
/* A hardware buffer's entries move on into the log; what that costs its vCPU. */
double sim_drain(struct sim *s, struct vcpu *v);

/* vcpu.c */
/* Lets vCPU @id do what is due at its time; false when it is done. */
bool sim_vcpu_step(struct sim *s, uint32_t id);
/* Takes the lock at @now_ns for @hold_ns: when it is free again. */
double sim_lock(struct sim *s, uint32_t owner, double now_ns, double hold_ns);

/* reader.c: both return what the call took. @running: vCPUs run beside it and get kicked. */
double sim_get(struct sim *s, double now_ns, bool running, uint64_t *ret_found);
/* One chunk from page @first on. */
double sim_clear(struct sim *s, double now_ns, bool running, uint64_t first);
/* A full ring: every ring is read and reset. */
double sim_harvest_rings(struct sim *s);

#endif
