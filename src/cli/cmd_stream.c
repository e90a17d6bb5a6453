/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "cli.h"

static void print_line(void *opaque, const char *text)
{
	(void)opaque;
	puts(text);
}

int cmd_stream(int argc, char **argv)
{
	struct err err = { 0 };
	bool dump;
	int fd, rc;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts("usage: vmm stream verify|dump FILE\n\n  verify   check a recorded migration stream, print a summary\n  dump     print a line a record");
		return EXIT_OK;
	}
	dump = argc > 1 && !strcmp(argv[1], "dump");
	if (argc != 3 || (!dump && strcmp(argv[1], "verify") != 0)) {
		fprintf(stderr, "vmm stream: expected verify FILE or dump FILE\n");
		return EXIT_USAGE;
	}
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "vmm stream: %s: %s\n", argv[2], strerror(errno));
		return EXIT_FAILED;
	}
	rc = mig_stream_check(fd, dump, print_line, NULL, &err);
	fd_close(&fd);
	if (rc)
		fprintf(stderr, "vmm stream: %s: %s\n", argv[2], err.msg);
	return rc ? EXIT_FAILED : EXIT_OK;
}
