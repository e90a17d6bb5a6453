/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_DIRTY_FIXTURE_H
#define TESTS_DIRTY_FIXTURE_H

#include "base/bitmap.h"
#include "tiny_guest.h"

/*
 * What the cases of the conformance suite share: a VM with one tracker, the steps of a migration, and the oracles. All fail the running case when something goes
 * wrong. What is compared is counted in the tally of the backend.
 */
#define RAM_PAGES 16384ULL
#define HALF (RAM_PAGES / 2)
#define HUGE_PAGES 512ULL
#define PERMUTE 40503ULL /* odd: i * PERMUTE & mask visits every page once in npages steps */

struct tally {
	uint64_t collects; /* that were compared page by page */
	uint64_t written; /* pages that had to be found in them */
	uint64_t missed;
	uint64_t invented;
	uint64_t tables; /* found and allowed: see may_be_dirty */
	unsigned int skipped; /* cases that this host cannot run */
};

/* One run of the suite. */
struct backend {
	const char *name;
	enum dirty_kind kind;
	uint32_t ring_entries;
	struct dirty_accel_ask accel;
};
struct fixture;
struct subject {
	struct backend backend;
	enum gmem_backing backing;
	bool no_eager_split; /* as in vm_config */
	/* Of a VM with these, found by try_subject. */
	const char *accel_name;
	int split_bytes; /* pieces in which huge pages are split when they are rearmed; 0: not, or not the VM's to know */
	struct tally tally;
	struct fixture *live; /* set up and not torn down */
};

struct fixture {
	struct subject *subject;
	struct tiny t;
	struct dirty *d;
	struct bitmap acc;
	uint8_t *copy; /* the destination's memory */
};

enum layout { ONE_REGION, TWO_REGIONS, FIVE_REGIONS };
/* A VM of TINY_WORK whose memory the host has filled, see populate. */
void set_up(struct fixture *f, void **state, unsigned int ncpus, enum layout layout);
/* The same, but nobody has touched it. */
void set_up_untouched(struct fixture *f, void **state, unsigned int ncpus, enum layout layout,
		      enum tiny_program program);
/* As set_up, with tiny_config.walker; skips the case where the processor cannot. */
void set_up_walker(struct fixture *f, void **state, unsigned int ncpus, enum layout layout);
/* Every page but those of the set-up gets memory behind it, huge pages where the backing has them. */
void populate(struct fixture *f);
void tear_down(struct fixture *f);
/* cmocka's: tears down what a case that failed left behind. Fixtures are static for that: the case's frame is gone. */
int clean_up(void **state);
/* This host cannot run the case, @err says why. Does not return. */
void skip_case(struct fixture *f, const struct err *err);
/* 0; -EOPNOTSUPP or -ENOMEM with the reason: no such tracker, no such memory here; -EINVAL: a VM did not get what it asked for. */
int try_subject(struct subject *s, struct err *err);

void must(int r, const struct err *err);
void start(struct fixture *f);
void collect(struct fixture *f);
void finish(struct fixture *f);
void run(struct fixture *f);
void halt(struct fixture *f);
/* A migration's round: each chunk of what acc holds is rearmed, then copied; acc is empty afterwards. */
void send_acc(struct fixture *f);
void send_everything(struct fixture *f);
/* Start, everything sent, and the noise of the first accesses out of the way: from here on only what is asked for may be found. VM paused. */
void start_quiet(struct fixture *f);
/* All vCPUs do @steps more steps and are stopped again. */
void work(struct fixture *f, uint64_t steps);
void assert_copy_equals_memory(struct fixture *f);
/* acc holds the pages of @want and no others but the set-up's. With @huge, other pages of a huge page of which one was wanted are let pass. */
void assert_found(struct fixture *f, const struct bitmap *want, bool huge);
/* What acc holds is what the last @steps steps of each vCPU wrote, and their own control pages. */
void assert_exact(struct fixture *f, uint64_t steps);
void wanted(struct fixture *f, uint64_t steps, struct bitmap *ret);

#endif
