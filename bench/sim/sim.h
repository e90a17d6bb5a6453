/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SIM_H
#define BENCH_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * An event model of dirty tracking: vCPUs with clocks of their own write pages one by one, each write costs what the tracking mechanism makes of that page's state, exits
 * queue for KVM's mmu_lock, hardware buffers fill, and a reader collects and rearms. What comes out is a prediction, never a measurement.
 * No KVM, no threads, no clock: the same configuration gives the same result. docs/bench-model.md says what each mechanism does and costs.
 */

/* How the log is read: the kernel's interface. */
enum sim_backend { SIM_BITMAP, SIM_MANUAL, SIM_RING, SIM_UFFD };

/*
 * How a write is found beneath it. WP: a fault on the first write to each page. PML, HDBSS: hardware logs the first write into a vCPU's buffer, which exits when full. SCAN:
 * hardware sets a dirty state that the reader looks for in every page's entry. COMBINED: a fault arms the hardware state of the pages around it, the reader scans what is armed.
 */
enum sim_accel { SIM_WP, SIM_PML, SIM_SCAN, SIM_COMBINED, SIM_HDBSS };

enum sim_pattern_kind { SIM_SEQUENTIAL, SIM_RANDOM, SIM_HOT, SIM_SPARSE, SIM_TRACE };

/* PASSES: as the kernel's dirty_log_perf_test: each vCPU goes once through its pages, then the log is read. RUN: the log is read every so often beside running vCPUs. */
enum sim_mode { SIM_PASSES, SIM_RUN };

/* All in ns; 0: costs nothing. */
struct sim_costs {
	/* guest */
	double visit_ns; /* a step: read or write of a page that needs no tracking, in address order */
	double visit_random_ns; /* on top, in random order */
	double fault_ns; /* a write-protection fault of one vCPU alone, mmu_lock included */
	double fault_random_ns; /* on top, in random order */
	double fault_hold_ns; /* the part of fault_ns under mmu_lock: others wait for it */
	double read_fault_ns; /* UFFD: a read of a page that rearming unmapped */
	double lock_bounce_ns; /* longer under the lock when another vCPU had it before */
	double log_ns; /* hardware sets a page's dirty state, or logs the page */
	double full_ns; /* the exit on a full hardware buffer */
	double full_entry_ns; /* and for each entry of it, also when another exit empties it */
	double arm_page_ns; /* COMBINED: each neighbour armed by a fault, under the lock */
	double ring_full_ns; /* RING: the exit on a full ring; reading and resetting is get_entry_ns */
	double kick_ns; /* a running vCPU is interrupted: buffers emptied, TLB flushed */
	double pass_ns; /* PASSES: what a pass costs whatever it does */
	/* reader */
	double get_call_ns; /* for each memory slot */
	double get_word_ns; /* for each 64 pages of memory, whatever was written */
	double get_page_ns; /* for each page found */
	double get_random_ns; /* on top, when it was written in random order */
	double scan_page_ns; /* SCAN, COMBINED: for each page whose dirty state is looked at */
	double clear_call_ns; /* for each chunk */
	double clear_word_ns;
	double clear_page_ns; /* for each page rearmed */
	double clear_random_ns;
	double clear_run_ns; /* for each run of pages rearmed that are neighbours */
	double flush_ns; /* a TLB flush after rearming */
	double enable_call_ns, enable_page_ns; /* switching logging on: a slot, a page */
	double disable_call_ns, disable_page_ns;
};

struct sim_pattern {
	enum sim_pattern_kind kind;
	unsigned int write_percent; /* of the steps, drawn at random; the others read */
	unsigned int hot_percent; /* HOT: this part of the pages ... */
	unsigned int hot_share_percent; /* ... has this part of the steps */
	uint64_t stride; /* SPARSE: every stride-th page */
	uint64_t seed;
	double think_ns; /* the guest's own work before each step (TRACE: spread so as to fill its intervals) */
	char trace_path[1024]; /* TRACE */
};

struct sim_config {
	enum sim_backend backend;
	enum sim_accel accel;
	uint32_t buffer_entries; /* PML, HDBSS */
	uint32_t ring_entries; /* RING: a power of two */
	uint32_t group_pages; /* COMBINED: a power of two */
	unsigned int vcpus;
	uint64_t pages_per_vcpu; /* TRACE: 0, the trace says */
	bool overlap; /* all vCPUs on the same pages */
	unsigned int slots;
	uint64_t
		clear_chunk_pages; /* MANUAL, UFFD: a call rearms so many, and holds the lock as long */
	struct sim_pattern pattern;
	enum sim_mode mode;
	unsigned int iterations; /* PASSES */
	uint64_t duration_ns, interval_ns; /* RUN; duration 0 with TRACE: as long as it is */
	struct sim_costs costs;
};

struct sim_counts {
	uint64_t visits, writes;
	uint64_t logged; /* pages that entered the log: first writes since they were rearmed */
	uint64_t faults; /* write protection, spurious ones and UFFD's reads included */
	uint64_t full_exits; /* hardware buffer */
	uint64_t ring_full_exits;
	uint64_t kicks; /* running vCPUs interrupted */
	double useful_ns; /* of vCPU time: visits and the guest's own work */
	double fault_ns, wait_ns; /* wait: for mmu_lock */
	double log_ns, full_ns, kick_ns;
};

/* PASSES: one for each iteration. RUN: one for each reading of the log; its counts are those since the one before. */
struct sim_step {
	double dirty_ns; /* PASSES: until the last vCPU is done. RUN: since the reading before */
	double get_ns, clear_ns;
	uint64_t found; /* pages that the reading delivered */
	struct sim_counts counts;
};

struct sim_result {
	uint64_t npages;
	double enable_ns, disable_ns;
	double elapsed_ns; /* from letting the vCPUs go to the end, enabling and disabling left out */
	double loss; /* RUN: part of the vCPUs' time that was not useful */
	struct sim_counts counts;
	uint64_t found;
	double get_ns, clear_ns;
	struct sim_step *steps;
	unsigned int nsteps;
};

static inline uint64_t sim_exits(const struct sim_counts *c)
{
	return c->faults + c->full_exits + c->ring_full_exits + c->kicks;
}

/* Bounds of what a configuration may ask for: memory is a byte a page. */
#define SIM_MAX_VCPUS 4096u
#define SIM_MAX_PAGES (1ULL << 31)
#define SIM_MAX_STEPS 1000000u

/* A configuration of defaults: one vCPU of 64 MiB, manual, sequential, three passes. */
void sim_config_init(struct sim_config *c);
/* 0 or -EINVAL naming the field and what was expected; -EOPNOTSUPP for a pair of backend and accelerator that no kernel has. */
int sim_config_check(const struct sim_config *c, struct err *err);
/* Checks, then runs. -ENOMEM; the trace's own errors. *ret is for sim_result_fini. */
int sim_run(const struct sim_config *c, struct sim_result *ret, struct err *err);
void sim_result_fini(struct sim_result *r);

const char *sim_backend_name(enum sim_backend b);
const char *sim_accel_name(enum sim_accel a);
const char *sim_pattern_name(enum sim_pattern_kind k);
const char *sim_mode_name(enum sim_mode m);

#endif
