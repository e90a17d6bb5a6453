/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/transport.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

int transport_init(struct transport *t, const struct transport_ops *ops, const char *peer,
		   struct err *err)
{
	*t = (struct transport){ .ops = ops, .stall_ns = TRANSPORT_STALL_NS };
	snprintf(t->peer, sizeof(t->peer), "%s", peer);
	t->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->cancel_fd < 0)
		return err_sys(err, -errno, "%s: eventfd", t->peer);
	atomic_init(&t->cancelled, false);
	return 0;
}

void transport_fini(struct transport *t)
{
	fd_close(&t->cancel_fd);
}

void transport_cancel(struct transport *t)
{
	int saved = errno;

	/* The flag first: a call that the event wakes must see it. */
	atomic_store(&t->cancelled, true);
	/* Fails only when the counter is full, and then it is readable already. */
	if (eventfd_write(t->cancel_fd, 1))
		errno = saved;
}
