/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "device_keys.h"
#include "vmm/vm.h"

static int set_name(struct vm_options *o, const char *v, struct err *err)
{
	if (strlen(v) > MACHINE_NAME_MAX)
		return err_set(err, -EINVAL, "expected at most %d characters", MACHINE_NAME_MAX);
	snprintf(o->config.name, sizeof(o->config.name), "%s", v);
	o->named = true;
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

/* A flag has no value on the command line, "on" or "off" in a file. */
static bool is_on(const char *v)
{
	return !v || !strcmp(v, "on");
}

static int set_thp(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->config.backing = is_on(v) ? GMEM_THP : GMEM_4K;
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
	(void)err;
	o->config.paused = is_on(v);
	return 0;
}

static int set_config(struct vm_options *o, const char *v, struct err *err)
{
	(void)err;
	o->file = v; /* read before the first option is looked at */
	return 0;
}

static int set_mapped_only(struct vm_options *o, const char *v, struct err *err)
{
	(void)v;
	(void)err;
	o->config.mapped_only = true;
	return 0;
}

static int set_dump(struct vm_options *o, const char *v, struct err *err)
{
	(void)v;
	(void)err;
	o->dump = true;
	return 0;
}

static int set_transport(struct vm_options *o, const char *v, struct err *err)
{
	if (strcmp(v, "pci") != 0 && strcmp(v, "mmio") != 0)
		return err_set(err, -EINVAL, "expected pci or mmio, got \"%s\"", v);
	o->devices.mmio = !strcmp(v, "mmio");
	return 0;
}

/* The file's device that @dev takes the place of, once: the one with its id, or the only one of its kind. */
static struct machine_device *find_replaced(struct vm_options *o, const struct machine_device *dev)
{
	bool list = device_keys(dev->kind)->list;

	for (unsigned int i = 0; i < o->nfile; i++) {
		struct machine_device *old = &o->devices.dev[i];

		if (old->kind != dev->kind || (o->replaced >> i & 1) ||
		    (list && strcmp(old->id, dev->id) != 0))
			continue;
		o->replaced |= 1ULL << i;
		return old;
	}
	return NULL;
}
_Static_assert(MACHINE_MAX_DEVICES <= 64, "a bit for each");

static int add_device(struct vm_options *o, enum machine_device_kind kind, const char *v,
		      struct err *err)
{
	struct machine_device dev, *at;
	int rc = device_parse(kind, v ? v : "", o->receive, &dev, err);

	if (rc)
		return rc;
	at = find_replaced(o, &dev);
	if (!at && o->devices.n == MACHINE_MAX_DEVICES)
		return err_set(err, -EINVAL, "a VM has at most %u devices", MACHINE_MAX_DEVICES);
	if (!at)
		at = &o->devices.dev[o->devices.n++];
	*at = dev;
	return 0;
}

#define DEVICE(fn, kind)                                                    \
	static int fn(struct vm_options *o, const char *v, struct err *err) \
	{                                                                   \
		return add_device(o, (kind), v, err);                       \
	}
DEVICE(set_disk, MACHINE_BLK)
DEVICE(set_net, MACHINE_NET)
DEVICE(set_virtio_console, MACHINE_CONSOLE)
DEVICE(set_vsock, MACHINE_VSOCK)
DEVICE(set_balloon, MACHINE_BALLOON)
DEVICE(set_rng, MACHINE_RNG)

#define OPTION(name_, arg_, who_, set_, help_) \
	.name = (name_), .arg = (arg_), .who = (who_), .set = (set_), .help = (help_)
#define JSON(key_, json_) .key = (key_), .json = (json_)
static const struct vm_option options[] = {
	{ OPTION("listen", "HOST:PORT", FOR_RECEIVE, set_listen,
		 "where to wait; port 0 picks a free one (needed)") },
	{ OPTION("config", "FILE", FOR_RUN, set_config,
		 "everything below from a JSON file; what stands beside it wins") },
	{ OPTION("dump-config", NULL, FOR_RUN, set_dump,
		 "print the configuration as such a file and end") },
	{ OPTION("name", "N", FOR_BOTH, set_name, "the VM's name here (vm-PID)"),
	  JSON("name", OPTION_TEXT) },
	{ OPTION("cpus", "N", FOR_RUN, set_cpus, "vCPUs (1)"),
	  JSON("cpus.boot_vcpus", OPTION_NUMBER) },
	{ OPTION("mem", "SIZE", FOR_RUN, set_mem, "RAM (256M)"), JSON("memory.size", OPTION_SIZE) },
	{ OPTION("kernel", "FILE", FOR_RUN, set_kernel,
		 "PVH ELF, bzImage or vmlinux; arm64: Image, also gzip (the built-in guest)"),
	  JSON("payload.kernel", OPTION_TEXT) },
	{ OPTION("initrd", "FILE", FOR_RUN, set_initrd, "initial RAM disk"),
	  JSON("payload.initramfs", OPTION_TEXT) },
	{ OPTION("cmdline", "STRING", FOR_RUN, set_cmdline, "kernel command line"),
	  JSON("payload.cmdline", OPTION_TEXT) },
	{ OPTION("console", "SPEC", FOR_BOTH, set_console,
		 "serial port: stdio, file:PATH, unix:PATH, pty or null (stdio)"),
	  JSON("serial.backend", OPTION_TEXT) },
	{ OPTION("disk", NULL, FOR_BOTH, set_disk, NULL) },
	{ OPTION("net", NULL, FOR_BOTH, set_net, NULL) },
	{ OPTION("virtio-console", NULL, FOR_BOTH, set_virtio_console, NULL) },
	{ OPTION("vsock", NULL, FOR_BOTH, set_vsock, NULL) },
	{ OPTION("balloon", NULL, FOR_RUN, set_balloon, NULL) },
	{ OPTION("rng", NULL, FOR_RUN, set_rng, NULL) },
	{ OPTION("mapped-only", NULL, FOR_RECEIVE, set_mapped_only,
		 "no disk, interface or socket of this host but those named here") },
	{ OPTION("transport", "pci|mmio", FOR_RUN, set_transport,
		 "how the guest finds its devices (pci)"),
	  JSON("transport", OPTION_TEXT) },
	{ OPTION("dirty", "KIND", FOR_BOTH, set_dirty,
		 "auto, bitmap, manual, ring[,entries=N] or uffd (auto)"),
	  JSON("dirty", OPTION_TEXT) },
	{ OPTION("dirty-accel", "MODE", FOR_BOTH, set_dirty_accel,
		 "hardware that finds dirty pages: auto, on (or fail), each with ,group=N on arm64, or off (auto)"),
	  JSON("dirty_accel", OPTION_TEXT) },
	{ OPTION("api", "PATH", FOR_BOTH, set_api,
		 "the control socket (NAME.sock in the runtime directory)") },
	{ OPTION("record", "FILE", FOR_RECEIVE, set_record,
		 "write the incoming stream to FILE too, for `vmm stream`") },
	{ OPTION("thp", NULL, FOR_RUN, set_thp, "back RAM with transparent huge pages (default)"),
	  JSON("memory.thp", OPTION_FLAG) },
	{ OPTION("no-thp", NULL, FOR_RUN, set_no_thp, "back RAM with 4 KiB pages") },
	{ OPTION("hugepages", "SIZE", FOR_RUN, set_hugepages,
		 "back RAM with hugetlb pages of 2M or 1G"),
	  JSON("memory.hugepage_size", OPTION_SIZE) },
	{ OPTION("pin", "LIST", FOR_BOTH, set_pin, "host CPUs for the vCPUs, such as 0-3,6"),
	  JSON("cpus.pin", OPTION_TEXT) },
	{ OPTION("paused", NULL, FOR_RUN, set_paused, "do not let the vCPUs run yet"),
	  JSON("paused", OPTION_FLAG) },
};
_Static_assert(ARRAY_LEN(options) <= 64, "a bit for each in vm_options");

const struct vm_option *option_table(size_t *ret_n)
{
	*ret_n = ARRAY_LEN(options);
	return options;
}
