/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "config_file.h"
#include "device_keys.h"
#include "options.h"

#define MAX_OPTIONS 64
#define FIRST_OPTION 1000 /* getopt_long's value of the table's first */

/* NULL: not a device's option. */
static const struct device_keys *keys_of(const struct vm_option *option)
{
	for (unsigned int k = 0; !option->help && k < MACHINE_DEVICE_KINDS; k++)
		if (!strcmp(machine_device_option((enum machine_device_kind)k), option->name))
			return device_keys((enum machine_device_kind)k);
	return NULL;
}

static void print_device_help(const struct vm_option *option, const struct device_keys *keys,
			      int who)
{
	if (who == FOR_RECEIVE)
		printf("  --%s %s\n  %-22s what the VM's device ID is called here (as at the source)\n",
		       option->name, keys->receive_arg, "");
	else if (keys->optional)
		printf("  --%s[=%s]\n  %-22s %s\n", option->name, keys->arg, "", keys->help);
	else
		printf("  --%s %s\n  %-22s %s\n", option->name, keys->arg, "", keys->help);
}

static void print_help(const char *command, int who)
{
	size_t n;
	const struct vm_option *options = option_table(&n);

	printf("usage: vmm %s [OPTION...]\n\n", command);
	for (size_t i = 0; i < n; i++) {
		const struct device_keys *keys = keys_of(&options[i]);
		char left[40];

		if (!(options[i].who & who))
			continue;
		if (keys) {
			print_device_help(&options[i], keys, who);
			continue;
		}
		snprintf(left, sizeof(left), "--%s %s", options[i].name,
			 options[i].arg ? options[i].arg : "");
		printf("  %-22s %s\n", left, options[i].help);
	}
	printf("  %-22s %s\n", "--help", "this text");
}

static int __attribute__((format(printf, 2, 3)))
usage_error(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "vmm %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	return EXIT_USAGE + 1;
}

/* The option that @err begins with was the file's to set: then its place and key tell more. */
static void blame_file(const struct vm_options *o, struct err *err)
{
	size_t n;
	const struct vm_option *options = option_table(&n);

	for (size_t i = 0; o->document && i < n; i++) {
		size_t len = strlen(options[i].name);

		if (!options[i].key || (o->given >> i & 1) || strncmp(err->msg, "--", 2) != 0 ||
		    strncmp(err->msg + 2, options[i].name, len) != 0 || err->msg[2 + len] != ':' ||
		    !config_file_has(o->document, options[i].key))
			continue;
		config_file_strip(err, options[i].name);
		config_file_place(o->file, o->text, options[i].key, err);
		return;
	}
}

static int check(struct vm_options *o, const char *command)
{
	struct err err = { 0 };
	unsigned int bad;
	int rc;

	if (o->receive && !o->listen)
		return usage_error(command, "%s", "--listen HOST:PORT is needed");
	rc = o->receive ? machine_devices_check_map(&o->devices, &err) :
			  machine_devices_settle(&o->devices, &bad, &err);
	if (!rc)
		rc = machine_config_check(&o->config, &err);
	if (!rc)
		return 0;
	blame_file(o, &err);
	return usage_error(command, "%s", err.msg);
}

static int dump(const struct vm_options *o, const char *command)
{
	json_t *root = config_dump(o);
	bool failed = !root || json_dumpf(root, stdout, JSON_INDENT(2)) || putchar('\n') == EOF ||
		      fflush(stdout);

	json_decref(root);
	if (!failed)
		return EXIT_OK + 1;
	fprintf(stderr, "vmm %s: --dump-config: cannot write\n", command);
	return EXIT_FAILED + 1;
}

static size_t fill_longopts(struct option *longopts, int who)
{
	size_t n, used = 0;
	const struct vm_option *options = option_table(&n);

	for (size_t i = 0; i < n && i < MAX_OPTIONS; i++) {
		const struct device_keys *keys = keys_of(&options[i]);
		int has_arg = options[i].arg || keys ? required_argument : no_argument;

		if (!(options[i].who & who))
			continue;
		if (keys && keys->optional)
			has_arg = optional_argument;
		longopts[used++] =
			(struct option){ options[i].name, has_arg, NULL, (int)(FIRST_OPTION + i) };
	}
	longopts[used++] = (struct option){ "help", no_argument, NULL, 'h' };
	return used;
}

/* A pass over the command line. The first, @file, looks for --config alone, so that the file comes before all options; the second leaves it out. */
static int take_options(struct vm_options *o, const struct option *longopts, bool file, int argc,
			char **argv)
{
	size_t n;
	const struct vm_option *options = option_table(&n);
	int c;

	optind = 0; /* glibc: from the start */
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longopts, NULL)) != -1) {
		const struct vm_option *option;
		struct err err = { 0 };

		if (c == 'h') {
			print_help(argv[0], o->receive ? FOR_RECEIVE : FOR_RUN);
			return EXIT_OK + 1;
		}
		if (c == ':')
			return usage_error(argv[0], "%s: a value is missing", argv[optind - 1]);
		if (c == '?')
			return usage_error(argv[0], "unknown option \"%s\"; --help lists them",
					   argv[optind - 1]);
		option = &options[c - FIRST_OPTION];
		if (strcmp(option->name, "config") == 0 ? !file : file)
			continue;
		if (option->set(o, optarg, &err))
			return usage_error(argv[0], "--%s: %s", option->name, err.msg);
		o->given |= 1ULL << (option - options);
	}
	if (optind < argc)
		return usage_error(argv[0], "unexpected argument \"%s\"", argv[optind]);
	return 0;
}

static int parse(struct vm_options *o, int argc, char **argv)
{
	struct option longopts[MAX_OPTIONS + 2] = { 0 };
	struct err err = { 0 };
	int rc;

	fill_longopts(longopts, o->receive ? FOR_RECEIVE : FOR_RUN);
	rc = take_options(o, longopts, true, argc, argv);
	if (rc)
		return rc;
	if (o->file && config_file_load(o->file, o, &err))
		return usage_error(argv[0], "%s", err.msg);
	rc = take_options(o, longopts, false, argc, argv);
	if (!rc)
		rc = check(o, argv[0]);
	return !rc && o->dump ? dump(o, argv[0]) : rc;
}

int vm_options_parse(struct vm_options *o, bool receive, int argc, char **argv)
{
	*o = (struct vm_options){ .config = { .ncpus = 1,
					      .ram_bytes = 256ULL << 20,
					      .backing = GMEM_THP,
					      .ring_entries = DIRTY_RING_DEFAULT_ENTRIES },
				  .receive = receive };
	o->config.devices = &o->devices;
	snprintf(o->config.name, sizeof(o->config.name), "vm-%d", getpid());
	return parse(o, argc, argv);
}

void vm_options_fini(struct vm_options *o)
{
	json_decref(o->document);
	o->document = NULL;
	free(o->text);
	o->text = NULL;
}
