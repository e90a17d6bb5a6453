/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The kernel's struct tcp_info: glibc's lacks tcpi_bytes_acked. */
#include <linux/sockios.h>
#include <linux/tcp.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "migration/transport.h"
#include "migration/transport/ring.h"

struct socket_transport {
	struct transport base;
	int fd;
	bool tcp;
	struct ring ring;
};

static struct socket_transport *to_socket(struct transport *t)
{
	return (struct socket_transport *)t;
}

/* One line for each way a connection ends that an operator should be able to tell apart. */
static int connection_error(const struct socket_transport *st, int code, struct err *err)
{
	const char *peer = st->base.peer;

	switch (-code) {
	case ECONNRESET:
		return err_set(err, code, "%s: connection reset by peer", peer);
	case EPIPE:
		return err_set(err, code, "%s: peer closed the connection", peer);
	case ETIMEDOUT:
		return err_set(err, code, "%s: peer vanished, it answers nothing any more", peer);
	case ECANCELED:
		return err_set(err, code, "%s: cancelled", peer);
	default:
		return err_sys(err, code, "%s", peer);
	}
}

static int cancelled(struct socket_transport *st, struct err *err)
{
	ring_abort(&st->ring, &st->ring.send);
	ring_abort(&st->ring, &st->ring.recv);
	return connection_error(st, -ECANCELED, err);
}

static bool is_cancelled(const struct socket_transport *st)
{
	return st->ring.cancelled || atomic_load(&st->base.cancelled);
}

static bool get_tcp_info(const struct socket_transport *st, struct tcp_info *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return st->tcp && getsockopt(st->fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

/*
 * Bytes the peer has taken, in any unit that grows: a send that the kernel continues by itself shows no progress until it is complete, but the peer's
 * acknowledgements do.
 */
static uint64_t bytes_taken(const struct socket_transport *st)
{
	struct tcp_info info;

	if (get_tcp_info(st, &info))
		return info.tcpi_bytes_acked;
	return st->base.bytes_sent + st->ring.send.moved_bytes;
}

static int send_stalled(struct socket_transport *st, struct err *err)
{
	double limit_s = (double)st->base.stall_ns / NS_PER_S;
	struct tcp_info info;
	bool known = get_tcp_info(st, &info);

	ring_abort(&st->ring, &st->ring.send);
	/* A full but living peer answers window probes, which resets both counters; of a dead one nothing comes, neither to data nor to probes. */
	if (known && (info.tcpi_retransmits > 0 || info.tcpi_probes > 1))
		return err_set(err, -ETIMEDOUT, "%s: peer vanished, no answer for %.3g s",
			       st->base.peer, limit_s);
	return err_set(err, -ETIMEDOUT, "%s: peer took no data for %.3g s", st->base.peer, limit_s);
}

static int socket_send_begin(struct transport *t, const struct iovec *iov, unsigned int niov,
			     struct err *err)
{
	struct socket_transport *st = to_socket(t);
	size_t total = 0;
	int rc;

	if (st->ring.send.started)
		return err_set(err, -EBUSY, "%s: a send is under way", t->peer);
	if (niov > TRANSPORT_MAX_IOV)
		return err_set(err, -EINVAL, "%s: %u vectors", t->peer, niov);
	if (is_cancelled(st))
		return cancelled(st, err);
	for (unsigned int i = 0; i < niov; i++)
		total += iov[i].iov_len;
	if (!total)
		return 0;
	ring_begin(&st->ring, &st->ring.send, iov, niov, total);
	rc = ring_submit(&st->ring);
	if (rc) {
		ring_abort(&st->ring, &st->ring.send);
		return connection_error(st, rc, err);
	}
	return 0;
}

/* Waits for the send; 0 when it is complete or has failed (op->error). */
static int wait_send(struct socket_transport *st, struct err *err)
{
	struct transport *t = &st->base;
	/* What the peer took is looked at in slices, first when one has passed: a send that waits a moment costs nothing more. */
	uint64_t slice = MAX(t->stall_ns / 8, NS_PER_MS);
	uint64_t begin = clock_mono_ns(), progress = begin, taken = UINT64_MAX;
	int rc = 0;

	while (st->ring.send.in_flight) {
		uint64_t now_taken, now;

		rc = ring_wait(&st->ring, slice);
		if (is_cancelled(st)) {
			rc = cancelled(st, err);
			break;
		}
		if (rc == 0 || rc == -EINTR) {
			rc = 0;
			continue;
		}
		if (rc != -ETIME) {
			ring_abort(&st->ring, &st->ring.send);
			rc = connection_error(st, rc, err);
			break;
		}
		rc = 0;
		now = clock_mono_ns();
		now_taken = bytes_taken(st);
		if (now_taken != taken) {
			taken = now_taken;
			progress = now;
		} else if (now - progress >= t->stall_ns) {
			rc = send_stalled(st, err);
			break;
		}
	}
	t->blocked_ns += clock_mono_ns() - begin;
	return rc;
}

static int socket_send_wait(struct transport *t, struct err *err)
{
	struct socket_transport *st = to_socket(t);
	struct ring_op *op = &st->ring.send;
	int rc;

	if (!op->started)
		return is_cancelled(st) ? cancelled(st, err) : 0;
	ring_reap(&st->ring);
	if (op->in_flight) {
		rc = wait_send(st, err);
		if (rc)
			return rc;
	}
	op->started = false;
	t->bytes_sent += op->moved_bytes;
	op->moved_bytes = 0;
	return op->error ? connection_error(st, op->error, err) : 0;
}

static int recv_error(struct socket_transport *st, int code, struct err *err)
{
	const struct ring_op *op = &st->ring.recv;

	if (code != -ENODATA)
		return connection_error(st, code, err);
	if (op->moved_bytes)
		return err_set(err, -ECONNRESET, "%s: connection closed in the middle of a record",
			       st->base.peer);
	return err_set(err, -ENODATA, "%s: peer closed the connection", st->base.peer);
}

/* Waits for the receive to complete or fail; the limits are those of transport.h. */
static int wait_recv(struct socket_transport *st, uint64_t timeout_ns, struct err *err)
{
	struct transport *t = &st->base;
	struct ring_op *op = &st->ring.recv;
	uint64_t progress = 0;
	size_t seen = 0;

	while (op->in_flight) {
		uint64_t limit = timeout_ns ? timeout_ns : seen ? t->stall_ns : UINT64_MAX;
		uint64_t now = clock_mono_ns(), waited;
		int rc;

		if (!progress || op->moved_bytes != seen) {
			progress = now;
			seen = op->moved_bytes;
			limit = timeout_ns ? timeout_ns : seen ? t->stall_ns : UINT64_MAX;
		}
		waited = now - progress;
		if (waited >= limit) {
			ring_abort(&st->ring, op);
			return err_set(err, -ETIMEDOUT, "%s: peer sent nothing for %.3g s", t->peer,
				       (double)limit / NS_PER_S);
		}
		rc = ring_wait(&st->ring, MIN(limit - waited, NS_PER_S));
		if (is_cancelled(st))
			return cancelled(st, err);
		if (rc && rc != -ETIME && rc != -EINTR) {
			ring_abort(&st->ring, op);
			return connection_error(st, rc, err);
		}
	}
	return 0;
}

static int socket_recv(struct transport *t, const struct iovec *iov, unsigned int niov, void *extra,
		       size_t extra_cap, size_t *ret_extra, uint64_t timeout_ns, struct err *err)
{
	struct socket_transport *st = to_socket(t);
	struct ring_op *op = &st->ring.recv;
	struct iovec all[TRANSPORT_MAX_IOV + 1];
	size_t total = 0;
	int rc;

	if (niov > TRANSPORT_MAX_IOV)
		return err_set(err, -EINVAL, "%s: %u vectors", t->peer, niov);
	if (is_cancelled(st))
		return cancelled(st, err);
	for (unsigned int i = 0; i < niov; i++) {
		all[i] = iov[i];
		total += iov[i].iov_len;
	}
	if (extra_cap)
		all[niov++] = (struct iovec){ .iov_base = extra, .iov_len = extra_cap };
	if (total) {
		ring_begin(&st->ring, op, all, niov, total);
		rc = wait_recv(st, timeout_ns, err);
		op->started = false;
		if (rc)
			return rc;
		if (op->error)
			return recv_error(st, op->error, err);
	}
	if (ret_extra)
		*ret_extra = total ? op->moved_bytes - total : 0;
	return 0;
}

static bool socket_readable(struct transport *t)
{
	struct pollfd p = { .fd = to_socket(t)->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLIN | POLLHUP | POLLERR));
}

static void socket_destroy(struct transport *t)
{
	struct socket_transport *st = to_socket(t);

	ring_fini(&st->ring);
	fd_close(&st->fd);
	transport_fini(t);
	free(st);
}

static const struct transport_ops socket_ops = {
	.name = "socket",
	.send_begin = socket_send_begin,
	.send_wait = socket_send_wait,
	.recv = socket_recv,
	.readable = socket_readable,
	.destroy = socket_destroy,
};

static const struct transport_ops tcp_ops = {
	.name = "tcp",
	.send_begin = socket_send_begin,
	.send_wait = socket_send_wait,
	.recv = socket_recv,
	.readable = socket_readable,
	.destroy = socket_destroy,
};

int transport_from_socket(int fd, const char *peer, struct transport **ret, struct err *err)
{
	struct socket_transport *st = calloc(1, sizeof(*st));
	struct tcp_info info;
	int flags, rc;

	if (!st) {
		fd_close(&fd);
		return err_set(err, -ENOMEM, "%s: out of memory", peer);
	}
	st->fd = fd;
	st->tcp = true;
	st->tcp = get_tcp_info(st, &info);
	rc = transport_init(&st->base, st->tcp ? &tcp_ops : &socket_ops, peer, err);
	if (rc)
		goto fail;
	/* io_uring waits on a blocking socket; on a non-blocking one it would say -EAGAIN. */
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
		rc = err_sys(err, -errno, "%s: fcntl", peer);
		goto fail;
	}
	rc = ring_init(&st->ring, fd, st->base.cancel_fd, st->tcp, err);
	if (rc) {
		err_prefix(err, "%s", peer);
		goto fail;
	}
	*ret = &st->base;
	return 0;
fail:
	transport_fini(&st->base);
	fd_close(&st->fd);
	free(st);
	return rc;
}
