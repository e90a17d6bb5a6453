/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stddef.h>

#include "cli.h"

/* The options of `run` and `receive`: one table for the command line and for configuration files. */
enum { FOR_RUN = 1, FOR_RECEIVE = 2, FOR_BOTH = 3 };

/* What stands for an option in a file. */
enum option_json {
	OPTION_TEXT,
	OPTION_NUMBER,
	OPTION_SIZE, /* a number, or text as in 512M */
	OPTION_FLAG,
};

struct vm_option {
	const char *name;
	const char *arg; /* NULL: a flag */
	int who;
	/* @value of a flag: NULL, or "on" or "off" from a file. -EINVAL with what was expected. */
	int (*set)(struct vm_options *o, const char *value, struct err *err);
	const char *help; /* NULL: a device, of which device_keys.h tells the rest */
	const char *key; /* in a file: "memory.size"; NULL: not there, or a device */
	enum option_json json;
};

const struct vm_option *option_table(size_t *ret_n);

#endif
