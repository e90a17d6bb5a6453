/* SPDX-License-Identifier: Apache-2.0 */
/* state.md, section "virtio": status, features and queues of a device. */
#include <errno.h>
#include <inttypes.h>

#include "base/num.h"
#include "run.h"

struct virtio_image {
	uint8_t status;
	uint64_t driver_features;
	uint32_t config_generation;
	uint8_t config_unseen;
	uint8_t nqueues;
	uint16_t size[VIRTIO_MAX_QUEUES];
	uint8_t enabled[VIRTIO_MAX_QUEUES];
	uint64_t desc[VIRTIO_MAX_QUEUES];
	uint64_t avail[VIRTIO_MAX_QUEUES];
	uint64_t used[VIRTIO_MAX_QUEUES];
	uint16_t avail_idx[VIRTIO_MAX_QUEUES];
	uint16_t used_idx[VIRTIO_MAX_QUEUES];
};

static const struct state_field virtio_fields[] = {
	STATE_FIELD_U8(struct virtio_image, status),
	STATE_FIELD_U64(struct virtio_image, driver_features),
	STATE_FIELD_U32(struct virtio_image, config_generation),
	STATE_FIELD_U8(struct virtio_image, config_unseen),
	STATE_FIELD_U8(struct virtio_image, nqueues),
	STATE_FIELD_U16(struct virtio_image, size),
	STATE_FIELD_U8(struct virtio_image, enabled),
	STATE_FIELD_U64(struct virtio_image, desc),
	STATE_FIELD_U64(struct virtio_image, avail),
	STATE_FIELD_U64(struct virtio_image, used),
	STATE_FIELD_U16(struct virtio_image, avail_idx),
	STATE_FIELD_U16(struct virtio_image, used_idx),
};

#define STATUS_BITS                                                                   \
	(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | \
	 VIRTIO_NEEDS_RESET | VIRTIO_FAILED)

/* Registers and queues may be in a guest's hands or the worker's: both are looked at in one place, on the worker. */
struct state_call {
	struct virtio *v;
	struct virtio_image *capture;
	const struct virtio_image *apply;
	struct err *err;
	int rc;
};

static void capture_now(void *opaque)
{
	struct state_call *c = opaque;
	struct virtio *v = c->v;
	struct virtio_image *img = c->capture;

	pthread_mutex_lock(&v->lock);
	img->status = v->status;
	img->driver_features = v->driver_features;
	img->config_generation = v->config_generation;
	img->config_unseen = v->config_unseen;
	img->nqueues = (uint8_t)v->nqueues;
	for (unsigned int i = 0; i < v->nqueues; i++) {
		const struct virtio_queue *q = &v->queue[i];

		img->size[i] = q->vq.size;
		img->enabled[i] = q->enabled;
		img->desc[i] = q->vq.desc_gpa;
		img->avail[i] = q->vq.avail_gpa;
		img->used[i] = q->vq.used_gpa;
		img->avail_idx[i] = q->vq.avail_idx;
		img->used_idx[i] = q->vq.used_idx;
	}
	pthread_mutex_unlock(&v->lock);
}

static int virtio_capture(void *dev, void *image, struct err *err)
{
	struct state_call c = { .v = dev, .capture = image };

	worker_call(c.v->worker, capture_now, &c);
	return 0;
}

/* A queue that is not enabled has whatever the driver wrote so far, but nothing was taken from it. */
static int check_queue(const struct virtio_image *img, unsigned int i, struct err *err)
{
	uint16_t out = (uint16_t)(img->avail_idx[i] - img->used_idx[i]);

	if (img->enabled[i] > 1)
		return err_set(err, -EBADMSG, "queue %u: enabled %u", i, img->enabled[i]);
	if (!img->enabled[i] && (img->avail_idx[i] || img->used_idx[i]))
		return err_set(err, -EBADMSG, "queue %u: indices of a queue that is not enabled",
			       i);
	if (img->enabled[i] && (img->size[i] < 2 || img->size[i] > VIRTQ_MAX_SIZE ||
				img->size[i] & (img->size[i] - 1)))
		return err_set(err, -EBADMSG, "queue %u: size %u", i, img->size[i]);
	if (img->enabled[i] && out > img->size[i])
		return err_set(err, -EBADMSG, "queue %u: avail_idx %u, used_idx %u, size %u", i,
			       img->avail_idx[i], img->used_idx[i], img->size[i]);
	if (i >= img->nqueues &&
	    (img->size[i] || img->enabled[i] || img->desc[i] || img->avail[i] || img->used[i]))
		return err_set(err, -EBADMSG, "queue %u of %u", i, img->nqueues);
	return 0;
}

static int virtio_check(const void *image, struct err *err)
{
	const struct virtio_image *img = image;
	uint8_t status = img->status;
	int rc = 0;

	if (status & ~STATUS_BITS ||
	    (status & VIRTIO_DRIVER_OK && !(status & (VIRTIO_FEATURES_OK | VIRTIO_NEEDS_RESET))))
		return err_set(err, -EBADMSG, "status %#x", status);
	if (img->config_unseen > 1)
		return err_set(err, -EBADMSG, "config_unseen %u", img->config_unseen);
	if (!img->nqueues || img->nqueues > VIRTIO_MAX_QUEUES)
		return err_set(err, -EBADMSG, "nqueues %u", img->nqueues);
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES && !rc; i++)
		rc = check_queue(img, i, err);
	return rc;
}

static struct virtq restored_queue(const struct virtio *v, const struct virtio_image *img,
				   unsigned int i)
{
	return (struct virtq){
		.mem = v->host.mem,
		.size = img->size[i],
		.desc_gpa = img->desc[i],
		.avail_gpa = img->avail[i],
		.used_gpa = img->used[i],
		.avail_idx = img->avail_idx[i],
		.used_idx = img->used_idx[i],
	};
}

/* Against what this device is, and where its guest's memory is. */
static int check_device(struct virtio *v, const struct virtio_image *img, struct err *err)
{
	if (img->nqueues != v->nqueues)
		return err_set(err, -EBADMSG, "%u queues, this device has %u", img->nqueues,
			       v->nqueues);
	if (img->status & VIRTIO_FEATURES_OK && !virtio_features_work(v, img->driver_features))
		return err_set(err, -EBADMSG,
			       "driver_features %#" PRIx64 " of %#" PRIx64 " offered",
			       img->driver_features, v->features);
	for (unsigned int i = 0; i < v->nqueues; i++) {
		struct virtq q = restored_queue(v, img, i);
		int rc;

		if (!img->enabled[i])
			continue;
		if (img->size[i] > v->queue[i].max_size)
			return err_set(err, -EBADMSG, "queue %u: size %u, at most %u", i,
				       img->size[i], v->queue[i].max_size);
		rc = virtq_start(&q, err);
		if (rc) {
			err_prefix(err, "queue %u", i);
			return rc;
		}
	}
	return 0;
}

static void apply_now(void *opaque)
{
	struct state_call *c = opaque;
	struct virtio *v = c->v;
	const struct virtio_image *img = c->apply;

	c->rc = check_device(v, img, c->err);
	if (c->rc)
		return;
	virtio_run_deactivate(v);
	pthread_mutex_lock(&v->lock);
	virtio_clear_registers(v);
	v->status = img->status;
	v->driver_features = img->driver_features;
	v->config_generation = img->config_generation;
	v->config_unseen = img->config_unseen;
	for (unsigned int i = 0; i < v->nqueues; i++) {
		v->queue[i].vq = restored_queue(v, img, i);
		v->queue[i].enabled = img->enabled[i];
	}
	pthread_mutex_unlock(&v->lock);
	v->restored = true;
	/* A reset forgets what the type's own section brings, even if the device is broken and does not start. */
	v->activated = true;
	if (img->status & VIRTIO_DRIVER_OK && !(img->status & VIRTIO_NEEDS_RESET))
		c->rc = virtio_run_activate(v, c->err);
}

static int virtio_apply(void *dev, const void *image, struct err *err)
{
	struct state_call c = { .v = dev, .apply = image, .err = err };

	worker_call(c.v->worker, apply_now, &c);
	return c.rc;
}

const struct state_desc virtio_state =
	STATE_DESC_("virtio", struct virtio_image, virtio_fields, virtio, virtio_check);
