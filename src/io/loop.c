/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

struct watch {
	int fd;
	loop_fn fn;
	void *opaque;
	struct watch *next;
};

struct loop {
	int epoll_fd;
	int stop_fd; /* an eventfd: one write(2) is all that a signal handler needs */
	struct watch *watches;
};

int loop_create(struct loop **ret, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct loop *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(err, -ENOMEM, "event loop: out of memory");
	l->stop_fd = -1;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		goto fail;
	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->stop_fd < 0)
		goto fail;
	ev.data.fd = l->stop_fd;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->stop_fd, &ev))
		goto fail;
	*ret = l;
	return 0;
fail:
	rc = err_sys(err, -errno, "event loop");
	loop_destroy(l);
	return rc;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	while (l->watches) {
		struct watch *w = l->watches;

		l->watches = w->next;
		free(w);
	}
	fd_close(&l->stop_fd);
	fd_close(&l->epoll_fd);
	free(l);
}

int loop_add(struct loop *l, int fd, uint32_t events, loop_fn fn, void *opaque)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };
	struct watch *w = malloc(sizeof(*w));

	if (!w)
		return -ENOMEM;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
		int rc = -errno;

		free(w);
		return rc;
	}
	*w = (struct watch){ .fd = fd, .fn = fn, .opaque = opaque, .next = l->watches };
	l->watches = w;
	return 0;
}

void loop_del(struct loop *l, int fd)
{
	for (struct watch **p = &l->watches; *p; p = &(*p)->next) {
		struct watch *w = *p;

		if (w->fd != fd)
			continue;
		epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		*p = w->next;
		free(w);
		return;
	}
}

static void dispatch(struct loop *l, int fd, uint32_t events)
{
	for (struct watch *w = l->watches; w; w = w->next) {
		if (w->fd == fd) {
			/* The callback may delete the watch: nothing of it is touched afterwards. */
			w->fn(w->opaque, fd, events);
			return;
		}
	}
}

int loop_run(struct loop *l)
{
	uint64_t stops;

	for (;;) {
		struct epoll_event ev;
		/* One event a call: a callback that deletes another watch, or closes its descriptor and opens a new one of the same
		 * number, cannot meet a stale event of this batch. */
		int n = epoll_wait(l->epoll_fd, &ev, 1, -1);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!n)
			continue;
		if (ev.data.fd != l->stop_fd) {
			dispatch(l, ev.data.fd, ev.events);
			continue;
		}
		if (read(l->stop_fd, &stops, sizeof(stops)) == (ssize_t)sizeof(stops))
			return 0;
	}
}

void loop_stop(struct loop *l)
{
	const uint64_t one = 1;
	int saved = errno; /* may run in a signal handler */
	ssize_t n = write(l->stop_fd, &one, sizeof(one));

	/* EAGAIN would mean that 2^64 - 2 stops are pending already. */
	(void)n;
	errno = saved;
}
