/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>

#include "base/err.h"
#include "machine/machine.h"

/* Exit statuses of every subcommand (vmm(1)). */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* argv[0] is the subcommand's name. Returns the exit status. */
int cmd_run(int argc, char **argv);
int cmd_receive(int argc, char **argv);
int cmd_caps(int argc, char **argv);
int cmd_stream(int argc, char **argv);
int cmd_trace(int argc, char **argv);

/* Options of run and receive. Strings point into argv. */
struct vm_options {
	struct machine_config config;
	const char *listen; /* receive */
	const char *api;
};
/* Parses and checks; returns 0, or the exit status plus 1 when the program should end now (after --help or a usage error, both already printed). */
int vm_options_parse(struct vm_options *o, bool receive, int argc, char **argv);

/* Start, serve and end one machine: signals, control socket, main loop. @create makes the machine (again after a guest's reset). */
int cli_serve(const struct vm_options *o, bool receive);

#endif
