/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections on the host: unix sockets, by the convention that other monitors have. The guest's connection to port P of the host is one of ours to PATH_P. Who wants a port of the guest connects to
 * PATH and writes "CONNECT P" and a newline; "OK" with the port on the host's side comes back when the guest has taken it, and an end of file when not.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "vsock.h"

#define BACKLOG 64
#define HELLO_WORD "CONNECT "
#define HELLO_BYTES 32u /* no line that means something is longer */
#define PORT_SUFFIX_BYTES 11u /* "_4294967295" */
#define PATH_BYTES (sizeof(((struct sockaddr_un *)0)->sun_path))

/* ---- slots ---- */

static struct vsock_conn *new_conn(struct vsock *s)
{
	struct vsock_conn *c = s->conn;

	if (s->nconns == VSOCK_MAX_CONNS)
		return NULL;
	while (c->phase != VSOCK_FREE)
		c++;
	*c = (struct vsock_conn){ .s = s, .fd = -1 };
	s->nconns++;
	s->end = MAX(s->end, (unsigned int)(c - s->conn) + 1);
	return c;
}

static void close_socket(struct vsock_conn *c)
{
	if (c->fd >= 0)
		loop_del(worker_loop(c->s->v.worker), c->fd);
	fd_close(&c->fd);
	free(c->held);
	c->held = NULL;
	c->held_bytes = 0;
}

static void free_conn(struct vsock_conn *c)
{
	struct vsock *s = c->s;

	close_socket(c);
	c->phase = VSOCK_FREE;
	c->tell = 0;
	s->nconns--;
	while (s->end && s->conn[s->end - 1].phase == VSOCK_FREE)
		s->end--;
	/* Descriptors may have been what there was too few of. */
	if (virtio_serving(&s->v))
		vsock_host_watch(s, true);
}

void vsock_host_close_all(struct vsock *s)
{
	for (unsigned int i = s->end; i-- > 0;)
		if (s->conn[i].phase != VSOCK_FREE)
			free_conn(&s->conn[i]);
}

/* Both ends, the guest's by a RST if it has heard of it at all. */
static void reset_conn(struct vsock_conn *c)
{
	close_socket(c);
	if (c->phase == VSOCK_HELLO || c->tell & VSOCK_TELL_REQUEST)
		free_conn(c);
	else
		vsock_conn_end(c);
}

/* ---- to the host ---- */

static void shut_write(struct vsock_conn *c)
{
	if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)
		shutdown(c->fd, SHUT_WR);
}

static ssize_t send_iov(struct vsock_conn *c, struct iovec *iov, size_t niov)
{
	const struct msghdr m = { .msg_iov = iov, .msg_iovlen = niov };
	ssize_t n;

	do {
		n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	c->s->counts.bytes_out += (uint64_t)n;
	vsock_conn_forwarded(c, (uint32_t)n);
	return n;
}

/* Nobody reads any more. What the other end wrote before it left is the guest's still. */
static void no_reader(struct vsock_conn *c)
{
	free(c->held);
	c->held = NULL;
	c->held_bytes = 0;
	vsock_conn_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	if (c->phase == VSOCK_DRAINING && !(c->tell & VSOCK_TELL_RST))
		free_conn(c);
	else if (c->phase == VSOCK_DRAINING)
		reset_conn(c);
}

static void flush(struct vsock_conn *c)
{
	while (c->held_bytes) {
		uint32_t first = MIN(c->held_bytes, VSOCK_WINDOW_BYTES - c->held_at);
		struct iovec iov[] = { { c->held + c->held_at, first },
				       { c->held, c->held_bytes - first } };
		ssize_t n = send_iov(c, iov, ARRAY_LEN(iov));

		if (!n)
			return;
		if (n < 0) {
			no_reader(c);
			return;
		}
		c->held_at = (uint32_t)((c->held_at + (size_t)n) % VSOCK_WINDOW_BYTES);
		c->held_bytes -= (uint32_t)n;
	}
	if (c->phase != VSOCK_DRAINING)
		shut_write(c);
	else if (c->tell & VSOCK_TELL_RST)
		reset_conn(c);
	else
		free_conn(c);
}

/* What the socket did not take. vsock_conn_packet has seen to it that there is room. */
static bool hold(struct vsock_conn *c, const struct virtq_chain *chain, uint64_t at,
		 uint32_t len_bytes)
{
	uint32_t end = (c->held_at + c->held_bytes) % VSOCK_WINDOW_BYTES;
	uint32_t first = MIN(len_bytes, VSOCK_WINDOW_BYTES - end);

	if (!c->held)
		c->held = malloc(VSOCK_WINDOW_BYTES);
	if (!c->held)
		return false;
	virtq_read(chain, at, c->held + end, first);
	virtq_read(chain, at + first, c->held, len_bytes - first);
	c->held_bytes += len_bytes;
	return true;
}

static void take_data(struct vsock_conn *c, const struct virtq_chain *chain, uint32_t len_bytes)
{
	struct iovec iov[VIRTQ_MAX_SEGS];
	unsigned int niov;
	ssize_t n = 0;

	if (!c->held_bytes) {
		niov = virtq_iov(chain, false, VSOCK_HEADER_BYTES, len_bytes, iov);
		n = send_iov(c, iov, niov);
	}
	if (n < 0)
		no_reader(c);
	else if ((uint32_t)n < len_bytes &&
		 !hold(c, chain, VSOCK_HEADER_BYTES + (uint64_t)n, len_bytes - (uint32_t)n))
		reset_conn(c);
}

/* The guest has shut one of its halves, or with both closed it (§5.10.6.5): it is done with these ports as soon as it hears of it, however long the host takes to read the rest. */
static void take_halves(struct vsock_conn *c)
{
	const unsigned int both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;

	if (c->guest_shutdown != both) {
		if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)
			shutdown(c->fd, SHUT_RD);
		if (!c->held_bytes)
			shut_write(c);
	} else if (!c->held_bytes) {
		reset_conn(c);
	} else {
		vsock_conn_end(c);
		c->phase = VSOCK_DRAINING;
	}
}

void vsock_host_told_end(struct vsock_conn *c)
{
	if (c->phase != VSOCK_DRAINING)
		free_conn(c);
}

static void accepted(struct vsock_conn *c)
{
	char line[24];
	int len = snprintf(line, sizeof(line), "OK %" PRIu32 "\n", c->host_port);

	if (send(c->fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len)
		reset_conn(c);
	else
		c->s->counts.opened++;
}

void vsock_host_do(struct vsock_conn *c, enum vsock_todo todo, const struct virtq_chain *chain,
		   uint32_t len_bytes)
{
	switch (todo) {
	case VSOCK_NOTHING:
		break;
	case VSOCK_ACCEPTED:
		accepted(c);
		break;
	case VSOCK_DATA:
		if (len_bytes)
			take_data(c, chain, len_bytes);
		break;
	case VSOCK_HALVES:
		take_halves(c);
		break;
	case VSOCK_CLOSE:
		c->tell = 0;
		vsock_host_told_end(c);
		break;
	case VSOCK_RESET:
		reset_conn(c);
		break;
	}
}

/* ---- from the host ---- */

size_t vsock_host_read(struct vsock_conn *c, struct iovec *iov, unsigned int niov)
{
	ssize_t n;

	do {
		n = readv(c->fd, iov, (int)niov);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		c->s->counts.bytes_in += (uint64_t)n;
		return (size_t)n;
	}
	c->readable = false;
	if (!n)
		vsock_conn_shut(c, VIRTIO_VSOCK_SHUTDOWN_SEND |
					   (c->hung_up ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0));
	else if (errno != EAGAIN)
		reset_conn(c);
	return 0;
}

static uint32_t free_port(struct vsock *s)
{
	uint32_t port;
	unsigned int i;

	do {
		port = s->next_port++;
		if (s->next_port == VSOCK_END_PORT)
			s->next_port = VSOCK_FIRST_PORT;
		for (i = 0; i < s->end; i++)
			if (s->conn[i].phase != VSOCK_FREE && s->conn[i].host_port == port)
				break;
	} while (i < s->end);
	return port;
}

/* The port in a line of @len bytes without its newline. */
static bool parse_hello(const char *line, size_t len, uint32_t *ret_port)
{
	const size_t word = sizeof(HELLO_WORD) - 1;
	char digits[HELLO_BYTES];
	uint64_t port;

	if (len && line[len - 1] == '\r')
		len--;
	if (len <= word || memcmp(line, HELLO_WORD, word) != 0)
		return false;
	memcpy(digits, line + word, len - word);
	digits[len - word] = 0;
	if (memchr(digits, 0, len - word) || num_parse_u64(digits, &port) || port > UINT32_MAX)
		return false;
	*ret_port = (uint32_t)port;
	return true;
}

/* Takes the first line and not a byte more: what follows is for the guest. */
static void read_hello(struct vsock_conn *c, bool last)
{
	char line[HELLO_BYTES];
	ssize_t n = recv(c->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	char *newline = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	uint32_t port;

	if (!newline) {
		if (last || !n || n == sizeof(line) || (n < 0 && errno != EAGAIN && errno != EINTR))
			free_conn(c);
		return;
	}
	if (!parse_hello(line, (size_t)(newline - line), &port) ||
	    recv(c->fd, line, (size_t)(newline - line) + 1, MSG_DONTWAIT) != newline - line + 1) {
		c->s->counts.refused++;
		free_conn(c);
		return;
	}
	vsock_conn_ask(c, port, free_port(c->s));
}

/* On an edge: whoever cannot do anything about it now looks again when it can. */
static void on_socket(void *opaque, int fd, uint32_t events)
{
	struct vsock_conn *c = opaque;
	struct vsock *s = c->s;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & (EPOLLHUP | EPOLLERR))
		c->hung_up = true;
	if (c->phase == VSOCK_HELLO)
		read_hello(c, events & (EPOLLRDHUP | EPOLLHUP));
	else if (c->phase == VSOCK_ASKING && c->hung_up)
		reset_conn(c);
	else if (c->held_bytes)
		flush(c);
	if (c->hung_up && c->host_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)
		vsock_conn_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	if (vsock_conn_next(c))
		virtio_serve(&s->v, VSOCK_RX);
}

/* Takes over @fd. */
static struct vsock_conn *watch_conn(struct vsock *s, int fd, enum vsock_phase phase)
{
	const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	struct vsock_conn *c = new_conn(s);

	if (c && !loop_add(worker_loop(s->v.worker), fd, events, on_socket, c)) {
		c->fd = fd;
		c->phase = phase;
		return c;
	}
	if (c)
		free_conn(c);
	fd_close(&fd);
	return NULL;
}

static void on_listener(void *opaque, int fd, uint32_t events)
{
	struct vsock *s = opaque;
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (conn >= 0) {
		if (!watch_conn(s, conn, VSOCK_HELLO))
			s->counts.refused++;
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* No descriptors, for one. It would stay readable: until one of ours is closed. */
		vsock_host_watch(s, false);
	}
}

void vsock_host_watch(struct vsock *s, bool on)
{
	struct loop *loop = worker_loop(s->v.worker);

	if (s->listener.fd < 0 || s->watched == on)
		return;
	if (on)
		s->watched = !loop_add(loop, s->listener.fd, EPOLLIN, on_listener, s);
	else
		loop_del(loop, s->listener.fd);
	s->watched = s->watched && on;
}

/* ---- sockets ---- */

static struct sockaddr_un port_addr(const struct vsock *s, uint32_t port)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%" PRIu32, s->path, port);
	return addr;
}

struct vsock_conn *vsock_host_open(struct vsock *s, const struct vsock_packet *p)
{
	const struct sockaddr_un addr = port_addr(s, p->dst_port);
	struct vsock_conn *c = NULL;
	int fd = -1;

	if (s->nconns < VSOCK_MAX_CONNS)
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		fd_close(&fd);
	if (fd >= 0)
		c = watch_conn(s, fd, VSOCK_OPEN);
	if (!c)
		return NULL;
	vsock_conn_open(c, p);
	s->counts.opened++;
	return c;
}

int vsock_host_check(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_BYTES] = ".";
	struct stat st;

	if (strlen(path) + PORT_SUFFIX_BYTES >= PATH_BYTES)
		return err_set(
			err, -ENAMETOOLONG,
			"%s: longer than the %zu bytes that leave room for a port in a socket's path",
			path, PATH_BYTES - 1 - PORT_SUFFIX_BYTES);
	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	if (access(dir, W_OK | X_OK))
		return err_sys(err, -errno, "%s: directory %s", path, dir);
	if (!lstat(path, &st) && !S_ISSOCK(st.st_mode))
		return err_set(err, -EADDRINUSE, "%s: exists and is no socket", path);
	return 0;
}

int vsock_host_listen(struct vsock *s, struct err *err)
{
	int rc = unix_listen(s->path, &s->listener, err);

	if (rc)
		return rc;
	/* Programs that do not wait in connect are refused when it is full. */
	if (listen(s->listener.fd, BACKLOG)) {
		rc = err_sys(err, -errno, "%s", s->path);
		unix_listener_close(&s->listener);
		return rc;
	}
	if (virtio_serving(&s->v))
		vsock_host_watch(s, true);
	return 0;
}

void vsock_host_unlisten(struct vsock *s)
{
	vsock_host_watch(s, false);
	unix_listener_close(&s->listener);
}
