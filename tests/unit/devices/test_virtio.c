/* SPDX-License-Identifier: Apache-2.0 */
/* The core of virtio devices. */
#include "virtio_echo.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"

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

/* Its requests never finish; after the deadline of a reset they are forgotten. */
static void reset_of_a_stuck_device_ends(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	hold(f, 2);
	f->e.obstinate = true;
	virtio_set_status(&f->e.v, 0);
	assert_int_equal(virtio_get_status(&f->e.v), 0);
	assert_int_equal(f->e.resets, 1);
	assert_int_equal(f->e.nheld, 0);
	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	a = offer(f, QUEUE_ECHO, "alive");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, a, "alive");
}

#define NTIMES 300

static void *start_again_and_again(void *opaque)
{
	struct fixture *f = opaque;

	for (unsigned int i = 0; i < NTIMES; i++) {
		f->d.next_gpa = DRIVER_RAM_GPA;
		if (!driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE))
			return f;
		virtio_kick(&f->e.v, QUEUE_ECHO);
	}
	return NULL;
}

/* A vCPU that resets and starts the device, and the machine that pauses it, meet on the worker and nowhere else. */
static void resets_and_pauses_do_not_block_each_other(void **state)
{
	struct fixture *f = *state;
	pthread_t vcpu;
	void *failed;
	uint64_t a;

	assert_int_equal(pthread_create(&vcpu, NULL, start_again_and_again, f), 0);
	for (unsigned int i = 0; i < NTIMES; i++) {
		assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
		virtio_set_config(&f->e.v, 0, i % 2 ? "A" : "B", 1);
		virtio_resume(&f->e.v);
	}
	pthread_join(vcpu, &failed);
	assert_null(failed);
	assert_int_equal(f->e.activations, NTIMES);
	a = offer(f, QUEUE_ECHO, "in the end");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, a, "in the end");
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

	assert_int_equal(echo_make(f, &e, face, &err), -EOPNOTSUPP);
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
	assert_int_equal(echo_make(f, &e, &other, NULL), 0);
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
		TEST(reset_of_a_stuck_device_ends),
		TEST(resets_and_pauses_do_not_block_each_other),
		TEST(counts),
		TEST(configuration_is_the_types),
		TEST(ownership_is_the_types),
		TEST(looks_as_it_did_on_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
