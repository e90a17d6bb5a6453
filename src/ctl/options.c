/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

#define MAX_OPTIONS 16

static void *field(struct ctl_args *args, size_t offset)
{
	return (char *)args + offset;
}

int option_duration(struct ctl_args *args, size_t offset, const char *value)
{
	return num_parse_duration(value, field(args, offset));
}

int option_rate(struct ctl_args *args, size_t offset, const char *value)
{
	return num_parse_rate(value, field(args, offset));
}

/* Zero is a size too: that one was given is told apart. */
int option_size(struct ctl_args *args, size_t offset, const char *value)
{
	args->resize = true;
	return num_parse_size(value, field(args, offset));
}

int option_on_timeout(struct ctl_args *args, size_t offset, const char *value)
{
	if (strcmp(value, "cancel") != 0 && strcmp(value, "switch") != 0)
		return -EINVAL;
	args->on_timeout = value;
	return 0;
}

int option_compress(struct ctl_args *args, size_t offset, const char *value)
{
	static const char with_level[] = "zlib,level=";

	if (!strcmp(value, "auto") || !strcmp(value, "none") || !strcmp(value, "zlib")) {
		args->compress = value;
		return 0;
	}
	if (strncmp(value, with_level, strlen(with_level)) != 0)
		return -EINVAL;
	value += strlen(with_level);
	if (value[0] < '1' || value[0] > '9' || value[1])
		return -EINVAL;
	args->compress = "zlib";
	args->compress_level = value[0] - '0';
	return 0;
}

static void print_help(const struct ctl_command *c, const char *program)
{
	printf("usage: %s %s%s%s\n\n%s\n\n", program, c->name, c->takes_name ? " [NAME]" : "",
	       " [OPTION]...", c->summary);
	for (size_t i = 0; i < c->noptions; i++) {
		const struct ctl_option *o = &c->options[i];
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
			 o->value ? o->value : "");
		printf("  %-26s %s\n", left, o->help);
	}
	printf("  %-26s %s\n", "--help", "this text");
	if (c->notes)
		printf("\n%s\n", c->notes);
}

static int apply(const struct ctl_command *c, const char *program, const struct ctl_option *o,
		 const char *value, struct ctl_args *args)
{
	if (!o->value) {
		*(bool *)field(args, o->offset) = true;
		return 0;
	}
	if (!o->set) {
		*(const char **)field(args, o->offset) = value;
		if (*value)
			return 0;
	} else if (o->set(args, o->offset, value) == 0) {
		return 0;
	}
	fprintf(stderr, "%s %s: --%s: expected %s, got \"%s\"\n", program, c->name, o->name,
		o->expect, value);
	return -EINVAL;
}

static enum options_result bad(const struct ctl_command *c, const char *program, const char *what,
			       const char *which)
{
	fprintf(stderr, "%s %s: %s %s (see %s %s --help)\n", program, c->name, what, which, program,
		c->name);
	return OPTIONS_BAD;
}

static void long_options(const struct ctl_command *c, struct option *ret)
{
	size_t n = MIN(c->noptions, (size_t)MAX_OPTIONS);

	for (size_t i = 0; i < n; i++)
		ret[i] = (struct option){ .name = c->options[i].name,
					  .has_arg = c->options[i].value ? required_argument :
									   no_argument,
					  .val = (int)i + 256 };
	ret[n] = (struct option){ .name = "help", .val = 'h' };
	ret[n + 1] = (struct option){ 0 };
}

enum options_result options_parse(const struct ctl_command *c, const char *program, int argc,
				  char **argv, struct ctl_args *ret_args)
{
	struct option longs[MAX_OPTIONS + 2];
	struct ctl_args args = c->defaults;
	int opt;

	long_options(c, longs);
	args.program = program;
	opterr = 0;
	optind = 0; /* glibc: start afresh */
	while ((opt = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (opt == 'h') {
			print_help(c, program);
			return OPTIONS_HELP;
		}
		if (opt == ':')
			return bad(c, program, "a value is missing behind", argv[optind - 1]);
		if (opt < 256)
			return bad(c, program, "unknown option", argv[optind - 1]);
		if (apply(c, program, &c->options[opt - 256], optarg, &args))
			return OPTIONS_BAD;
	}
	if (optind < argc && c->takes_name)
		args.name = argv[optind++];
	if (optind < argc)
		return bad(c, program, "unexpected argument", argv[optind]);
	*ret_args = args;
	return OPTIONS_RUN;
}
