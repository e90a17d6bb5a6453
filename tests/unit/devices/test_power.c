/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>

#include "devices/device.h"

enum { SLEEP_CONTROL, RESET, SLEEP_STATUS, BUTTON };

struct fixture {
	struct power *p;
	bool level;
	unsigned int nset;
	unsigned int offs, resets;
};

static void set_irq(void *opaque, unsigned int gsi, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(gsi, 9);
	f->level = level;
	f->nset++;
}

static void on_event(void *opaque, enum power_event event)
{
	struct fixture *f = opaque;

	f->offs += event == POWER_OFF;
	f->resets += event == POWER_RESET;
}

static int setup(void **state)
{
	static struct fixture f;
	const struct irq_pin pin = { set_irq, &f, 9 };
	const struct power_sink sink = { on_event, &f };

	f = (struct fixture){ 0 };
	*state = &f;
	return power_create(&pin, &sink, &f.p, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	power_destroy(f->p);
	power_destroy(NULL);
	return 0;
}

static void out(struct fixture *f, unsigned int reg, uint8_t v)
{
	power_bus_ops.write(f->p, reg, 1, v);
}

static uint8_t in(struct fixture *f, unsigned int reg)
{
	return (uint8_t)power_bus_ops.read(f->p, reg, 1);
}

static void only_s5_with_enable_powers_off(void **state)
{
	struct fixture *f = *state;

	for (unsigned int v = 0; v < 256; v++)
		out(f, SLEEP_CONTROL, (uint8_t)v);
	/* SLP_EN and SLP_TYP 5; bits 0, 1, 6 and 7 do not matter. */
	assert_int_equal(f->offs, 16);
	assert_int_equal(f->resets, 0);
	power_bus_ops.write(f->p, SLEEP_CONTROL, 4, 0x34);
	assert_int_equal(f->offs, 16);
	assert_int_equal(in(f, SLEEP_CONTROL), 0);
	assert_int_equal(in(f, SLEEP_STATUS), 0);
}

static void only_its_value_resets(void **state)
{
	struct fixture *f = *state;

	for (unsigned int v = 0; v < 256; v++)
		out(f, RESET, (uint8_t)v);
	assert_int_equal(f->resets, 1);
	out(f, SLEEP_STATUS, 1);
	out(f, BUTTON, 1);
	assert_int_equal(f->resets, 1);
	assert_int_equal(f->offs, 0);
}

static void keyboard_controller_resets(void **state)
{
	struct fixture *f = *state;

	for (unsigned int v = 0; v < 256; v++)
		power_kbc_bus_ops.write(f->p, 0, 1, v);
	assert_int_equal(f->resets, 1);
	assert_int_equal(power_kbc_bus_ops.read(f->p, 0, 1), 0);
}

static void button_latches_until_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in(f, BUTTON), 0);
	assert_int_equal(f->nset, 0);
	power_button(f->p);
	power_button(f->p);
	assert_true(f->level);
	assert_int_equal(f->nset, 1);
	assert_int_equal(power_bus_ops.read(f->p, SLEEP_CONTROL, 4), 0); /* takes nothing along */
	assert_true(f->level);
	assert_int_equal(in(f, BUTTON), 1);
	assert_false(f->level);
	assert_int_equal(in(f, BUTTON), 0);
	power_button(f->p);
	assert_true(f->level);
}

static void state_moves(void **state)
{
	struct fixture *f = *state;
	const struct state_entry entry = { &power_state, 0, f->p };
	struct err err = { 0 };
	struct buf b = { 0 };

	power_button(f->p);
	assert_int_equal(state_save_all(&entry, 1, &b, NULL), 0);
	assert_int_equal(in(f, BUTTON), 1);
	assert_false(f->level);
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, NULL), 0);
	assert_true(f->level);
	assert_int_equal(in(f, BUTTON), 1);
	b.data[b.len_bytes - 1] = 2;
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, &err), -EBADMSG);
	assert_string_equal(err.msg, "state section power.0: button 2");
	assert_int_equal(in(f, BUTTON), 0);
	buf_fini(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_s5_with_enable_powers_off),
		TEST(only_its_value_resets),
		TEST(keyboard_controller_resets),
		TEST(button_latches_until_read),
		TEST(state_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
