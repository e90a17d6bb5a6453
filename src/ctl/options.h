/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What any command may be given; each command's table says which of it it takes. */
struct ctl_args {
	const char *program; /* "vmm" */
	const char *name; /* NULL: the only one */
	const char *api;
	bool json;
	bool counters;
	bool force;
	uint64_t timeout_ns;
	/* migrate */
	const char *to;
	uint64_t max_downtime_ns;
	uint64_t max_bandwidth;
	const char *on_timeout;
	const char *compress;
	int compress_level;
	const char *report;
	/* dirtyrate; max_downtime_ns too */
	uint64_t for_ns;
	uint64_t interval_ns; /* 0: not given */
	uint64_t bandwidth;
	const char *trace;
	/* balloon */
	bool resize;
	uint64_t size_bytes;
};

struct ctl_option {
	const char *name;
	const char *value; /* what --help calls the value; NULL: a flag */
	const char *help;
	const char *expect; /* "a duration such as 300ms" */
	int (*set)(struct ctl_args *args, size_t offset,
		   const char *value); /* 0 or negative; NULL: flag or plain text */
	size_t offset; /* in struct ctl_args */
};

struct ctl_command {
	const char *name;
	const char *summary;
	const struct ctl_option *options;
	size_t noptions;
	bool takes_name;
	int (*run)(const struct ctl_args *args); /* the exit status */
	struct ctl_args defaults;
	const char *notes; /* at the end of --help; may be NULL */
};

int option_duration(struct ctl_args *args, size_t offset, const char *value);
int option_rate(struct ctl_args *args, size_t offset, const char *value);
int option_size(struct ctl_args *args, size_t offset, const char *value);
int option_on_timeout(struct ctl_args *args, size_t offset, const char *value);
int option_compress(struct ctl_args *args, size_t offset, const char *value);

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_BAD };
/* argv[0] is the command's name. Says itself what is wrong, in one line on stderr, or prints the help. @ret_args holds the defaults and what was given. */
enum options_result options_parse(const struct ctl_command *c, const char *program, int argc,
				  char **argv, struct ctl_args *ret_args);

#endif
