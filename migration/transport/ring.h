/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_TRANSPORT_RING_H
#define MIGRATION_TRANSPORT_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "migration/transport.h"

/*
 * One sendmsg and one recvmsg on a socket, both possibly under way, over an io_uring of their own. Small requests that complete at once cost one system call;
 * one that must wait is continued by the kernel as the socket allows. Private to migration/transport.
 */
struct ring_op {
	struct msghdr msg;
	struct iovec iov[TRANSPORT_MAX_IOV + 1];
	uint64_t tag; /* user_data */
	size_t required_bytes; /* done when this many have moved */
	size_t moved_bytes;
	bool started; /* begun and not yet collected by its owner */
	bool in_flight; /* the kernel holds it */
	int error; /* negative errno; sticks until the next begin */
};

struct ring {
	struct io_uring uring;
	int fd; /* the socket; the owner's */
	int cancel_fd;
	bool cancel_armed;
	bool cancelled; /* cancel_fd was readable */
	bool whole_sends; /* the kernel continues short sends by itself */
	struct ring_op send, recv;
};

int ring_init(struct ring *r, int fd, int cancel_fd, bool whole_sends, struct err *err);
/* Ends what is under way first: no byte of the caller's is touched afterwards. */
void ring_fini(struct ring *r);

/* Take over a copy of the vector; @op is &r->send or &r->recv. @required_bytes of the vector's bytes complete it. */
void ring_begin(struct ring *r, struct ring_op *op, const struct iovec *iov, unsigned int niov,
		size_t required_bytes);
/* Hand what was begun to the kernel; it may be complete on return. 0 or -errno. */
int ring_submit(struct ring *r);
/* Hand over and wait until anything happened. 0, -ETIME, -EINTR or -errno. */
int ring_wait(struct ring *r, uint64_t timeout_ns);
/* Take the completions that are there; begins a short operation's rest again. */
void ring_reap(struct ring *r);
/* End @op and wait until the kernel has let go of it. */
void ring_abort(struct ring *r, struct ring_op *op);

#endif
