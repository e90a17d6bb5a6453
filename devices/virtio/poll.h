/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_POLL_H
#define DEVICES_VIRTIO_POLL_H

#include "virtq.h"

/*
 * How long a worker watches a queue that it has emptied, notifications off, before it sleeps: a driver that sends one request after the other then pays neither an exit nor the wake-up of a
 * thread, which on a host that is a VM itself takes longer than the request. The limit follows the driver, in the way of KVM's halt polling (Documentation/virt/kvm/halt-polling.rst): it grows
 * while a driver comes back within POLL_MAX_NS, and one that comes later ends it, so that a queue with nothing to do, or one whose vCPU waits for the worker's own CPU, costs nothing.
 * Zeroed is a valid start. The worker's.
 */
#define POLL_MIN_NS 4000u
#define POLL_MAX_NS 32000u

struct virtio_poll {
	uint64_t limit_ns; /* 0: not at all */
	uint64_t since_ns; /* CLOCK_MONOTONIC when the queue was found empty; 0: it was not */
};

/* The queue is looked at again. */
void virtio_poll_woken(struct virtio_poll *p);
/* What comes of the limit after chains that came @gap_ns after the queue was empty. */
void virtio_poll_adapt(struct virtio_poll *p, uint64_t gap_ns);
/* The queue is empty: true when a chain came within the limit. */
bool virtio_poll_watch(struct virtio_poll *p, const struct virtq *q);

#endif
