/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tiny {
	struct virtio v;
	struct virtq_chain chain;
};

static uint32_t fill(struct virtq *q, const struct virtq_chain *c)
{
	const uint8_t byte = TINY_FILL;
	uint32_t n = 0;

	while (n < c->write_bytes && n < 4096)
		n += (uint32_t)virtq_write(q, c, n, &byte, 1);
	return n;
}

static void tiny_serve(void *self, unsigned int queue)
{
	struct tiny *t = self;
	struct virtq *q = &t->v.queue[queue].vq;
	struct err err = { 0 };
	unsigned int n = 0;
	int rc = 0;

	for (; n < TINY_QUEUE_SIZE && (rc = virtq_pop(q, &t->chain, &err)) > 0; n++)
		virtq_push(q, t->chain.head, fill(q, &t->chain));
	if (rc < 0)
		virtio_broken(&t->v, &err);
	else if (n == TINY_QUEUE_SIZE)
		virtio_again(&t->v, queue);
	if (n)
		virtio_signal(&t->v, queue);
}

static void tiny_config_write(void *self, unsigned int offset, const void *data,
			      unsigned int len_bytes)
{
	struct tiny *t = self;

	memcpy(t->v.config + offset, data, len_bytes);
}

static void tiny_destroy(void *self)
{
	free(self);
}

static const struct virtio_type tiny_type = {
	.kind = "tiny",
	.device_id = TINY_DEVICE_ID,
	.pci_class = TINY_CLASS,
	.serve = tiny_serve,
	.config_write = tiny_config_write,
	.destroy = tiny_destroy,
};

int tiny_virtio_create(const struct dev_host *host, struct virtio **ret)
{
	const struct virtio_common common = { .id = "tiny0", .host = *host };
	struct tiny *t = calloc(1, sizeof(*t));
	const struct virtio_init init = {
		.type = &tiny_type,
		.self = t,
		.features = 1u << TINY_FEATURE,
		.nqueues = TINY_QUEUES,
		.queue_size = TINY_QUEUE_SIZE,
		.config = TINY_CONFIG,
		.config_bytes = TINY_CONFIG_BYTES,
	};
	int rc = t ? virtio_init(&t->v, &common, &init, NULL) : -ENOMEM;

	if (rc) {
		free(t);
		return rc;
	}
	*ret = &t->v;
	return 0;
}
