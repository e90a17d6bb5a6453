/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "cli.h"
#include "vmm/vm.h"

/* One table for run and receive: the option, who takes it, how it is parsed. */
enum { FOR_RUN = 1, FOR_RECEIVE = 2, FOR_BOTH = 3 };

struct vm_option {
	const char *name;
	const char *arg; /* NULL: a flag */
	int who;
	int (*set)(struct vm_options *o, const char *value, struct err *err);
	const char *help;
};

static int set_name(struct vm_options *o, const char *v, struct err *err)
{
	if (strlen(v) > MACHINE_NAME_MAX)
		return err_set(err, -EINVAL, "expected at most %d characters", MACHINE_NAME_MAX);
	snprintf(o->config.name, sizeof(o->config.name), "%s", v);
	return 0;
}

static int set_cpus(struct vm_options *o, const char *v, struct err *err)
{
	uint64_t n;

	if (num_parse_u64(v, &n) || n < 1 || n > VM_MAX_VCPUS)
		return err_set(err, -EINVAL, "expected 1 to %d, got \"%s\"", VM_MAX_VCPUS, v);
	o->config.ncpus = (unsigned int)n;
	return 0;
}

static int set_mem(struct vm_options *o, const char *v, struct err *err)
{
	return num_parse_size(v, &o->config.ram_bytes) ?
		       err_set(err, -EINVAL, "expected a size such as 512M or 2G, got \"%s\"", v) :
		       0;
}

static int set_kernel(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->config.kernel_path = v;
	return 0;
}

static int set_initrd(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->config.initrd_path = v;
	return 0;
}

static int set_cmdline(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->config.cmdline = v;
	return 0;
}

static int set_console(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->config.console = v;
	return 0;
}

static int set_dirty(struct vm_options *o, const char *v, struct err *err)
{
	return dirty_parse(v, &o->config.dirty, &o->config.ring_entries, err);
}

static int set_dirty_accel(struct vm_options *o, const char *v, struct err *err)
{
	return dirty_accel_parse(v, &o->config.dirty_accel, err);
}

static int set_api(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->api = v;
	return 0;
}

static int set_listen(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->listen = v;
	return 0;
}

static int set_record(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->config.record = v;
	return 0;
}

static int set_thp(struct vm_options *o, const char *v, struct err *err)
{
	(void)v;
	(void)err;
	o->config.backing = GMEM_THP;
	return 0;
}

static int set_no_thp(struct vm_options *o, const char *v, struct err *err)
{
	(void)v;
	(void)err;
	o->config.backing = GMEM_4K;
	return 0;
}

static int set_hugepages(struct vm_options *o, const char *v, struct err *err)
{
	uint64_t bytes;

	if (num_parse_size(v, &bytes) || (bytes != (2ULL << 20) && bytes != (1ULL << 30)))
		return err_set(err, -EINVAL, "expected 2M or 1G, got \"%s\"", v);
	o->config.backing = GMEM_HUGETLB;
	o->config.hugepage_bytes = bytes;
	return 0;
}

static int set_pin(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->config.pin = v;
	return 0;
}

static int set_paused(struct vm_options *o, const char *v, struct err *err)
{
	(void)v;
	(void)err;
	o->config.paused = true;
	return 0;
}

static const struct vm_option options[] = {
	{ "listen", "HOST:PORT", FOR_RECEIVE, set_listen,
	  "where to wait; port 0 picks a free one (needed)" },
	{ "name", "N", FOR_BOTH, set_name, "the VM's name here (vm-PID)" },
	{ "cpus", "N", FOR_RUN, set_cpus, "vCPUs (1)" },
	{ "mem", "SIZE", FOR_RUN, set_mem, "RAM (256M)" },
	{ "kernel", "FILE", FOR_RUN, set_kernel,
	  "PVH ELF, bzImage or vmlinux; arm64: Image, also gzip (the built-in guest)" },
	{ "initrd", "FILE", FOR_RUN, set_initrd, "initial RAM disk" },
	{ "cmdline", "STRING", FOR_RUN, set_cmdline, "kernel command line" },
	{ "console", "SPEC", FOR_BOTH, set_console,
	  "stdio, file:PATH, unix:PATH, pty or null (stdio)" },
	{ "dirty", "KIND", FOR_BOTH, set_dirty,
	  "auto, bitmap, manual, ring[,entries=N] or uffd (auto)" },
	{ "dirty-accel", "MODE", FOR_BOTH, set_dirty_accel,
	  "hardware that finds dirty pages: auto, on (or fail), each with ,group=N on arm64, or off (auto)" },
	{ "api", "PATH", FOR_BOTH, set_api,
	  "the control socket (NAME.sock in the runtime directory)" },
	{ "record", "FILE", FOR_RECEIVE, set_record,
	  "write the incoming stream to FILE too, for `vmm stream`" },
	{ "thp", NULL, FOR_RUN, set_thp, "back RAM with transparent huge pages (default)" },
	{ "no-thp", NULL, FOR_RUN, set_no_thp, "back RAM with 4 KiB pages" },
	{ "hugepages", "SIZE", FOR_RUN, set_hugepages, "back RAM with hugetlb pages of 2M or 1G" },
	{ "pin", "LIST", FOR_BOTH, set_pin, "host CPUs for the vCPUs, such as 0-3,6" },
	{ "paused", NULL, FOR_RUN, set_paused, "do not let the vCPUs run yet" },
};

static void print_help(const char *command, int who)
{
	printf("usage: vmm %s [OPTION...]\n\n", command);
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		char left[40];

		if (!(options[i].who & who))
			continue;
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

static int check(const struct vm_options *o, bool receive, const char *command)
{
	struct err err = { 0 };

	if (receive && !o->listen)
		return usage_error(command, "%s", "--listen HOST:PORT is needed");
	if (machine_config_check(&o->config, &err))
		return usage_error(command, "%s", err.msg);
	return 0;
}

int vm_options_parse(struct vm_options *o, bool receive, int argc, char **argv)
{
	struct option longopts[ARRAY_LEN(options) + 2] = { 0 };
	int who = receive ? FOR_RECEIVE : FOR_RUN;
	size_t n = 0;
	int c;

	*o = (struct vm_options){ .config = { .ncpus = 1,
					      .ram_bytes = 256ULL << 20,
					      .backing = GMEM_THP,
					      .ring_entries = DIRTY_RING_DEFAULT_ENTRIES } };
	snprintf(o->config.name, sizeof(o->config.name), "vm-%d", getpid());
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].who & who)
			longopts[n++] =
				(struct option){ options[i].name,
						 options[i].arg ? required_argument : no_argument,
						 NULL, (int)(1000 + i) };
	longopts[n] = (struct option){ "help", no_argument, NULL, 'h' };

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longopts, NULL)) != -1) {
		struct err err = { 0 };

		if (c == 'h') {
			print_help(argv[0], who);
			return EXIT_OK + 1;
		}
		if (c == ':')
			return usage_error(argv[0], "%s: a value is missing", argv[optind - 1]);
		if (c == '?')
			return usage_error(argv[0], "unknown option \"%s\"; --help lists them",
					   argv[optind - 1]);
		if (options[c - 1000].set(o, optarg, &err))
			return usage_error(argv[0], "--%s: %s", options[c - 1000].name, err.msg);
	}
	if (optind < argc)
		return usage_error(argv[0], "unexpected argument \"%s\"", argv[optind]);
	return check(o, receive, argv[0]);
}
