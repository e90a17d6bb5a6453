/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_GENID_H
#define DEVICES_GENID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "devices/device.h"
#include "vmm/gmem.h"

/*
 * Virtual Machine Generation ID (Microsoft, "Virtual Machine Generation ID", 2012): 16 bytes in guest memory that stay what they are for as long as there is one VM, and are new ones in
 * each copy of it, so that a guest mixes fresh randomness into its generators and does not use its nonces twice. It has no state section: memory holds it, and a VM that moves keeps it.
 */
#define GENID_BYTES 16u
struct genid;

/* @gpa: arch_genid_gpa, as the guest is told. @changed: pulsed when the id has changed. @mem is borrowed. Writes nothing: what memory holds is the id. -EFAULT: not in guest memory. */
int genid_create(struct gmem *mem, uint64_t gpa, const struct irq_pin *changed, struct genid **ret,
		 struct err *err);
void genid_destroy(struct genid *g);
/*
 * A new id from getrandom(2). For a VM that boots, without @tell: nobody waits for it, and on x86 an edge would stay latched in the PIC, which delivers it as vector 6 as soon as the kernel lets
 * interrupts in. With @tell for one that was restored as a copy of another that may live on: when its whole state is there and before its vCPUs run. Never for one that has moved. No vCPU runs.
 */
int genid_renew(struct genid *g, bool tell, struct err *err);

#endif
