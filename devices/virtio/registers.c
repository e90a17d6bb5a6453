/* SPDX-License-Identifier: Apache-2.0 */
/* A device's registers as transports see them: status, features, queues, configuration (virtio 1.2 §2.1, §2.2, §2.5). */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "run.h"

#define DRIVER_STATUS_BITS \
	(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)

uint64_t virtio_get_features(struct virtio *v)
{
	return v->features;
}

uint64_t virtio_get_driver_features(struct virtio *v)
{
	uint64_t features;

	pthread_mutex_lock(&v->lock);
	features = v->driver_features;
	pthread_mutex_unlock(&v->lock);
	return features;
}

void virtio_set_driver_features(struct virtio *v, uint64_t features)
{
	pthread_mutex_lock(&v->lock);
	if (!(v->status & VIRTIO_FEATURES_OK))
		v->driver_features = features;
	pthread_mutex_unlock(&v->lock);
}

uint8_t virtio_get_status(struct virtio *v)
{
	uint8_t status;

	pthread_mutex_lock(&v->lock);
	status = v->status;
	pthread_mutex_unlock(&v->lock);
	return status;
}

bool virtio_features_work(const struct virtio *v, uint64_t features)
{
	return !(features & ~v->features) && features >> VIRTIO_F_VERSION_1 & 1;
}

void virtio_clear_registers(struct virtio *v)
{
	v->status = 0;
	v->driver_features = 0;
	v->config_unseen = false;
	for (unsigned int i = 0; i < v->nqueues; i++) {
		struct virtio_queue *q = &v->queue[i];

		q->enabled = false;
		q->vq = (struct virtq){ .mem = v->host.mem, .size = q->max_size };
	}
}

/* The status reads 0 only when the device is done with the driver's memory (§2.4.1). */
static void reset_now(void *opaque)
{
	struct virtio *v = opaque;

	virtio_run_deactivate(v);
	pthread_mutex_lock(&v->lock);
	virtio_clear_registers(v);
	pthread_mutex_unlock(&v->lock);
}

/* DRIVER_OK was written. Once it is set, under the lock, queues and features change no more and are the worker's. */
static void start_now(void *opaque)
{
	struct virtio *v = opaque;
	struct err err = { 0 };
	bool start, broken;

	pthread_mutex_lock(&v->lock);
	start = !(v->status & VIRTIO_DRIVER_OK);
	if (start && !(v->status & VIRTIO_FEATURES_OK)) {
		err_set(&err, -EBADMSG, "DRIVER_OK without FEATURES_OK");
		virtio_note_fault(v, &err);
	}
	v->status |= VIRTIO_DRIVER_OK;
	broken = v->status & VIRTIO_NEEDS_RESET;
	pthread_mutex_unlock(&v->lock);
	if (!start)
		return;
	if (broken) {
		virtio_interrupt(v, -1);
		return;
	}
	if (virtio_run_activate(v, &err))
		virtio_fault(v, &err);
}

void virtio_set_status(struct virtio *v, uint8_t status)
{
	uint8_t add;

	if (!status) {
		worker_call(v->worker, reset_now, v);
		return;
	}
	pthread_mutex_lock(&v->lock);
	add = status & DRIVER_STATUS_BITS & (uint8_t)~v->status;
	if (!virtio_features_work(v, v->driver_features))
		add &= (uint8_t)~VIRTIO_FEATURES_OK;
	v->status |= add & (uint8_t)~VIRTIO_DRIVER_OK;
	pthread_mutex_unlock(&v->lock);
	if (add & VIRTIO_DRIVER_OK)
		worker_call(v->worker, start_now, v);
}

bool virtio_get_queue(struct virtio *v, unsigned int queue, struct virtio_queue_regs *ret,
		      uint16_t *ret_max)
{
	const struct virtio_queue *q;

	if (queue >= v->nqueues)
		return false;
	q = &v->queue[queue];
	pthread_mutex_lock(&v->lock);
	*ret = (struct virtio_queue_regs){
		.size = q->vq.size,
		.enabled = q->enabled,
		.desc_gpa = q->vq.desc_gpa,
		.avail_gpa = q->vq.avail_gpa,
		.used_gpa = q->vq.used_gpa,
	};
	pthread_mutex_unlock(&v->lock);
	*ret_max = q->max_size;
	return true;
}

static void enable_queue(struct virtio *v, struct virtio_queue *q)
{
	struct err err = { 0 };
	int rc = q->vq.size > q->max_size ? err_set(&err, -EINVAL, "size %u", q->vq.size) :
					    virtq_start(&q->vq, &err);

	q->enabled = !rc;
	if (!rc)
		return;
	err_prefix(&err, "queue %u", (unsigned int)(q - v->queue));
	virtio_note_fault(v, &err);
}

void virtio_set_queue(struct virtio *v, unsigned int queue, const struct virtio_queue_regs *regs)
{
	struct virtio_queue *q;

	if (queue >= v->nqueues)
		return;
	q = &v->queue[queue];
	pthread_mutex_lock(&v->lock);
	if (v->status & VIRTIO_DRIVER_OK) {
		/* the worker's */
	} else if (q->enabled) {
		q->enabled = regs->enabled;
	} else {
		q->vq.size = regs->size;
		q->vq.desc_gpa = regs->desc_gpa;
		q->vq.avail_gpa = regs->avail_gpa;
		q->vq.used_gpa = regs->used_gpa;
		if (regs->enabled)
			enable_queue(v, q);
	}
	pthread_mutex_unlock(&v->lock);
}

uint32_t virtio_config_read(struct virtio *v, unsigned int offset, void *data,
			    unsigned int len_bytes)
{
	uint32_t generation;

	if (len_bytes)
		memset(data, 0, len_bytes);
	pthread_mutex_lock(&v->lock);
	if (len_bytes && offset < v->config_bytes) {
		memcpy(data, v->config + offset, MIN(len_bytes, v->config_bytes - offset));
		v->config_unseen = false;
	}
	generation = v->config_generation;
	pthread_mutex_unlock(&v->lock);
	return generation;
}

void virtio_config_write(struct virtio *v, unsigned int offset, const void *data,
			 unsigned int len_bytes)
{
	if (!v->type->config_write || len_bytes > v->config_bytes ||
	    offset > v->config_bytes - len_bytes)
		return;
	pthread_mutex_lock(&v->lock);
	v->type->config_write(v->self, offset, data, len_bytes);
	pthread_mutex_unlock(&v->lock);
}

void virtio_set_config(struct virtio *v, unsigned int offset, const void *data,
		       unsigned int len_bytes)
{
	const struct virtio_transport_ops *ops = NULL;
	void *transport = NULL;

	if (len_bytes > v->config_bytes || offset > v->config_bytes - len_bytes)
		return;
	pthread_mutex_lock(&v->lock);
	if (memcmp(v->config + offset, data, len_bytes) != 0) {
		memcpy(v->config + offset, data, len_bytes);
		v->config_generation++;
		if (v->status & VIRTIO_DRIVER_OK) {
			v->config_unseen = true;
			ops = v->transport_ops;
			transport = v->transport;
		}
	}
	pthread_mutex_unlock(&v->lock);
	if (ops)
		ops->interrupt(transport, -1);
}
