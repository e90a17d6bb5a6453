/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "machine/machine.h"

/* A receiver's configuration is its peer's: every number in it is hostile. */

static const struct machine_config good = {
	.name = "vm",
	.ncpus = 1,
	.ram_bytes = 64ULL << 20,
	.backing = GMEM_THP,
};

static void refused(const struct machine_config *c, const char *option)
{
	struct err err = { 0 };

	assert_int_equal(machine_config_check(c, &err), -EINVAL);
	if (!strstr(err.msg, option))
		fail_msg("\"%s\" does not name %s", err.msg, option);
}

static void test_good(void **state)
{
	struct machine_config c = good;

	(void)state;
	assert_int_equal(machine_config_check(&c, NULL), 0);
	c.backing = GMEM_HUGETLB;
	c.hugepage_bytes = 2ULL << 20;
	assert_int_equal(machine_config_check(&c, NULL), 0);
}

static void test_sizes(void **state)
{
	static const uint64_t ram[] = {
		0, 1, 4096, (64ULL << 20) + 1, (64ULL << 20) + 4096, 1ULL << 60, UINT64_MAX
	};
	static const uint64_t hugepage[] = { 0, 1, 4096, 3ULL << 20, 1ULL << 63, UINT64_MAX };
	struct machine_config c;

	(void)state;
	for (unsigned int i = 0; i < sizeof(ram) / sizeof(ram[0]); i++) {
		c = good;
		c.ram_bytes = ram[i];
		refused(&c, "--mem");
	}
	for (unsigned int i = 0; i < sizeof(hugepage) / sizeof(hugepage[0]); i++) {
		c = good;
		c.backing = GMEM_HUGETLB;
		c.hugepage_bytes = hugepage[i];
		refused(&c, "--hugepages");
	}
}

static void test_cpus_and_names(void **state)
{
	static const char *const names[] = { "", ".x", "-x", "a/b", "a b", "a\n" };
	struct machine_config c = good;

	(void)state;
	c.ncpus = 0;
	refused(&c, "--cpus");
	c.ncpus = UINT32_MAX;
	refused(&c, "--cpus");
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		c = good;
		strcpy(c.name, names[i]);
		refused(&c, "--name");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_cpus_and_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
