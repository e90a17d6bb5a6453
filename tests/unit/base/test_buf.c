/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"

static void written_is_read(void **state)
{
	static const uint8_t expected[] = { 0x01, 0x03, 0x02, 7,  6, 5, 4,   15, 14,
					    13,   12,   11,   10, 9, 8, 'a', 'b' };
	struct buf b = { 0 };
	struct reader r;

	buf_u8(&b, 0x01);
	buf_u16(&b, 0x0203);
	buf_u32(&b, 0x04050607);
	buf_u64(&b, 0x08090a0b0c0d0e0f);
	buf_put(&b, "ab", 2);
	assert_true(buf_ok(&b));
	assert_int_equal(b.len_bytes, sizeof(expected));
	assert_memory_equal(b.data, expected, sizeof(expected));

	r = reader_over(b.data, b.len_bytes);
	assert_int_equal(reader_u8(&r), 0x01);
	assert_int_equal(reader_u16(&r), 0x0203);
	assert_int_equal(reader_u32(&r), 0x04050607);
	assert_true(reader_u64(&r) == 0x08090a0b0c0d0e0f);
	assert_memory_equal(reader_bytes(&r, 2), "ab", 2);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
	buf_fini(&b);
	assert_null(b.data);
}

static void read_past_the_end_sticks(void **state)
{
	static const uint8_t data[3] = { 1, 2, 3 };
	struct reader r = reader_over(data, sizeof(data));

	assert_int_equal(reader_u32(&r), 0);
	assert_true(r.failed);
	assert_int_equal(reader_u8(&r), 0);
	assert_null(reader_bytes(&r, 0));
	r = reader_over(data, sizeof(data));
	assert_null(reader_bytes(&r, SIZE_MAX));
	assert_true(r.failed);
	r = reader_over(data, 0);
	assert_non_null(reader_bytes(&r, 0));
	assert_int_equal(reader_u64(&r), 0);
	assert_true(r.failed);
}

static void grows_and_keeps_contents(void **state)
{
	struct buf b = { 0 };

	for (uint32_t i = 0; i < 100000; i++)
		buf_u32(&b, i);
	assert_true(buf_ok(&b));
	assert_int_equal(b.len_bytes, 400000);
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(le32_get(b.data + 4 * i), i);
	buf_clear(&b);
	assert_int_equal(b.len_bytes, 0);
	assert_true(b.cap_bytes >= 400000);
	buf_fini(&b);
	buf_fini(NULL);
}

static void failure_sticks_and_keeps_what_was_there(void **state)
{
	struct buf b = { 0 };

	buf_put(&b, "x", 1);
	assert_null(buf_grow(&b, SIZE_MAX));
	assert_false(buf_ok(&b));
	buf_put(&b, "y", 1);
	assert_int_equal(b.len_bytes, 1);
	buf_clear(&b);
	assert_true(buf_ok(&b));
	assert_null(buf_grow(&b, SIZE_MAX / 2));
	assert_false(buf_ok(&b));
	buf_fini(&b);
}

static void empty_write_is_no_failure(void **state)
{
	struct buf b = { 0 };

	buf_put(&b, NULL, 0);
	assert_non_null(buf_grow(&b, 0));
	assert_true(buf_ok(&b));
	assert_int_equal(b.len_bytes, 0);
	buf_fini(&b);
}

static void prints_text_without_its_zero_byte(void **state)
{
	struct buf b = { 0 };
	char line[1000];

	memset(line, 'x', sizeof(line));
	buf_printf(&b, "%s", "");
	assert_int_equal(b.len_bytes, 0);
	buf_printf(&b, "%d+%s\n", 7, "y");
	buf_printf(&b, "%.*s", (int)sizeof(line), line); /* longer than what was reserved */
	assert_true(buf_ok(&b));
	assert_int_equal(b.len_bytes, 4 + sizeof(line));
	assert_memory_equal(b.data, "7+y\nxxx", 7);
	assert_null(buf_grow(&b, SIZE_MAX));
	buf_printf(&b, "z");
	assert_int_equal(b.len_bytes, 4 + sizeof(line));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_is_read),
		cmocka_unit_test(read_past_the_end_sticks),
		cmocka_unit_test(grows_and_keeps_contents),
		cmocka_unit_test(failure_sticks_and_keeps_what_was_there),
		cmocka_unit_test(empty_write_is_no_failure),
		cmocka_unit_test(prints_text_without_its_zero_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
