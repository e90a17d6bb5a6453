/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io/loop.h"

struct fixture {
	struct loop *loop;
	int a[2], b[2];
	unsigned int a_calls, b_calls;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ 0 };
	if (loop_create(&f.loop, NULL) || pipe(f.a) || pipe(f.b))
		return -1;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_destroy(f->loop);
	close(f->a[0]);
	close(f->a[1]);
	close(f->b[0]);
	close(f->b[1]);
	return 0;
}

static void read_a(void *opaque, int fd, uint32_t events)
{
	struct fixture *f = opaque;
	char c;

	assert_int_equal(fd, f->a[0]);
	assert_true(events & EPOLLIN);
	assert_int_equal(read(fd, &c, 1), 1);
	if (++f->a_calls == 3)
		loop_stop(f->loop);
}

static void calls_while_readable(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write(f->a[1], "xyz", 3), 3);
	assert_int_equal(loop_add(f->loop, f->a[0], EPOLLIN, read_a, f), 0);
	assert_int_equal(loop_add(f->loop, f->a[0], EPOLLIN, read_a, f), -EEXIST);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->a_calls, 3);
}

static void stop_ahead_of_run_counts_once(void **state)
{
	struct fixture *f = *state;

	loop_stop(f->loop);
	loop_stop(f->loop);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(write(f->a[1], "xyz", 3), 3);
	assert_int_equal(loop_add(f->loop, f->a[0], EPOLLIN, read_a, f), 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->a_calls, 3);
}

static void first_deletes_both(void *opaque, int fd, uint32_t events)
{
	struct fixture *f = opaque;

	f->b_calls++;
	loop_del(f->loop, f->a[0]);
	loop_del(f->loop, f->b[0]);
	loop_stop(f->loop);
}

/* Both are readable: whichever comes first deletes both, and the other must not be called. */
static void deleted_watch_is_not_called(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write(f->a[1], "x", 1), 1);
	assert_int_equal(write(f->b[1], "x", 1), 1);
	assert_int_equal(loop_add(f->loop, f->a[0], EPOLLIN, first_deletes_both, f), 0);
	assert_int_equal(loop_add(f->loop, f->b[0], EPOLLIN, first_deletes_both, f), 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->b_calls, 1);
	loop_del(f->loop, f->a[0]); /* not there: nothing happens */
}

static void *stopper(void *opaque)
{
	loop_stop(opaque);
	return NULL;
}

static void another_thread_stops_it(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, stopper, f->loop), 0);
	assert_int_equal(loop_run(f->loop), 0);
	pthread_join(thread, NULL);
}

static void bad_descriptor(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_add(f->loop, -1, EPOLLIN, read_a, f), -EBADF);
	loop_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_while_readable, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_ahead_of_run_counts_once, setup, teardown),
		cmocka_unit_test_setup_teardown(deleted_watch_is_not_called, setup, teardown),
		cmocka_unit_test_setup_teardown(another_thread_stops_it, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_descriptor, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
