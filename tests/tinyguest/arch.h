/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TINY_GUEST_ARCH_H
#define TESTS_TINY_GUEST_ARCH_H

#include "tiny_guest.h"
#include "vmm/internal.h"

/* What differs between architectures: page tables and code in the first TINY_SETUP_BYTES of RAM, and a vCPU's registers. VM stopped. */
void tiny_arch_load(struct gmem *m, enum tiny_program program);
int tiny_arch_set_registers(struct vcpu *v, struct err *err);

#endif
