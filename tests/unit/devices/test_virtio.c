/* SPDX-License-Identifier: Apache-2.0 */
/* The core of virtio devices, by a device that echoes: what it reads of a request it writes behind it, on request later or never. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "virtio_driver.h"

enum {
	QUEUE_ECHO,
	QUEUE_HELD,
	NQUEUES
}; /* of the second, requests are kept until the test lets go */
#define QUEUE_SIZE 8
#define FEATURE_A 0
#define FEATURE_B 5
#define CONFIG "configuration"

struct echo {
	struct virtio v;
	struct virtq_chain chain;
	/* The worker's. */
	uint16_t held[QUEUE_SIZE];
	unsigned int nheld;
	unsigned int activations, resets, waits, ons, offs, stops;
	bool obstinate; /* wait() lets nothing go */
	bool short_sighted; /* serve() takes one request at a time */
	bool destroyed;
	unsigned int serves[NQUEUES];
	uint8_t written[4];
};

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
	.serving = echo_serving,
	.in_flight = echo_in_flight,
	.wait = echo_wait,
	.reset = echo_reset,
	.config_write = echo_config_write,
	.take = echo_take,
	.stop = echo_stop,
	.destroy = echo_destroy,
};

struct fixture {
	struct driver d;
	struct echo e;
};

static int make(struct fixture *f, struct echo *e, const struct virtio_face *face, struct err *err)
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

static int setup(void **state)
{
	static struct fixture f;
	int rc = driver_init(&f.d);

	*state = &f;
	if (!rc)
		rc = make(&f, &f.e, NULL, NULL);
	if (!rc)
		driver_attach(&f.d, &f.e.v);
	return rc;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_destroy(&f->e.v);
	virtio_destroy(NULL);
	assert_true(f->e.destroyed);
	assert_int_equal(f->e.stops, 1);
	assert_int_equal(f->e.activations, f->e.resets);
	assert_int_equal(f->e.ons, f->e.offs);
	driver_fini(&f->d);
	return 0;
}

#define ALL_FEATURES UINT64_MAX
#define PLAIN (1ull << VIRTIO_F_VERSION_1)

/* A request of @text, answered with as much; returns where the answer is. */
static uint64_t offer(struct fixture *f, unsigned int queue, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	struct driver_part parts[2] = { { driver_alloc(&f->d, len), len, false },
					{ driver_alloc(&f->d, len), len, true } };

	memcpy(driver_ptr(&f->d, parts[0].gpa, len), text, len);
	driver_add(&f->d, queue, parts, 2);
	return parts[1].gpa;
}

static void assert_answer(struct fixture *f, uint64_t gpa, const char *text)
{
	uint32_t written;
	uint16_t head;

	assert_true(driver_wait_used(&f->d, QUEUE_ECHO, &head, &written));
	assert_int_equal(written, strlen(text));
	assert_memory_equal(driver_ptr(&f->d, gpa, written), text, written);
}

static void echo_many(struct fixture *f, uint64_t features)
{
	uint64_t a, b;

	assert_true(driver_start(&f->d, features, QUEUE_SIZE));
	driver_want_interrupts(&f->d, QUEUE_ECHO, true);
	for (unsigned int i = 0; i < 10000; i++) {
		a = offer(f, QUEUE_ECHO, "first");
		if (i % 3)
			driver_kick(&f->d, QUEUE_ECHO);
		b = offer(f, QUEUE_ECHO, "second of two");
		driver_kick(&f->d, QUEUE_ECHO);
		assert_answer(f, a, "first");
		assert_answer(f, b, "second of two");
		f->d.next_gpa = b; /* the memory again */
		if (i % 100 == 0)
			driver_want_interrupts(&f->d, QUEUE_ECHO, true);
	}
}

static void requests_are_answered(void **state)
{
	struct fixture *f = *state;

	echo_many(f, ALL_FEATURES);
	assert_int_equal(f->e.activations, 1);
	assert_true(driver_wait_count(&f->d.interrupts[QUEUE_ECHO], 1));
	assert_int_equal(atomic_load(&f->d.config_interrupts), 0);
}

static void requests_are_answered_without_event_indices(void **state)
{
	struct fixture *f = *state;

	echo_many(f, PLAIN);
	assert_true(driver_wait_count(&f->d.interrupts[QUEUE_ECHO], 100));
	driver_want_interrupts(&f->d, QUEUE_ECHO, false);
}

static void one_at_a_time_serves_all(void **state)
{
	struct fixture *f = *state;
	uint64_t answer[QUEUE_SIZE / 2];

	f->e.short_sighted = true;
	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	for (unsigned int i = 0; i < QUEUE_SIZE / 2; i++)
		answer[i] = offer(f, QUEUE_ECHO, "one of four");
	driver_kick(&f->d, QUEUE_ECHO);
	for (unsigned int i = 0; i < QUEUE_SIZE / 2; i++)
		assert_answer(f, answer[i], "one of four");
}

static void nothing_before_driver_ok(void **state)
{
	struct fixture *f = *state;

	virtio_resume(&f->e.v);
	virtio_kick(&f->e.v, QUEUE_ECHO);
	virtio_kick(&f->e.v, 77);
	virtio_set_status(&f->e.v, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	virtio_arrived(&f->e.v); /* a way through the worker */
	assert_int_equal(virtio_pause(&f->e.v, 0, NULL), 0);
	assert_int_equal(f->e.serves[QUEUE_ECHO], 0);
	assert_int_equal(f->e.activations, 0);
}

static void features_that_do_not_work_are_refused(void **state)
{
	struct fixture *f = *state;
	struct virtio *v = &f->e.v;

	assert_false(driver_start(&f->d, 1ull << FEATURE_A, QUEUE_SIZE)); /* no VERSION_1 */
	virtio_set_driver_features(v, PLAIN | 1ull << 17); /* not offered */
	virtio_set_status(v, VIRTIO_FEATURES_OK);
	assert_false(virtio_get_status(v) & VIRTIO_FEATURES_OK);
	virtio_set_driver_features(v, PLAIN | 1ull << FEATURE_A);
	virtio_set_status(v, VIRTIO_FEATURES_OK);
	assert_true(virtio_get_status(v) & VIRTIO_FEATURES_OK);
	virtio_set_driver_features(v, PLAIN); /* too late */
	assert_int_equal(virtio_get_driver_features(v), PLAIN | 1ull << FEATURE_A);
	virtio_set_status(v, 0x30 | VIRTIO_NEEDS_RESET); /* not the driver's to set */
	assert_int_equal(virtio_get_status(v) & 0x70, 0);
}

static void driver_ok_without_features_needs_reset(void **state)
{
	struct fixture *f = *state;

	virtio_set_status(&f->e.v, VIRTIO_DRIVER_OK);
	assert_int_equal(virtio_get_status(&f->e.v), VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 1);
	assert_int_equal(f->e.activations, 0);
	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
}

static void broken_rules_need_reset_and_no_more(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	driver_raw_offer(&f->d, QUEUE_ECHO, QUEUE_SIZE);
	driver_kick(&f->d, QUEUE_ECHO);
	assert_true(driver_wait_status(&f->d, VIRTIO_NEEDS_RESET));
	assert_true(driver_wait_count(&f->d.config_interrupts, 1));
	assert_string_equal(f->e.v.fault.msg, "available entry 0: descriptor 8 of 8");
	a = offer(f, QUEUE_HELD, "unheard");
	virtio_kick(&f->e.v, QUEUE_HELD);
	assert_int_equal(virtio_pause(&f->e.v, 0, NULL), 0);
	assert_int_equal(driver_used(&f->d, QUEUE_HELD), 0);
	virtio_resume(&f->e.v);
	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	a = offer(f, QUEUE_ECHO, "again");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, a, "again");
	assert_int_equal(f->e.resets, 1);
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

static void hold(struct fixture *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		offer(f, QUEUE_HELD, "held");
	driver_kick(&f->d, QUEUE_HELD);
	wait_held(f, n);
}

static void pause_drains(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	driver_want_interrupts(&f->d, QUEUE_HELD, true);
	hold(f, 3);
	assert_int_equal(driver_used(&f->d, QUEUE_HELD), 0);
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
	assert_int_equal(driver_used(&f->d, QUEUE_HELD), 3);
	assert_int_equal(f->e.waits, 3);
	assert_int_equal(f->e.offs, 1);
	assert_int_equal(atomic_load(&f->d.interrupts[QUEUE_HELD]), 1);
	a = offer(f, QUEUE_ECHO, "meanwhile");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_int_equal(virtio_pause(&f->e.v, 0, NULL), 0); /* as it is */
	assert_int_equal(driver_used(&f->d, QUEUE_ECHO), 0);
	virtio_resume(&f->e.v);
	virtio_resume(&f->e.v);
	assert_answer(f, a, "meanwhile");
	assert_int_equal(f->e.ons, 2);
}

static void pause_that_fails_goes_on(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	uint64_t a;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	hold(f, 2);
	f->e.obstinate = true;
	assert_int_equal(virtio_pause(&f->e.v, clock_mono_ns() + 20 * NS_PER_MS, &err), -ETIMEDOUT);
	assert_string_equal(err.msg, "echo echo0: 2 requests are still in flight");
	a = offer(f, QUEUE_ECHO, "still here");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, a, "still here");
	f->e.obstinate = false;
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, &err), 0);
	assert_int_equal(driver_used(&f->d, QUEUE_HELD), 2);
}

static void reset_waits_for_requests(void **state)
{
	struct fixture *f = *state;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	hold(f, 2);
	virtio_set_status(&f->e.v, 0);
	assert_int_equal(f->e.waits, 2);
	assert_int_equal(f->e.resets, 1);
	assert_int_equal(virtio_get_status(&f->e.v), 0);
	assert_int_equal(virtio_get_driver_features(&f->e.v), 0);
	assert_true(driver_start(&f->d, PLAIN, 4));
	assert_int_equal(f->e.activations, 2);
}

struct counted {
	uint64_t notifications, interrupts, broken;
};

static void on_counter(void *opaque, const char *name, uint64_t value)
{
	struct counted *c = opaque;

	if (!strcmp(name, "notifications"))
		c->notifications = value;
	else if (!strcmp(name, "interrupts"))
		c->interrupts = value;
	else if (!strcmp(name, "broken"))
		c->broken = value;
}

/* The device looks at its queues of its own accord, too: that is no notification. */
static void counts(void **state)
{
	struct fixture *f = *state;
	struct counted c = { 0 };

	assert_true(driver_start(&f->d, PLAIN, QUEUE_SIZE));
	driver_want_interrupts(&f->d, QUEUE_ECHO, true);
	for (unsigned int i = 0; i < 5; i++) {
		uint64_t a = offer(f, QUEUE_ECHO, "counted");

		virtio_kick(&f->e.v, QUEUE_ECHO);
		assert_answer(f, a, "counted");
		assert_true(driver_wait_count(&f->d.interrupts[QUEUE_ECHO], i + 1));
	}
	virtio_counters(&f->e.v, on_counter, &c);
	assert_int_equal(c.notifications, 5);
	assert_int_equal(c.interrupts, 5);
	assert_int_equal(c.broken, 0);
}

static void configuration_is_the_types(void **state)
{
	struct fixture *f = *state;
	const char whole[24] = CONFIG;
	char text[20];

	memset(text, 'x', sizeof(text));
	assert_int_equal(virtio_config_read(&f->e.v, 4, text, sizeof(text)), 0);
	assert_memory_equal(text, whole + 4, sizeof(text));
	virtio_config_write(&f->e.v, 12, "NXY", 3); /* one too many */
	virtio_config_write(&f->e.v, UINT32_MAX, "N", 1);
	virtio_config_write(&f->e.v, 0, "C", 1);
	virtio_config_read(&f->e.v, 0, text, sizeof(CONFIG));
	assert_string_equal(text, "Configuration");
	virtio_set_config(&f->e.v, 0, "K", 1); /* no driver yet */
	assert_int_equal(atomic_load(&f->d.config_interrupts), 0);
	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	virtio_set_config(&f->e.v, 0, "L", 1);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 1);
	assert_int_equal(virtio_config_read(&f->e.v, UINT32_MAX, text, 2), 2);
	assert_int_equal(text[0], 0);
	virtio_config_read(&f->e.v, 0, text, sizeof(CONFIG));
	assert_string_equal(text, "Lonfiguration");
}

static void ownership_is_the_types(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	assert_int_equal(virtio_release(&f->e.v, &err), 0);
	assert_int_equal(virtio_take(&f->e.v, &err), -EBUSY);
	assert_string_equal(err.msg, "taken by another");
}

static void refuse_face(struct fixture *f, const struct virtio_face *face, const char *why)
{
	struct err err = { 0 };
	struct echo e;

	assert_int_equal(make(f, &e, face, &err), -EOPNOTSUPP);
	assert_string_equal(err.msg, why);
}

static void looks_as_it_did_on_the_source(void **state)
{
	struct fixture *f = *state;
	struct virtio_face face, other;
	struct echo e;

	virtio_get_face(&f->e.v, &face);
	assert_string_equal(face.kind, "echo");
	assert_int_equal(face.nqueues, NQUEUES);
	assert_int_equal(face.queue_size, QUEUE_SIZE);
	assert_int_equal(face.config_bytes, sizeof(CONFIG));
	assert_memory_equal(face.config, CONFIG, sizeof(CONFIG));
	other = face;
	other.features = PLAIN | 1ull << FEATURE_B; /* less than this one could */
	assert_int_equal(make(f, &e, &other, NULL), 0);
	assert_int_equal(virtio_get_features(&e.v), other.features);
	virtio_destroy(&e.v);
	other.features |= 1ull << 9;
	refuse_face(f, &other, "the source's device has feature bit 9, which this one lacks");
	other = face;
	other.nqueues = 1;
	refuse_face(f, &other, "the source's device has 1 queues, this one 2");
	other = face;
	other.queue_size = 16;
	refuse_face(f, &other, "the source's device has queues of size 16, this one 8");
	other = face;
	other.kind = "blk";
	refuse_face(f, &other, "the source's device is of kind blk, this one echo");
}

static void save(struct fixture *f, struct buf *b)
{
	struct state_entry entry[2];

	assert_int_equal(virtio_state_entries(&f->e.v, 3, entry), 1);
	assert_int_equal(state_save_all(entry, 1, b, NULL), 0);
}

static int load(struct fixture *f, const struct buf *b, struct err *err)
{
	struct state_entry entry[2];

	virtio_state_entries(&f->e.v, 3, entry);
	return state_load_all(entry, 1, b->data, b->len_bytes, err);
}

/* Another device in front of the same guest. */
static void replace(struct fixture *f)
{
	virtio_destroy(&f->e.v);
	assert_int_equal(make(f, &f->e, NULL, NULL), 0);
	driver_attach(&f->d, &f->e.v);
	for (unsigned int i = 0; i < NQUEUES; i++)
		atomic_store(&f->d.interrupts[i], 0);
	atomic_store(&f->d.config_interrupts, 0);
}

static void state_of_a_device_at_work_moves(void **state)
{
	struct fixture *f = *state;
	struct buf before = { 0 }, after = { 0 };
	uint64_t a, b;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	for (unsigned int i = 0; i < 11; i++) {
		a = offer(f, QUEUE_ECHO, "before");
		driver_kick(&f->d, QUEUE_ECHO);
		assert_answer(f, a, "before");
	}
	virtio_set_config(&f->e.v, 0, "K", 1);
	hold(f, 2);
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
	a = offer(f, QUEUE_ECHO, "unserved"); /* with a notification that is lost */
	save(f, &before);
	replace(f);
	assert_int_equal(load(f, &before, NULL), 0);
	assert_int_equal(f->e.activations, 1);
	save(f, &after);
	assert_int_equal(before.len_bytes, after.len_bytes);
	assert_memory_equal(before.data, after.data, after.len_bytes);
	assert_int_equal(f->e.serves[QUEUE_ECHO], 0);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 0);
	driver_want_interrupts(&f->d, QUEUE_ECHO, true); /* all of that was seen */
	virtio_resume(&f->e.v);
	assert_answer(f, a, "unserved");
	/* Of what was drained the driver has seen nothing: it is told again. So it is of the configuration. */
	assert_int_equal(driver_used(&f->d, QUEUE_HELD), 2);
	assert_int_equal(atomic_load(&f->d.interrupts[QUEUE_HELD]), 1);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 1);
	b = offer(f, QUEUE_ECHO, "after");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, b, "after");
	/* Loaded once more, as after a trial: forgets what it was, starts again. */
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
	assert_int_equal(load(f, &before, NULL), 0);
	assert_int_equal(f->e.activations, 2);
	assert_int_equal(f->e.resets, 1);
	buf_fini(&before);
	buf_fini(&after);
}

static void state_of_a_device_at_rest_moves(void **state)
{
	struct fixture *f = *state;
	struct buf b = { 0 };

	save(f, &b);
	assert_int_equal(load(f, &b, NULL), 0);
	assert_int_equal(f->e.activations, 0);
	virtio_set_status(&f->e.v, VIRTIO_DRIVER_OK); /* broken */
	buf_clear(&b);
	save(f, &b);
	replace(f);
	assert_int_equal(load(f, &b, NULL), 0);
	virtio_resume(&f->e.v);
	assert_int_equal(virtio_get_status(&f->e.v), VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 1);
	assert_int_equal(f->e.activations, 0);
	buf_fini(&b);
}

/* Offsets in the section "virtio": a header of 17 bytes, then the fields of state.md. */
enum {
	AT_STATUS = 17,
	AT_FEATURES = AT_STATUS + 1,
	AT_UNSEEN = AT_FEATURES + 8 + 4,
	AT_NQUEUES = AT_UNSEEN + 1,
	AT_SIZE = AT_NQUEUES + 1,
	AT_ENABLED = AT_SIZE + 64,
	AT_DESC = AT_ENABLED + 32,
	AT_AVAIL = AT_DESC + 256,
	AT_USED = AT_AVAIL + 256,
	AT_AVAIL_IDX = AT_USED + 256,
	AT_USED_IDX = AT_AVAIL_IDX + 64,
	AT_END = AT_USED_IDX + 64,
};

static void state_is_checked(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t value;
		const char *why;
	} bad[] = {
		{ AT_STATUS, 0x1f, "status 0x1f" },
		{ AT_STATUS, 0x07, "status 0x7" },
		{ AT_FEATURES, 0x02, "driver_features 0x130000002 of 0x130000021 offered" },
		{ AT_FEATURES + 4, 0x00, "driver_features 0x30000021 of 0x130000021 offered" },
		{ AT_UNSEEN, 2, "config_unseen 2" },
		{ AT_NQUEUES, 0, "nqueues 0" },
		{ AT_NQUEUES, 33, "nqueues 33" },
		{ AT_NQUEUES, 1, "queue 1 of 1" },
		{ AT_NQUEUES, 3, "3 queues, this device has 2" },
		{ AT_SIZE, 7, "queue 0: size 7" },
		{ AT_SIZE + 1, 16, "queue 0: size 4104" },
		{ AT_SIZE, 16, "queue 0: size 16, at most 8" },
		{ AT_ENABLED + 1, 2, "queue 1: enabled 2" },
		{ AT_ENABLED, 0, "queue 0: indices of a queue that is not enabled" },
		{ AT_ENABLED + 2, 1, "queue 2: size 0" },
		{ AT_DESC, 8, "queue 0: descriptor table at 0x100008: not a multiple of 16" },
		{ AT_DESC + 7, 1,
		  "queue 0: descriptor table at 0x100000000100000: 128 bytes outside of RAM" },
		{ AT_AVAIL + 8 + 5, 1,
		  "queue 1: available ring at 0x10000100170: 22 bytes outside of RAM" },
		{ AT_AVAIL_IDX, 10, "queue 0: avail_idx 10, used_idx 1, size 8" },
		{ AT_USED_IDX, 2, "queue 0: avail_idx 1, used_idx 2, size 8" },
	};
	struct fixture *f = *state;
	struct buf b = { 0 };
	uint64_t a;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	a = offer(f, QUEUE_ECHO, "x");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, a, "x");
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
	save(f, &b);
	assert_int_equal(b.len_bytes, AT_END);
	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		char want[sizeof(((struct err *)0)->msg)];
		uint8_t good = b.data[bad[i].at];
		struct err err = { 0 };

		b.data[bad[i].at] = bad[i].value;
		assert_int_not_equal(load(f, &b, &err), 0);
		snprintf(want, sizeof(want), "state section virtio.3: %s", bad[i].why);
		assert_string_equal(err.msg, want);
		b.data[bad[i].at] = good;
	}
	assert_int_equal(f->e.activations, 1); /* none of that was taken */
	assert_int_equal(load(f, &b, NULL), 0);
	buf_fini(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_are_answered),
		TEST(requests_are_answered_without_event_indices),
		TEST(one_at_a_time_serves_all),
		TEST(nothing_before_driver_ok),
		TEST(features_that_do_not_work_are_refused),
		TEST(driver_ok_without_features_needs_reset),
		TEST(broken_rules_need_reset_and_no_more),
		TEST(pause_drains),
		TEST(pause_that_fails_goes_on),
		TEST(reset_waits_for_requests),
		TEST(counts),
		TEST(configuration_is_the_types),
		TEST(ownership_is_the_types),
		TEST(looks_as_it_did_on_the_source),
		TEST(state_of_a_device_at_work_moves),
		TEST(state_of_a_device_at_rest_moves),
		TEST(state_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
