/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_INTEGRATION_STATE_VMS_H
#define TESTS_INTEGRATION_STATE_VMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/state.h"
#include "vmm/vm.h"

/* What the tests of each architecture's state do with a VM and with the bytes of its state. Failures end the test. */
uint32_t guest_u32(struct vm *vm, uint64_t gpa);
uint64_t guest_u64(struct vm *vm, uint64_t gpa);
/* Runs the VM until the word at @gpa is above @above; fails the test after 10 s. */
void run_until(struct vm *vm, uint64_t gpa, uint32_t above);

/* A VM of two vCPUs without a guest, of the architecture's vms.h. @cpu_model: NULL or a source's. Returns vm_create's value. */
int test_vm_create(enum dirty_kind dirty, const struct buf *cpu_model, struct vm **ret,
		   struct err *err);
extern const uint64_t test_ram_bytes; /* the architecture's */

/* Two VMs, the second one with the CPU model of the first; fixture of the tests of state. */
struct pair {
	struct vm *a, *b;
	struct buf model;
	struct buf sa, sb;
};
int pair_setup(void **state);
int pair_teardown(void **state);

void save(struct vm *vm, struct buf *out);
int load(struct vm *vm, const struct buf *state, struct err *err);
void must_load(struct vm *vm, const struct buf *state);
/* p->sa does not load into p->b, and the reason holds @text. What p->b is then is in p->sb. */
void expect_refused(struct pair *p, const char *text);
void copy_memory(struct vm *to, struct vm *from);

/* The section's bytes in @state (to patch or compare); fails the test when it is not there. */
uint8_t *section(struct buf *state, const char *name, uint32_t instance, uint32_t *ret_len);

/* The two hold the same @nsections sections, each once and equal byte by byte but for those named in @but (up to NULL). */
void assert_same_sections(struct buf *x, struct buf *y, const char *const *but,
			  unsigned int nsections);

/* Words of a guest, by address: vCPU 0 counts at count; vCPU 1 runs once start is 1, and counts at second; backwards: how often vCPU 0 saw time go back. */
struct test_guest {
	uint64_t count, start, second, backwards;
};
/* Moves the booted guest of p->a to and fro six times, by state and memory: it goes on counting, and the second vCPU is started only after two moves. Returns where it runs. */
struct vm *guest_moves(struct pair *p, const struct test_guest *guest);

void assert_near(uint64_t a, uint64_t b, uint64_t by);

#endif
