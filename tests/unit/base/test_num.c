/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>

#include "base/num.h"

struct parse_case {
	const char *text;
	int rc;
	uint64_t value;
};

static void run_cases(int (*parse)(const char *, uint64_t *), const struct parse_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 0xdead;
		int rc = parse(c[i].text, &v);

		if (rc != c[i].rc || v != (rc ? 0xdead : c[i].value))
			fail_msg("\"%s\": %d, %llu", c[i].text, rc, (unsigned long long)v);
	}
}

static void u64(void **state)
{
	static const struct parse_case cases[] = {
		{ "0", 0, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "0x10", 0, 16 },
		{ "0XffFF", 0, 65535 },
		{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "0x10000000000000000", -ERANGE, 0 },
		{ "0x", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "12a", -EINVAL, 0 },
		{ "a", -EINVAL, 0 },
	};

	run_cases(num_parse_u64, cases, ARRAY_LEN(cases));
}

static void size(void **state)
{
	static const struct parse_case cases[] = {
		{ "4096", 0, 4096 },
		{ "1K", 0, 1024 },
		{ "512M", 0, 512ULL << 20 },
		{ "512MiB", 0, 512ULL << 20 },
		{ "2GB", 0, 2ULL << 30 },
		{ "2G", 0, 2ULL << 30 },
		{ "16T", 0, 16ULL << 40 },
		{ "7B", 0, 7 },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "16777216T", -ERANGE, 0 },
		{ "1m", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "1Gi", -EINVAL, 0 },
		{ "G", -EINVAL, 0 },
		{ "0x10M", -EINVAL, 0 },
		{ "1GG", -EINVAL, 0 },
	};

	run_cases(num_parse_size, cases, ARRAY_LEN(cases));
}

static void duration(void **state)
{
	static const struct parse_case cases[] = {
		{ "0", 0, 0 },
		{ "0ms", 0, 0 },
		{ "5ns", 0, 5 },
		{ "5us", 0, 5000 },
		{ "300ms", 0, 300000000 },
		{ "2s", 0, 2000000000 },
		{ "3m", 0, 180000000000 },
		{ "300", -EINVAL, 0 },
		{ "00", -EINVAL, 0 },
		{ "ms", -EINVAL, 0 },
		{ "1h", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "18446744073709551s", -ERANGE, 0 },
	};

	run_cases(num_parse_duration, cases, ARRAY_LEN(cases));
}

static void rate(void **state)
{
	static const struct parse_case cases[] = {
		{ "125", 0, 125 },
		{ "125B/s", 0, 125 },
		{ "125M", 0, 125000000 },
		{ "125MB/s", 0, 125000000 },
		{ "1GB/s", 0, 1000000000 },
		{ "2KB/s", 0, 2000 },
		{ "2KiB/s", 0, 2048 },
		{ "1MiB/s", 0, 1 << 20 },
		{ "1GiB/s", 0, 1 << 30 },
		{ "8Kbit/s", 0, 1000 },
		{ "1000Mbit/s", 0, 125000000 },
		{ "10Gbit/s", 0, 1250000000 },
		{ "1MB", -EINVAL, 0 },
		{ "1Mb/s", -EINVAL, 0 },
		{ "/s", -EINVAL, 0 },
		{ "18446744073709551615K", -ERANGE, 0 },
	};

	run_cases(num_parse_rate, cases, ARRAY_LEN(cases));
}

static void align(void **state)
{
	uint64_t v = 0;

	assert_int_equal(align_down(4097, 4096), 4096);
	assert_true(align_up(4097, 4096, &v));
	assert_int_equal(v, 8192);
	assert_true(align_up(4096, 4096, &v));
	assert_int_equal(v, 4096);
	assert_false(align_up(UINT64_MAX - 5, 4096, &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(u64),  cmocka_unit_test(size),  cmocka_unit_test(duration),
		cmocka_unit_test(rate), cmocka_unit_test(align),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
