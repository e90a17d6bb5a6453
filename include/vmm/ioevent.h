/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_IOEVENT_H
#define VMM_IOEVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct vm;

/* A guest's write to MMIO [gpa, gpa + len_bytes) signals @fd in the kernel and makes no exit (KVM_IOEVENTFD, api.rst 4.59); @len_bytes 1, 2, 4, 8, or 0: any size. With @match only
 * a write of @value does, others exit as before. -EEXIST when the address is taken. */
struct ioevent {
	uint64_t gpa;
	uint64_t value;
	unsigned int len_bytes;
	bool match;
	int fd;
};

/* Any thread. Removing one that is not there does nothing. */
int vm_ioevent_add(struct vm *vm, const struct ioevent *e, struct err *err);
void vm_ioevent_del(struct vm *vm, const struct ioevent *e);

#endif
