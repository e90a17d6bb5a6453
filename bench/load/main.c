/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest does with its disk and its network in bench/devices, and the other end of the network:
 *
 *   device-load disk PATH read|write random|sequential SIZE DEPTH SECONDS
 *   device-load net ADDRESS send|recv|pingpong SECONDS
 *   device-load serve
 *
 * A load says "ready", waits for a line, runs, waits for another line and says "done requests=N bytes=N elapsed_us=N longest_us=N": so nothing but the load lies between the two lines,
 * and whoever sends them can look at counters then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "load.h"

void load_fail(const char *what, int error)
{
	fprintf(stderr, "device-load: %s: %s\n", what, strerror(error));
	exit(1);
}

static void wait_line(void)
{
	int c;

	do {
		c = getchar();
	} while (c != '\n' && c != EOF);
}

static void gate(void)
{
	puts("ready");
	fflush(stdout);
	wait_line();
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
		"usage: device-load disk PATH read|write random|sequential SIZE DEPTH SECONDS\n"
		"       device-load net ADDRESS send|recv|pingpong SECONDS\n"
		"       device-load serve\n");
	exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
	uint64_t v;

	if (num_parse_size(text, &v) || !v || v > max)
		usage();
	return v;
}

/* Which of two words: false for the first. */
static bool second(const char *text, const char *first, const char *other)
{
	if (!strcmp(text, first))
		return false;
	if (strcmp(text, other))
		usage();
	return true;
}

static void run_disk(char **arg, struct load_result *ret)
{
	const struct disk_load l = {
		.path = arg[0],
		.write = second(arg[1], "read", "write"),
		.sequential = second(arg[2], "random", "sequential"),
		.size_bytes = (uint32_t)number(arg[3], 1 << 20),
		.depth = (unsigned int)number(arg[4], 256),
		.duration_ns = number(arg[5], 3600) * NS_PER_S,
	};

	disk_load(&l, gate, ret);
}

static void run_net(char **arg, struct load_result *ret)
{
	enum net_mode mode = NET_PINGPONG;

	if (!strcmp(arg[1], "send"))
		mode = NET_SEND;
	else if (second(arg[1], "pingpong", "recv"))
		mode = NET_RECV;
	net_load(arg[0], mode, number(arg[2], 3600) * NS_PER_S, gate, ret);
}

int main(int argc, char **argv)
{
	struct load_result r = { 0 };

	if (argc == 2 && !strcmp(argv[1], "serve"))
		net_serve();
	else if (argc == 8 && !strcmp(argv[1], "disk"))
		run_disk(argv + 2, &r);
	else if (argc == 5 && !strcmp(argv[1], "net"))
		run_net(argv + 2, &r);
	else
		usage();
	wait_line();
	printf("done requests=%llu bytes=%llu elapsed_us=%llu longest_us=%llu\n",
	       (unsigned long long)r.requests, (unsigned long long)r.bytes,
	       (unsigned long long)(r.elapsed_ns / NS_PER_US),
	       (unsigned long long)(r.longest_ns / NS_PER_US));
	return 0;
}
