/* SPDX-License-Identifier: Apache-2.0 */
#include "accel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "vmm/arch.h"

#define NEEDS 3

/* A module parameter that must read Y. */
struct need {
	const char *param;
	const char *when_off; /* "MODULE.PARAM=N" comes before it */
};

/*
 * No parameter is believed alone: an accelerator is there when all that it stands on reads Y. The first is its own switch; where several read N the last one
 * tells why.
 */
struct accel {
	const char *label;
	const char *name; /* in reports; NULL: it helps, but finds no writes */
	const char *module; /* NULL: of another architecture */
	struct need need[NEEDS];
	const char *use;
};

/* Linux: arch/x86/kvm/vmx/vmx.c (pml, eptad, ept), Documentation/admin-guide/kernel-parameters.txt (kvm.eager_page_split, which names tdp_mmu). */
static const struct accel accels[] = {
	{ "Intel PML",
	  "intel-pml",
	  "kvm_intel",
	  { { "pml", "not in the CPU, or switched off" },
	    { "eptad", "EPT without A/D bits, so no PML" },
	    { "ept", "no EPT, so no PML" } },
	  "the CPU logs dirty pages, 512 an exit" },
	{ "AMD PML",
	  "amd-pml",
	  "kvm_amd",
	  { { "pml", "not in the CPU, or switched off" },
	    { "npt", "no nested paging, so no PML" } },
	  "the CPU logs dirty pages" },
	/* Asked of KVM, see probe_asked. */
	{ "arm64 combined log", "arm64-combined-log", NULL, { { 0 } }, NULL },
	{ "arm64 DBM", "arm64-dbm", NULL, { { 0 } }, NULL },
	{ "arm64 HDBSS", "arm64-hdbss", NULL, { { 0 } }, NULL },
	{ "eager page split",
	  NULL,
	  "kvm",
	  { { "eager_page_split", "the guest's first write to a huge page splits it" },
	    { "tdp_mmu", "KVM splits huge pages ahead only in its TDP MMU" } },
	  "huge pages are split when they are rearmed, not by the guest's writes" },
};
_Static_assert(ARRAY_LEN(accels) == ACCELS, "accel.h knows how many there are");

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

/* Any other kvm_NAME: a vendor's or research module; without one, KVM as a whole (arm64, where it is built into the kernel). */
static void other_module(const char *sysfs, char *ret, unsigned int ret_bytes)
{
	DIR *dir = opendir(sysfs);
	struct dirent *e;

	snprintf(ret, ret_bytes, is_dir(sysfs, "kvm") ? "kvm" : "unknown");
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

static void __attribute__((format(printf, 3, 4)))
answer(struct caps_item *item, enum caps_state state, const char *fmt, ...)
{
	va_list ap;

	item->state = state;
	item->value = state == CAPS_PRESENT;
	va_start(ap, fmt);
	vsnprintf(item->reason, sizeof(item->reason), fmt, ap);
	va_end(ap);
}

static void probe_params(const struct accel *a, const char *sysfs, struct caps_item *item)
{
	int value[NEEDS] = { 0 };
	unsigned int n;

	for (n = 0; n < NEEDS && a->need[n].param; n++)
		value[n] = bool_param(sysfs, a->module, a->need[n].param);
	for (unsigned int i = n; i-- > 0;) {
		if (value[i] == 0) {
			answer(item, CAPS_ABSENT, "%s.%s=N: %s", a->module, a->need[i].param,
			       a->need[i].when_off);
			return;
		}
	}
	for (unsigned int i = 0; i < n; i++) {
		if (value[i] > 0)
			continue;
		if (i == 0 && value[i] == -ENOENT)
			answer(item, CAPS_ABSENT, "this kernel's %s has no parameter %s", a->module,
			       a->need[i].param);
		else
			answer(item, CAPS_UNKNOWN, "%s.%s: %s", a->module, a->need[i].param,
			       strerrordesc_np(-value[i]));
		return;
	}
	answer(item, CAPS_PRESENT, "%s.%s=Y: %s", a->module, a->need[0].param, a->use);
}

/*
 * What KVM uses only for a VM that asked. The processor's dirty state at stage 2 (DBM) is in nothing that a program can read, so that a refusal tells of the
 * kernel or of the processor, and the latter stays unknown.
 */
static void probe_asked(const struct accel *a, struct caps_item *item)
{
	struct dirty_accel_ask ask = { DIRTY_ACCEL_ON, 0 };
	struct dirty_accel found;

	if (strcmp(a->name, "arm64-dbm") == 0)
		ask.group_pages = DIRTY_GROUP_ALL;
	if (!arch_accel_ask(-1, DIRTY_MANUAL, ask, &found))
		answer(item, CAPS_ABSENT, "arm64 only");
	else if (strcmp(found.name, a->name) == 0)
		answer(item, CAPS_PRESENT, "%.118s", found.reason);
	else if (strcmp(a->name, "arm64-combined-log") == 0)
		answer(item, CAPS_ABSENT, "%.118s", found.reason);
	else if (strcmp(a->name, "arm64-dbm") == 0)
		answer(item, CAPS_UNKNOWN,
		       "no interface tells of it at stage 2 but KVM_CAP_ARM_HW_DIRTY_LOG, which is refused");
	else
		answer(item, CAPS_UNKNOWN,
		       "no interface tells: kernels with it use it by themselves");
}

static void probe(const struct accel *a, const char *sysfs, const char *in_use,
		  struct caps_item *item)
{
	item->name = a->label;
	if (!a->module)
		probe_asked(a, item);
	else if (!is_dir(sysfs, ""))
		answer(item, CAPS_UNKNOWN, "module parameters cannot be read");
	else if (!is_dir(sysfs, a->module))
		answer(item, CAPS_ABSENT, "%s is not loaded (in use: %s)", a->module, in_use);
	else
		probe_params(a, sysfs, item);
}

unsigned int accel_probe(const char *sysfs, struct caps_item *ret, unsigned int max)
{
	char in_use[48];

	if (max < ACCELS)
		return 0;
	memset(ret, 0, ACCELS * sizeof(ret[0]));
	accel_kvm_module(sysfs, in_use, sizeof(in_use));
	for (unsigned int i = 0; i < ACCELS; i++)
		probe(&accels[i], sysfs, in_use, &ret[i]);
	return ACCELS;
}

/* What works beneath KVM's dirty logs on this host, and why, or why nothing does. */
static void find(const char *sysfs, struct dirty_accel *ret)
{
	struct caps_item item[ACCELS];
	char in_use[48];

	accel_probe(sysfs, item, ACCELS);
	accel_kvm_module(sysfs, in_use, sizeof(in_use));
	ret->name = "none";
	snprintf(ret->reason, sizeof(ret->reason),
		 "KVM is driven by %s: no dirty-tracking hardware is known for it", in_use);
	for (unsigned int i = 0; i < ACCELS; i++) {
		if (!accels[i].name || !accels[i].module)
			continue;
		if (item[i].state == CAPS_ABSENT && strcmp(accels[i].module, in_use) != 0)
			continue;
		if (item[i].state != CAPS_ABSENT)
			ret->name = item[i].state == CAPS_PRESENT ? accels[i].name : "unknown";
		snprintf(ret->reason, sizeof(ret->reason), "%s", item[i].reason);
		return;
	}
}

static bool is_found(const struct dirty_accel *a)
{
	return strcmp(a->name, "none") != 0 && strcmp(a->name, "unknown") != 0;
}

int accel_choose(const char *sysfs, int vm_fd, enum dirty_kind kind, struct dirty_accel_ask asked,
		 struct dirty_accel *ret, struct err *err)
{
	struct dirty_accel a = { .asked = asked.mode };

	if (kind == DIRTY_UFFD) {
		a.name = "none";
		snprintf(a.reason, sizeof(a.reason),
			 "uffd finds writes in the host's page tables, which no hardware logs");
	} else if (!arch_accel_ask(vm_fd, kind, asked, &a)) {
		if (asked.group_pages != 0)
			return err_set(
				err, -EOPNOTSUPP,
				"dirty-accel group=N: no hardware of this architecture has groups");
		find(sysfs, &a);
	}
	if (asked.mode == DIRTY_ACCEL_ON && !is_found(&a))
		return err_set(err, -EOPNOTSUPP, "dirty-accel on: %s: %s",
			       strcmp(a.name, "none") == 0 ? "this host has none" :
							     "not known to be there",
			       a.reason);
	if (asked.mode == DIRTY_ACCEL_OFF && is_found(&a)) {
		char text[sizeof(a.reason)];

		memcpy(text, a.reason, sizeof(text));
		snprintf(a.reason, sizeof(a.reason),
			 "off, but it is the host's to switch off: %.110s", text);
	}
	*ret = a;
	return 0;
}
