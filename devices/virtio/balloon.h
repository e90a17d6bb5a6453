/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_BALLOON_H
#define DEVICES_VIRTIO_BALLOON_H

#include <linux/virtio_balloon.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/bitmap.h"
#include "core.h"

/* The balloon's parts among themselves: balloon.c is the device and the queues that give memory back, balloon_stats.c the guest's statistics, balloon_hint.c free-page hints. */

/* §5.5.2 */
enum {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS,
	BALLOON_HINT,
	BALLOON_REPORT,
	BALLOON_QUEUES
};

/* §5.5.4. Without poison_val, which belongs to a feature that is not offered. */
enum { BALLOON_TARGET = 0, BALLOON_ACTUAL = 4, BALLOON_CMD_ID = 8, BALLOON_CONFIG_BYTES = 12 };

/* The worker's. */
struct balloon_poll {
	bool waiting; /* the driver's buffer has been read and lies in the queue, to be returned when new statistics are wanted */
	uint64_t since_ns; /* it came */
	atomic_uint interval_s; /* 0: never */
};

/* Guarded by the balloon's lock. */
struct balloon_hint {
	uint32_t last_id; /* the newest command id; 0: none yet */
	uint32_t shown; /* what the configuration says: STOP, DONE or last_id */
	bool current; /* the driver's names are for last_id */
	struct bitmap named; /* words NULL: no migration wants any */
};

struct balloon {
	struct virtio v; /* first */
	pthread_mutex_t lock; /* hint, stats; never around v.lock, nor the other way round */
	struct balloon_hint hint;
	struct balloon_stats stats; /* the guest's words */
	struct balloon_poll poll;
	struct virtq_chain chain; /* the one in hand; the worker's */
	uint64_t work_bytes; /* given back in this turn of serving */
	atomic_uint_least64_t inflated_pages, deflated_pages, discarded_bytes, reported_bytes,
		discards_failed, hinted_pages;
};

static inline struct balloon *balloon_of(struct virtio *v)
{
	return v->self;
}

/* Each returns 0, or -EBADMSG with what the driver did wrong. On the worker. */
int balloon_take_hint(struct balloon *b, const struct virtq_chain *c, struct err *err);
int balloon_serve_stats(struct balloon *b, struct err *err);
/* A chain that names more memory than there is repeats itself, and would keep the worker busy for nothing. */
int balloon_check_size(const struct balloon *b, uint64_t bytes, struct err *err);

#endif
