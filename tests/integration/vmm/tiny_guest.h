/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TINY_GUEST_H
#define TESTS_TINY_GUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/vm.h"

/*
 * A guest of a few instructions that starts in 64-bit user mode, with RAM mapped densely from TINY_RAM_VA on in 2 MiB pages. It is told what to do through a control
 * page per vCPU, which the test reads and writes beside it, and it never exits unless TINY_IN asks for it.
 *
 * Work step i (from 0 on) writes i + 1 into the first word of page first_page + (i * mul & mask), then stores done = i + 1. It works while done < limit and spins
 * otherwise, so that a test can ask for an exact set of writes.
 */
#define TINY_RAM_VA 0x40000000ULL
#define TINY_WORK_FIRST_PAGE 512 /* pages below hold page tables, control pages and code */

enum tiny_program { TINY_WORK, TINY_IN /* `in` from port TINY_PORT and count, for ever */ };
#define TINY_PORT 0x510

struct tiny_control {
	_Atomic uint64_t limit;
	_Atomic uint64_t done;
	uint64_t mul;
	uint64_t mask;
	uint64_t first_va;
};

struct tiny_config {
	unsigned int ncpus;
	enum dirty_kind dirty;
	uint32_t ring_entries;
	uint64_t pages; /* of RAM, in two regions when @two_regions */
	bool two_regions; /* the second half starts at 4 GiB */
	enum tiny_program program;
};

struct tiny {
	struct vm *vm;
	_Atomic unsigned int exits; /* vCPUs that stopped for good: always a failure */
	_Atomic uint64_t port_reads;
	_Atomic bool stuck; /* the next port read does not come back before this is false */
	char exit_text[200];
};

/* 0 or -errno with text; -EOPNOTSUPP where the host lacks what @config asks for. */
int tiny_create(const struct tiny_config *config, struct tiny *t, struct err *err);
void tiny_destroy(struct tiny *t);
/* vCPU @cpu works on @npages (a power of two) pages from RAM page @first on, in steps of @mul (odd). Before its first run or while it spins. */
void tiny_set_work(struct tiny *t, unsigned int cpu, uint64_t first, uint64_t npages, uint64_t mul);
struct tiny_control *tiny_control(struct tiny *t, unsigned int cpu);
/* The page that step @i of vCPU @cpu writes. */
uint64_t tiny_page(struct tiny *t, unsigned int cpu, uint64_t i);
/* Allows steps up to @limit. */
void tiny_allow(struct tiny *t, unsigned int cpu, uint64_t limit);
/* Waits until vCPU @cpu has done @n steps; false after 60 s or when a vCPU stopped. */
bool tiny_wait_done(struct tiny *t, unsigned int cpu, uint64_t n);

#endif
