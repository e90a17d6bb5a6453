/* SPDX-License-Identifier: Apache-2.0 */
/* A queue that is watched before its worker sleeps. */
#include "virtio_echo.h"

#include "base/clock.h"
#include "devices/virtio/poll.h"

static void limit_follows_the_driver(void **state)
{
	static const struct {
		uint64_t before_ns, gap_ns, after_ns;
	} cases[] = {
		{ 0, 0, POLL_MIN_NS },
		{ 0, POLL_MAX_NS, POLL_MIN_NS },
		{ POLL_MIN_NS, 1, 2 * POLL_MIN_NS },
		{ POLL_MAX_NS / 2 + 1, POLL_MAX_NS, POLL_MAX_NS },
		{ POLL_MAX_NS, POLL_MIN_NS, POLL_MAX_NS },
		{ POLL_MAX_NS, POLL_MAX_NS + 1, 0 },
		{ 0, UINT64_MAX, 0 },
	};

	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		struct virtio_poll p = { .limit_ns = cases[i].before_ns };

		virtio_poll_adapt(&p, cases[i].gap_ns);
		assert_int_equal(p.limit_ns, cases[i].after_ns);
	}
}

static void queue_that_was_not_empty_changes_nothing(void **state)
{
	struct virtio_poll p = { .limit_ns = 77 };

	virtio_poll_woken(&p);
	assert_int_equal(p.limit_ns, 77);
	p.since_ns = 1; /* long ago */
	virtio_poll_woken(&p);
	assert_int_equal(p.limit_ns, 0);
	assert_int_equal(p.since_ns, 0);
}

struct setting {
	struct virtio_poll *poll;
	struct virtio_poll value;
};

static void set_poll(void *opaque)
{
	struct setting *s = opaque;

	*s->poll = s->value;
}

static void get_poll(void *opaque)
{
	struct setting *s = opaque;

	s->value = *s->poll;
}

/* As it is when the device has started and looked at the queue, with another limit. */
static void limit(struct fixture *f, unsigned int queue, uint64_t limit_ns)
{
	struct setting s = { .poll = &f->e.v.queue[queue].poll, .value.limit_ns = limit_ns };

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	worker_call(f->e.v.worker, set_poll, &s);
}

static void watched_queue_wants_no_notification(void **state)
{
	struct fixture *f = *state;
	uint64_t answer;

	limit(f, QUEUE_ECHO, 60 * NS_PER_S);
	answer = offer(f, QUEUE_ECHO, "notified");
	assert_true(driver_kick(&f->d, QUEUE_ECHO));
	assert_answer(f, answer, "notified");
	for (unsigned int i = 0; i < 20; i++) {
		answer = offer(f, QUEUE_ECHO, "found");
		assert_false(driver_kick(&f->d, QUEUE_ECHO));
		assert_answer(f, answer, "found");
	}
	/* It would go on for a minute. */
	driver_raw_offer(&f->d, QUEUE_ECHO, QUEUE_SIZE);
	assert_true(driver_wait_status(&f->d, VIRTIO_NEEDS_RESET));
}

static void notified_again_when_the_limit_is_over(void **state)
{
	struct fixture *f = *state;
	struct setting s = { .poll = &f->e.v.queue[QUEUE_ECHO].poll };
	uint64_t answer;

	limit(f, QUEUE_ECHO, 1000);
	for (unsigned int i = 0; i < 2; i++) {
		answer = offer(f, QUEUE_ECHO, "notified");
		assert_true(driver_kick(&f->d, QUEUE_ECHO));
		assert_answer(f, answer, "notified");
		worker_call(f->e.v.worker, get_poll, &s);
		assert_int_not_equal(s.value.since_ns, 0);
	}
}

static void not_watched_while_requests_are_in_flight(void **state)
{
	struct fixture *f = *state;
	struct setting s = { .poll = &f->e.v.queue[QUEUE_HELD].poll };

	limit(f, QUEUE_HELD, 1000);
	hold(f, 1);
	worker_call(f->e.v.worker, get_poll, &s);
	assert_int_equal(s.value.since_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_follows_the_driver),
		cmocka_unit_test(queue_that_was_not_empty_changes_nothing),
		TEST(watched_queue_wants_no_notification),
		TEST(notified_again_when_the_limit_is_over),
		TEST(not_watched_while_requests_are_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
