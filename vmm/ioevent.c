/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/ioevent.h"

#include <errno.h>

#include "internal.h"
#include "kvm.h"

static int set_ioevent(const struct vm *vm, const struct ioevent *e, uint32_t flags,
		       struct err *err)
{
	struct kvm_ioeventfd req = {
		.datamatch = e->match ? e->value : 0,
		.addr = e->gpa,
		.len = e->len_bytes,
		.fd = e->fd,
		.flags = flags | (e->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};

	return kvm_ioeventfd(vm->fd, &req, err);
}

int vm_ioevent_add(struct vm *vm, const struct ioevent *e, struct err *err)
{
	int r = set_ioevent(vm, e, 0, err);

	if (r == -EEXIST)
		return err_set(err, r, "device notification at 0x%llx: another one is there",
			       (unsigned long long)e->gpa);
	if (r < 0)
		err_prefix(err, "device notification at 0x%llx", (unsigned long long)e->gpa);
	return r < 0 ? r : 0;
}

void vm_ioevent_del(struct vm *vm, const struct ioevent *e)
{
	(void)set_ioevent(vm, e, KVM_IOEVENTFD_FLAG_DEASSIGN, NULL);
}
