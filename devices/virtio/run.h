/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_RUN_H
#define DEVICES_VIRTIO_RUN_H

#include "core.h"

/* The core's parts among themselves: virtio.c is making and end, registers.c the transports' view, run.c what happens on the worker, state.c the migratable state. */

/* Descriptors in the worker's loop. On the worker, as all below. */
int virtio_run_init(struct virtio *v);
/* The device works from now on, as its status says: queues, type, and a look at each queue once it is not paused. -EINVAL: a queue's rings. */
int virtio_run_activate(struct virtio *v, struct err *err);
/* The opposite: finishes what was taken, for RESET_WAIT_S at most, and has the type forget the rest. Registers stay. */
void virtio_run_deactivate(struct virtio *v);
/* virtio_broken, of a device that may not be live yet. */
void virtio_fault(struct virtio *v, const struct err *err);
/* The part of it that is registers: the lock is held, the status says NEEDS_RESET after it. */
void virtio_note_fault(struct virtio *v, const struct err *err);
/* Registers as after power on. Lock held. */
void virtio_clear_registers(struct virtio *v);
/* False: the driver may not have these features together. Lock held. */
bool virtio_features_work(const struct virtio *v, uint64_t features);
/* -1: configuration or status. */
void virtio_interrupt(struct virtio *v, int queue);

extern const struct state_desc virtio_state;

#endif
