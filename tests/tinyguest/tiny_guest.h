/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TINY_GUEST_H
#define TESTS_TINY_GUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/vm.h"

/*
 * A guest of a few instructions that starts in 64-bit user mode, with RAM mapped densely from TINY_RAM_VA on in 2 MiB pages. It is told what to do through a control
 * page per vCPU, which the test reads and writes beside it.
 *
 * TINY_WORK: step i (from 0 on) writes i + 1 into the first word of page first_page + (i * mul & mask), then stores done = i + 1. It works while done < limit and spins
 * otherwise, so that a test can ask for an exact set of writes. It never exits.
 *
 * TINY_IN: reads a byte from port TINY_PORT and counts, for ever.
 *
 * TINY_PASS: one pass over a range of pages, then a write to port TINY_PASS_PORT, which holds the vCPU in the VMM until the next pass is asked for (tiny_pass_run). An exit a pass costs
 * next to nothing, tells the end of it to the nanosecond and leaves no vCPU spinning beside those that still work.
 *
 * A processor that has no ports finds them at the same offsets in a page of MMIO.
 */
#define TINY_RAM_VA 0x40000000ULL
#define TINY_WORK_FIRST_PAGE 512 /* pages below hold page tables, control pages and code */
#define TINY_SETUP_BYTES ((uint64_t)TINY_WORK_FIRST_PAGE << 12)
#define TINY_CODE_PAGE 4u
#define TINY_CONTROL_PAGE 16u /* one for each vCPU */
#define TINY_TABLES_PAGE (TINY_CONTROL_PAGE + 256u) /* page tables, as many as there are */
#define TINY_MAX_RAM_BYTES (240ULL << 30)
#define TINY_WALKER_MAX_PAGES (240ULL * 512)

enum tiny_program { TINY_WORK, TINY_IN, TINY_PASS };
#define TINY_PORT 0x510 /* TINY_IN */
#define TINY_PASS_PORT 0x514 /* TINY_PASS: the vCPU's number, 32 bits */

/* What a vCPU of TINY_PASS does in a pass: @npages steps, each on the page at its own index or on one drawn at random. */
struct tiny_pass {
	uint64_t first_va; /* see tiny_va */
	uint64_t npages; /* below 2^32; 0: nothing */
	uint64_t
		write_percent; /* this many of a hundred steps write, drawn at random; the others read */
	uint64_t random_order; /* 0 or 1 */
	uint64_t seed;
	uint64_t value; /* goes into the first word of a page that is written */
};

struct tiny_control {
	_Atomic uint64_t limit;
	_Atomic uint64_t done;
	uint64_t mul;
	uint64_t mask;
	uint64_t first_va;
	uint64_t cpu;
	uint64_t reserved[2];
	struct tiny_pass pass;
};

struct tiny_config {
	unsigned int ncpus;
	enum dirty_kind dirty;
	uint32_t ring_entries;
	struct dirty_accel_ask dirty_accel;
	uint64_t pages; /* of RAM, in two regions when @two_regions */
	bool two_regions; /* the second half starts at 4 GiB */
	const struct gmem_config *
		mem; /* instead of these two; the first region holds TINY_SETUP_BYTES or more, lengths are multiples of 2 MiB */
	const char *pin; /* as in vm_config */
	bool no_eager_split; /* as in vm_config */
	/* RAM from TINY_WORK_FIRST_PAGE on is mapped in pages of 4 KiB whose entries say neither accessed nor dirty: the processor's table walk writes that into them, see
	 * tiny_table_page. At most TINY_WALKER_MAX_PAGES of RAM. */
	bool walker;
	enum tiny_program program;
};

struct tiny {
	struct vm *vm;
	_Atomic unsigned int exits; /* vCPUs that stopped for good: always a failure */
	_Atomic uint64_t port_reads;
	_Atomic bool stuck; /* the next port read does not come back before this is false */
	char exit_text[200];
	/* TINY_PASS */
	_Atomic uint32_t pass; /* counts up when the vCPUs are let go */
	_Atomic uint32_t idle; /* vCPUs that have ended their pass */
	_Atomic bool closing;
	_Atomic uint64_t last_end_ns; /* CLOCK_MONOTONIC, of the last one */
};

/* 0 or -errno with text; -EOPNOTSUPP where the host or its processor lacks what @config asks for. */
int tiny_create(const struct tiny_config *config, struct tiny *t, struct err *err);
void tiny_destroy(struct tiny *t);
struct tiny_control *tiny_control(struct tiny *t, unsigned int cpu);
/* Where the guest sees RAM page @page. */
static inline uint64_t tiny_va(uint64_t page)
{
	return TINY_RAM_VA + (page << 12);
}

/* Where RAM page @page lies in guest-physical space. */
uint64_t tiny_gpa(const struct gmem *m, uint64_t page);
/* The RAM page with the entry that maps RAM page @page, with tiny_config.walker. */
static inline uint64_t tiny_table_page(uint64_t page)
{
	return TINY_TABLES_PAGE + page / 512;
}
/* Has KVM itself write a few bytes, at least 8, to the beginning of RAM page @page (its guest-physical address a multiple of 64 KiB). vCPUs stopped. -EOPNOTSUPP
 * where it has nothing to write. */
int tiny_kvm_write(struct tiny *t, uint64_t page, struct err *err);

/* TINY_IN: where a vCPU stands that is stopped. */
struct tiny_in_state {
	uint64_t counted; /* reads */
	bool uncounted; /* one more has been made */
	uint8_t last; /* what it read */
};
/* Takes it from the registers, and sets them to what they are, as a migration does. */
int tiny_in_state(struct tiny *t, unsigned int cpu, struct tiny_in_state *ret, struct err *err);

/* TINY_WORK. vCPU @cpu works on @npages (a power of two) pages from RAM page @first on, in steps of @mul (odd: each page once in @npages
 * steps). Before its first run or while it spins. */
void tiny_set_work(struct tiny *t, unsigned int cpu, uint64_t first, uint64_t npages, uint64_t mul);
/* The page that step @i of vCPU @cpu writes. */
uint64_t tiny_page(struct tiny *t, unsigned int cpu, uint64_t i);
/* Allows steps up to @limit. */
void tiny_allow(struct tiny *t, unsigned int cpu, uint64_t limit);
/* Waits until vCPU @cpu has done @n steps; false after 60 s or when a vCPU stopped. */
bool tiny_wait_done(struct tiny *t, unsigned int cpu, uint64_t n);

/*
 * TINY_PASS. tiny_pass_start lets the VM run and returns when every vCPU waits for its first pass. tiny_pass_run lets all of them go, each with what stands in its control page,
 * and returns when the last one has ended; *ret_ns is the time from the one to the other. While neither runs no vCPU is in KVM_RUN, and the control pages are
 * the caller's. -ETIMEDOUT, -EIO when a vCPU stopped for good.
 */
int tiny_pass_start(struct tiny *t, struct err *err);
int tiny_pass_run(struct tiny *t, uint64_t timeout_ns, uint64_t *ret_ns, struct err *err);
/* The random numbers of a pass: each step draws one for its page (high 32 bits, scaled to npages), then one for reading or writing (high 32 bits, scaled to 100; below
 * write_percent writes). Knuth's multiplier for a linear congruence modulo 2^64. */
#define TINY_RNG_MUL 6364136223846793005ULL
#define TINY_RNG_ADD 1442695040888963407ULL
/* Sets in @ret, one bit a page from first_va on, what such a pass writes. */
void tiny_pass_plan(const struct tiny_pass *p, struct bitmap *ret);

#endif
