/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "migration/transport.h"

#define KEEPALIVE_IDLE_S 10
#define KEEPALIVE_INTERVAL_S 3
#define KEEPALIVE_PROBES 3
/* Well above the stall limit, which tells a full peer from a dead one even where its slices come late on a busy host: the kernel's limit is there for receives without one. */
#define USER_TIMEOUT_MS 20000
#define HOST_MAX 255
#define ADDRESS_MAX 80

struct tcp_listener {
	int fd;
	char address[ADDRESS_MAX];
};

/* Split "HOST:PORT", "[V6]:PORT" or ":PORT". The host may be empty. */
static int split_address(const char *host_port, char *host, char *port, struct err *err)
{
	const char *colon = strrchr(host_port, ':'), *begin = host_port, *end = colon;
	unsigned long value;
	size_t n;

	if (!colon)
		return err_set(err, -EINVAL, "address '%s': expected HOST:PORT", host_port);
	if (*begin == '[') {
		begin++;
		end = colon - 1;
		if (end < begin || *end != ']')
			return err_set(err, -EINVAL, "address '%s': expected [IPV6]:PORT",
				       host_port);
	} else if (memchr(begin, ':', (size_t)(colon - begin))) {
		return err_set(err, -EINVAL, "address '%s': an IPv6 address stands in brackets",
			       host_port);
	}
	n = (size_t)(end - begin);
	if (n > HOST_MAX)
		return err_set(err, -EINVAL, "address: the host's name is too long");
	memcpy(host, begin, n);
	host[n] = '\0';
	n = strspn(colon + 1, "0123456789");
	value = n && n <= 5 && !colon[1 + n] ? strtoul(colon + 1, NULL, 10) : 65536;
	if (value > 65535)
		return err_set(err, -EINVAL, "address '%s': the port is a number from 0 to 65535",
			       host_port);
	snprintf(port, 6, "%lu", value);
	return 0;
}

static int resolve(const char *host_port, bool listening, struct addrinfo **ret, struct err *err)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (listening ? AI_PASSIVE : 0),
	};
	char host[HOST_MAX + 1], port[6];
	int rc = split_address(host_port, host, port, err);

	if (rc)
		return rc;
	if (!listening && (!host[0] || !strcmp(port, "0")))
		return err_set(err, -EINVAL, "address '%s': connecting wants a host and a port",
			       host_port);
	rc = getaddrinfo(host[0] ? host : NULL, port, &hints, ret);
	if (rc == EAI_SYSTEM)
		return err_sys(err, -errno, "resolve '%s'", host);
	if (rc)
		return err_set(err, -EHOSTUNREACH, "resolve '%s': %s", host, gai_strerror(rc));
	return 0;
}

/* "10.0.0.2:4444", "[::1]:4444" */
static void format_address(const struct sockaddr *sa, socklen_t len, char out[ADDRESS_MAX])
{
	char host[INET6_ADDRSTRLEN + 20], port[8];

	if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(out, ADDRESS_MAX, "unknown address");
	else
		snprintf(out, ADDRESS_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* Options of every migration connection; a kernel that refuses one still moves the bytes. */
static void set_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS },
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* Wait for a non-blocking connect until @deadline_ns. 0, -ECANCELED, or -errno of the connection. */
static int wait_connected(int fd, uint64_t deadline_ns, int cancel_fd)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLOUT },
				       { .fd = cancel_fd, .events = POLLIN } };
		uint64_t now = clock_mono_ns();
		uint64_t left_ms =
			now < deadline_ns ? (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
		int n = poll(p, 2, (int)MIN(left_ms, 1000 * 1000)), code = 0;
		socklen_t len = sizeof(code);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents)
			return -ECANCELED;
		if (n > 0)
			return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) ? -errno : -code;
		if (!left_ms)
			return -ETIMEDOUT;
	}
}

static int connect_one(const struct addrinfo *ai, uint64_t deadline_ns, int cancel_fd, int *ret_fd)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	int rc = 0;

	if (fd < 0)
		return -errno;
	set_options(fd);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen))
		rc = errno == EINPROGRESS || errno == EINTR ?
			     wait_connected(fd, deadline_ns, cancel_fd) :
			     -errno;
	if (rc) {
		fd_close(&fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* strerror's text begins with a capital, which reads oddly behind a colon. */
static int connect_error(const char *host_port, int rc, uint64_t timeout_ns, struct err *err)
{
	switch (-rc) {
	case ECANCELED:
		return err_set(err, rc, "connect %s: cancelled", host_port);
	case ECONNREFUSED:
		return err_set(err, rc, "connect %s: connection refused", host_port);
	case ETIMEDOUT:
		return err_set(err, rc, "connect %s: no answer within %.3g s", host_port,
			       (double)timeout_ns / NS_PER_S);
	case EHOSTUNREACH:
		return err_set(err, rc, "connect %s: no route to host", host_port);
	case ENETUNREACH:
		return err_set(err, rc, "connect %s: network is unreachable", host_port);
	default:
		return err_sys(err, rc, "connect %s", host_port);
	}
}

int tcp_connect(const char *host_port, uint64_t timeout_ns, int cancel_fd, struct transport **ret,
		struct err *err)
{
	uint64_t deadline = clock_mono_ns() + timeout_ns;
	struct addrinfo *list = NULL;
	char peer[ADDRESS_MAX];
	int fd = -1, rc = resolve(host_port, false, &list, err);

	if (rc)
		return rc;
	rc = -EADDRNOTAVAIL;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		rc = connect_one(ai, deadline, cancel_fd, &fd);
		if (rc == 0)
			format_address(ai->ai_addr, ai->ai_addrlen, peer);
		if (rc == 0 || rc == -ECANCELED || clock_mono_ns() >= deadline)
			break;
	}
	freeaddrinfo(list);
	if (rc)
		return connect_error(host_port, rc, timeout_ns, err);
	return transport_from_socket(fd, peer, ret, err);
}

static int listen_one(const struct addrinfo *ai, int *ret_fd)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	int one = 1, rc;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 1)) {
		rc = -errno;
		fd_close(&fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int tcp_listen(const char *host_port, struct tcp_listener **ret, struct err *err)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	struct addrinfo *list = NULL;
	struct tcp_listener *l;
	int fd = -1, rc = resolve(host_port, true, &list, err);

	if (rc)
		return rc;
	rc = -EADDRNOTAVAIL;
	for (const struct addrinfo *ai = list; ai && rc; ai = ai->ai_next)
		rc = listen_one(ai, &fd);
	freeaddrinfo(list);
	if (rc == -EADDRINUSE)
		return err_set(err, rc, "listen on %s: address already in use", host_port);
	if (rc)
		return err_sys(err, rc, "listen on %s", host_port);
	l = calloc(1, sizeof(*l));
	if (!l || getsockname(fd, (struct sockaddr *)&sa, &len)) {
		rc = l ? -errno : -ENOMEM;
		free(l);
		fd_close(&fd);
		return err_sys(err, rc, "listen on %s", host_port);
	}
	l->fd = fd;
	format_address((struct sockaddr *)&sa, len, l->address);
	*ret = l;
	return 0;
}

const char *tcp_listener_address(const struct tcp_listener *l)
{
	return l->address;
}

int tcp_listener_fd(const struct tcp_listener *l)
{
	return l->fd;
}

/* Errors after which another connection may still come (accept(2), "Error handling"). */
static bool accept_again(int code)
{
	return code == EINTR || code == EAGAIN || code == ECONNABORTED || code == EPROTO ||
	       code == ENETDOWN || code == ENOPROTOOPT || code == EHOSTDOWN || code == ENONET ||
	       code == EHOSTUNREACH || code == EOPNOTSUPP || code == ENETUNREACH;
}

int tcp_accept(struct tcp_listener *l, int cancel_fd, struct transport **ret, struct err *err)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = l->fd, .events = POLLIN },
				       { .fd = cancel_fd, .events = POLLIN } };
		struct sockaddr_storage sa = { 0 };
		socklen_t len = sizeof(sa);
		char peer[ADDRESS_MAX];
		int fd;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_sys(err, -errno, "accept on %s", l->address);
		if (p[1].revents)
			return err_set(err, -ECANCELED, "accept on %s: cancelled", l->address);
		fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC);
		if (fd < 0 && accept_again(errno))
			continue;
		if (fd < 0)
			return err_sys(err, -errno, "accept on %s", l->address);
		set_options(fd);
		format_address((struct sockaddr *)&sa, len, peer);
		return transport_from_socket(fd, peer, ret, err);
	}
}

void tcp_listener_destroy(struct tcp_listener *l)
{
	if (!l)
		return;
	fd_close(&l->fd);
	free(l);
}
