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

static void test_accelerators(void **state)
{
	static const struct {
		const char *params[9];
		const char *module;
		enum caps_state intel, amd;
		const char *text; /* in the reason of the CPU that is there, or of Intel */
	} cases[] = {
		{ { "kvm_intel/pml", "Y\n", "kvm_intel/ept", "Y\n" },
		  "kvm_intel",
		  CAPS_PRESENT,
		  CAPS_ABSENT,
		  "pml=Y" },
		{ { "kvm_intel/pml", "N\n", "kvm_intel/ept", "N\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "ept=N" },
		{ { "kvm_intel/pml", "N\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "N\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "eptad=N" },
		{ { "kvm_intel/pml", "N\n", "kvm_intel/ept", "Y\n", "kvm_intel/eptad", "Y\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "switched off" },
		{ { "kvm_intel/ept", "Y\n" },
		  "kvm_intel",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "no parameter" },
		{ { "kvm_pvm/force", "0\n" },
		  "kvm_pvm",
		  CAPS_ABSENT,
		  CAPS_ABSENT,
		  "in use: kvm_pvm" },
		{ { "kvm_new/x", "0\n" }, "kvm_new", CAPS_ABSENT, CAPS_ABSENT, "in use: kvm_new" },
		{ { "loop/x", "0\n" }, "unknown", CAPS_ABSENT, CAPS_ABSENT, "not loaded" },
	};
	struct caps_item item[4];
	char root[64], module[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		make_tree(root, cases[i].params);
		accel_kvm_module(root, module, sizeof(module));
		assert_string_equal(module, cases[i].module);
		assert_int_equal(accel_probe(root, item, ARRAY_LEN(item)), 4);
		assert_int_equal(item[0].state, cases[i].intel);
		assert_int_equal(item[1].state, cases[i].amd);
		if (!strstr(item[0].reason, cases[i].text))
			fail_msg("case %zu: %s", i, item[0].reason);
		assert_int_equal(item[2].state, CAPS_ABSENT);
		assert_int_equal(item[3].state, CAPS_ABSENT);
		remove_tree(root);
	}
}

static void test_amd(void **state)
{
	static const char *const without[] = { "kvm_amd/npt", "Y\n", NULL };
	static const char *const with[] = { "kvm_amd/pml", "1\n", NULL };
	struct caps_item item[4];
	char root[64];

	(void)state;
	make_tree(root, without);
	accel_probe(root, item, ARRAY_LEN(item));
	assert_int_equal(item[1].state, CAPS_ABSENT);
	assert_non_null(strstr(item[1].reason, "no parameter pml"));
	remove_tree(root);
	make_tree(root, with);
	accel_probe(root, item, ARRAY_LEN(item));
	assert_int_equal(item[1].state, CAPS_PRESENT);
	remove_tree(root);
	accel_probe("/nowhere/sys/module", item, ARRAY_LEN(item));
	assert_int_equal(item[0].state, CAPS_UNKNOWN);
	assert_int_equal(item[1].state, CAPS_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_accelerators),
		cmocka_unit_test(test_amd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
