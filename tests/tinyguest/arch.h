/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TINY_GUEST_ARCH_H
#define TESTS_TINY_GUEST_ARCH_H

#include "tiny_guest.h"
#include "vmm/internal.h"

/* What differs between architectures: page tables and code in the first TINY_SETUP_BYTES of RAM, and a vCPU's registers; tiny_kvm_write and tiny_in_state too. VM
 * stopped. -EOPNOTSUPP where the processor cannot do what @config wants. */
void tiny_arch_load(struct gmem *m, const struct tiny_config *config);
int tiny_arch_set_registers(struct vcpu *v, const struct tiny_config *config, struct err *err);

#endif
