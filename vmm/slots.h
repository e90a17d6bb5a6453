/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SLOTS_H
#define VMM_SLOTS_H

#include <stdbool.h>

#include "base/err.h"
#include "vmm/gmem.h"

/* KVM's memory slots: region i of @mem is slot i. 0 or -errno with the region named. */
int slots_create(int vm_fd, const struct gmem *mem, struct err *err);
/* Dirty logging on or off for every slot; a failed switch-on leaves all of them off. */
int slots_set_logging(int vm_fd, const struct gmem *mem, bool on, struct err *err);

#endif
