/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/num.h"
#include "commands.h"

#define AT(member) .offset = offsetof(struct ctl_args, member)

#define OPTION_API                                                                             \
	{                                                                                      \
		.name = "api", .value = "PATH", .help = "the VM whose control socket is PATH", \
		.expect = "a path", AT(api)                                                    \
	}
#define OPTION_JSON                                                   \
	{                                                             \
		.name = "json", .help = "JSON for programs", AT(json) \
	}

static const struct ctl_option plain_options[] = { OPTION_API, OPTION_JSON };
static const struct ctl_option list_options[] = { OPTION_JSON };

static const struct ctl_option status_options[] = {
	{ .name = "counters",
	  .help = "and the counters of KVM, devices and migration",
	  AT(counters) },
	OPTION_API,
	OPTION_JSON,
};

static const struct ctl_option resume_options[] = {
	{ .name = "force",
	  .help = "even if the VM may be running on the destination of a migration",
	  AT(force) },
	OPTION_API,
	OPTION_JSON,
};

static const struct ctl_option stop_options[] = {
	{ .name = "force", .help = "at once, without asking the guest", AT(force) },
	{ .name = "timeout",
	  .value = "TIME",
	  .help = "how long the guest may take to power off before it is stopped (30s)",
	  .expect = "a duration such as 30s",
	  .set = option_duration,
	  AT(timeout_ns) },
	OPTION_API,
	OPTION_JSON,
};

static const struct ctl_option balloon_options[] = {
	{ .name = "size",
	  .value = "SIZE",
	  .help = "how much of its memory the guest shall give",
	  .expect = "a size such as 512M",
	  .set = option_size,
	  AT(size_bytes) },
	OPTION_API,
	OPTION_JSON,
};

static const struct ctl_option migrate_options[] = {
	{ .name = "to",
	  .value = "HOST:PORT",
	  .help = "where `vmm receive` listens",
	  .expect = "HOST:PORT",
	  AT(to) },
	{ .name = "max-downtime",
	  .value = "TIME",
	  .help = "the longest pause allowed; a ceiling, not a target (300ms)",
	  .expect = "a duration such as 300ms",
	  .set = option_duration,
	  AT(max_downtime_ns) },
	{ .name = "max-bandwidth",
	  .value = "RATE",
	  .help = "bytes per second on the wire, as in 500MB/s (no limit)",
	  .expect = "a rate such as 500MB/s or 1Gbit/s",
	  .set = option_rate,
	  AT(max_bandwidth) },
	{ .name = "timeout",
	  .value = "TIME",
	  .help = "when to give up waiting for rounds to shrink (never)",
	  .expect = "a duration such as 60s",
	  .set = option_duration,
	  AT(timeout_ns) },
	{ .name = "on-timeout",
	  .value = "WHAT",
	  .help = "then: cancel, or switch and exceed --max-downtime (cancel)",
	  .expect = "cancel or switch",
	  .set = option_on_timeout,
	  AT(on_timeout) },
	{ .name = "compress",
	  .value = "HOW",
	  .help = "auto, none or zlib[,level=1..9] (auto)",
	  .expect = "auto, none or zlib[,level=1..9]",
	  .set = option_compress,
	  AT(compress) },
	{ .name = "report",
	  .value = "FILE",
	  .help = "write the whole report to FILE, as JSON",
	  .expect = "a file",
	  AT(report) },
	OPTION_API,
	{ .name = "json", .help = "one JSON object a round, and the report as the last", AT(json) },
};

static const struct ctl_option dirtyrate_options[] = {
	{ .name = "for",
	  .value = "TIME",
	  .help = "how long to measure (1s)",
	  .expect = "a duration such as 1s",
	  .set = option_duration,
	  AT(for_ns) },
	{ .name = "interval",
	  .value = "TIME",
	  .help = "how often to read the dirty log; that of --for: once (100ms)",
	  .expect = "a duration such as 100ms",
	  .set = option_duration,
	  AT(interval_ns) },
	{ .name = "bandwidth",
	  .value = "RATE",
	  .help = "predict migrations over this (a table of common links)",
	  .expect = "a rate such as 500MB/s or 10Gbit/s",
	  .set = option_rate,
	  AT(bandwidth) },
	{ .name = "max-downtime",
	  .value = "TIME",
	  .help = "that predicted migrations have to keep (300ms)",
	  .expect = "a duration such as 300ms",
	  .set = option_duration,
	  AT(max_downtime_ns) },
	{ .name = "trace",
	  .value = "FILE",
	  .help = "write which pages were dirty in which interval to FILE",
	  .expect = "a file",
	  AT(trace) },
	OPTION_API,
	OPTION_JSON,
};

#define OPTIONS(table) .options = (table), .noptions = ARRAY_LEN(table)

static const struct ctl_command commands[] = {
	{ .name = "migrate",
	  .summary = "Moves a VM to another host while it runs.",
	  OPTIONS(migrate_options),
	  .takes_name = true,
	  .run = cmd_migrate,
	  .defaults = { .max_downtime_ns = 300 * NS_PER_MS,
			.on_timeout = "cancel",
			.compress = "auto" },
	  .notes = "Ctrl-C cancels the migration; the VM runs on here.\n"
		   "Exit status: 0 moved; 1 failed, the VM runs on here; 2 wrong usage;\n"
		   "3 outcome unknown; 130 cancelled." },
	{ .name = "dirtyrate",
	  .summary = "Measures how fast a running VM dirties its memory, without moving it.",
	  OPTIONS(dirtyrate_options),
	  .takes_name = true,
	  .run = cmd_dirtyrate,
	  .defaults = { .for_ns = NS_PER_S, .max_downtime_ns = 300 * NS_PER_MS },
	  .notes =
		  "Ctrl-C ends it; the figures are then those of the intervals so far, and no\n"
		  "trace is written. Exit status: 0 done; 1 failed; 2 wrong usage; 130 cancelled." },
	{ .name = "list",
	  .summary = "Lists the VMs of this user.",
	  OPTIONS(list_options),
	  .run = cmd_list },
	{ .name = "status",
	  .summary = "Says what a VM is and what it does.",
	  OPTIONS(status_options),
	  .takes_name = true,
	  .run = cmd_status },
	{ .name = "pause",
	  .summary = "Stops the vCPUs of a VM; `resume` continues them.",
	  OPTIONS(plain_options),
	  .takes_name = true,
	  .run = cmd_pause },
	{ .name = "resume",
	  .summary = "Continues a paused VM.",
	  OPTIONS(resume_options),
	  .takes_name = true,
	  .run = cmd_resume },
	{ .name = "stop",
	  .summary =
		  "Ends a VM: presses its power button, and stops it when it does not power off.",
	  OPTIONS(stop_options),
	  .takes_name = true,
	  .run = cmd_stop,
	  .defaults = { .timeout_ns = 30 * NS_PER_S },
	  .notes = "The built-in guest, which has no power button, and a VM that waits to be\n"
		   "received are stopped at once." },
	{ .name = "balloon",
	  .summary = "Asks a guest to give memory back, or says how much it has given.",
	  OPTIONS(balloon_options),
	  .takes_name = true,
	  .run = cmd_balloon },
	{ .name = "events",
	  .summary = "Prints what happens to a VM until it ends.",
	  OPTIONS(plain_options),
	  .takes_name = true,
	  .run = cmd_events },
};

static void print_commands(FILE *f, const char *program)
{
	fprintf(f, "usage: %s COMMAND [NAME] [OPTION]...\n\n", program);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(f, "\n%s COMMAND --help tells the options of each.\n", program);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
	const char *program = argc > 0 && *argv[0] ? base_name(argv[0]) : "vmm-ctl";
	struct ctl_args args;
	int status;

	if (argc < 2) {
		print_commands(stderr, program);
		return CTL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_commands(stdout, program);
		return CTL_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("%s %s\n", program, VMM_VERSION);
		return CTL_OK;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, argv[1]) != 0)
			continue;
		switch (options_parse(&commands[i], program, argc - 1, argv + 1, &args)) {
		case OPTIONS_HELP:
			return CTL_OK;
		case OPTIONS_BAD:
			return CTL_USAGE;
		case OPTIONS_RUN:
			break;
		}
		curl_global_init(CURL_GLOBAL_NOTHING);
		status = commands[i].run(&args);
		curl_global_cleanup();
		return status;
	}
	fprintf(stderr, "%s: no command \"%s\" (see %s --help)\n", program, argv[1], program);
	return CTL_USAGE;
}
