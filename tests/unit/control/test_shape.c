/* SPDX-License-Identifier: Apache-2.0 */
#include "shape.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "test.h"

struct thing {
	uint32_t u32;
	uint64_t u64, ns;
	int level, colour;
	bool flag;
	double rate;
	char chars[8];
	const char *string;
};

static const char *const colours[] = { "red", "green", NULL };

#define F(member, field_kind) \
	.name = #member, .kind = field_kind, .offset = offsetof(struct thing, member)
static const struct shape_field out_fields[] = {
	{ F(u32, SHAPE_U32) },
	{ F(u64, SHAPE_U64) },
	{ F(ns, SHAPE_MS) },
	{ F(level, SHAPE_INT) },
	{ F(colour, SHAPE_CHOICE), .choices = colours },
	{ F(flag, SHAPE_BOOL) },
	{ F(rate, SHAPE_REAL) },
	{ F(chars, SHAPE_CHARS), .size = 8 },
	{ F(string, SHAPE_STRING) },
};
static const struct shape_field in_fields[] = {
	{ F(u32, SHAPE_U32), .max = 100 },
	{ F(u64, SHAPE_U64), .min = 1 },
	{ F(level, SHAPE_INT), .min = 1, .max = 9 },
	{ F(colour, SHAPE_CHOICE), .choices = colours },
	{ F(flag, SHAPE_BOOL), .required = true },
	{ F(chars, SHAPE_CHARS), .size = 8 },
};

static void encodes_to(const struct thing *t, const char *want)
{
	json_t *o = shape_encode(out_fields, ARRAY_LEN(out_fields), t);
	char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));

	assert_string_equal(text, want);
	free(text);
	json_decref(o);
}

static void test_encode(void **state)
{
	struct thing t = { 7, 8, 1500000, 3, 1, true, 2.5, "ab", "cd" };

	encodes_to(&t,
		   "{\"u32\":7,\"u64\":8,\"ns\":1.5,\"level\":3,\"colour\":\"green\",\"flag\":true,"
		   "\"rate\":2.5,\"chars\":\"ab\",\"string\":\"cd\"}");
	/* What JSON cannot say still makes a valid object. */
	t = (struct thing){ UINT32_MAX,
			    UINT64_MAX,
			    0,
			    -3,
			    0,
			    false,
			    NAN,
			    "\xff"
			    "a",
			    NULL };
	encodes_to(
		&t,
		"{\"u32\":4294967295,\"u64\":9223372036854775807,\"ns\":0.0,\"level\":-3,"
		"\"colour\":\"red\",\"flag\":false,\"rate\":0.0,\"chars\":\"?a\",\"string\":\"\"}");
}

static int decode(const char *text, struct thing *t, struct err *err)
{
	json_t *o = json_loads(text, JSON_DECODE_ANY, NULL);
	int rc;

	assert_non_null(o);
	rc = shape_decode(in_fields, ARRAY_LEN(in_fields), o, t, err);
	json_decref(o);
	return rc;
}

static void test_decode(void **state)
{
	struct thing t = { .u32 = 55, .level = 5 };
	struct err err = { 0 };

	assert_int_equal(
		decode("{\"flag\":true,\"u64\":9007199254740993,\"colour\":\"green\",\"chars\":\"1234567\"}",
		       &t, &err),
		0);
	assert_true(t.flag);
	assert_true(t.u64 == 9007199254740993);
	assert_int_equal(t.colour, 1);
	assert_string_equal(t.chars, "1234567");
	/* What the object does not name stays. */
	assert_int_equal(t.u32, 55);
	assert_int_equal(t.level, 5);
}

static void test_refuse(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "[]", "the body is not a JSON object" },
		{ "{}", "flag: missing" },
		{ "{\"flag\":1}", "flag: expected true or false" },
		{ "{\"flag\":true,\"x\":1}", "x: unknown key" },
		{ "{\"flag\":true,\"u32\":101}", "u32: 101 is not within 0 and 100" },
		{ "{\"flag\":true,\"u64\":0}", "u64: 0 is not within 1 and 9223372036854775807" },
		{ "{\"flag\":true,\"u64\":-1}", "u64: -1 is not within 1 and 9223372036854775807" },
		{ "{\"flag\":true,\"u64\":1.0}", "u64: expected a whole number" },
		{ "{\"flag\":true,\"level\":10}", "level: 10 is not within 1 and 9" },
		{ "{\"flag\":true,\"colour\":\"blue\"}", "colour: expected \"red\" or \"green\"" },
		{ "{\"flag\":true,\"colour\":1}", "colour: expected \"red\" or \"green\"" },
		{ "{\"flag\":true,\"chars\":\"12345678\"}", "chars: longer than 7 bytes" },
		{ "{\"flag\":true,\"chars\":null}", "chars: expected a string" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct thing t = { 0 };
		struct err err = { 0 };

		assert_int_equal(decode(cases[i].text, &t, &err), -EINVAL);
		assert_string_equal(err.msg, cases[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_refuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
