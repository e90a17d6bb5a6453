/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TINY_GUEST_ARCH_H
#define TESTS_TINY_GUEST_ARCH_H

#include <stddef.h>

#include "tiny_guest.h"
#include "vmm/internal.h"

/*
 * The programs' code, which each architecture's file assembles under these labels and tiny_guest.c copies to TINY_CODE_PAGE. tiny_in_read: the instruction of TINY_IN that
 * reads. Hidden: they are reached without the global offset table, which knows no place within a section.
 */
#pragma GCC visibility push(hidden)
extern const uint8_t tiny_work_start[], tiny_work_end[], tiny_in_start[], tiny_in_end[],
	tiny_in_read[], tiny_pass_start_of_code[], tiny_pass_end_of_code[];
#pragma GCC visibility pop
_Static_assert(offsetof(struct tiny_control, done) == 8, "the code knows it");
_Static_assert(offsetof(struct tiny_control, first_va) == 32, "the code knows it");
_Static_assert(offsetof(struct tiny_control, cpu) == 40, "the code knows it");
_Static_assert(offsetof(struct tiny_control, pass) == 64, "the code knows it");
_Static_assert(offsetof(struct tiny_pass, value) == 40, "the code knows it");
_Static_assert(TINY_PORT == 0x510 && TINY_PASS_PORT == 0x514, "the code knows it");
_Static_assert(TINY_RNG_MUL == 6364136223846793005ULL, "the code knows it");
_Static_assert(TINY_RNG_ADD == 1442695040888963407ULL, "the code knows it");

/* A page of 512 entries. */
static inline uint64_t *tiny_table(struct gmem *m, uint64_t page)
{
	return (uint64_t *)(void *)gmem_page(m, page);
}

/* What differs between architectures: page tables in the first TINY_SETUP_BYTES of RAM, and a vCPU's registers; tiny_kvm_write and tiny_in_state too. VM
 * stopped. -EOPNOTSUPP where the processor cannot do what @config wants. */
void tiny_arch_load(struct gmem *m, const struct tiny_config *config);
int tiny_arch_set_registers(struct vcpu *v, const struct tiny_config *config, struct err *err);

#endif
