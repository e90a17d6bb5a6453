/* SPDX-License-Identifier: Apache-2.0 */
#include "accel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"

static bool is_dir(const char *sysfs, const char *name)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", sysfs, name);
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* 1 for Y or a number above zero, 0 for N or 0, -errno when there is no such parameter or it cannot be read. */
static int bool_param(const char *sysfs, const char *module, const char *param)
{
	char path[256], value[16] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/parameters/%s", sysfs, module, param);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, value, sizeof(value) - 1);
	if (n < 0) {
		int e = errno;

		close(fd);
		return -e;
	}
	close(fd);
	return value[0] == 'Y' || value[0] == 'y' || (value[0] >= '1' && value[0] <= '9');
}

/* Any other kvm_NAME: a vendor's or research module. */
static void other_module(const char *sysfs, char *ret, unsigned int ret_bytes)
{
	DIR *dir = opendir(sysfs);
	struct dirent *e;

	snprintf(ret, ret_bytes, "unknown");
	if (!dir)
		return;
	while ((e = readdir(dir)) != NULL) {
		if (strncmp(e->d_name, "kvm_", 4) == 0) {
			snprintf(ret, ret_bytes, "%s", e->d_name);
			break;
		}
	}
	closedir(dir);
}

void accel_kvm_module(const char *sysfs, char *ret, unsigned int ret_bytes)
{
	static const char *const known[] = { "kvm_intel", "kvm_amd", "kvm_pvm" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (is_dir(sysfs, known[i])) {
			snprintf(ret, ret_bytes, "%s", known[i]);
			return;
		}
	}
	other_module(sysfs, ret, ret_bytes);
}

static void answer(struct caps_item *item, enum caps_state state, const char *reason)
{
	item->state = state;
	item->value = state == CAPS_PRESENT;
	snprintf(item->reason, sizeof(item->reason), "%s", reason);
}

static void param_failed(struct caps_item *item, const char *param, int error)
{
	char text[100];

	snprintf(text, sizeof(text), "%s: %s", param, strerrordesc_np(-error));
	answer(item, CAPS_UNKNOWN, text);
}

/* kvm_intel.pml reads N as soon as EPT, its A/D bits or PML itself are missing or switched off: say which. */
static void intel_pml(const char *sysfs, const char *in_use, struct caps_item *item)
{
	char text[100];
	int pml;

	item->name = "Intel PML";
	if (!is_dir(sysfs, "kvm_intel")) {
		snprintf(text, sizeof(text), "kvm_intel is not loaded (in use: %s)", in_use);
		answer(item, CAPS_ABSENT, text);
		return;
	}
	pml = bool_param(sysfs, "kvm_intel", "pml");
	if (pml == -ENOENT)
		answer(item, CAPS_ABSENT, "kvm_intel has no parameter pml (Linux before 4.0)");
	else if (pml < 0)
		param_failed(item, "kvm_intel.pml", pml);
	else if (pml)
		answer(item, CAPS_PRESENT,
		       "kvm_intel.pml=Y: the CPU logs dirty pages, 512 an exit");
	else if (bool_param(sysfs, "kvm_intel", "ept") == 0)
		answer(item, CAPS_ABSENT, "kvm_intel.ept=N: no EPT, so no PML");
	else if (bool_param(sysfs, "kvm_intel", "eptad") == 0)
		answer(item, CAPS_ABSENT, "kvm_intel.eptad=N: EPT without A/D bits, so no PML");
	else
		answer(item, CAPS_ABSENT, "kvm_intel.pml=N: not in the CPU, or switched off");
}

static void amd_pml(const char *sysfs, const char *in_use, struct caps_item *item)
{
	char text[100];
	int pml;

	item->name = "AMD PML";
	if (!is_dir(sysfs, "kvm_amd")) {
		snprintf(text, sizeof(text), "kvm_amd is not loaded (in use: %s)", in_use);
		answer(item, CAPS_ABSENT, text);
		return;
	}
	pml = bool_param(sysfs, "kvm_amd", "pml");
	if (pml == -ENOENT)
		answer(item, CAPS_ABSENT, "this kernel's kvm_amd has no parameter pml");
	else if (pml < 0)
		param_failed(item, "kvm_amd.pml", pml);
	else if (pml)
		answer(item, CAPS_PRESENT, "kvm_amd.pml=Y: the CPU logs dirty pages");
	else
		answer(item, CAPS_ABSENT, "kvm_amd.pml=N: not in the CPU, or switched off");
}

unsigned int accel_probe(const char *sysfs, struct caps_item *ret, unsigned int max)
{
	char in_use[48];

	if (max < 4)
		return 0;
	memset(ret, 0, 4 * sizeof(ret[0]));
	ret[2].name = "arm64 DBM";
	ret[3].name = "arm64 HDBSS";
	if (!is_dir(sysfs, "")) {
		ret[0].name = "Intel PML";
		ret[1].name = "AMD PML";
		answer(&ret[0], CAPS_UNKNOWN, "module parameters cannot be read");
		answer(&ret[1], CAPS_UNKNOWN, "module parameters cannot be read");
	} else {
		accel_kvm_module(sysfs, in_use, sizeof(in_use));
		intel_pml(sysfs, in_use, &ret[0]);
		amd_pml(sysfs, in_use, &ret[1]);
	}
	answer(&ret[2], CAPS_ABSENT, "arm64 only");
	answer(&ret[3], CAPS_ABSENT, "arm64 only");
	return 4;
}
