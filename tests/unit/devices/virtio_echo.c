/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_echo.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static void echo_activate(void *self)
{
	((struct echo *)self)->activations++;
}

static void echo_one(struct echo *e, struct virtq *q)
{
	uint8_t data[64];
	size_t n = virtq_read(&e->chain, 0, data, sizeof(data));

	n = virtq_write(q, &e->chain, 0, data, n);
	virtq_push(q, e->chain.head, (uint32_t)n);
}

static void echo_serve(void *self, unsigned int queue)
{
	struct echo *e = self;
	struct virtq *q = &e->v.queue[queue].vq;
	struct err err = { 0 };
	int rc;

	e->serves[queue]++;
	while ((rc = virtq_pop(q, &e->chain, &err)) > 0) {
		if (queue == QUEUE_HELD)
			e->held[e->nheld++] = e->chain.head;
		else
			echo_one(e, q);
		if (e->short_sighted) {
			virtio_again(&e->v, queue);
			break;
		}
	}
	if (rc < 0)
		virtio_broken(&e->v, &err);
	virtio_signal(&e->v, queue);
}

static void echo_serving(void *self, bool on)
{
	struct echo *e = self;

	if (on)
		e->ons++;
	else
		e->offs++;
}

static unsigned int echo_in_flight(void *self)
{
	return ((struct echo *)self)->nheld;
}

static void echo_wait(void *self, uint64_t deadline_ns)
{
	struct echo *e = self;

	e->waits++;
	if (e->obstinate) {
		poll(NULL, 0, 1);
		return;
	}
	virtq_push(&e->v.queue[QUEUE_HELD].vq, e->held[--e->nheld], 0);
	virtio_signal(&e->v, QUEUE_HELD);
}

static void echo_reset(void *self)
{
	struct echo *e = self;

	e->resets++;
	e->nheld = 0;
}

static void echo_config_write(void *self, unsigned int offset, const void *data,
			      unsigned int len_bytes)
{
	struct echo *e = self;

	memcpy(e->v.config + offset, data, len_bytes);
}

static int echo_take(void *self, struct err *err)
{
	return err_set(err, -EBUSY, "taken by another");
}

static void echo_stop(void *self)
{
	((struct echo *)self)->stops++;
}

static void echo_destroy(void *self)
{
	((struct echo *)self)->destroyed = true;
}

static const struct virtio_type echo_type = {
	.kind = "echo",
	.device_id = 42,
	.activate = echo_activate,
	.serve = echo_serve,
	.polls = true,
	.serving = echo_serving,
	.in_flight = echo_in_flight,
	.wait = echo_wait,
	.reset = echo_reset,
	.config_write = echo_config_write,
	.take = echo_take,
	.stop = echo_stop,
	.destroy = echo_destroy,
};

int echo_make(struct fixture *f, struct echo *e, const struct virtio_face *face, struct err *err)
{
	const struct virtio_common common = { .id = "echo0", .host = f->d.host, .face = face };
	const struct virtio_init init = {
		.type = &echo_type,
		.self = e,
		.features = 1ull << FEATURE_A | 1ull << FEATURE_B,
		.nqueues = NQUEUES,
		.queue_size = QUEUE_SIZE,
		.config = CONFIG,
		.config_bytes = sizeof(CONFIG),
	};

	*e = (struct echo){ 0 };
	return virtio_init(&e->v, &common, &init, err);
}

int echo_setup(void **state)
{
	static struct fixture f;
	int rc = driver_init(&f.d);

	*state = &f;
	if (!rc)
		rc = echo_make(&f, &f.e, NULL, NULL);
	if (!rc)
		driver_attach(&f.d, &f.e.v);
	return rc;
}

int echo_teardown(void **state)
{
	struct fixture *f = *state;

	virtio_destroy(&f->e.v);
	virtio_destroy(NULL);
	assert_true(f->e.destroyed);
	assert_int_equal(f->e.stops, 1);
	/* And one for state that was loaded at rest. */
	assert_true(f->e.resets >= f->e.activations);
	assert_int_equal(f->e.ons, f->e.offs);
	driver_fini(&f->d);
	return 0;
}

uint64_t offer(struct fixture *f, unsigned int queue, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	struct driver_part parts[2] = { { driver_alloc(&f->d, len), len, false },
					{ driver_alloc(&f->d, len), len, true } };

	memcpy(driver_ptr(&f->d, parts[0].gpa, len), text, len);
	driver_add(&f->d, queue, parts, 2);
	return parts[1].gpa;
}

void assert_answer(struct fixture *f, uint64_t gpa, const char *text)
{
	uint32_t written;
	uint16_t head;

	assert_true(driver_wait_used(&f->d, QUEUE_ECHO, &head, &written));
	assert_int_equal(written, strlen(text));
	assert_memory_equal(driver_ptr(&f->d, gpa, written), text, written);
}

struct held {
	struct echo *e;
	unsigned int n;
};

static void get_held(void *opaque)
{
	struct held *h = opaque;

	h->n = h->e->nheld;
}

/* Waits until the type holds @n requests. */
static void wait_held(struct fixture *f, unsigned int n)
{
	struct held h = { .e = &f->e };

	for (unsigned int i = 0; i < DRIVER_WAIT_MS && h.n < n; i++) {
		worker_call(f->e.v.worker, get_held, &h);
		if (h.n < n)
			poll(NULL, 0, 1);
	}
	assert_int_equal(h.n, n);
}

void hold(struct fixture *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		offer(f, QUEUE_HELD, "held");
	driver_kick(&f->d, QUEUE_HELD);
	wait_held(f, n);
}
