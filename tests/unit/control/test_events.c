/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

struct reader {
	int suspends, resumes;
	bool gone;
};

static void on_suspend(void *opaque)
{
	((struct reader *)opaque)->suspends++;
}

static void on_resume(void *opaque)
{
	((struct reader *)opaque)->resumes++;
}

static bool on_gone(void *opaque)
{
	return ((struct reader *)opaque)->gone;
}

static const struct event_sub_ops ops = { on_suspend, on_resume, on_gone };

static void expect(struct event_sub *s, size_t max, const char *text)
{
	char buf[256];
	ssize_t n = event_sub_read(s, buf, max);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void test_order_and_pieces(void **state)
{
	struct event_hub *h = event_hub_create();
	struct reader r = { 0 };
	struct event_sub *s;

	assert_false(event_hub_wanted(h));
	event_hub_publish(h, "to nobody\n", false);
	s = event_sub_create(h, &ops, &r);
	assert_true(event_hub_wanted(h));
	event_hub_publish(h, "one\n", false);
	event_hub_publish(h, "two\n", true);
	assert_int_equal(event_sub_push_first(s, "zero\n"), 0);
	expect(s, 7, "zero\non");
	expect(s, 100, "e\ntwo\n");
	expect(s, 100, "");
	assert_int_equal(r.suspends, 1);
	assert_int_equal(r.resumes, 0);
	event_hub_publish(h, "three\n", false);
	event_hub_publish(h, "four\n", false);
	assert_int_equal(r.resumes, 1);
	expect(s, 100, "three\nfour\n");
	event_sub_destroy(s);
	assert_false(event_hub_wanted(h));
	event_hub_destroy(h);
}

static void test_close(void **state)
{
	struct event_hub *h = event_hub_create();
	struct reader asleep = { 0 }, behind = { 0 };
	struct event_sub *a = event_sub_create(h, &ops, &asleep), *b;
	char buf[8];

	expect(a, 8, "");
	b = event_sub_create(h, &ops, &behind);
	event_sub_push_first(b, "last\n");
	event_hub_close(h);
	assert_int_equal(asleep.resumes, 1);
	assert_int_equal(event_sub_read(a, buf, 8), EVENT_END);
	expect(b, 8, "last\n");
	assert_int_equal(event_sub_read(b, buf, 8), EVENT_END);
	event_hub_publish(h, "too late\n", false);
	assert_int_equal(event_sub_read(b, buf, 8), EVENT_END);
	assert_null(event_sub_create(h, &ops, &asleep));
	assert_int_equal(asleep.suspends, 1);
	event_sub_destroy(a);
	event_sub_destroy(b);
	event_hub_destroy(h);
}

/* Lines "0000001\n", ... in pieces of 8 bytes: what comes out is what went in, in order, without what was dropped. */
static void test_lagging_reader(void **state)
{
	struct event_hub *h = event_hub_create();
	struct reader r = { 0 };
	struct event_sub *s = event_sub_create(h, &ops, &r);
	unsigned int kept = 0;
	char line[16], buf[8];

	for (unsigned int i = 0; i < 2 * EVENT_DROP_BYTES / 8; i++) {
		snprintf(line, sizeof(line), "%07u\n", i);
		event_hub_publish(h, line, true);
	}
	event_hub_publish(h, "kept...\n", false);
	for (unsigned int i = 0; i < EVENT_DROP_BYTES / 8; i++, kept++) {
		snprintf(line, sizeof(line), "%07u\n", i);
		expect(s, 8, line);
	}
	expect(s, 8, "kept...\n");
	expect(s, 8, "");
	/* Beyond the limit nothing is left out of the middle: all that was taken in comes out, then the stream breaks. */
	for (unsigned int i = 0; i < EVENT_LIMIT_BYTES / 8 + 5; i++)
		event_hub_publish(h, "abcdefg\n", false);
	for (unsigned int i = 0; i < EVENT_LIMIT_BYTES / 8; i++)
		expect(s, 8, "abcdefg\n");
	assert_int_equal(event_sub_read(s, buf, 8), EVENT_BROKEN);
	event_hub_publish(h, "more\n", false);
	assert_int_equal(event_sub_read(s, buf, 8), EVENT_BROKEN);
	event_sub_destroy(s);
	event_hub_destroy(h);
}

static void test_limit_and_gone(void **state)
{
	struct event_hub *h = event_hub_create();
	struct reader r[EVENT_MAX_SUBS + 1] = { 0 };
	struct event_sub *s[EVENT_MAX_SUBS + 1];
	char buf[8];

	for (size_t i = 0; i < EVENT_MAX_SUBS; i++) {
		s[i] = event_sub_create(h, &ops, &r[i]);
		assert_non_null(s[i]);
		expect(s[i], 8, "");
	}
	assert_null(event_sub_create(h, &ops, &r[EVENT_MAX_SUBS]));
	r[3].gone = true;
	s[EVENT_MAX_SUBS] = event_sub_create(h, &ops, &r[EVENT_MAX_SUBS]);
	assert_non_null(s[EVENT_MAX_SUBS]);
	assert_int_equal(r[3].resumes, 1);
	assert_int_equal(r[2].resumes, 0);
	assert_int_equal(event_sub_read(s[3], buf, 8), EVENT_BROKEN);
	for (size_t i = 0; i <= EVENT_MAX_SUBS; i++)
		event_sub_destroy(s[i]);
	event_hub_destroy(h);
}

#define LINES 20000u

struct pair {
	struct event_hub *hub;
	struct event_sub *sub;
	atomic_bool awake;
};

static void pair_suspend(void *opaque)
{
	atomic_store(&((struct pair *)opaque)->awake, false);
}

static void pair_resume(void *opaque)
{
	atomic_store(&((struct pair *)opaque)->awake, true);
}

static void *read_all(void *opaque)
{
	struct pair *p = opaque;
	char line[16], buf[8];

	for (unsigned int i = 0; i < LINES;) {
		ssize_t n;

		while (!atomic_load(&p->awake))
			sched_yield();
		n = event_sub_read(p->sub, buf, 8);
		snprintf(line, sizeof(line), "%07u\n", i);
		if (n == 8 && !memcmp(buf, line, 8))
			i++;
		else if (n != 0)
			return NULL;
	}
	return p;
}

/* A sleeper is always woken: a lost wake-up would hang here. */
static void test_wakeups(void **state)
{
	static const struct event_sub_ops pair_ops = { .suspend = pair_suspend,
						       .resume = pair_resume };
	struct pair p = { .hub = event_hub_create(), .awake = true };
	pthread_t thread;
	char line[16];
	void *ok;

	p.sub = event_sub_create(p.hub, &pair_ops, &p);
	assert_int_equal(pthread_create(&thread, NULL, read_all, &p), 0);
	for (unsigned int i = 0; i < LINES; i++) {
		snprintf(line, sizeof(line), "%07u\n", i);
		event_hub_publish(p.hub, line, false);
		if (i % 64 == 0)
			sched_yield();
	}
	assert_int_equal(pthread_join(thread, &ok), 0);
	assert_ptr_equal(ok, &p);
	event_sub_destroy(p.sub);
	event_hub_destroy(p.hub);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_pieces), cmocka_unit_test(test_close),
		cmocka_unit_test(test_lagging_reader),   cmocka_unit_test(test_limit_and_gone),
		cmocka_unit_test(test_wakeups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
