/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firstbyte PROGRAM [ARGUMENT]...: starts the program and prints the nanoseconds from just before its fork until the first byte
 * on its standard output, then kills it. Its standard input is a pipe that stays open, its messages go to /dev/null.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static _Noreturn void run(char **argv, const int in[2], const int out[2])
{
	int null = open("/dev/null", O_WRONLY);

	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	execvp(argv[0], argv);
	_exit(127);
}

int main(int argc, char **argv)
{
	int in[2], out[2];
	struct pollfd p;
	uint64_t start, end;
	char byte;
	pid_t pid;
	int got;

	if (argc < 2) {
		fprintf(stderr, "usage: firstbyte PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) {
		perror("firstbyte: pipe");
		return 1;
	}
	start = now_ns();
	pid = fork();
	if (pid == 0)
		run(argv + 1, in, out);
	if (pid < 0) {
		perror("firstbyte: fork");
		return 1;
	}
	close(out[1]);
	p = (struct pollfd){ .fd = out[0], .events = POLLIN };
	got = poll(&p, 1, PATIENCE_MS) == 1 && read(out[0], &byte, 1) == 1;
	end = now_ns();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!got) {
		fprintf(stderr, "firstbyte: %s wrote nothing\n", argv[1]);
		return 1;
	}
	printf("%" PRIu64 "\n", end - start);
	return 0;
}
