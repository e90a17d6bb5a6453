/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firstbyte [-t TEXT] PROGRAM [ARGUMENT]...: starts the program and prints the nanoseconds from just before its fork until the first byte
 * on its standard output, or until TEXT is there, then kills it. Its standard input is a pipe that stays open, its messages go to /dev/null.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* With nothing on the output; an emulated host takes long. */
#define PATIENCE_MS 20000
#define TEXT_PATIENCE_MS 180000
#define OUTPUT_MAX 65536

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

/* Any text at all where @text is empty. */
static bool wait_text(int fd, const char *text)
{
	static char output[OUTPUT_MAX + 1];
	size_t len = 0;

	while (len < OUTPUT_MAX) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, *text ? TEXT_PATIENCE_MS : PATIENCE_MS) != 1)
			return false;
		n = read(fd, output + len, OUTPUT_MAX - len);
		if (n <= 0)
			return false;
		/* Searched as a string: a byte of zero is none of it. */
		for (ssize_t i = 0; i < n; i++, len++)
			output[len] = output[len] ? output[len] : ' ';
		if (strstr(output, text))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	const char *text = "";
	int in[2], out[2];
	uint64_t start, end;
	pid_t pid;
	bool got;

	if (argc > 3 && !strcmp(argv[1], "-t")) {
		text = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc < 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: firstbyte [-t TEXT] PROGRAM [ARGUMENT]...\n");
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
	got = wait_text(out[0], text);
	end = now_ns();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!got) {
		fprintf(stderr, "firstbyte: %s wrote %s%s\n", argv[1], *text ? "no " : "nothing",
			text);
		return 1;
	}
	printf("%" PRIu64 "\n", end - start);
	return 0;
}
