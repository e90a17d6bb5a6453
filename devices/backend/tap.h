/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_BACKEND_TAP_H
#define DEVICES_BACKEND_TAP_H

#include "base/err.h"
#include "netif.h"

/*
 * Attaches to TAP interface @name, which exists: none is made here, for it would have no address, no bridge and no owner, and would be gone with the VM. With several queues
 * it has to be a multi-queue one (Linux Documentation/networking/tuntap.rst). Any thread.
 * -EINVAL not a name, not a TAP or not multi-queue, -ENODEV no such interface, -EBUSY somebody is attached, -EPERM it is not ours. The message does not repeat the name.
 */
int tap_open(const char *name, unsigned int nqueues, struct netif *ret, struct err *err);

#endif
