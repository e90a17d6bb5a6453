/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "devices/device.h"
#include "machine/devices.h"
#include "machine/machine.h"
#include "vmm/vm.h"

#define RAM_MIN_BYTES (2ULL << 20)
#define RAM_ALIGN_BYTES (2ULL << 20)

bool machine_name_is_valid(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strnlen(name, MACHINE_NAME_MAX + 1);

	return len && len <= MACHINE_NAME_MAX && strspn(name, allowed) == len && name[0] != '.' &&
	       name[0] != '-';
}

bool machine_text_is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static int check_name(const char *name, struct err *err)
{
	if (!machine_name_is_valid(name))
		return err_set(
			err, -EINVAL,
			"--name: expected 1 to %d letters, digits, '.', '_' or '-', not starting with '.' or '-'",
			MACHINE_NAME_MAX);
	return 0;
}

static int check_ram(const struct machine_config *c, struct err *err)
{
	uint64_t align = c->backing == GMEM_HUGETLB ? c->hugepage_bytes : RAM_ALIGN_BYTES;

	/* A receiver's configuration comes from its peer. */
	if (align != (2ULL << 20) && align != (1ULL << 30))
		return err_set(err, -EINVAL, "--hugepages: expected 2M or 1G, got %llu bytes",
			       (unsigned long long)align);
	if (c->ram_bytes < RAM_MIN_BYTES || c->ram_bytes > GMEM_MAX_BYTES)
		return err_set(err, -EINVAL, "--mem: expected 2M to 16T, got %llu bytes",
			       (unsigned long long)c->ram_bytes);
	if (c->ram_bytes % align)
		return err_set(err, -EINVAL,
			       "--mem: expected a multiple of %llu MiB, got %llu bytes",
			       (unsigned long long)(align >> 20), (unsigned long long)c->ram_bytes);
	return 0;
}

/* Two ends cannot both read the terminal. */
static int check_stdio(const struct machine_config *c, struct err *err)
{
	unsigned int n = !c->console || !strcmp(c->console, "stdio");

	for (unsigned int i = 0; i < c->devices->n; i++) {
		const struct machine_device *dev = &c->devices->dev[i];

		if (dev->kind != MACHINE_CONSOLE || strcmp(dev->local, "stdio") != 0)
			continue;
		if (n++)
			return err_set(
				err, -EINVAL,
				"--virtio-console: %s: another console has stdio already; give that one a --console of its own, such as null",
				dev->id);
	}
	return 0;
}

int machine_config_check(const struct machine_config *config, struct err *err)
{
	int rc = check_name(config->name, err);

	if (!rc && (config->ncpus < 1 || config->ncpus > VM_MAX_VCPUS))
		rc = err_set(err, -EINVAL, "--cpus: expected 1 to %d, got %u", VM_MAX_VCPUS,
			     config->ncpus);
	if (!rc)
		rc = check_ram(config, err);
	if (!rc && config->cmdline && strlen(config->cmdline) > MACHINE_CMDLINE_MAX)
		rc = err_set(err, -EINVAL, "--cmdline: expected at most %d characters, got %zu",
			     MACHINE_CMDLINE_MAX, strlen(config->cmdline));
	if (!rc && config->initrd_path && !config->kernel_path)
		rc = err_set(err, -EINVAL,
			     "--initrd: the built-in guest takes none; give --kernel too");
	if (!rc && config->console)
		rc = tty_check_spec(config->console, err);
	if (!rc && config->devices)
		rc = check_stdio(config, err);
	return rc;
}
