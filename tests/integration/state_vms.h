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

void save(struct vm *vm, struct buf *out);
int load(struct vm *vm, const struct buf *state, struct err *err);
void copy_memory(struct vm *to, struct vm *from);

/* The section's bytes in @state (to patch or compare); fails the test when it is not there. */
uint8_t *section(struct buf *state, const char *name, uint32_t instance, uint32_t *ret_len);

/* The two hold the same @nsections sections, each once and equal byte by byte but for those named in @but (up to NULL). */
void assert_same_sections(struct buf *x, struct buf *y, const char *const *but,
			  unsigned int nsections);

void assert_near(uint64_t a, uint64_t b, uint64_t by);

#endif
