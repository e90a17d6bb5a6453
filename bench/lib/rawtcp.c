/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rawtcp REGION TOTAL [WS RATE]: what the machine can do at best. One process sends TOTAL bytes out of a region of REGION bytes,
 * filled beforehand, over one loopback TCP connection in calls of CALL_BYTES; another one receives them into fresh anonymous
 * memory of the same size with MADV_HUGEPAGE (over again from its start when TOTAL is larger). With WS a third process writes
 * a working set meanwhile as a busy guest would, RATE pages a second or without limit (0).
 * Prints "ready", waits for a line (the caller warms memory up meanwhile) and prints one JSON object: the time from the first send until the receiver's answer, and the CPU time of both ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL_BYTES (256u << 10)
#define PAGE_BYTES 4096
#define NS_PER_S 1000000000ULL
#define SETTLE_NS (100 * 1000000ULL)

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "rawtcp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint8_t *map_huge(uint64_t bytes)
{
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static void fill(uint8_t *p, uint64_t bytes)
{
	uint64_t x = 0x9e3779b97f4a7c15;

	for (uint64_t i = 0; i < bytes; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(p + i, &x, sizeof(x));
	}
}

/* The part of a transfer of @total bytes through a region of @region that begins at @done. */
static size_t next_call(uint64_t region, uint64_t total, uint64_t done)
{
	uint64_t n = CALL_BYTES;

	if (n > total - done)
		n = total - done;
	if (n > region - done % region)
		n = region - done % region;
	return (size_t)n;
}

/* Answers with its CPU time once all has come. */
static _Noreturn void receive_all(int listener, uint64_t region, uint64_t total)
{
	int fd = accept(listener, NULL, NULL);
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint8_t *p = map_huge(region);

	if (fd < 0)
		fail("accept");
	for (uint64_t done = 0; done < total;) {
		ssize_t n = recv(fd, p + done % region, next_call(region, total, done), 0);

		if (n <= 0)
			fail("recv");
		done += (uint64_t)n;
	}
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (send(fd, &cpu, sizeof(cpu), 0) != sizeof(cpu))
		fail("send");
	exit(0);
}

/* What a guest with a working set does: one word in each page, in order. */
static _Noreturn void write_for_ever(uint64_t ws, uint64_t rate)
{
	volatile uint8_t *p = map_huge(ws);
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	for (uint64_t page = 0;; page++) {
		*(volatile uint64_t *)(p + page * PAGE_BYTES % ws) = page;
		while (rate && page % 64 == 0 &&
		       (clock_ns(CLOCK_MONOTONIC) - start) / 1000 * rate / 1000000 < page)
			;
	}
}

static int listen_loopback(struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0 || bind(fd, (struct sockaddr *)ret, len) || listen(fd, 1) ||
	    getsockname(fd, (struct sockaddr *)ret, &len))
		fail("listen");
	return fd;
}

static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void send_all(const struct sockaddr_in *to, const uint8_t *p, uint64_t region,
		     uint64_t total)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	uint64_t start, cpu, receiver_cpu;

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	start = clock_ns(CLOCK_MONOTONIC);
	for (uint64_t done = 0; done < total;) {
		ssize_t n =
			send(fd, p + done % region, next_call(region, total, done), MSG_NOSIGNAL);

		if (n <= 0)
			fail("send");
		done += (uint64_t)n;
	}
	if (recv(fd, &receiver_cpu, sizeof(receiver_cpu), MSG_WAITALL) != sizeof(receiver_cpu))
		fail("the receiver's answer");
	printf("{\"total_ns\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"cpu_ns\": %" PRIu64 "}\n",
	       clock_ns(CLOCK_MONOTONIC) - start, total,
	       clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu + receiver_cpu);
	close(fd);
}

int main(int argc, char **argv)
{
	uint64_t arg[4] = { 0 };
	struct sockaddr_in address;
	struct timespec settle = { .tv_nsec = SETTLE_NS };
	pid_t receiver, writer = 0;
	uint8_t *memory;
	int listener, status;

	for (int i = 1; i < argc && i <= 4; i++)
		arg[i - 1] = strtoull(argv[i], NULL, 0);
	if ((argc != 3 && argc != 5) || !arg[0] || arg[0] % CALL_BYTES || !arg[1] ||
	    (argc == 5 && arg[2] < PAGE_BYTES)) {
		fprintf(stderr,
			"usage: rawtcp REGION TOTAL [WS RATE], REGION a multiple of 256 KiB\n");
		return 2;
	}
	listener = listen_loopback(&address);
	receiver = fork_child();
	if (receiver == 0)
		receive_all(listener, arg[0], arg[1]);
	memory = map_huge(arg[0]);
	fill(memory, arg[0]);
	if (argc == 5) {
		writer = fork_child();
		if (writer == 0)
			write_for_ever(arg[2], arg[3]);
		nanosleep(&settle, NULL);
	}
	puts("ready");
	fflush(stdout);
	if (getchar() == EOF)
		fail("standard input");
	send_all(&address, memory, arg[0], arg[1]);
	if (writer) {
		kill(writer, SIGKILL);
		waitpid(writer, NULL, 0);
	}
	return waitpid(receiver, &status, 0) == receiver && status == 0 ? 0 : 1;
}
