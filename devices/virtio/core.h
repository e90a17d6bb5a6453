/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_CORE_H
#define DEVICES_VIRTIO_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "devices/virtio.h"
#include "io/worker.h"
#include "poll.h"
#include "virtq.h"

/*
 * Between a device type (blk.c, net.c, ...), which knows what requests mean, and a transport (mmio.c, pci.c), which knows registers. The core owns status, features, queues and the
 * worker; it calls the type on the worker's thread and the transport for interrupts.
 */
#define VIRTIO_F_RING_INDIRECT_DESC 28
#define VIRTIO_F_RING_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_RING_RESET 40 /* not offered */
/* What every device offers besides its own (§6). */
#define VIRTIO_CORE_FEATURES                                                     \
	(1ULL << VIRTIO_F_RING_INDIRECT_DESC | 1ULL << VIRTIO_F_RING_EVENT_IDX | \
	 1ULL << VIRTIO_F_VERSION_1)

/* Device status (§2.1). */
enum {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* A type of device; const. All but the config functions run on the worker, one at a time. @self is what the type gave virtio_init. */
struct virtio_type {
	const char *kind; /* "blk": names, state, face */
	uint32_t device_id; /* §5 */
	uint32_t pci_class; /* 24 bits */
	/* DRIVER_OK, after the queues are set up, and after a restore of such a device: v->driver_features is final. May be NULL. */
	void (*activate)(void *self);
	/* Requests may be waiting in queue @queue. It takes what it can, at most about a queue's size of them so that other queues have their turn; the core has notifications switched on
	 * again and calls once more when something came meanwhile. Who leaves something calls virtio_again, now or when it can go on. */
	void (*serve)(void *self, unsigned int queue);
	/* Drivers send one request and wait for it: while none is in flight a queue is watched for the next one (poll.h). Other work of the worker waits that long. */
	bool polls;
	/* From now on queues are served (@on), or no longer: the device pauses, is reset or broken. For descriptors in the worker's loop that mean work for the queues (a TAP's): off, they
	 * would keep the loop awake. Not called twice with the same. May be NULL. */
	void (*serving)(void *self, bool on);
	/* Requests taken from the queues and not returned yet. NULL: the type never keeps any beyond serve(). */
	unsigned int (*in_flight)(void *self);
	/* Waits up to the deadline for some of them to finish, and returns them. With in_flight. */
	void (*wait)(void *self, uint64_t deadline_ns);
	/* The driver reset the device (or it is destroyed): forget requests and negotiated state. in_flight is 0, or the deadline of a reset (5 s) has passed: then what comes back later is not
	 * pushed (the type's own generation count). May be NULL. */
	void (*reset)(void *self);
	/* Device configuration (§2.5) of at most VIRTIO_CONFIG_MAX bytes; v->lock held, any vCPU thread. write NULL: read-only. */
	void (*config_write)(void *self, unsigned int offset, const void *data,
			     unsigned int len_bytes);
	/* See virtio_release and so on; NULL: nothing to do. On the worker. */
	int (*release)(void *self, struct err *err);
	int (*take)(void *self, struct err *err);
	void (*arrived)(void *self);
	void (*counters)(void *self, void (*fn)(void *opaque, const char *name, uint64_t value),
			 void *opaque);
	/* The last call on the worker: takes out of its loop what destroy closes. May be NULL. */
	void (*stop)(void *self);
	void (*destroy)(void *self); /* on the caller's thread, after the worker's end */
	/* Of @self; captured and applied on the machine's thread while the device is paused, applied after activate. NULL: the queues are all. */
	const struct state_desc *state;
};

struct virtio_queue {
	struct virtio *v;
	struct virtq vq;
	uint16_t max_size;
	bool enabled;
	int kick_fd; /* eventfd: the driver's notification */
	unsigned int again; /* kicks of our own in it */
	uint64_t again_ns; /* CLOCK_MONOTONIC; 0: no timer */
	/* Of the type, set in serve(): it waits for something else than chains (a backend, a rate limit) and calls virtio_again then. While it is set the core leaves
	 * notifications off and does not look again, whether chains are left or not. False after activation and reset. */
	bool quiet;
	struct virtio_poll poll;
	/* Counted on the worker, read by anybody. */
	atomic_uint_least64_t notifications, interrupts;
};

/* The transport's half, for the core; any thread. */
struct virtio_transport_ops {
	/* Queue @queue has used buffers, or -1: the configuration or the status changed. */
	void (*interrupt)(void *transport, int queue);
};

struct virtio {
	const struct virtio_type *type;
	void *self;
	char id[VIRTIO_ID_MAX + 1];
	struct dev_host host;
	struct worker *worker;
	uint64_t features; /* offered */

	/* Registers: the transport's view. Written by vCPU threads with the lock, which the worker takes only for short. Never held over worker_call. */
	pthread_mutex_t lock;
	uint64_t driver_features;
	uint8_t status;
	uint32_t config_generation;
	bool config_unseen; /* the driver was told of a change and has not read the configuration since */
	uint8_t config[VIRTIO_CONFIG_MAX];
	unsigned int config_bytes;
	uint64_t broken; /* how often */
	struct err fault; /* why, the last time */

	/* The worker's. */
	bool paused; /* by the machine */
	bool live; /* DRIVER_OK and not broken */
	bool serving; /* what type->serving was last told */
	bool activated; /* the type has something for reset to forget */
	bool restored; /* and not resumed since */
	int timer_fd; /* virtio_again_in */

	unsigned int nqueues;
	struct virtio_queue queue[VIRTIO_MAX_QUEUES];

	const struct virtio_transport_ops *transport_ops; /* set before the guest runs */
	void *transport;
};

/* For types. init: features besides VIRTIO_CORE_FEATURES, the first configuration; makes worker and eventfds. On failure nothing is left. The core frees @v's parts in virtio_fini; the type embeds
 * struct virtio first in its own or points to it, and type->destroy frees it. A face in @common must equal what comes of it, or features must be a subset: checked here. */
struct virtio_init {
	const struct virtio_type *type;
	void *self;
	uint64_t features;
	unsigned int nqueues;
	uint16_t queue_size;
	const void *config;
	unsigned int config_bytes;
};
int virtio_init(struct virtio *v, const struct virtio_common *common,
		const struct virtio_init *init, struct err *err);

/* On the worker; none of these waits. */
static inline bool virtio_has(const struct virtio *v, unsigned int feature)
{
	return v->driver_features >> feature & 1;
}
/* False: the queues must be left alone (paused, reset, broken, not started). For callbacks of a type's own descriptors; in serve it is true until virtio_broken. While virtio_pause drains
 * (type->wait) it is false too, and what was taken is returned all the same. */
static inline bool virtio_serving(const struct virtio *v)
{
	return v->serving;
}
/* Interrupts for queue @queue if the driver wants one. Nothing after virtio_broken. */
void virtio_signal(struct virtio *v, unsigned int queue);
/* The driver broke the rules: sets NEEDS_RESET, tells it (§2.1.2), and serves nothing until the reset: calls type->serving. Counted ("broken"); @err is kept as v->fault. */
void virtio_broken(struct virtio *v, const struct err *err);
/* Serve queue @queue again soon though no notification comes: a backend became ready, a rate limit ended. */
void virtio_again(struct virtio *v, unsigned int queue);
/* The same at once, for callbacks of a type's own descriptors: spares them a turn of the loop. Not in serve. */
void virtio_serve(struct virtio *v, unsigned int queue);
/* The same @delay_ns from now, for rate limits; the earlier of two counts. */
void virtio_again_in(struct virtio *v, unsigned int queue, uint64_t delay_ns);
/* Changes configuration bytes and, if they were others, tells the driver. Any thread, not in type->config_write, which changes v->config itself. */
void virtio_set_config(struct virtio *v, unsigned int offset, const void *data,
		       unsigned int len_bytes);

/* 64 bits in two registers: half 0 is the low one, 1 the high one, and there are no others. */
static inline uint32_t virtio_half(uint64_t v, uint32_t half)
{
	return half > 1 ? 0 : (uint32_t)(v >> 32 * half);
}
static inline uint64_t virtio_with_half(uint64_t v, uint32_t half, uint32_t value)
{
	switch (half) {
	case 0:
		return v >> 32 << 32 | value;
	case 1:
		return (uint64_t)value << 32 | (uint32_t)v;
	default:
		return v;
	}
}

/* For transports; vCPU threads. Each takes the lock itself. */
/* NULL: none from now on, which waits for an interrupt that is on its way. Not with a vCPU running. */
void virtio_set_transport(struct virtio *v, const struct virtio_transport_ops *ops,
			  void *transport);
uint64_t virtio_get_features(struct virtio *v);
uint64_t virtio_get_driver_features(struct virtio *v);
void virtio_set_driver_features(struct virtio *v, uint64_t features); /* before FEATURES_OK */
uint8_t virtio_get_status(struct virtio *v);
/* 0 resets; other bits are added to those that are set. FEATURES_OK is refused for a subset that does not work (no VERSION_1); DRIVER_OK activates. Blocks while the worker does it. */
void virtio_set_status(struct virtio *v, uint8_t status);
struct virtio_queue_regs {
	uint16_t size;
	bool enabled;
	uint64_t desc_gpa, avail_gpa, used_gpa;
};
/* Beyond nqueues: false / ignored. Setting is ignored after DRIVER_OK, and once the queue is enabled but for `enabled`. Enabling checks the rings; a queue that fails stays disabled and the
 * device NEEDS_RESET. */
bool virtio_get_queue(struct virtio *v, unsigned int queue, struct virtio_queue_regs *ret,
		      uint16_t *ret_max);
void virtio_set_queue(struct virtio *v, unsigned int queue, const struct virtio_queue_regs *regs);
/* Zeros beyond the configuration's end. Returns the generation; @len_bytes 0: nothing else. */
uint32_t virtio_config_read(struct virtio *v, unsigned int offset, void *data,
			    unsigned int len_bytes);
void virtio_config_write(struct virtio *v, unsigned int offset, const void *data,
			 unsigned int len_bytes);
/* A notification that came as an exit. */
void virtio_kick(struct virtio *v, unsigned int queue);

#endif
