/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/transport/ring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "io/uring.h"

#define RING_ENTRIES 8 /* send, receive, the poll of cancel_fd and two cancellations at most */

enum { TAG_SEND = 1, TAG_RECV, TAG_CANCEL_POLL, TAG_ABORT };

int ring_init(struct ring *r, int fd, int cancel_fd, bool whole_sends, struct err *err)
{
	/* COOP_TASKRUN (5.19): a completion does not interrupt the thread, which comes back to the kernel soon anyway. */
	static const unsigned int flags[] = { IORING_SETUP_COOP_TASKRUN, 0 };

	memset(r, 0, sizeof(*r));
	r->fd = fd;
	r->cancel_fd = cancel_fd;
	r->whole_sends = whole_sends;
	r->send.tag = TAG_SEND;
	r->recv.tag = TAG_RECV;
	return uring_init(&r->uring, RING_ENTRIES, flags, ARRAY_LEN(flags), err);
}

void ring_fini(struct ring *r)
{
	ring_abort(r, &r->send);
	ring_abort(r, &r->recv);
	io_uring_queue_exit(&r->uring);
}

/* Never fails: everything is submitted at once, so that the queue is never full. */
static struct io_uring_sqe *get_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (!sqe) {
		io_uring_submit(&r->uring);
		sqe = io_uring_get_sqe(&r->uring);
	}
	return sqe;
}

static void queue_op(struct ring *r, struct ring_op *op)
{
	struct io_uring_sqe *sqe = get_sqe(r);

	if (!sqe) {
		op->error = -EBUSY;
		return;
	}
	if (op == &r->send)
		io_uring_prep_sendmsg(sqe, r->fd, &op->msg,
				      MSG_NOSIGNAL | (r->whole_sends ? MSG_WAITALL : 0));
	else
		io_uring_prep_recvmsg(sqe, r->fd, &op->msg, 0);
	io_uring_sqe_set_data64(sqe, op->tag);
	op->in_flight = true;
}

void ring_begin(struct ring *r, struct ring_op *op, const struct iovec *iov, unsigned int niov,
		size_t required_bytes)
{
	memcpy(op->iov, iov, niov * sizeof(*iov));
	op->msg = (struct msghdr){ .msg_iov = op->iov, .msg_iovlen = niov };
	op->required_bytes = required_bytes;
	op->moved_bytes = 0;
	op->error = 0;
	op->started = true;
	queue_op(r, op);
}

/* The first @n bytes of the vector are done. */
static void advance(struct ring_op *op, size_t n)
{
	op->moved_bytes += n;
	while (op->msg.msg_iovlen && n >= op->msg.msg_iov->iov_len) {
		n -= op->msg.msg_iov->iov_len;
		op->msg.msg_iov++;
		op->msg.msg_iovlen--;
	}
	if (op->msg.msg_iovlen) {
		op->msg.msg_iov->iov_base = (uint8_t *)op->msg.msg_iov->iov_base + n;
		op->msg.msg_iov->iov_len -= n;
	}
}

static void complete_op(struct ring *r, struct ring_op *op, int res)
{
	op->in_flight = false;
	if (res > 0)
		advance(op, (size_t)res);
	else if (res == 0)
		op->error = op == &r->send ? -EPIPE : -ENODATA;
	else if (res != -EINTR && res != -EAGAIN)
		op->error = res;
	if (!op->error && op->moved_bytes < op->required_bytes)
		queue_op(r, op);
}

void ring_reap(struct ring *r)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&r->uring, &cqe) == 0) {
		uint64_t tag = io_uring_cqe_get_data64(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&r->uring, cqe);
		if (tag == TAG_SEND)
			complete_op(r, &r->send, res);
		else if (tag == TAG_RECV)
			complete_op(r, &r->recv, res);
		else if (tag == TAG_CANCEL_POLL) {
			/* An error: the thread that armed it has ended, the next wait arms it again. */
			r->cancel_armed = false;
			r->cancelled |= res > 0;
		}
	}
}

int ring_submit(struct ring *r)
{
	int rc;

	/* A short send is begun again by ring_reap and handed over here, until it is complete or waits. */
	do {
		rc = io_uring_submit(&r->uring);
		if (rc < 0)
			return rc;
		ring_reap(r);
	} while (io_uring_sq_ready(&r->uring));
	return 0;
}

int ring_wait(struct ring *r, uint64_t timeout_ns)
{
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(timeout_ns / NS_PER_S),
		.tv_nsec = (long long)(timeout_ns % NS_PER_S),
	};
	struct io_uring_cqe *cqe = NULL;
	int rc;

	if (!r->cancel_armed) {
		struct io_uring_sqe *sqe = get_sqe(r);

		if (!sqe)
			return -EBUSY;
		io_uring_prep_poll_add(sqe, r->cancel_fd, POLLIN);
		io_uring_sqe_set_data64(sqe, TAG_CANCEL_POLL);
		r->cancel_armed = true;
	}
	rc = io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, &ts, NULL);
	ring_reap(r);
	return rc < 0 ? rc : 0;
}

void ring_abort(struct ring *r, struct ring_op *op)
{
	/* A request that is just being tried cannot be cancelled in that moment: ask again until it is gone. */
	op->error = -ECANCELED;
	while (op->in_flight) {
		struct __kernel_timespec ts = { .tv_nsec = 10 * (long long)NS_PER_MS };
		struct io_uring_sqe *sqe = get_sqe(r);
		struct io_uring_cqe *cqe = NULL;

		if (sqe) {
			io_uring_prep_cancel64(sqe, op->tag, 0);
			io_uring_sqe_set_data64(sqe, TAG_ABORT);
		}
		io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, &ts, NULL);
		ring_reap(r);
	}
	op->started = false;
}
