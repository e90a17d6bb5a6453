/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory statistics (virtio 1.2 §5.5.6.3): the driver offers a buffer that is filled already, and fills it anew when it comes back. So the device reads the buffer when it comes and leaves it
 * in the queue until the next figures are wanted; a device that takes over in between finds it there and reads it again.
 */
#include "balloon.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/num.h"

/* Tag and value, packed. Those that are defined, and as many again, are looked at; a later one counts more. */
#define STAT_BYTES 10u
#define STATS_MAX (2u * VIRTIO_BALLOON_S_NR)

static uint64_t *stat_of(struct balloon_stats *s, uint16_t tag)
{
	switch (tag) {
	case VIRTIO_BALLOON_S_SWAP_IN:
		return &s->swap_in;
	case VIRTIO_BALLOON_S_SWAP_OUT:
		return &s->swap_out;
	case VIRTIO_BALLOON_S_MAJFLT:
		return &s->major_faults;
	case VIRTIO_BALLOON_S_MINFLT:
		return &s->minor_faults;
	case VIRTIO_BALLOON_S_MEMFREE:
		return &s->free_bytes;
	case VIRTIO_BALLOON_S_MEMTOT:
		return &s->total_bytes;
	case VIRTIO_BALLOON_S_AVAIL:
		return &s->available_bytes;
	case VIRTIO_BALLOON_S_CACHES:
		return &s->disk_caches_bytes;
	default:
		return NULL;
	}
}

static void read_stats(struct balloon *b, const struct virtq_chain *c)
{
	uint8_t data[STATS_MAX * STAT_BYTES];
	size_t len_bytes = virtq_read(c, 0, data, sizeof(data));

	pthread_mutex_lock(&b->lock);
	for (size_t at = 0; at + STAT_BYTES <= len_bytes; at += STAT_BYTES) {
		uint64_t *stat = stat_of(&b->stats, le16_get(data + at));

		if (!stat)
			continue;
		*stat = le64_get(data + at + 2);
		b->stats.known = true;
	}
	pthread_mutex_unlock(&b->lock);
}

/* Returns the buffer that waits, if its time has come; else has this called again when it has. */
static int return_buffer(struct balloon *b, struct err *err)
{
	struct virtio_queue *q = &b->v.queue[BALLOON_STATS];
	uint64_t interval_ns = atomic_load(&b->poll.interval_s) * NS_PER_S;
	uint64_t waited_ns = clock_mono_ns() - b->poll.since_ns;
	int rc;

	if (!interval_ns)
		return 0;
	if (waited_ns < interval_ns) {
		virtio_again_in(&b->v, BALLOON_STATS, interval_ns - waited_ns);
		return 0;
	}
	rc = virtq_pop(&q->vq, &b->chain, err);
	b->poll.waiting = false;
	if (rc <= 0)
		return rc;
	virtq_push(&q->vq, b->chain.head, 0);
	virtio_signal(&b->v, BALLOON_STATS);
	return 0;
}

int balloon_serve_stats(struct balloon *b, struct err *err)
{
	struct virtio_queue *q = &b->v.queue[BALLOON_STATS];
	int rc = b->poll.waiting ? return_buffer(b, err) : 0;

	if (!rc && !b->poll.waiting) {
		rc = virtq_pop(&q->vq, &b->chain, err);
		if (rc > 0) {
			read_stats(b, &b->chain);
			virtq_unpop(&q->vq, b->chain.head);
			b->poll.waiting = true;
			b->poll.since_ns = clock_mono_ns();
			rc = return_buffer(b, err);
		}
	}
	q->quiet = b->poll.waiting;
	return rc;
}

static void poll_again(void *opaque)
{
	struct balloon *b = opaque;

	if (virtio_serving(&b->v))
		virtio_again(&b->v, BALLOON_STATS);
}

void virtio_balloon_set_stats_interval(struct virtio *v, unsigned int seconds)
{
	struct balloon *b = balloon_of(v);

	atomic_store(&b->poll.interval_s, seconds);
	worker_call(v->worker, poll_again, b);
}

void virtio_balloon_get_stats(struct virtio *v, struct balloon_stats *ret)
{
	struct balloon *b = balloon_of(v);
	uint8_t config[BALLOON_CONFIG_BYTES];

	pthread_mutex_lock(&v->lock);
	memcpy(config, v->config, sizeof(config));
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_lock(&b->lock);
	*ret = b->stats;
	pthread_mutex_unlock(&b->lock);
	ret->target_pages = le32_get(config + BALLOON_TARGET);
	ret->actual_pages = le32_get(config + BALLOON_ACTUAL);
	ret->reported_bytes = atomic_load_explicit(&b->reported_bytes, memory_order_relaxed);
}
