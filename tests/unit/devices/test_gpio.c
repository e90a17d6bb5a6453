/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>

#include "devices/device.h"

enum {
	DIR = 0x400,
	IS = 0x404,
	IBE = 0x408,
	IEV = 0x40c,
	IE = 0x410,
	RIS = 0x414,
	MIS = 0x418,
	IC = 0x41c,
	AFSEL = 0x420,
};
/* The data register as seen by some of the lines alone. */
#define DATA(lines) ((lines) << 2)
#define ALL 0xffu
#define BUTTON (1u << PL061_BUTTON)

struct fixture {
	struct pl061 *g;
	bool level;
	unsigned int nset;
};

static void set_irq(void *opaque, unsigned int gsi, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(gsi, 3);
	f->level = level;
	f->nset++;
}

static int setup(void **state)
{
	static struct fixture f;
	const struct irq_pin pin = { set_irq, &f, 3 };

	f = (struct fixture){ 0 };
	*state = &f;
	return pl061_create(&pin, &f.g, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pl061_destroy(f->g);
	pl061_destroy(NULL);
	return 0;
}

static uint8_t in(struct fixture *f, unsigned int reg)
{
	return (uint8_t)pl061_bus_ops.read(f->g, reg, 1);
}

static void out(struct fixture *f, unsigned int reg, uint8_t v)
{
	pl061_bus_ops.write(f->g, reg, 1, v);
}

static void starts_as_inputs(void **state)
{
	static const unsigned int regs[] = { DATA(ALL), DIR, IS, IBE, IEV, IE, RIS, MIS, AFSEL };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(in(f, regs[i]), 0);
	assert_int_equal(f->nset, 0);
}

static void identifies_itself(void **state)
{
	static const uint8_t id[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(in(f, 0xfe0 + 4 * i), id[i]);
	assert_int_equal(pl061_bus_ops.read(f->g, 0xfe0, 4), 0x61);
}

static void the_address_masks_data(void **state)
{
	struct fixture *f = *state;

	out(f, DIR, 0xf0);
	out(f, DATA(ALL), 0xa5);
	assert_int_equal(in(f, DATA(ALL)), 0xa0); /* what is written to an input does not show */
	out(f, DATA(0x30), ALL);
	assert_int_equal(in(f, DATA(ALL)), 0xb0);
	assert_int_equal(in(f, DATA(0x90)), 0x90);
	assert_int_equal(in(f, DATA(0)), 0);
	out(f, DIR, ALL);
	assert_int_equal(in(f, DATA(ALL)), 0xb5); /* it was kept */
}

static void registers_hold_what_is_written(void **state)
{
	static const unsigned int regs[] = { DIR, IS, IBE, IEV, AFSEL };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		out(f, regs[i], (uint8_t)(0x11 * (i + 1)));
	for (unsigned int i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(in(f, regs[i]), 0x11 * (i + 1));
	out(f, RIS, ALL); /* read-only */
	out(f, MIS, ALL);
	out(f, 0xfe0, ALL);
	assert_int_equal(in(f, 0xfe0), 0x61);
	for (unsigned int reg = 0x424; reg < 0xfe0; reg += 4) {
		out(f, reg, ALL);
		assert_int_equal(in(f, reg), 0);
	}
}

/* As Linux' gpio_keys uses it: both edges, acknowledged before the line is read. */
static void a_press_is_two_edges(void **state)
{
	struct fixture *f = *state;

	out(f, IBE, BUTTON);
	out(f, IE, BUTTON);
	pl061_button(f->g);
	pl061_button(f->g);
	assert_true(f->level);
	assert_int_equal(f->nset, 1);
	assert_int_equal(in(f, MIS), BUTTON);
	out(f, IC, BUTTON);
	assert_false(f->level);
	assert_int_equal(in(f, DATA(BUTTON)), BUTTON);
	assert_true(f->level); /* it has sprung back */
	assert_int_equal(in(f, MIS), BUTTON);
	out(f, IC, BUTTON);
	assert_int_equal(in(f, DATA(BUTTON)), 0);
	assert_false(f->level);
	pl061_button(f->g);
	assert_true(f->level);
}

static void a_press_waits_for_its_reader(void **state)
{
	struct fixture *f = *state;

	pl061_button(f->g);
	assert_int_equal(in(f, DATA(ALL & ~BUTTON)), 0);
	assert_int_equal(in(f, RIS), 0); /* falling edges are what it begins with */
	assert_int_equal(in(f, DATA(ALL)), BUTTON);
	assert_int_equal(in(f, RIS), BUTTON);
	assert_int_equal(in(f, DATA(ALL)), 0);
	assert_int_equal(f->nset, 0);
}

static void one_edge_only(void **state)
{
	struct fixture *f = *state;

	out(f, IEV, BUTTON);
	out(f, IE, BUTTON);
	pl061_button(f->g);
	assert_true(f->level);
	out(f, IC, (uint8_t)~BUTTON);
	assert_true(f->level);
	out(f, IC, BUTTON);
	assert_int_equal(in(f, DATA(BUTTON)), BUTTON);
	assert_false(f->level);
	assert_int_equal(in(f, RIS), 0);
}

static void levels(void **state)
{
	struct fixture *f = *state;

	out(f, IS, BUTTON);
	out(f, IEV, BUTTON);
	out(f, IE, BUTTON);
	assert_false(f->level);
	pl061_button(f->g);
	assert_true(f->level);
	out(f, IC, BUTTON); /* is for edges */
	assert_true(f->level);
	assert_int_equal(in(f, DATA(BUTTON)), BUTTON);
	assert_false(f->level);
	out(f, IEV, 0); /* low now */
	assert_true(f->level);
	assert_int_equal(in(f, RIS), BUTTON);
	out(f, IE, 0);
	assert_false(f->level);
	assert_int_equal(in(f, MIS), 0);
}

static void sensing_levels_forgets_edges(void **state)
{
	struct fixture *f = *state;

	out(f, IBE, BUTTON);
	pl061_button(f->g);
	assert_int_equal(in(f, RIS), BUTTON);
	out(f, IS, BUTTON);
	out(f, IS, 0);
	assert_int_equal(in(f, RIS), 0);
}

static void an_output_hears_nothing(void **state)
{
	struct fixture *f = *state;

	out(f, DIR, BUTTON);
	out(f, IBE, BUTTON);
	out(f, IE, BUTTON);
	pl061_button(f->g);
	assert_int_equal(in(f, DATA(ALL)), 0);
	assert_int_equal(in(f, RIS), 0);
	out(f, IS, BUTTON);
	assert_int_equal(in(f, RIS), 0);
	out(f, DIR, 0);
	assert_int_equal(in(f, DATA(ALL)), BUTTON); /* not taken until it could be seen */
}

static void odd_accesses(void **state)
{
	struct fixture *f = *state;

	out(f, DIR + 1, ALL);
	assert_int_equal(in(f, DIR), 0);
	pl061_bus_ops.write(f->g, DIR, 8, 0x900000007);
	assert_int_equal(pl061_bus_ops.read(f->g, DIR, 8), 7);
	assert_int_equal(in(f, DIR + 1), 0);
}

static void expect_refused(struct fixture *f, struct buf *b, unsigned int field, uint8_t value,
			   const char *text)
{
	const struct state_entry entry = { &pl061_state, 0, f->g };
	uint8_t *p = &b->data[b->len_bytes - 9 + field], was = *p;
	struct err err = { 0 };

	*p = value;
	assert_int_equal(state_load_all(&entry, 1, b->data, b->len_bytes, &err), -EBADMSG);
	assert_string_equal(err.msg, text);
	*p = was;
}

static void state_moves(void **state)
{
	struct fixture *f = *state;
	const struct state_entry entry = { &pl061_state, 0, f->g };
	struct buf b = { 0 };

	out(f, DIR, 0xf0);
	out(f, DATA(ALL), 0x50);
	out(f, IS, 0x01);
	out(f, IBE, BUTTON);
	out(f, IEV, 0x01);
	out(f, IE, BUTTON);
	out(f, AFSEL, 0x80);
	pl061_button(f->g);
	assert_int_equal(state_save_all(&entry, 1, &b, NULL), 0);
	out(f, IC, ALL);
	assert_int_equal(in(f, DATA(ALL)), 0x50 | BUTTON);
	out(f, IC, ALL);
	out(f, DIR, 0);
	out(f, IBE, 0);
	out(f, AFSEL, 0);
	assert_false(f->level);

	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, NULL), 0);
	assert_true(f->level);
	assert_int_equal(in(f, DIR), 0xf0);
	assert_int_equal(in(f, IS), 0x01);
	assert_int_equal(in(f, IBE), BUTTON);
	assert_int_equal(in(f, IEV), 0x01);
	assert_int_equal(in(f, AFSEL), 0x80);
	out(f, IC, ALL);
	assert_false(f->level);
	assert_int_equal(in(f, DATA(ALL)), 0x50 | BUTTON); /* pressed before, read after */
	assert_true(f->level);

	expect_refused(f, &b, 7, 0x01,
		       "state section gpio.0: edges 0x01 on lines that sense levels (0x01)");
	expect_refused(f, &b, 8, 0x10, "state section gpio.0: in 0x10");
	assert_int_equal(in(f, DIR), 0xf0);
	buf_fini(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(starts_as_inputs),
		TEST(identifies_itself),
		TEST(the_address_masks_data),
		TEST(registers_hold_what_is_written),
		TEST(a_press_is_two_edges),
		TEST(a_press_waits_for_its_reader),
		TEST(one_edge_only),
		TEST(levels),
		TEST(sensing_levels_forgets_edges),
		TEST(an_output_hears_nothing),
		TEST(odd_accesses),
		TEST(state_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
