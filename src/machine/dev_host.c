/* SPDX-License-Identifier: Apache-2.0 */
#include "device_set.h"
#include "vmm/ioevent.h"
#include "vmm/irq.h"

/* What devices need of the VM, over KVM. The opaque pointer is the VM. */

static int line_open(void *opaque, unsigned int gsi, int eventfd, struct err *err)
{
	return vm_irqfd(opaque, eventfd, gsi, err);
}

static int msi_open(void *opaque, int eventfd, unsigned int *ret_vector, struct err *err)
{
	return vm_msi_open(opaque, eventfd, ret_vector, err);
}

static int msi_set(void *opaque, unsigned int vector, const struct irq_msi *message,
		   struct err *err)
{
	return vm_msi_set(opaque, vector, message, err);
}

static void msi_close(void *opaque, unsigned int vector)
{
	vm_msi_close(opaque, vector);
}

static struct ioevent event_of(uint64_t gpa, unsigned int len_bytes, bool match, uint64_t value,
			       int eventfd)
{
	return (struct ioevent){
		.gpa = gpa, .len_bytes = len_bytes, .match = match, .value = value, .fd = eventfd
	};
}

static int notify_add(void *opaque, uint64_t gpa, unsigned int len_bytes, bool match,
		      uint64_t value, int eventfd, struct err *err)
{
	const struct ioevent e = event_of(gpa, len_bytes, match, value, eventfd);

	return vm_ioevent_add(opaque, &e, err);
}

static void notify_del(void *opaque, uint64_t gpa, unsigned int len_bytes, bool match,
		       uint64_t value, int eventfd)
{
	const struct ioevent e = event_of(gpa, len_bytes, match, value, eventfd);

	vm_ioevent_del(opaque, &e);
}

const struct dev_host_ops machine_dev_host_ops = {
	.line_open = line_open,
	.msi_open = msi_open,
	.msi_set = msi_set,
	.msi_close = msi_close,
	.notify_add = notify_add,
	.notify_del = notify_del,
};
