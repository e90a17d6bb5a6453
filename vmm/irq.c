/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvm.h"

int vm_irq_line(struct vm *vm, unsigned int gsi, bool level)
{
	return kvm_irq_line(vm->fd, arch_irq_line(gsi), level ? 1 : 0, NULL);
}

int vm_irqfd(struct vm *vm, int eventfd, unsigned int gsi, struct err *err)
{
	struct kvm_irqfd req = { .fd = (uint32_t)eventfd, .gsi = gsi };

	return kvm_irqfd(vm->fd, &req, err);
}
