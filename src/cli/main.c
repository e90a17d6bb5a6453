/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "cli.h"

/*
 * `vmm`. What runs a VM is in this program; what talks to a running one is in vmm-ctl beside it, so that a VM's process does not carry an HTTP client
 * along (docs/adr/0002).
 */
struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* NULL: vmm-ctl's */
	const char *summary;
};

static const struct command commands[] = {
	{ "run", cmd_run, "start a VM" },
	{ "receive", cmd_receive, "wait for a VM that another vmm migrates here" },
	{ "migrate", NULL, "move a running VM to another vmm" },
	{ "dirtyrate", NULL,
	  "measure how fast a VM dirties memory, and which migrations would converge" },
	{ "list", NULL, "the VMs of this user" },
	{ "status", NULL, "what a VM is doing" },
	{ "pause", NULL, "stop a VM's vCPUs" },
	{ "resume", NULL, "let them run again" },
	{ "stop", NULL, "end a VM" },
	{ "balloon", NULL, "take memory back from a VM, and what it has given" },
	{ "events", NULL, "follow what happens to a VM" },
	{ "caps", cmd_caps, "what this host's KVM offers" },
	{ "stream", cmd_stream, "verify or dump a recorded migration stream" },
	{ "trace", cmd_trace, "verify or dump an access trace" },
};

static int usage(FILE *to)
{
	fprintf(to, "usage: vmm COMMAND [OPTION...]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(to, "  %-9s  %s\n", commands[i].name, commands[i].summary);
	fprintf(to, "\n`vmm COMMAND --help` lists a command's options; vmm(1) is the manual.\n");
	return to == stderr ? EXIT_USAGE : EXIT_OK;
}

/* The client lies beside this program, or where `meson install` puts it. */
static int exec_client(char **argv)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-ctl"));

	if (n <= 0) {
		fprintf(stderr, "vmm: cannot find out where this program lies: %s\n",
			strerror(errno));
		return EXIT_FAILED;
	}
	memcpy(path + n, "-ctl", sizeof("-ctl"));
	execv(path, argv);
	fprintf(stderr, "vmm: cannot run %s: %s\n", path, strerror(errno));
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return usage(stdout);
	if (!strcmp(argv[1], "--version")) {
		printf("vmm %s\n", VMM_VERSION);
		return EXIT_OK;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		return commands[i].run ? commands[i].run(argc - 1, argv + 1) : exec_client(argv);
	}
	fprintf(stderr, "vmm: unknown command \"%s\"; `vmm --help` lists them\n", argv[1]);
	return EXIT_USAGE;
}
