/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Interrupts of the in-kernel interrupt controllers. Any thread.
 */
struct vm;

/* A message-signalled interrupt: what a device would write, and where (PCI Local Bus 3.0 §6.8.1). @devid: who writes, as an ITS tells devices apart; on PCI the requester id. */
struct irq_msi {
	uint64_t addr;
	uint32_t data;
	uint32_t devid;
};

#define VM_MAX_MSI 1024u

/* Raise or lower an interrupt line (GSI). */
int vm_irq_line(struct vm *vm, unsigned int gsi, bool level);
/* An eventfd whose signal is an edge on @gsi, a line (KVM_IRQFD, api.rst 4.75). */
int vm_irqfd(struct vm *vm, int eventfd, unsigned int gsi, struct err *err);

/*
 * A vector: an entry of KVM's routing table above the lines (KVM_SET_GSI_ROUTING, api.rst 4.52) with @eventfd in front of it, whose signal sends the vector's message. Its owner does not
 * signal while there is no message: KVM may still hold the one before. -ENOSPC beyond VM_MAX_MSI, -ENOTSUP where KVM cannot route.
 */
int vm_msi_open(struct vm *vm, int eventfd, unsigned int *ret_vector, struct err *err);
/* @message is copied; NULL: none. A message that KVM does not hold yet costs it a grace period; everything else, and so masking and unmasking, costs nothing. */
int vm_msi_set(struct vm *vm, unsigned int vector, const struct irq_msi *message, struct err *err);
void vm_msi_close(struct vm *vm, unsigned int vector);
/* Messages that are set between the two are told to KVM by vm_msi_end, all at once: for a state that is applied. Nobody signals meanwhile; vectors that are opened after the first call may be
 * told earlier. When end fails, none of them is in force. */
void vm_msi_begin(struct vm *vm);
int vm_msi_end(struct vm *vm, struct err *err);

#endif
