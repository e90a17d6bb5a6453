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
	*t = (struct transport){ .ops = ops, .stall_ns = TRANSPORT_STALL_NS, .record_fd = -1 };
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

static int record(const struct transport *t, const struct iovec *iov, unsigned int niov,
		  const void *extra, size_t extra_bytes, struct err *err)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < niov; i++)
		rc = fd_write_all(t->record_fd, iov[i].iov_base, iov[i].iov_len);
	if (!rc)
		rc = fd_write_all(t->record_fd, extra, extra_bytes);
	return rc ? err_sys(err, rc, "recording") : 0;
}

int transport_recv(struct transport *t, const struct iovec *iov, unsigned int niov, void *extra,
		   size_t extra_cap, size_t *ret_extra, uint64_t timeout_ns, struct err *err)
{
	int rc = t->ops->recv(t, iov, niov, extra, extra_cap, ret_extra, timeout_ns, err);

	if (!rc && t->record_fd >= 0)
		rc = record(t, iov, niov, extra, *ret_extra, err);
	return rc;
}
