/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process with a control socket and a machine that is none (fake_machine.h), for the tests that speak to it from outside.
 *   fake-vm --routes                                    prints METHOD PATH of each route and ends
 *   fake-vm NAME [--api PATH] [--kernel K] [--state S]  prints "ready" and serves until its machine ends or its standard input does
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "commands.h"
#include "control/server.h"
#include "fake_machine.h"

static int print_routes(void)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++)
		printf("%s %s%s %d\n", table[i].method, COMMAND_PREFIX, table[i].path,
		       table[i].ok_status);
	return 0;
}

static enum machine_state state_of(const char *name)
{
	for (int s = 0; s < MACHINE_STATE_COUNT; s++)
		if (!strcmp(name, machine_state_name((enum machine_state)s)))
			return (enum machine_state)s;
	return MACHINE_RUNNING;
}

static int serve(const char *name, const char *api, const char *kernel, enum machine_state state)
{
	struct machine *m = fake_machine_create(name, kernel, state);
	struct control_server *s = NULL;
	struct err err = { 0 };
	struct pollfd fds[2] = { { .fd = 0, .events = POLLIN }, { .events = POLLIN } };

	if (!m || control_server_start(m, name, api, &s, &err)) {
		fprintf(stderr, "fake-vm: %s\n", err.msg);
		machine_destroy(m);
		return 1;
	}
	fds[1].fd = machine_end_fd(m);
	printf("ready %s\n", control_server_path(s));
	fflush(stdout);
	poll(fds, 2, -1);
	control_server_stop(s, 2 * NS_PER_S);
	machine_destroy(m);
	control_server_destroy(s);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "routes", no_argument, NULL, 'r' },
		{ "api", required_argument, NULL, 'a' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "state", required_argument, NULL, 's' },
		{ 0 },
	};
	const char *api = NULL, *kernel = "built-in guest", *state = "running";
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 'r')
			return print_routes();
		else if (opt == 'a')
			api = optarg;
		else if (opt == 'k')
			kernel = optarg;
		else if (opt == 's')
			state = optarg;
		else
			return 2;
	}
	return optind < argc ? serve(argv[optind], api, kernel, state_of(state)) : 2;
}
