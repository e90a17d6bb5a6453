/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"

struct suffix {
	const char *text;
	uint64_t factor;
};

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* Digits in @base from @s on; *ret_end is the first other character. No sign, no blanks: strtoull takes both. */
static int parse_digits(const char *s, unsigned int base, uint64_t *ret, const char **ret_end)
{
	uint64_t v = 0;
	const char *p;

	for (p = s; digit_of(*p) < (int)base; p++) {
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit_of(*p), &v))
			return -ERANGE;
	}
	if (p == s)
		return -EINVAL;
	*ret = v;
	*ret_end = p;
	return 0;
}

static int parse_scaled(const char *s, const struct suffix *suffixes, size_t n, uint64_t *ret)
{
	const char *end;
	uint64_t v;
	int rc;

	rc = parse_digits(s, 10, &v, &end);
	if (rc)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(end, suffixes[i].text))
			continue;
		if (__builtin_mul_overflow(v, suffixes[i].factor, &v))
			return -ERANGE;
		*ret = v;
		return 0;
	}
	return -EINVAL;
}

int num_parse_u64(const char *s, uint64_t *ret)
{
	const char *end;
	uint64_t v;
	int rc;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		rc = parse_digits(s + 2, 16, &v, &end);
	else
		rc = parse_digits(s, 10, &v, &end);
	if (rc)
		return rc;
	if (*end)
		return -EINVAL;
	*ret = v;
	return 0;
}

int num_parse_size(const char *s, uint64_t *ret_bytes)
{
	static const struct suffix suffixes[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "K", 1ULL << 10 },
		{ "KB", 1ULL << 10 },
		{ "KiB", 1ULL << 10 },
		{ "M", 1ULL << 20 },
		{ "MB", 1ULL << 20 },
		{ "MiB", 1ULL << 20 },
		{ "G", 1ULL << 30 },
		{ "GB", 1ULL << 30 },
		{ "GiB", 1ULL << 30 },
		{ "T", 1ULL << 40 },
		{ "TB", 1ULL << 40 },
		{ "TiB", 1ULL << 40 },
	};

	return parse_scaled(s, suffixes, ARRAY_LEN(suffixes), ret_bytes);
}

int num_parse_duration(const char *s, uint64_t *ret_ns)
{
	static const struct suffix suffixes[] = {
		{ "ns", 1 },       { "us", NS_PER_US },    { "ms", NS_PER_MS },
		{ "s", NS_PER_S }, { "m", 60 * NS_PER_S },
	};

	if (!strcmp(s, "0")) {
		*ret_ns = 0;
		return 0;
	}
	return parse_scaled(s, suffixes, ARRAY_LEN(suffixes), ret_ns);
}

int num_parse_rate(const char *s, uint64_t *ret_bytes_per_s)
{
	static const struct suffix suffixes[] = {
		{ "", 1 },
		{ "B/s", 1 },
		{ "K", 1000 },
		{ "KB/s", 1000 },
		{ "M", 1000000 },
		{ "MB/s", 1000000 },
		{ "G", 1000000000 },
		{ "GB/s", 1000000000 },
		{ "KiB/s", 1ULL << 10 },
		{ "MiB/s", 1ULL << 20 },
		{ "GiB/s", 1ULL << 30 },
		{ "Kbit/s", 1000 / 8 },
		{ "Mbit/s", 1000000 / 8 },
		{ "Gbit/s", 1000000000 / 8 },
	};

	return parse_scaled(s, suffixes, ARRAY_LEN(suffixes), ret_bytes_per_s);
}
