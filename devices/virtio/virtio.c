/* SPDX-License-Identifier: Apache-2.0 */
/* A device's making and end, and what the machine asks of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/fd.h"
#include "run.h"

struct transport_call {
	struct virtio *v;
	const struct virtio_transport_ops *ops;
	void *transport;
};

static void set_transport_now(void *opaque)
{
	struct transport_call *c = opaque;

	pthread_mutex_lock(&c->v->lock);
	c->v->transport_ops = c->ops;
	c->v->transport = c->transport;
	pthread_mutex_unlock(&c->v->lock);
}

void virtio_set_transport(struct virtio *v, const struct virtio_transport_ops *ops, void *transport)
{
	struct transport_call c = { v, ops, transport };

	worker_call(v->worker, set_transport_now, &c);
}

void virtio_get_face(struct virtio *v, struct virtio_face *ret)
{
	*ret = (struct virtio_face){
		.kind = v->type->kind,
		.features = v->features,
		.nqueues = v->nqueues,
		.queue_size = v->queue[0].max_size,
		.config_bytes = v->config_bytes,
	};
	pthread_mutex_lock(&v->lock);
	memcpy(ret->config, v->config, v->config_bytes);
	pthread_mutex_unlock(&v->lock);
}

/* What a type does on the worker for the machine. */
struct ownership_call {
	int (*fn)(void *self, struct err *err);
	void *self;
	struct err *err;
	int rc;
};

static void ownership_now(void *opaque)
{
	struct ownership_call *c = opaque;

	c->rc = c->fn(c->self, c->err);
}

static int ownership(struct virtio *v, int (*fn)(void *self, struct err *err), struct err *err)
{
	struct ownership_call c = { .fn = fn, .self = v->self, .err = err };

	if (fn)
		worker_call(v->worker, ownership_now, &c);
	return c.rc;
}

int virtio_release(struct virtio *v, struct err *err)
{
	return ownership(v, v->type->release, err);
}

int virtio_take(struct virtio *v, struct err *err)
{
	return ownership(v, v->type->take, err);
}

void virtio_arrived(struct virtio *v)
{
	if (v->type->arrived)
		worker_call(v->worker, v->type->arrived, v->self);
}

struct counters_call {
	struct virtio *v;
	void (*fn)(void *opaque, const char *name, uint64_t value);
	void *opaque;
};

static void counters_now(void *opaque)
{
	struct counters_call *c = opaque;
	struct virtio *v = c->v;
	uint64_t notifications = 0, interrupts = 0, broken;

	for (unsigned int i = 0; i < v->nqueues; i++) {
		notifications += atomic_load(&v->queue[i].notifications);
		interrupts += atomic_load(&v->queue[i].interrupts);
	}
	pthread_mutex_lock(&v->lock);
	broken = v->broken;
	pthread_mutex_unlock(&v->lock);
	c->fn(c->opaque, "notifications", notifications);
	c->fn(c->opaque, "interrupts", interrupts);
	c->fn(c->opaque, "broken", broken);
	if (v->type->counters)
		v->type->counters(v->self, c->fn, c->opaque);
}

void virtio_counters(struct virtio *v, void (*fn)(void *opaque, const char *name, uint64_t value),
		     void *opaque)
{
	struct counters_call c = { v, fn, opaque };

	worker_call(v->worker, counters_now, &c);
}

unsigned int virtio_state_entries(struct virtio *v, uint32_t instance, struct state_entry *entries)
{
	entries[0] = (struct state_entry){ &virtio_state, instance, v };
	if (!v->type->state)
		return 1;
	entries[1] = (struct state_entry){ v->type->state, instance, v->self };
	return 2;
}

/* What the guest saw on the source it must see here. The configuration is the type's affair. */
static int check_face(const struct virtio_face *face, const struct virtio_init *init,
		      struct err *err)
{
	uint64_t missing = face->features & ~(init->features | VIRTIO_CORE_FEATURES);

	if (strcmp(face->kind, init->type->kind) != 0)
		return err_set(err, -EOPNOTSUPP, "the source's device is of kind %s, this one %s",
			       face->kind, init->type->kind);
	if (missing)
		return err_set(err, -EOPNOTSUPP,
			       "the source's device has feature bit %d, which this one lacks",
			       __builtin_ctzll(missing));
	if (face->nqueues != init->nqueues)
		return err_set(err, -EOPNOTSUPP, "the source's device has %u queues, this one %u",
			       face->nqueues, init->nqueues);
	if (face->queue_size != init->queue_size)
		return err_set(err, -EOPNOTSUPP,
			       "the source's device has queues of size %u, this one %u",
			       face->queue_size, init->queue_size);
	return 0;
}

static int open_descriptors(struct virtio *v, struct err *err)
{
	bool ok;

	v->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	ok = v->timer_fd >= 0;
	for (unsigned int i = 0; i < v->nqueues && ok; i++) {
		v->queue[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ok = v->queue[i].kick_fd >= 0;
	}
	return ok ? 0 : err_sys(err, -errno, "eventfd");
}

static void fini(struct virtio *v)
{
	fd_close(&v->timer_fd);
	for (unsigned int i = 0; i < v->nqueues; i++)
		fd_close(&v->queue[i].kick_fd);
	pthread_mutex_destroy(&v->lock);
}

static void watch_now(void *opaque)
{
	struct ownership_call *c = opaque;

	c->rc = virtio_run_init(c->self);
}

static int start_worker(struct virtio *v, struct err *err)
{
	struct ownership_call c = { .self = v };
	int rc = worker_create(v->id, &v->worker, err);

	if (rc)
		return rc;
	worker_call(v->worker, watch_now, &c);
	if (c.rc) {
		worker_destroy(v->worker);
		return err_sys(err, c.rc, "event loop");
	}
	return 0;
}

int virtio_init(struct virtio *v, const struct virtio_common *common,
		const struct virtio_init *init, struct err *err)
{
	int rc = common->face ? check_face(common->face, init, err) : 0;

	if (rc)
		return rc;
	if (!init->nqueues || init->nqueues > VIRTIO_MAX_QUEUES || init->queue_size < 2 ||
	    init->queue_size > VIRTQ_MAX_SIZE || init->queue_size & (init->queue_size - 1u) ||
	    init->config_bytes > VIRTIO_CONFIG_MAX)
		return err_set(err, -EINVAL, "%u queues of size %u", init->nqueues,
			       init->queue_size);
	*v = (struct virtio){
		.type = init->type,
		.self = init->self,
		.host = common->host,
		.features = common->face ? common->face->features :
					   init->features | VIRTIO_CORE_FEATURES,
		.config_bytes = init->config_bytes,
		.nqueues = init->nqueues,
		.paused = true,
		.timer_fd = -1,
	};
	snprintf(v->id, sizeof(v->id), "%s", common->id);
	if (init->config_bytes)
		memcpy(v->config, init->config, init->config_bytes);
	for (unsigned int i = 0; i < v->nqueues; i++) {
		v->queue[i].v = v;
		v->queue[i].max_size = init->queue_size;
		v->queue[i].kick_fd = -1;
	}
	pthread_mutex_init(&v->lock, NULL);
	virtio_clear_registers(v);
	rc = open_descriptors(v, err);
	if (!rc)
		rc = start_worker(v, err);
	if (rc)
		fini(v);
	return rc;
}

static void end_now(void *opaque)
{
	struct virtio *v = opaque;

	virtio_run_deactivate(v);
	if (v->type->stop)
		v->type->stop(v->self);
}

void virtio_destroy(struct virtio *v)
{
	const struct virtio_type *type;
	void *self;

	if (!v)
		return;
	type = v->type;
	self = v->self;
	worker_call(v->worker, end_now, v);
	worker_destroy(v->worker);
	fini(v);
	type->destroy(self);
}
