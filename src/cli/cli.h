/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/devices.h"
#include "machine/machine.h"

/* Exit statuses of every subcommand (vmm(1)). */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* argv[0] is the subcommand's name. Returns the exit status. */
int cmd_run(int argc, char **argv);
int cmd_receive(int argc, char **argv);
int cmd_caps(int argc, char **argv);
int cmd_stream(int argc, char **argv);
int cmd_trace(int argc, char **argv);

/* Options of run and receive. Strings point into argv or into what a configuration file said. Not to be copied: config points to devices. */
struct vm_options {
	struct machine_config config;
	struct machine_devices devices; /* receive: what devices of the VM are called here */
	const char *listen; /* receive */
	const char *api;
	bool receive;
	bool named; /* by its user */
	bool dump; /* print the configuration and end */

	const char *file; /* configuration file */
	char *text; /* its contents */
	struct json_t *document; /* the same, parsed */
	unsigned int
		nfile; /* the first entries of devices are the file's until all options were seen */
	uint64_t replaced; /* a bit for each of these that an option took the place of */
	uint64_t given; /* a bit for each option of the table that was given */
};
/* Parses and checks; returns 0, or the exit status plus 1 when the program should end now (after --help, --dump-config or a usage error, all already printed). */
int vm_options_parse(struct vm_options *o, bool receive, int argc, char **argv);
/* Whether or not parsing succeeded. */
void vm_options_fini(struct vm_options *o);

/* Start, serve and end one machine: signals, control socket, main loop. @create makes the machine (again after a guest's reset). */
int cli_serve(const struct vm_options *o, bool receive);

#endif
