/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of connections between a guest and its host. ADDRESS is CID:PORT for a virtio socket, the path of a unix socket, or PATH:PORT: that path, and "CONNECT PORT" said there.
 *   socket-echo serve ADDRESS         echoes each connection until its end
 *   socket-echo check ADDRESS BYTES   sends so many bytes, shuts its half, and reads to the end what comes back: status 0 when every byte was right
 *   socket-echo hold ADDRESS          one byte after the other until the connection ends, and says how
 *   socket-echo cid                   the guest's own CID
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "base/fd.h"
#include "base/num.h"

#define PIECE_BYTES 65536u
#define LIMIT_MS 60000 /* without a byte either way */
#define HOLD_MS 100

static int fail(const char *what)
{
	fprintf(stderr, "socket-echo: %s: %s\n", what, strerror(errno));
	return 1;
}

static bool vsock_address(const char *text, struct sockaddr_vm *ret)
{
	unsigned int cid, port;
	int end = 0;

	if (sscanf(text, "%u:%u%n", &cid, &port, &end) != 2 || text[end])
		return false;
	*ret = (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
	return true;
}

static struct sockaddr_un unix_address(const char *path, size_t len)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, path, MIN(len, sizeof(a.sun_path) - 1));
	return a;
}

/* "OK N" and a newline, byte by byte: what follows is not ours. */
static int say_hello(int fd, const char *port)
{
	char line[32];
	size_t n = 0;

	if (dprintf(fd, "CONNECT %s\n", port) < 0)
		return -1;
	do {
		if (n == sizeof(line) || read(fd, &line[n], 1) != 1)
			return -1;
	} while (line[n++] != '\n');
	return strncmp(line, "OK ", 3) ? -1 : 0;
}

static int connect_to(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_vm vm;
	struct sockaddr_un un;
	bool guest = vsock_address(text, &vm);
	int fd = socket(guest ? AF_VSOCK : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -1;
	un = unix_address(text, colon ? (size_t)(colon - text) : strlen(text));
	rc = guest ? connect(fd, (struct sockaddr *)&vm, sizeof(vm)) :
		     connect(fd, (struct sockaddr *)&un, sizeof(un));
	if (!rc && !guest && colon)
		rc = say_hello(fd, colon + 1);
	if (rc)
		fd_close(&fd);
	return fd;
}

static int echo(int fd)
{
	char data[PIECE_BYTES];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		if (fd_write_all(fd, data, (size_t)n))
			return 1;
	return n < 0;
}

static int serve(const char *text)
{
	struct sockaddr_vm vm;
	struct sockaddr_un un = unix_address(text, strlen(text));
	bool guest = vsock_address(text, &vm);
	int fd = socket(guest ? AF_VSOCK : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), conn;

	if (fd < 0 ||
	    (guest ? bind(fd, (struct sockaddr *)&vm, sizeof(vm)) :
		     bind(fd, (struct sockaddr *)&un, sizeof(un))) ||
	    listen(fd, 16))
		return fail(text);
	signal(SIGCHLD, SIG_IGN);
	while ((conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (!fork())
			_exit(echo(conn));
		close(conn);
	}
	return fail("accept");
}

static uint8_t byte_at(uint64_t place)
{
	return (uint8_t)(place * 0x9e3779b97f4a7c15ULL >> 56);
}

struct check {
	uint64_t total, sent, got;
	bool wrong;
};

static int send_some(struct check *c, int fd)
{
	uint8_t data[PIECE_BYTES];
	size_t len = (size_t)MIN(c->total - c->sent, sizeof(data));
	ssize_t n;

	for (size_t i = 0; i < len; i++)
		data[i] = byte_at(c->sent + i);
	n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	c->sent += (uint64_t)n;
	return c->sent == c->total ? shutdown(fd, SHUT_WR) : 0;
}

/* 0 at the end, 1 else. */
static int receive_some(struct check *c, int fd)
{
	uint8_t data[PIECE_BYTES];
	ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 1 : (int)n;
	for (ssize_t i = 0; i < n; i++)
		c->wrong |= data[i] != byte_at(c->got++);
	return 1;
}

static int check(const char *text, const char *bytes)
{
	struct check c = { .total = strtoull(bytes, NULL, 10) };
	int fd = connect_to(text), rc = 1;

	if (fd < 0)
		return fail(text);
	while (rc > 0) {
		struct pollfd p = { .fd = fd,
				    .events = (short)(POLLIN | (c.sent < c.total ? POLLOUT : 0)) };

		if (poll(&p, 1, LIMIT_MS) != 1)
			return fail("nothing happens");
		if (p.revents & POLLOUT && send_some(&c, fd))
			return fail("send");
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			rc = receive_some(&c, fd);
	}
	if (rc < 0)
		return fail("receive");
	printf("check %s sent=%" PRIu64 " back=%" PRIu64 "%s\n", text, c.sent, c.got,
	       c.wrong ? " WRONG" : "");
	return c.wrong || c.got != c.total;
}

static int hold(const char *text)
{
	int fd = connect_to(text);
	uint64_t n = 0;
	char byte = 'x';

	if (fd < 0)
		return fail(text);
	printf("hold %s begins\n", text);
	fflush(stdout);
	while (send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && read(fd, &byte, 1) == 1) {
		n++;
		usleep(HOLD_MS * 1000);
	}
	printf("hold %s ended after %" PRIu64 ": %s\n", text, n, strerror(errno));
	return 0;
}

static int cid(void)
{
	int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	unsigned int n;

	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &n))
		return fail("/dev/vsock");
	printf("%u\n", n);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "check"))
		return check(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "hold"))
		return hold(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "cid"))
		return cid();
	fprintf(stderr,
		"usage: socket-echo serve ADDRESS | check ADDRESS BYTES | hold ADDRESS | cid\n");
	return 2;
}
