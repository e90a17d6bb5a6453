/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection. The first byte says what it is for; then a stream one way until the client closes its end, or a byte back for each byte. A stream counts what arrived: the receiver's
 * count, which the server returns as eight bytes when it was the one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "load.h"

#define PORT 7000
#define CALL_BYTES (64u << 10)

static void no_delay(int fd)
{
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* What came until the other side had no more. */
static uint64_t receive_all(int fd)
{
	static uint8_t buffer[CALL_BYTES];
	uint64_t total = 0;
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		total += (uint64_t)n;
	return total;
}

static bool send_piece(int fd, uint64_t *total)
{
	static const uint8_t buffer[CALL_BYTES];
	ssize_t n = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);

	if (n > 0)
		*total += (uint64_t)n;
	return n > 0;
}

static void serve_one(int fd)
{
	uint64_t total = 0;
	char mode, byte;

	no_delay(fd);
	if (recv(fd, &mode, 1, 0) != 1)
		return;
	switch (mode) {
	case NET_SEND:
		total = receive_all(fd);
		(void)send(fd, &total, sizeof(total), MSG_NOSIGNAL);
		break;
	case NET_RECV:
		while (send_piece(fd, &total))
			;
		break;
	case NET_PINGPONG:
		while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
			;
		break;
	default:
		break;
	}
}

void net_serve(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 4))
		load_fail("listen", errno);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		serve_one(fd);
		close(fd);
	}
}

static int connect_to(const char *address, enum net_mode mode)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	const char first = (char)mode;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		load_fail(address, EINVAL);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    send(fd, &first, 1, 0) != 1)
		load_fail(address, errno);
	no_delay(fd);
	return fd;
}

static void ping(int fd, struct load_result *ret)
{
	uint64_t begun = clock_mono_ns();
	char byte = 'x';

	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
		load_fail("ping-pong", errno);
	ret->requests++;
	ret->bytes++;
	ret->longest_ns = MAX(ret->longest_ns, clock_mono_ns() - begun);
}

static void receive_piece(int fd, struct load_result *ret)
{
	static uint8_t buffer[CALL_BYTES];
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

	if (n <= 0)
		load_fail("recv", errno);
	ret->bytes += (uint64_t)n;
}

/* The time runs until the last byte has arrived. */
static void end_sending(int fd, struct load_result *ret)
{
	uint64_t arrived;

	if (shutdown(fd, SHUT_WR) ||
	    recv(fd, &arrived, sizeof(arrived), MSG_WAITALL) != sizeof(arrived))
		load_fail("the other end's count", errno);
	if (arrived != ret->bytes)
		load_fail("the other end's count differs", EBADMSG);
}

void net_load(const char *address, enum net_mode mode, uint64_t duration_ns, load_gate_fn gate,
	      struct load_result *ret)
{
	uint64_t start;
	int fd;

	gate();
	start = clock_mono_ns();
	fd = connect_to(address, mode);
	while (clock_mono_ns() - start < duration_ns) {
		if (mode == NET_PINGPONG)
			ping(fd, ret);
		else if (mode == NET_RECV)
			receive_piece(fd, ret);
		else if (!send_piece(fd, &ret->bytes))
			load_fail("send", errno);
	}
	if (mode == NET_SEND)
		end_sending(fd, ret);
	ret->elapsed_ns = clock_mono_ns() - start;
	close(fd);
}
