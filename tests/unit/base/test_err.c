/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void set_returns_code_and_text(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_set(&e, -EINVAL, "%s %d", "value", 7), -EINVAL);
	assert_int_equal(e.code, -EINVAL);
	assert_string_equal(e.msg, "value 7");
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
}

static void sys_appends_errno_text(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_sys(&e, -ENOENT, "/x"), -ENOENT);
	assert_string_equal(e.msg, "/x: No such file or directory");
	assert_int_equal(err_sys(NULL, -EIO, "x"), -EIO);
}

static void prefix_goes_in_front(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_prefix(&e, "ctx"), 0);
	assert_string_equal(e.msg, "");
	err_set(&e, -EPERM, "inner");
	assert_int_equal(err_prefix(&e, "outer %d", 1), -EPERM);
	assert_string_equal(e.msg, "outer 1: inner");
	assert_int_equal(err_prefix(NULL, "ctx"), 0);
}

static void own_message_as_argument(void **state)
{
	struct err e = { 0 };

	err_set(&e, -EIO, "abc");
	err_set(&e, -EIO, "[%s]", e.msg);
	assert_string_equal(e.msg, "[abc]");
}

static void long_text_is_cut(void **state)
{
	char text[600];
	struct err e = { 0 };

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&e, -EIO, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_prefix(&e, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_sys(&e, -EIO, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_int_equal(e.code, -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_returns_code_and_text),
		cmocka_unit_test(sys_appends_errno_text),
		cmocka_unit_test(prefix_goes_in_front),
		cmocka_unit_test(own_message_as_argument),
		cmocka_unit_test(long_text_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
