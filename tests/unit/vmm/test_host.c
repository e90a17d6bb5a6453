/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "vmm/accel.h"
#include "vmm/internal.h"

static void test_pin(void **state)
{
	static const char *const bad[] = { "",
					   ",",
					   "0,",
					   "-1",
					   "0-",
					   "3-1",
					   "a",
					   "0 1",
					   "0;1",
					   "+1",
					   "99999999999999999999",
					   "0--1" };
	int cpu[4];

	(void)state;
	assert_int_equal(pin_parse("7", cpu, 4, NULL), 1);
	assert_int_equal(cpu[0], 7);
	assert_int_equal(pin_parse("0-1,4", cpu, 4, NULL), 3);
	assert_int_equal(cpu[1], 1);
	assert_int_equal(cpu[2], 4);
	assert_int_equal(pin_parse("8-100,3", cpu, 4, NULL), 4);
	assert_int_equal(cpu[3], 11);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };

		if (pin_parse(bad[i], cpu, 4, &err) != -EINVAL || err.code != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

/* A tree like /sys/module; names and values in pairs: "kvm_intel/pml", "Y". */
static void make_tree(char *root, const char *const *params)
{
	char path[300];

	strcpy(root, "/tmp/test_host.XXXXXX");
	assert_non_null(mkdtemp(root));
	for (; params[0]; params += 2) {
		const char *slash = strchr(params[0], '/');
		int fd;

		snprintf(path, sizeof(path), "%s/%.*s", root, (int)(slash - params[0]), params[0]);
		mkdir(path, 0755);
		snprintf(path, sizeof(path), "%s/%.*s/parameters", root, (int)(slash - params[0]),
			 params[0]);
		mkdir(path, 0755);
		strncat(path, slash, 50);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, params[1], strlen(params[1])),
				 (ssize_t)strlen(params[1]));
		close(fd);
	}
}

static void remove_tree(const char *root)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -r %s", root);
	assert_int_equal(system(command), 0);
}

/* Where a VM asks KVM for its hardware, module parameters are not looked at. */
static bool kvm_is_asked(void)
{
	struct dirty_accel ignored;

	return arch_accel_ask(-1, DIRTY_MANUAL, (struct dirty_accel_ask){ DIRTY_ACCEL_OFF, 0 },
			      &ignored);
}

static void test_accelerators(void **state)
{
	static const struct {
		const char *params[9];
		const char *module;
		enum caps_state intel, amd, split;
		const char *text; /* in Intel's reason */
	} cases[] = {
		{ { "kvm_intel/pml", "Y\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "Y\n" },
		  "kvm_intel",
		  CAPS_PRESENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "pml=Y" },
		/* What it stands on contradicts it, or cannot be seen. */
		{ { "kvm_intel/pml", "Y\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "N\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "eptad=N" },
		{ { "kvm_intel/pml", "Y\n", "kvm_intel/ept", "Y\n" },
		  "kvm_intel",
		  CAPS_UNKNOWN,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "kvm_intel.eptad: No such file" },
		{ { "kvm_intel/pml", "N\n", "kvm_intel/ept", "N\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "ept=N" },
		{ { "kvm_intel/pml", "N\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "N\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "eptad=N" },
		{ { "kvm_intel/pml", "N\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "Y\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "switched off" },
		{ { "kvm_intel/ept", "Y\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "no parameter pml" },
		{ { "kvm_amd/pml", "1\n", "kvm_amd/npt", "1\n" },
		  "kvm_amd",
		  CAPS_ABSENT,
		  CAPS_PRESENT,
		  CAPS_ABSENT,
		  "in use: kvm_amd" },
		{ { "kvm_amd/pml", "1\n" },
		  "kvm_amd",
		  CAPS_ABSENT,
		  CAPS_UNKNOWN,
		  CAPS_ABSENT,
		  "in use: kvm_amd" },
		{ { "kvm_amd/npt", "Y\n" },
		  "kvm_amd",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "in use: kvm_amd" },
		{ { "kvm_pvm/force", "0\n", "kvm/eager_page_split", "Y\n", "kvm/tdp_mmu", "N\n" },
		  "kvm_pvm",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "in use: kvm_pvm" },
		{ { "kvm_new/x", "0\n", "kvm/eager_page_split", "Y\n", "kvm/tdp_mmu", "Y\n" },
		  "kvm_new",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_PRESENT,
		  "in use: kvm_new" },
		{ { "kvm/halt_poll_ns", "0\n" },
		  "kvm",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "in use: kvm)" },
		{ { "loop/x", "0\n" },
		  "unknown",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "not loaded" },
	};
	struct caps_item item[ACCELS];
	char root[64], module[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		make_tree(root, cases[i].params);
		accel_kvm_module(root, module, sizeof(module));
		assert_string_equal(module, cases[i].module);
		assert_int_equal(accel_probe(root, item, ACCELS - 1), 0);
		assert_int_equal(accel_probe(root, item, ACCELS), ACCELS);
		assert_int_equal(item[0].state, cases[i].intel);
		assert_int_equal(item[1].state, cases[i].amd);
		if (!strstr(item[0].reason, cases[i].text))
			fail_msg("case %zu: %s", i, item[0].reason);
		for (size_t k = 2; k < 5 && !kvm_is_asked(); k++)
			assert_int_equal(item[k].state, CAPS_ABSENT);
		assert_int_equal(item[5].state, cases[i].split);
		remove_tree(root);
	}
	accel_probe("/nowhere/sys/module", item, ACCELS);
	assert_int_equal(item[0].state, CAPS_UNKNOWN);
	assert_int_equal(item[1].state, CAPS_UNKNOWN);
	assert_int_equal(item[5].state, CAPS_UNKNOWN);
}

static void test_accelerator_in_force(void **state)
{
	static const char *const with_pml[] = {
		"kvm_intel/pml", "Y\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "Y\n", NULL
	};
	static const char *const without[] = {
		"kvm_intel/pml", "N\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "Y\n", NULL
	};
	static const char *const with_amd[] = { "kvm_amd/pml", "Y\n", "kvm_amd/npt", "Y\n", NULL };
	static const char *const other[] = { "kvm_pvm/force", "0\n", NULL };
	static const struct {
		const char *const *params; /* NULL: no /sys at all */
		enum dirty_kind kind;
		struct dirty_accel_ask asked;
		const char *name; /* NULL: refused */
		const char *text; /* in the reason, or in the error */
	} cases[] = {
		{ with_pml, DIRTY_MANUAL, { DIRTY_ACCEL_AUTO, 0 }, "intel-pml", "kvm_intel.pml=Y" },
		{ with_pml, DIRTY_RING, { DIRTY_ACCEL_ON, 0 }, "intel-pml", "kvm_intel.pml=Y" },
		{ with_pml,
		  DIRTY_BITMAP,
		  { DIRTY_ACCEL_OFF, 0 },
		  "intel-pml",
		  "the host's to switch off" },
		{ with_pml, DIRTY_UFFD, { DIRTY_ACCEL_AUTO, 0 }, "none", "host's page tables" },
		{ with_pml, DIRTY_UFFD, { DIRTY_ACCEL_ON, 0 }, NULL, "host's page tables" },
		{ without, DIRTY_MANUAL, { DIRTY_ACCEL_AUTO, 0 }, "none", "kvm_intel.pml=N" },
		{ without, DIRTY_MANUAL, { DIRTY_ACCEL_OFF, 0 }, "none", "kvm_intel.pml=N" },
		{ without, DIRTY_MANUAL, { DIRTY_ACCEL_ON, 0 }, NULL, "kvm_intel.pml=N" },
		{ with_amd, DIRTY_AUTO, { DIRTY_ACCEL_ON, 0 }, "amd-pml", "kvm_amd.pml=Y" },
		{ with_pml, DIRTY_MANUAL, { DIRTY_ACCEL_AUTO, 16 }, NULL, "has groups" },
		{ other, DIRTY_MANUAL, { DIRTY_ACCEL_AUTO, 0 }, "none", "driven by kvm_pvm" },
		{ other, DIRTY_AUTO, { DIRTY_ACCEL_ON, 0 }, NULL, "driven by kvm_pvm" },
		{ NULL, DIRTY_MANUAL, { DIRTY_ACCEL_AUTO, 0 }, "unknown", "cannot be read" },
		{ NULL, DIRTY_MANUAL, { DIRTY_ACCEL_OFF, 0 }, "unknown", "cannot be read" },
		{ NULL, DIRTY_MANUAL, { DIRTY_ACCEL_ON, 0 }, NULL, "cannot be read" },
	};

	(void)state;
	if (kvm_is_asked())
		skip();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct dirty_accel a = { .name = "untouched" };
		char root[64] = "/nowhere/sys/module";
		struct err err = { 0 };
		int r;

		if (cases[i].params)
			make_tree(root, cases[i].params);
		r = accel_choose(root, -1, cases[i].kind, cases[i].asked, &a, &err);
		if (r != (cases[i].name ? 0 : -EOPNOTSUPP) ||
		    strcmp(a.name, cases[i].name ? cases[i].name : "untouched") != 0 ||
		    !strstr(r ? err.msg : a.reason, cases[i].text))
			fail_msg("case %zu: %s: %s", i, a.name, r ? err.msg : a.reason);
		if (r == 0)
			assert_int_equal(a.asked, cases[i].asked.mode);
		if (cases[i].params)
			remove_tree(root);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_accelerators),
		cmocka_unit_test(test_accelerator_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
