/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

struct fixture {
	struct serial *s;
	bool level;
	unsigned int edges;
	uint8_t sent[4096];
	size_t nsent;
	unsigned int sink_calls;
	unsigned int ready_calls;
};

static void set_irq(void *opaque, unsigned int gsi, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(gsi, 4);
	f->edges += level && !f->level;
	f->level = level;
}

static void sink_write(void *opaque, const uint8_t *data, size_t len_bytes)
{
	struct fixture *f = opaque;

	assert_true(f->nsent + len_bytes <= sizeof(f->sent));
	memcpy(f->sent + f->nsent, data, len_bytes);
	f->nsent += len_bytes;
	f->sink_calls++;
}

static void sink_ready(void *opaque)
{
	struct fixture *f = opaque;

	f->ready_calls++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct irq_pin pin = { set_irq, f, 4 };
	const struct serial_sink sink = { sink_write, sink_ready, f };

	*state = f;
	return f ? serial_create(&pin, &sink, &f->s, NULL) : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	serial_destroy(f->s);
	serial_destroy(NULL);
	free(f);
	return 0;
}

static void out(struct fixture *f, unsigned int reg, uint8_t v)
{
	serial_bus_ops.write(f->s, reg, 1, v);
}

static uint8_t in(struct fixture *f, unsigned int reg)
{
	return (uint8_t)serial_bus_ops.read(f->s, reg, 1);
}

static void type(struct fixture *f, const char *text)
{
	assert_int_equal(serial_input(f->s, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void output_reaches_the_sink(void **state)
{
	struct fixture *f = *state;

	out(f, DATA, 'a');
	out(f, DATA, 'b');
	assert_int_equal(f->sink_calls, 2);
	serial_bus_ops.write_bytes(f->s, DATA, (const uint8_t *)"hello", 5);
	assert_int_equal(f->sink_calls, 3); /* a string is one call */
	assert_int_equal(f->nsent, 7);
	assert_memory_equal(f->sent, "abhello", 7);
	assert_int_equal(in(f, LSR), 0x60);
}

static void registers_keep_their_values(void **state)
{
	struct fixture *f = *state;

	out(f, SCR, 0xa5);
	assert_int_equal(in(f, SCR), 0xa5);
	out(f, IER, 0xff);
	assert_int_equal(in(f, IER), 0x0f);
	out(f, LCR, 0x83);
	out(f, DATA, 0x01);
	out(f, IER, 0x02);
	assert_int_equal(in(f, DATA), 0x01);
	assert_int_equal(in(f, IER), 0x02);
	out(f, LCR, 0x03);
	assert_int_equal(in(f, IER), 0x0f);
	assert_int_equal(in(f, LCR), 0x03);
	assert_int_equal(f->nsent, 0); /* the divisor is no output */
	out(f, LSR, 0xff);
	out(f, MSR, 0xff);
	assert_int_equal(in(f, LSR), 0x60);
	assert_int_equal(in(f, MSR), 0xb0);
	/* A string to another register: the last byte stays. */
	serial_bus_ops.write_bytes(f->s, SCR, (const uint8_t *)"xyz", 3);
	assert_int_equal(in(f, SCR), 'z');
	/* Wider accesses are byte accesses to consecutive registers, and stop at the last. */
	serial_bus_ops.write(f->s, SCR, 4, 0x11223344);
	assert_int_equal(in(f, SCR), 0x44);
	assert_int_equal(serial_bus_ops.read(f->s, MSR, 4), 0xffff44b0);
}

/* What drivers/tty/serial/8250/8250_port.c (autoconfig) wants to see of a 16550A. */
static void linux_finds_a_16550a(void **state)
{
	struct fixture *f = *state;

	out(f, IER, 0);
	assert_int_equal(in(f, IER) & 0x0f, 0);
	out(f, IER, 0x0f);
	assert_int_equal(in(f, IER) & 0x0f, 0x0f);
	out(f, IER, 0);
	out(f, MCR, 0x10 | 0x08 | 0x02); /* LOOP, OUT2, RTS */
	assert_int_equal(in(f, MSR) & 0xf0, 0x90);
	out(f, MCR, 0);
	out(f, FCR, 0);
	assert_int_equal(in(f, IIR) >> 6, 0);
	out(f, FCR, 1);
	assert_int_equal(in(f, IIR) >> 6, 3);
	/* No extended registers of a 16650, 16750 or 16950. */
	out(f, LCR, 0x80);
	assert_int_not_equal(in(f, IIR), 0);
	out(f, FCR, 0x01 | 0x20);
	assert_int_equal(in(f, IIR) >> 5, 6);
	out(f, LCR, 0);
	out(f, IER, 0x40);
	assert_int_equal(in(f, IER), 0);
	/* Enabling THRE twice raises it twice (its test for broken ports). */
	f->edges = 0;
	for (int i = 0; i < 2; i++) {
		out(f, IER, 0x02);
		assert_int_equal(in(f, IIR) & 0x0f, 0x02);
		out(f, IER, 0);
	}
	assert_int_equal(f->edges, 2);
	assert_false(f->level);
}

static void loopback(void **state)
{
	struct fixture *f = *state;

	out(f, MCR, 0x10);
	in(f, MSR); /* clear the deltas of the switch */
	out(f, DATA, 'x');
	assert_int_equal(f->nsent, 0);
	assert_int_equal(in(f, LSR), 0x61);
	assert_int_equal(in(f, DATA), 'x');
	assert_int_equal(in(f, LSR), 0x60);
	/* Each output is one input: DTR-DSR, RTS-CTS, OUT1-RI, OUT2-DCD. */
	out(f, MCR, 0x11);
	assert_int_equal(in(f, MSR), 0x22);
	out(f, MCR, 0x12);
	assert_int_equal(in(f, MSR), 0x13);
	out(f, MCR, 0x14);
	assert_int_equal(in(f, MSR), 0x41); /* RI going up sets no delta */
	out(f, MCR, 0x18);
	assert_int_equal(in(f, MSR), 0x8c); /* RI went down: TERI */
	assert_int_equal(in(f, MSR), 0x80);
	/* Input waits while the line is cut. */
	type(f, "y");
	assert_int_equal(in(f, LSR), 0x60);
	out(f, MCR, 0);
	assert_int_equal(in(f, LSR), 0x61);
	assert_int_equal(in(f, DATA), 'y');
}

static void overrun_with_fifo_keeps_the_fifo(void **state)
{
	struct fixture *f = *state;

	out(f, FCR, 1);
	out(f, MCR, 0x10);
	for (uint8_t i = 0; i < 18; i++)
		out(f, DATA, i);
	assert_int_equal(in(f, LSR), 0x63);
	assert_int_equal(in(f, LSR), 0x61); /* reading cleared OE */
	for (uint8_t i = 0; i < 16; i++)
		assert_int_equal(in(f, DATA), i);
	assert_int_equal(in(f, LSR), 0x60);
}

static void overrun_without_fifo_keeps_the_last(void **state)
{
	struct fixture *f = *state;

	out(f, MCR, 0x10);
	out(f, DATA, 'a');
	out(f, DATA, 'b');
	assert_int_equal(in(f, LSR), 0x63);
	assert_int_equal(in(f, DATA), 'b');
	assert_int_equal(in(f, LSR), 0x60);
}

static void interrupts_by_priority(void **state)
{
	struct fixture *f = *state;

	out(f, FCR, 0x41); /* trigger at 4 */
	out(f, MCR, 0x10);
	in(f, MSR);
	assert_int_equal(in(f, IIR), 0xc1);
	out(f, MCR, 0x11); /* a modem delta */
	for (uint8_t i = 0; i < 17; i++) /* overrun, full FIFO, THR empty */
		out(f, DATA, i);
	assert_false(f->level);
	out(f, IER, 0x0f);
	assert_true(f->level);
	assert_int_equal(in(f, IIR), 0xc6);
	assert_int_equal(in(f, IIR), 0xc6);
	in(f, LSR);
	assert_int_equal(in(f, IIR), 0xc4);
	for (int i = 0; i < 13; i++)
		in(f, DATA);
	assert_int_equal(in(f, IIR), 0xcc); /* below the trigger: timeout */
	for (int i = 0; i < 3; i++)
		in(f, DATA);
	assert_int_equal(in(f, IIR), 0xc2);
	assert_int_equal(in(f, IIR), 0xc0); /* reading it cleared THRE */
	assert_true(f->level);
	in(f, MSR);
	assert_int_equal(in(f, IIR), 0xc1);
	assert_false(f->level);
	assert_int_equal(f->edges, 1); /* level-triggered all along */
}

static void thre_interrupt(void **state)
{
	struct fixture *f = *state;

	out(f, IER, 0x02);
	assert_true(f->level);
	out(f, IER, 0x02); /* already on: nothing new */
	assert_int_equal(in(f, IIR), 0x02);
	assert_false(f->level);
	out(f, IER, 0x02);
	assert_false(f->level);
	out(f, DATA, 'x');
	assert_true(f->level);
	assert_int_equal(in(f, IIR), 0x02);
	assert_int_equal(in(f, IIR), 0x01);
	assert_int_equal(f->edges, 2);
}

static void fifo_levels_and_clear(void **state)
{
	static const unsigned int trigger[4] = { 1, 4, 8, 14 };
	struct fixture *f = *state;

	out(f, IER, 0x01);
	for (unsigned int i = 0; i < 4; i++) {
		out(f, FCR, (uint8_t)(i << 6 | 0x03));
		assert_false(f->level);
		for (unsigned int n = 1; n <= 14; n++) {
			type(f, "x");
			assert_int_equal(in(f, IIR), n >= trigger[i] ? 0xc4 : 0xcc);
		}
		out(f, FCR, (uint8_t)(i << 6 | 0x03)); /* clear RX */
		assert_int_equal(in(f, LSR), 0x60);
	}
	type(f, "x");
	out(f, FCR, 0); /* switching the FIFO off clears it */
	assert_int_equal(in(f, LSR), 0x60);
	assert_int_equal(in(f, IIR), 0x01);
}

static void input_queues_behind_the_fifo(void **state)
{
	struct fixture *f = *state;
	uint8_t data[400];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	out(f, FCR, 1);
	assert_int_equal(serial_input(f->s, data, sizeof(data)), SERIAL_QUEUE_BYTES + 16);
	assert_int_equal(serial_input(f->s, data, 1), 0);
	assert_int_equal(in(f, LSR), 0x61); /* no overrun: the rest waits */
	assert_int_equal(f->ready_calls, 0);
	for (size_t i = 0; i < SERIAL_QUEUE_BYTES + 16; i++)
		assert_int_equal(in(f, DATA), data[i]);
	assert_int_equal(f->ready_calls, 1);
	assert_int_equal(in(f, LSR), 0x60);
	assert_int_equal(in(f, DATA), 0);
}

static void without_fifo_one_byte_at_a_time(void **state)
{
	struct fixture *f = *state;

	out(f, IER, 0x01);
	type(f, "abc");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(in(f, IIR), 0x04);
		assert_int_equal(in(f, DATA), 'a' + i);
	}
	assert_int_equal(in(f, IIR), 0x01);
	assert_false(f->level);
}

/* Saves @from and loads it into a port of its own. */
static void move(struct fixture *from, struct fixture *to)
{
	const struct state_entry save = { &serial_state, 0, from->s };
	const struct state_entry load = { &serial_state, 0, to->s };
	struct buf b = { 0 };

	assert_int_equal(state_save_all(&save, 1, &b, NULL), 0);
	assert_int_equal(state_load_all(&load, 1, b.data, b.len_bytes, NULL), 0);
	buf_fini(&b);
}

static void state_moves_in_mid_fifo(void **state)
{
	struct fixture *f = *state, *to;
	void *other;

	assert_int_equal(setup(&other), 0);
	to = other;
	out(f, LCR, 0x80);
	out(f, DATA, 0x34);
	out(f, IER, 0x12);
	out(f, LCR, 0x03);
	out(f, SCR, 0x77);
	out(f, FCR, 0x81);
	out(f, IER, 0x03);
	type(f, "0123456789");
	for (int i = 0; i < 5; i++)
		in(f, DATA); /* the FIFO does not begin at its first slot */
	type(f, "abcdefghijklmnopqrstuvwxyz");
	assert_true(f->level);

	move(f, to);
	assert_true(to->level); /* driven by apply */
	assert_int_equal(in(to, IIR), 0xc4);
	for (const char *p = "56789abcdefghijklmnopqrstuvwxyz"; *p; p++) {
		assert_int_equal(in(to, DATA), *p);
		assert_int_equal(in(f, DATA), *p); /* capture took nothing from the source */
	}
	assert_int_equal(in(to, IIR), 0xc2); /* THRE was pending, too */
	assert_int_equal(in(to, LSR), 0x60);
	assert_int_equal(in(to, SCR), 0x77);
	assert_int_equal(in(to, LCR), 0x03);
	assert_false(to->level);
	out(to, LCR, 0x83);
	assert_int_equal(in(to, DATA), 0x34);
	assert_int_equal(in(to, IER), 0x12);
	assert_int_equal(to->nsent, 0);
	teardown(&other);
}

/* Offsets of the single bytes in the section's body (docs/spec/state.md). */
static void hostile_state_is_refused(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t value;
		const char *text;
	} cases[] = {
		{ 0, 0x10, "ier" },       { 1, 0x03, "fcr" },        { 1, 0x40, "fcr" },
		{ 3, 0x20, "mcr" },       { 7, 0x01, "lsr_errors" }, { 8, 0x10, "msr_deltas" },
		{ 9, 2, "thre_pending" }, { 10, 17, "rx" },          { 10, 2, "truncated" },
		{ 14, 1, "truncated" },
	};
	struct fixture *f = *state;
	const struct state_entry entry = { &serial_state, 0, f->s };
	struct buf b = { 0 };
	const size_t header = 1 + 6 + 4 + 2 + 4;
	unsigned int edges = f->edges;

	assert_int_equal(state_save_all(&entry, 1, &b, NULL), 0);
	assert_int_equal(b.len_bytes, header + 10 + 4 + 4);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t before = b.data[header + cases[i].at];
		struct err err = { 0 };

		b.data[header + cases[i].at] = cases[i].value;
		assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, &err), -EBADMSG);
		if (!strstr(err.msg, cases[i].text))
			fail_msg("\"%s\" lacks \"%s\"", err.msg, cases[i].text);
		b.data[header + cases[i].at] = before;
	}
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, NULL), 0);
	assert_int_equal(f->edges, edges);
	buf_fini(&b);
}

static void more_received_than_without_a_fifo(void **state)
{
	struct fixture *f = *state;
	const struct state_entry entry = { &serial_state, 0, f->s };
	struct err err = { 0 };
	struct buf b = { 0 };

	out(f, FCR, 1);
	type(f, "ab");
	assert_int_equal(state_save_all(&entry, 1, &b, NULL), 0);
	b.data[17 + 1] = 0;
	assert_int_equal(state_load_all(&entry, 1, b.data, b.len_bytes, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "without a FIFO"));
	assert_int_equal(in(f, DATA), 'a');
	assert_int_equal(in(f, DATA), 'b');
	buf_fini(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(output_reaches_the_sink),
		TEST(registers_keep_their_values),
		TEST(linux_finds_a_16550a),
		TEST(loopback),
		TEST(overrun_with_fifo_keeps_the_fifo),
		TEST(overrun_without_fifo_keeps_the_last),
		TEST(interrupts_by_priority),
		TEST(thre_interrupt),
		TEST(fifo_levels_and_clear),
		TEST(input_queues_behind_the_fifo),
		TEST(without_fifo_one_byte_at_a_time),
		TEST(state_moves_in_mid_fifo),
		TEST(hostile_state_is_refused),
		TEST(more_received_than_without_a_fifo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
