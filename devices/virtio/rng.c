/* SPDX-License-Identifier: Apache-2.0 */
/* Entropy device (virtio 1.2 §5.4): one queue of buffers, filled from the host's getrandom(2). */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/num.h"
#include "core.h"
#include "devices/backend/rate.h"

#define DEVICE_ID 4
#define PCI_CLASS 0x00ff00u /* unclassified */
#define QUEUE_SIZE 64u
/* A request gets this much and no more, as the device may (§5.4.6.1: one byte at least): the worker is not kept by one. */
#define REQUEST_BYTES 4096u
/* A guest that asks without end gets this many bytes a second of the host's time, and a second's worth at once; a kernel that boots wants some hundred bytes. */
#define LIMIT_BYTES_PER_S (1u << 20)

struct rng {
	struct virtio v;
	struct rate rate;
	struct virtq_chain chain;
	uint64_t requests, bytes;
};

/* The first segments of the writable part, up to REQUEST_BYTES: how many bytes were written. The pool is initialised when a VM starts, so that nothing blocks and no call is cut short
 * (getrandom(2): up to 256 bytes always whole; longer ones may be, by a signal, and the thread takes none). */
static uint32_t fill(const struct virtq_chain *c)
{
	uint32_t done = 0;

	for (unsigned int i = c->nread; i < c->nread + c->nwrite && done < REQUEST_BYTES; i++) {
		ssize_t n = getrandom(c->seg[i].iov_base,
				      MIN(c->seg[i].iov_len, REQUEST_BYTES - done), 0);

		if (n <= 0)
			break;
		done += (uint32_t)n;
	}
	return done;
}

/* False: not now, the limit is reached. */
static bool answer(struct rng *r, unsigned int queue)
{
	struct virtq *q = &r->v.queue[queue].vq;
	const struct virtq_chain *c = &r->chain;
	uint64_t wait_ns;
	uint32_t n;

	r->v.queue[queue].quiet =
		!rate_take(&r->rate, MIN(c->write_bytes, REQUEST_BYTES), clock_mono_ns(), &wait_ns);
	if (r->v.queue[queue].quiet) {
		virtq_unpop(q, c->head);
		virtio_again_in(&r->v, queue, wait_ns);
		return false;
	}
	n = fill(c);
	virtq_written(q, c, n);
	virtq_push(q, c->head, n);
	r->requests++;
	r->bytes += n;
	return true;
}

static void rng_serve(void *self, unsigned int queue)
{
	struct rng *r = self;
	struct virtq *q = &r->v.queue[queue].vq;
	struct err err = { 0 };
	unsigned int n = 0;
	int rc;

	while (n < QUEUE_SIZE && (rc = virtq_pop(q, &r->chain, &err)) > 0 && answer(r, queue))
		n++;
	if (n == QUEUE_SIZE)
		virtio_again(&r->v, queue);
	else if (rc < 0)
		virtio_broken(&r->v, &err);
	virtio_signal(&r->v, queue);
}

static void rng_counters(void *self, void (*fn)(void *opaque, const char *name, uint64_t value),
			 void *opaque)
{
	const struct rng *r = self;

	fn(opaque, "requests", r->requests);
	fn(opaque, "bytes_read", r->bytes);
}

static void rng_destroy(void *self)
{
	free(self);
}

static const struct virtio_type rng_type = {
	.kind = "rng",
	.device_id = DEVICE_ID,
	.pci_class = PCI_CLASS,
	.serve = rng_serve,
	.counters = rng_counters,
	.destroy = rng_destroy,
};

int virtio_rng_create(const struct virtio_common *common, struct virtio **ret, struct err *err)
{
	const struct rate_limit limit = { .bytes_per_s = LIMIT_BYTES_PER_S };
	struct rng *r = calloc(1, sizeof(*r));
	const struct virtio_init init = {
		.type = &rng_type,
		.self = r,
		.nqueues = 1,
		.queue_size = QUEUE_SIZE,
	};
	int rc;

	if (!r)
		return err_set(err, -ENOMEM, "--rng: out of memory");
	rate_init(&r->rate, &limit, clock_mono_ns());
	rc = virtio_init(&r->v, common, &init, err);
	if (rc) {
		err_prefix(err, "--rng");
		free(r);
		return rc;
	}
	*ret = &r->v;
	return 0;
}
