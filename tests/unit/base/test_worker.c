/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io/worker.h"

struct fixture {
	struct worker *w;
	int pipe[2];
	pthread_t caller;
	pthread_t seen; /* thread of the last call */
	unsigned int calls;
	atomic_uint bytes;
	char name[16];
	sigset_t blocked;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .caller = pthread_self() };
	*state = &f;
	return pipe(f.pipe) || worker_create("a-worker", &f.w, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	worker_destroy(f->w);
	worker_destroy(NULL);
	close(f->pipe[0]);
	close(f->pipe[1]);
	return 0;
}

static void note(void *opaque)
{
	struct fixture *f = opaque;

	f->seen = pthread_self();
	f->calls++;
	pthread_getname_np(f->seen, f->name, sizeof(f->name));
	pthread_sigmask(SIG_BLOCK, NULL, &f->blocked);
}

static void calls_run_on_its_thread(void **state)
{
	struct fixture *f = *state;

	worker_call(f->w, note, f);
	assert_int_equal(f->calls, 1);
	assert_false(pthread_equal(f->seen, f->caller));
	assert_string_equal(f->name, "a-worker");
	assert_true(sigismember(&f->blocked, SIGINT));
	assert_true(sigismember(&f->blocked, SIGUSR1));
}

static void call_within(void *opaque)
{
	struct fixture *f = opaque;

	worker_call(f->w, note, f);
}

static void a_call_within_a_call_is_plain(void **state)
{
	struct fixture *f = *state;

	worker_call(f->w, call_within, f);
	assert_int_equal(f->calls, 1);
	assert_false(pthread_equal(f->seen, f->caller));
}

#define NTHREADS 4
#define NCALLS 500

static void count(void *opaque)
{
	struct fixture *f = opaque;
	unsigned int before = f->calls;

	/* No lock: one call at a time, or one is lost here. */
	if (before % 64 == 0)
		sched_yield();
	f->calls = before + 1;
}

static void *call_often(void *opaque)
{
	struct fixture *f = opaque;

	for (unsigned int i = 0; i < NCALLS; i++)
		worker_call(f->w, count, f);
	return NULL;
}

static void calls_of_many_threads_run_one_by_one(void **state)
{
	struct fixture *f = *state;
	pthread_t thread[NTHREADS];

	for (unsigned int i = 0; i < NTHREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, call_often, f), 0);
	for (unsigned int i = 0; i < NTHREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(f->calls, NTHREADS * NCALLS);
}

static void on_readable(void *opaque, int fd, uint32_t events)
{
	struct fixture *f = opaque;
	char c;

	if (read(fd, &c, 1) == 1)
		atomic_fetch_add(&f->bytes, 1);
}

static void watch(void *opaque)
{
	struct fixture *f = opaque;

	f->calls = (unsigned int)loop_add(worker_loop(f->w), f->pipe[0], EPOLLIN, on_readable, f);
}

static void unwatch(void *opaque)
{
	struct fixture *f = opaque;

	loop_del(worker_loop(f->w), f->pipe[0]);
}

static void its_loop_runs_between_calls(void **state)
{
	struct fixture *f = *state;

	worker_call(f->w, watch, f);
	assert_int_equal(f->calls, 0);
	assert_int_equal(write(f->pipe[1], "abc", 3), 3);
	for (unsigned int i = 0; i < 5000 && atomic_load(&f->bytes) < 3; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&f->bytes), 3);
	worker_call(f->w, unwatch, f);
	assert_int_equal(write(f->pipe[1], "d", 1), 1);
	worker_call(f->w, note, f);
	assert_int_equal(atomic_load(&f->bytes), 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(calls_run_on_its_thread),
		TEST(a_call_within_a_call_is_plain),
		TEST(calls_of_many_threads_run_one_by_one),
		TEST(its_loop_runs_between_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
