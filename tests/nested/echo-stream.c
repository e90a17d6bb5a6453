/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo-stream ADDRESS PORT BYTES_A_SECOND: one TCP connection to an echo service. What it sends is a function of the place in the
 * stream, so that each byte that comes back is checked. A line a second, "stream bytes=N gap_ms=N longest_gap_ms=N", where a gap is the
 * time between two pieces that came back while some was under way. SIGTERM: no more is sent, what is under way is waited for, and the
 * last line begins with "stream end". Status 0 when every byte came back and was right.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"

#define PIECE_BYTES 4096u
#define WINDOW_BYTES (64u << 10) /* under way at most */
#define POLL_MS 5
#define CONNECT_TIMEOUT_S 60
#define SILENCE_LIMIT_NS (120 * NS_PER_S)

struct stream {
	int fd;
	uint64_t rate_bytes_per_s;
	uint64_t start_ns;
	uint64_t sent, received;
	uint64_t heard_ns; /* when a piece came last, or one was sent when none was under way */
	uint64_t gap_ns, longest_gap_ns; /* since the last line; since the start */
	uint64_t line_ns;
};

static volatile sig_atomic_t stopping;

static void on_term(int sig)
{
	(void)sig;
	stopping = 1;
}

static uint8_t byte_at(uint64_t place)
{
	uint64_t v = place / 8 * 0x9e3779b97f4a7c15ULL;

	return (uint8_t)((v ^ v >> 31) >> place % 8 * 8);
}

/* A guest that is still setting up its network refuses, or does not answer. */
static int connect_to(const struct sockaddr_in *to)
{
	uint64_t end = clock_mono_ns() + CONNECT_TIMEOUT_S * NS_PER_S;
	int one = 1;

	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd >= 0 && !connect(fd, (const struct sockaddr *)to, sizeof(*to))) {
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			return fd;
		}
		if (fd >= 0)
			close(fd);
		if (stopping || clock_mono_ns() > end)
			return -1;
		usleep(200000);
	}
}

static int send_some(struct stream *s, uint64_t now)
{
	uint64_t due =
		(uint64_t)((unsigned __int128)(now - s->start_ns) * s->rate_bytes_per_s / NS_PER_S);
	uint8_t piece[PIECE_BYTES];
	uint64_t room = WINDOW_BYTES - (s->sent - s->received);
	size_t n = MIN(sizeof(piece), room);
	ssize_t done;

	if (stopping || s->sent >= due)
		return 0;
	n = MIN(n, due - s->sent);
	for (size_t i = 0; i < n; i++)
		piece[i] = byte_at(s->sent + i);
	if (!n)
		return 0;
	done = send(s->fd, piece, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (s->sent == s->received)
		s->heard_ns = now;
	s->sent += (uint64_t)done;
	return 0;
}

static int receive_some(struct stream *s, uint64_t now)
{
	uint8_t piece[PIECE_BYTES];
	ssize_t n = recv(s->fd, piece, sizeof(piece), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!n)
		return -ECONNRESET;
	for (ssize_t i = 0; i < n; i++)
		if (piece[i] != byte_at(s->received + (uint64_t)i))
			return -EBADMSG;
	s->received += (uint64_t)n;
	if (s->received > s->sent)
		return -EBADMSG;
	s->gap_ns = MAX(s->gap_ns, now - s->heard_ns);
	s->longest_gap_ns = MAX(s->longest_gap_ns, s->gap_ns);
	s->heard_ns = now;
	return 0;
}

static void print_line(struct stream *s, const char *what)
{
	printf("%s bytes=%llu gap_ms=%llu longest_gap_ms=%llu\n", what,
	       (unsigned long long)s->received, (unsigned long long)(s->gap_ns / NS_PER_MS),
	       (unsigned long long)(s->longest_gap_ns / NS_PER_MS));
	fflush(stdout);
	s->gap_ns = 0;
}

static int run(struct stream *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	int rc = 0;

	s->start_ns = s->heard_ns = s->line_ns = clock_mono_ns();
	while (!rc && !(stopping && s->received == s->sent)) {
		uint64_t now;

		(void)poll(&p, 1, POLL_MS);
		now = clock_mono_ns();
		rc = send_some(s, now);
		if (!rc)
			rc = receive_some(s, now);
		if (!rc && s->sent != s->received && now - s->heard_ns > SILENCE_LIMIT_NS)
			rc = -ETIMEDOUT;
		if (now - s->line_ns >= NS_PER_S) {
			s->line_ns = now;
			print_line(s, "stream");
		}
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct sigaction term = { .sa_handler = on_term };
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct stream s = { 0 };
	uint64_t port;
	int rc;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
	    num_parse_u64(argv[2], &port) || port > UINT16_MAX ||
	    num_parse_u64(argv[3], &s.rate_bytes_per_s) || !s.rate_bytes_per_s) {
		fprintf(stderr, "usage: echo-stream ADDRESS PORT BYTES_A_SECOND\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)port);
	sigaction(SIGTERM, &term, NULL);
	s.fd = connect_to(&to);
	if (s.fd < 0) {
		fprintf(stderr, "echo-stream: %s:%s does not answer\n", argv[1], argv[2]);
		return 1;
	}
	rc = run(&s);
	close(s.fd);
	if (rc)
		fprintf(stderr, "echo-stream: after %llu bytes: %s\n",
			(unsigned long long)s.received, strerror(-rc));
	print_line(&s, "stream end");
	return rc ? 1 : 0;
}
