/* SPDX-License-Identifier: Apache-2.0 */
#include "io/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

/* Lives on the stack of the thread that waits for it. */
struct call {
	void (*fn)(void *opaque);
	void *opaque;
	bool done;
	struct call *next;
};

struct worker {
	struct loop *loop;
	pthread_t thread;
	char name[16];
	int call_fd; /* an eventfd: calls are waiting */
	pthread_mutex_t lock; /* the queue of calls and their `done` */
	pthread_cond_t finished;
	struct call *first; /* the queue: at most one for each thread that waits */
};

/* One event of the loop may stand for several calls, and a call that came with an earlier one has left its event behind. */
static void run_calls(void *opaque, int fd, uint32_t events)
{
	struct worker *w = opaque;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	pthread_mutex_lock(&w->lock);
	while (w->first) {
		struct call *c = w->first;

		w->first = c->next;
		pthread_mutex_unlock(&w->lock);
		c->fn(c->opaque);
		pthread_mutex_lock(&w->lock);
		c->done = true;
		pthread_cond_broadcast(&w->finished);
	}
	pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *opaque)
{
	struct worker *w = opaque;

	pthread_setname_np(pthread_self(), w->name);
	/* Without descriptors of its own that could go bad the loop ends only when it is told to. */
	(void)loop_run(w->loop);
	return NULL;
}

static int start_thread(struct worker *w)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}

static void free_worker(struct worker *w)
{
	loop_destroy(w->loop);
	fd_close(&w->call_fd);
	pthread_cond_destroy(&w->finished);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int worker_create(const char *name, struct worker **ret, struct err *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return err_set(err, -ENOMEM, "thread %s: out of memory", name);
	snprintf(w->name, sizeof(w->name), "%s", name);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->finished, NULL);
	w->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = w->call_fd < 0 ? err_sys(err, -errno, "thread %s: eventfd", name) :
			      loop_create(&w->loop, err);
	if (rc)
		goto fail;
	rc = loop_add(w->loop, w->call_fd, EPOLLIN, run_calls, w);
	if (!rc)
		rc = start_thread(w);
	if (rc) {
		err_sys(err, rc, "thread %s", name);
		goto fail;
	}
	*ret = w;
	return 0;
fail:
	free_worker(w);
	return rc;
}

static void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

void worker_destroy(struct worker *w)
{
	if (!w)
		return;
	/* As a call, so that those that were accepted before it come first. */
	worker_call(w, stop_loop, w->loop);
	pthread_join(w->thread, NULL);
	free_worker(w);
}

struct loop *worker_loop(struct worker *w)
{
	return w->loop;
}

void worker_call(struct worker *w, void (*fn)(void *opaque), void *opaque)
{
	struct call c = { .fn = fn, .opaque = opaque };
	struct call **end = &w->first;
	const uint64_t one = 1;
	ssize_t n;

	if (pthread_equal(pthread_self(), w->thread)) {
		fn(opaque);
		return;
	}
	pthread_mutex_lock(&w->lock);
	while (*end)
		end = &(*end)->next;
	*end = &c;
	n = write(w->call_fd, &one, sizeof(one));
	(void)n; /* EAGAIN would mean that 2^64 - 2 calls are waiting */
	while (!c.done)
		pthread_cond_wait(&w->finished, &w->lock);
	pthread_mutex_unlock(&w->lock);
}
