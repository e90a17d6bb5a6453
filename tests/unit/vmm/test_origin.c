/* SPDX-License-Identifier: Apache-2.0 */
/* A VM of another architecture is refused by name, whatever else its CONFIG holds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "vmm/arch.h"
#include "vmm/vm.h"

static void section(struct buf *b, const char *name)
{
	buf_clear(b);
	buf_u8(b, (uint8_t)strlen(name));
	buf_put(b, name, strlen(name));
	buf_u32(b, 0);
	buf_u16(b, 1);
	buf_u32(b, 0);
	assert_true(buf_ok(b));
}

static void test_own(void **state)
{
	struct err err = { 0 };
	struct buf b = { 0 };
	char name[40];

	snprintf(name, sizeof(name), "%s.whatever", arch_platform.name);
	section(&b, name);
	assert_int_equal(vm_check_origin(b.data, b.len_bytes, &err), 0);
	buf_fini(&b);
}

static void test_other(void **state)
{
	static const char *const other[] = { "riscv64.cpu", "x8.cpuid", "x86-like.cpuid",
					     "arm64e.vm",   "arm6.vm",  "nothing" };
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		struct err err = { 0 };
		char both[100];

		section(&b, other[i]);
		assert_int_equal(vm_check_origin(b.data, b.len_bytes, &err), -EOPNOTSUPP);
		snprintf(both, sizeof(both), "architecture %.*s, this one is %s",
			 (int)strcspn(other[i], "."), other[i], arch_platform.name);
		assert_non_null(strstr(err.msg, both));
	}
	buf_fini(&b);
}

static void test_malformed(void **state)
{
	struct err err = { 0 };
	struct buf b = { 0 };

	assert_int_equal(vm_check_origin("", 0, &err), -EBADMSG);
	section(&b, "x86.cpuid");
	for (size_t cut = 1; cut < b.len_bytes; cut++)
		assert_int_equal(vm_check_origin(b.data, cut, &err), -EBADMSG);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_other),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests_name("vm-origin", tests, NULL, NULL);
}
