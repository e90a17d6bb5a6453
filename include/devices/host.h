/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_HOST_H
#define DEVICES_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/gmem.h"
#include "vmm/irq.h"

/*
 * What a device needs of the machine around it: guest memory, interrupts without an exit to us, notifications without one. The machine fills it in over KVM
 * (KVM_IRQFD, KVM_SET_GSI_ROUTING, KVM_IOEVENTFD); tests over arrays. Any thread. None of the calls waits for a vCPU or a worker, so that a device may hold its registers'
 * lock over them.
 */
struct dev_host_ops {
	/* A signal of @eventfd is an edge on line @gsi, for the life of the VM. */
	int (*line_open)(void *opaque, unsigned int gsi, int eventfd, struct err *err);
	/* A vector for message-signalled interrupts: a signal of @eventfd sends the message last set. While there is none the device does not signal it. */
	int (*msi_open)(void *opaque, int eventfd, unsigned int *ret_vector, struct err *err);
	/* NULL: none (masked). Calls for vectors that change nothing are cheap. */
	int (*msi_set)(void *opaque, unsigned int vector, const struct irq_msi *message,
		       struct err *err);
	void (*msi_close)(void *opaque, unsigned int vector);
	/* A guest's write of @len_bytes (1, 2, 4, 8; 0: of any size) to MMIO address @gpa signals @eventfd instead of reaching the bus. With @match only a write of
	 * @value does. -EEXIST. */
	int (*notify_add)(void *opaque, uint64_t gpa, unsigned int len_bytes, bool match,
			  uint64_t value, int eventfd, struct err *err);
	void (*notify_del)(void *opaque, uint64_t gpa, unsigned int len_bytes, bool match,
			   uint64_t value, int eventfd);
};

struct dev_host {
	const struct dev_host_ops *ops;
	void *opaque;
	struct gmem *mem;
};

#endif
