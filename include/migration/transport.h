/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_TRANSPORT_H
#define MIGRATION_TRANSPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

/*
 * A reliable byte stream each way. One thread uses it at a time; transport_cancel alone may be called from any thread or a signal handler, and makes the call
 * in progress and every later one return -ECANCELED. Errors are one line that names the peer ("10.0.0.2:4444: connection reset by peer").
 */
struct transport;

struct transport_ops {
	const char *name; /* "tcp", "pair" */
	/* Begin sending all of @iov (at most TRANSPORT_MAX_IOV); the bytes stay the caller's and must live until the next send_wait. -EBUSY: one send is
	 * under way already. When a call fails nothing touches the bytes of a send any more, and the stream may have ended in the middle of a record. */
	int (*send_begin)(struct transport *t, const struct iovec *iov, unsigned int niov,
			  struct err *err);
	/* Wait until the send under way was handed over whole. 0 at once when none is. -ETIMEDOUT when the peer took no byte for stall_ns. */
	int (*send_wait)(struct transport *t, struct err *err);
	/* Fill all of @iov[0..niov), and take up to @extra_cap bytes more if they are there already (look-ahead). -ECONNRESET/-EPIPE at the peer's end,
	 * -ENODATA when the peer closed in an orderly way before the first byte, -ETIMEDOUT when no byte came for @timeout_ns. With @timeout_ns 0 the first byte may take any time
	 * (waiting for a peer that computes; keepalive still finds a dead one), the bytes behind it stall_ns each. A send under way goes on meanwhile. */
	int (*recv)(struct transport *t, const struct iovec *iov, unsigned int niov, void *extra,
		    size_t extra_cap, size_t *ret_extra, uint64_t timeout_ns, struct err *err);
	/* True when bytes can be read now without waiting (an ERROR record of the peer, say). */
	bool (*readable)(struct transport *t);
	/* Drop the connection; frees. Bytes handed over are still delivered. */
	void (*destroy)(struct transport *t);
};

struct transport {
	const struct transport_ops *ops;
	char peer[80]; /* for messages */
	uint64_t bytes_sent; /* handed over */
	uint64_t blocked_ns; /* time send_wait really waited */
	uint64_t stall_ns; /* TRANSPORT_STALL_NS unless the owner sets another limit */
	int cancel_fd; /* eventfd: readable once cancelled */
	atomic_bool cancelled;
	bool send_failed; /* a send failed: the stream may have ended in the middle of a record, nothing can follow */
	int record_fd; /* what recv takes is written there as well; the owner's, -1: not recorded */
};

#define TRANSPORT_STALL_NS (10ull * 1000000000ull)
#define TRANSPORT_MAX_IOV 264u /* a record of 256 pages, its header and meta data */

static inline int transport_send_begin(struct transport *t, const struct iovec *iov,
				       unsigned int niov, struct err *err)
{
	int rc = t->ops->send_begin(t, iov, niov, err);

	t->send_failed |= rc != 0;
	return rc;
}
static inline int transport_send_wait(struct transport *t, struct err *err)
{
	int rc = t->ops->send_wait(t, err);

	t->send_failed |= rc != 0;
	return rc;
}
/* With recording: a failed write is the call's failure ("recording: ..."). */
int transport_recv(struct transport *t, const struct iovec *iov, unsigned int niov, void *extra,
		   size_t extra_cap, size_t *ret_extra, uint64_t timeout_ns, struct err *err);
static inline bool transport_readable(struct transport *t)
{
	return t->ops->readable(t);
}
static inline void transport_destroy(struct transport *t)
{
	if (t)
		t->ops->destroy(t);
}
void transport_cancel(struct transport *t);
/* For implementations: the common part set up and released. */
int transport_init(struct transport *t, const struct transport_ops *ops, const char *peer,
		   struct err *err);
void transport_fini(struct transport *t);

/* TCP over io_uring: NODELAY, keepalive (10 s idle, 3 s, 3 probes), TCP_USER_TIMEOUT a little above the stall limit, large buffers left to autotuning. "HOST:PORT", "[::1]:4444", ":4444" (listen: all addresses). */
/* -EINVAL (address), -EHOSTUNREACH (name does not resolve), -ETIMEDOUT, or connect's error of the last address tried. @cancel_fd (an eventfd, or -1) ends the wait with -ECANCELED. */
int tcp_connect(const char *host_port, uint64_t timeout_ns, int cancel_fd, struct transport **ret,
		struct err *err);
struct tcp_listener;
/* Port 0 picks a free one; tcp_listener_address tells "127.0.0.1:35123". */
int tcp_listen(const char *host_port, struct tcp_listener **ret, struct err *err);
const char *tcp_listener_address(const struct tcp_listener *l);
int tcp_listener_fd(const struct tcp_listener *l); /* readable: accept will not wait */
/* Waits; @cancel_fd (an eventfd, or -1) ends the wait with -ECANCELED. */
int tcp_accept(struct tcp_listener *l, int cancel_fd, struct transport **ret, struct err *err);
void tcp_listener_destroy(struct tcp_listener *l);
/* Over a connected stream socket of any family (socketpair in tests, unix sockets); takes the fd over. */
int transport_from_socket(int fd, const char *peer, struct transport **ret, struct err *err);

#endif
