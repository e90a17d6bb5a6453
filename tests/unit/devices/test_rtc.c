/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>

#include "devices/device.h"

enum { DR = 0, MR = 4, LR = 8, CR = 0xc, IMSC = 0x10, RIS = 0x14, MIS = 0x18, ICR = 0x1c };

#define START_S 1700000000u

struct fixture {
	struct rtc *r;
	uint64_t now;
	uint64_t wake;
	bool level;
	unsigned int nset;
};

static void set_irq(void *opaque, unsigned int gsi, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(gsi, 2);
	f->level = level;
	f->nset++;
}

static uint64_t now_s(void *opaque)
{
	return ((struct fixture *)opaque)->now;
}

static void wake_at(void *opaque, uint64_t s)
{
	((struct fixture *)opaque)->wake = s;
}

static int setup(void **state)
{
	static struct fixture f;
	const struct irq_pin pin = { set_irq, &f, 2 };
	const struct rtc_sink sink = { now_s, wake_at, &f };

	f = (struct fixture){ .now = START_S };
	*state = &f;
	return rtc_create(&pin, &sink, &f.r, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rtc_destroy(f->r);
	rtc_destroy(NULL);
	return 0;
}

static uint32_t in(struct fixture *f, unsigned int reg)
{
	return (uint32_t)rtc_bus_ops.read(f->r, reg, 4);
}

static void out(struct fixture *f, unsigned int reg, uint32_t v)
{
	rtc_bus_ops.write(f->r, reg, 4, v);
}

static void tells_the_hosts_time(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in(f, DR), START_S);
	assert_int_equal(in(f, CR), 1);
	f->now += 5;
	assert_int_equal(in(f, DR), START_S + 5);
	out(f, DR, 1); /* read-only */
	out(f, CR, 0); /* runs for good */
	assert_int_equal(in(f, DR), START_S + 5);
	assert_int_equal(in(f, CR), 1);
	assert_false(f->level);
}

static void loads(void **state)
{
	struct fixture *f = *state;

	out(f, LR, 100);
	assert_int_equal(in(f, LR), 100);
	assert_int_equal(in(f, DR), 100);
	f->now += 7;
	assert_int_equal(in(f, DR), 107);
	assert_int_equal(in(f, LR), 100);
	out(f, LR, 0xffffffff);
	f->now += 2;
	assert_int_equal(in(f, DR), 1); /* wraps */
}

static void raises_at_the_match(void **state)
{
	struct fixture *f = *state;

	out(f, LR, 1000);
	out(f, MR, 1010);
	out(f, IMSC, 1);
	assert_int_equal(f->wake, START_S + 10);
	f->now += 9;
	rtc_tick(f->r);
	assert_int_equal(in(f, RIS), 0);
	assert_false(f->level);
	f->now++;
	rtc_tick(f->r);
	assert_true(f->level);
	assert_int_equal(f->nset, 1);
	assert_int_equal(in(f, RIS), 1);
	assert_int_equal(in(f, MIS), 1);
	rtc_tick(f->r); /* once too often */
	assert_int_equal(f->nset, 1);
	out(f, ICR, 0);
	assert_true(f->level);
	out(f, ICR, 1);
	assert_false(f->level);
	f->now += 100;
	rtc_tick(f->r); /* the match is behind it */
	assert_int_equal(in(f, RIS), 0);
}

static void masks(void **state)
{
	struct fixture *f = *state;

	out(f, MR, START_S);
	assert_int_equal(in(f, RIS), 1); /* equal now */
	assert_int_equal(in(f, MIS), 0);
	assert_false(f->level);
	out(f, IMSC, 0xfffffffe);
	assert_int_equal(in(f, IMSC), 0);
	out(f, IMSC, 0xffffffff);
	assert_int_equal(in(f, IMSC), 1);
	assert_true(f->level);
	out(f, IMSC, 0);
	assert_false(f->level);
	assert_int_equal(in(f, RIS), 1);
}

static void a_match_behind_waits_for_the_wrap(void **state)
{
	struct fixture *f = *state;

	out(f, MR, START_S - 1);
	assert_int_equal(in(f, RIS), 0);
	assert_int_equal(f->wake, START_S + 0xffffffffull);
	f->now = f->wake;
	rtc_tick(f->r);
	assert_int_equal(in(f, RIS), 1);
}

static void a_late_access_finds_the_match(void **state)
{
	struct fixture *f = *state;

	out(f, IMSC, 1);
	out(f, MR, START_S + 1);
	f->now += 3600; /* the host's clock was set: no tick yet */
	out(f, ICR, 1);
	assert_false(f->level);
	f->now++;
	out(f, MR, START_S + 3700);
	assert_int_equal(f->wake, START_S + 3700);
	f->now = f->wake + 1;
	assert_int_equal(in(f, DR), START_S + 3701);
	assert_true(f->level);
}

static void identifies_itself(void **state)
{
	static const uint8_t id[] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(in(f, 0xfe0 + 4 * i), id[i]);
	assert_int_equal(rtc_bus_ops.read(f->r, 0xfe0, 1), 0x31);
}

static void odd_accesses(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rtc_bus_ops.read(f->r, DR + 1, 1), 0);
	assert_int_equal(rtc_bus_ops.read(f->r, DR, 8), START_S);
	rtc_bus_ops.write(f->r, LR, 2, 7);
	rtc_bus_ops.write(f->r, LR + 2, 4, 7);
	assert_int_equal(in(f, LR), 0);
	rtc_bus_ops.write(f->r, LR, 8, 0x900000007);
	assert_int_equal(in(f, LR), 7);
	for (unsigned int reg = 0x20; reg < 0xfe0; reg += 4) {
		out(f, reg, 0xffffffff);
		assert_int_equal(in(f, reg), 0);
	}
	assert_int_equal(in(f, LR), 7);
}

static void state_moves(void **state)
{
	struct fixture *f = *state;
	const struct state_entry entry = { &rtc_state, 0, f->r };
	struct err err = { 0 };
	struct buf b = { 0 };

	out(f, LR, 1000);
	out(f, MR, 1010);
	out(f, IMSC, 1);
	assert_int_equal(state_save_all(&entry, 1, &b, NULL), 0);
	out(f, LR, 5);
	out(f, MR, 5);
	assert_true(f->level);
	f->now += 60; /* on the way */
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, NULL), 0);
	assert_int_equal(f->wake, START_S + 10);
	assert_false(f->level);
	rtc_tick(f->r);
	assert_true(f->level);
	assert_int_equal(in(f, DR), 1060);
	assert_int_equal(in(f, LR), 1000);
	assert_int_equal(in(f, MR), 1010);
	/* The match is the last field, and it must be one. */
	b.data[b.len_bytes - 8]++;
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, &err), -EBADMSG);
	assert_string_equal(err.msg, "state section rtc.0: match_s 1700000011");
	b.data[b.len_bytes - 8]--;
	b.data[b.len_bytes - 1] = 1;
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, &err), -EBADMSG);
	b.data[b.len_bytes - 1] = 0;
	b.data[b.len_bytes - 9] = 2;
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, &err), -EBADMSG);
	assert_string_equal(err.msg, "state section rtc.0: raised 2");
	b.data[b.len_bytes - 9] = 0;
	b.data[b.len_bytes - 10] = 2;
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, &err), -EBADMSG);
	assert_string_equal(err.msg, "state section rtc.0: enabled 2");
	assert_int_equal(in(f, DR), 1060);
	buf_fini(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tells_the_hosts_time),
		TEST(loads),
		TEST(raises_at_the_match),
		TEST(masks),
		TEST(a_match_behind_waits_for_the_wrap),
		TEST(a_late_access_finds_the_match),
		TEST(identifies_itself),
		TEST(odd_accesses),
		TEST(state_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
