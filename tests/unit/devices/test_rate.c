/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/clock.h"
#include "devices/backend/rate.h"

#define START_NS (5 * NS_PER_S)

/* How many requests of @bytes go through until one does not. */
static unsigned int burst(struct rate *r, uint64_t bytes, uint64_t now_ns, uint64_t *ret_wait_ns)
{
	unsigned int n = 0;

	while (n < 1000000 && rate_take(r, bytes, now_ns, ret_wait_ns))
		n++;
	return n;
}

static void without_limits_all_goes_through(void **state)
{
	const struct rate_limit none = { 0 };
	struct rate r;
	uint64_t wait_ns = 77;

	rate_init(&r, &none, START_NS);
	assert_int_equal(burst(&r, UINT64_MAX, START_NS, &wait_ns), 1000000);
	assert_int_equal(wait_ns, 77);
}

static void limits_operations(void **state)
{
	const struct rate_limit limit = { .ops_per_s = 100 };
	struct rate r;
	uint64_t wait_ns = 0;

	rate_init(&r, &limit, START_NS);
	/* A second's worth at once, then one each 10 ms. */
	assert_int_equal(burst(&r, 1u << 30, START_NS, &wait_ns), 100);
	assert_in_range(wait_ns, 10 * NS_PER_MS, 10 * NS_PER_MS + 2);
	assert_int_equal(burst(&r, 0, START_NS + 5 * NS_PER_MS, &wait_ns), 0);
	assert_in_range(wait_ns, 5 * NS_PER_MS, 5 * NS_PER_MS + 2);
	assert_int_equal(burst(&r, 0, START_NS + 11 * NS_PER_MS, &wait_ns), 1);
	/* Not more than a second's worth is saved up. */
	assert_int_equal(burst(&r, 0, START_NS + 100 * NS_PER_S, &wait_ns), 100);
}

static void limits_bytes(void **state)
{
	const struct rate_limit limit = { .bytes_per_s = 1000000 };
	struct rate r;
	uint64_t wait_ns = 0;

	rate_init(&r, &limit, START_NS);
	assert_int_equal(burst(&r, 250000, START_NS, &wait_ns), 4);
	assert_int_equal(burst(&r, 0, START_NS, &wait_ns),
			 0); /* nothing costs nothing but waits, too */
	/* One larger than the bucket goes through and leaves a debt. */
	assert_true(rate_take(&r, 3000000, START_NS + NS_PER_S, &wait_ns));
	assert_false(rate_take(&r, 1, START_NS + NS_PER_S, &wait_ns));
	assert_in_range(wait_ns, 2 * NS_PER_S, 2 * NS_PER_S + NS_PER_MS);
	assert_false(rate_take(&r, 1, START_NS + 3 * NS_PER_S, &wait_ns));
	assert_true(rate_take(&r, 1, START_NS + 3 * NS_PER_S + wait_ns, &wait_ns));
}

static void takes_from_both_or_from_none(void **state)
{
	const struct rate_limit limit = { .ops_per_s = 10, .bytes_per_s = 1000 };
	struct rate r;
	uint64_t wait_ns = 0;

	rate_init(&r, &limit, START_NS);
	assert_true(rate_take(&r, 1500, START_NS, &wait_ns));
	for (int i = 0; i < 50; i++)
		assert_false(rate_take(&r, 1, START_NS, &wait_ns));
	/* The refused ones took no operations: of the nine that were left none is missing when the bytes are back. */
	assert_int_equal(burst(&r, 0, START_NS + 501 * NS_PER_MS, &wait_ns), 10);
}

/* Who asks again when told to gets through, however odd the numbers. */
static void the_wait_is_enough(void **state)
{
	static const struct rate_limit limits[] = {
		{ 3, 0 },     { 0, 7 }, { 1, 1 }, { 999983, 0 }, { UINT64_MAX, UINT64_MAX },
		{ 17, 4096 },
	};

	for (unsigned int i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		uint64_t now_ns = START_NS, wait_ns;
		struct rate r;

		rate_init(&r, &limits[i], now_ns);
		for (int n = 0; n < 1000; n++) {
			unsigned int asked = 0;

			while (!rate_take(&r, 13, now_ns, &wait_ns)) {
				now_ns += wait_ns;
				assert_true(++asked <= 2);
			}
		}
	}
}

static void the_clock_may_go_back(void **state)
{
	const struct rate_limit limit = { .ops_per_s = 1, .bytes_per_s = 1 };
	struct rate r;
	uint64_t wait_ns = 0;

	rate_init(&r, &limit, START_NS);
	assert_true(rate_take(&r, 1, START_NS, &wait_ns));
	assert_false(rate_take(&r, 1, START_NS - NS_PER_S, &wait_ns));
	assert_in_range(wait_ns, NS_PER_S, NS_PER_S + 2);
	/* A debt beyond all time. */
	assert_true(rate_take(&r, UINT64_MAX, START_NS + 2 * NS_PER_S, &wait_ns));
	assert_false(rate_take(&r, 1, START_NS + 3 * NS_PER_S, &wait_ns));
	assert_true(wait_ns > 3600 * NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_limits_all_goes_through),
		cmocka_unit_test(limits_operations),
		cmocka_unit_test(limits_bytes),
		cmocka_unit_test(takes_from_both_or_from_none),
		cmocka_unit_test(the_wait_is_enough),
		cmocka_unit_test(the_clock_may_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
