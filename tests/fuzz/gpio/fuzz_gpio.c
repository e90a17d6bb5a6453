/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PL061 with a guest that reads and writes anything: its pin is up exactly when a status is up that the guest lets through, and what is
 * read fits a register. State is refused when no PL061 could be in it and is what is saved again otherwise, there and after a move.
 *
 * Input: steps, each a u8: bits 1-0 what, bits 7-2 more. 0: read at u16, bits 4-2 + 1 bytes; 1: write u64 there; 2: the button; 3: a move,
 * or, with bit 2, 9 bytes of state.
 */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "devices/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define GSI 7u
#define REG_RIS 0x414u
#define REG_MIS 0x418u
#define REG_IE 0x410u

/* Where they lie in the 9 bytes of a section. */
enum { STATE_IS = 2, STATE_EDGES = 7, STATE_IN = 8, STATE_BYTES };

enum { STEP_READ, STEP_WRITE, STEP_BUTTON, STEP_STATE };

struct pin {
	bool level, moving;
};

static void set_irq(void *opaque, unsigned int gsi, bool level)
{
	struct pin *pin = opaque;

	/* Driven when it changes, and by a load whatever it was. */
	if (gsi != GSI || (level == pin->level && !pin->moving))
		__builtin_trap();
	pin->level = level;
}

static struct pl061 *create(struct pin *pin)
{
	const struct irq_pin irq = { set_irq, pin, GSI };
	struct pl061 *g;

	if (pl061_create(&irq, &g, NULL))
		__builtin_trap();
	return g;
}

static uint8_t read_register(struct pl061 *g, uint64_t offset)
{
	return (uint8_t)pl061_bus_ops.read(g, offset, 4);
}

static void check_pin(struct pl061 *g, const struct pin *pin)
{
	uint8_t masked = read_register(g, REG_MIS);

	if (pin->level != (masked != 0))
		__builtin_trap();
	if (masked != (read_register(g, REG_RIS) & read_register(g, REG_IE)))
		__builtin_trap();
}

static void save(struct pl061 *g, struct buf *out)
{
	const struct state_entry entry = { &pl061_state, 0, g };

	if (state_save_all(&entry, 1, out, NULL))
		__builtin_trap();
}

/* 0 or what it says; a refusal leaves the device as it was. */
static int load(struct pl061 *g, struct pin *pin, const struct buf *state)
{
	const struct state_entry entry = { &pl061_state, 0, g };
	struct err err = { 0 };
	int rc;

	pin->moving = true;
	rc = state_load_all(&entry, 1, state->data, state->len_bytes, &err);
	pin->moving = false;
	return rc;
}

static void expect_equal(const struct buf *a, const struct buf *b)
{
	if (a->len_bytes != b->len_bytes || memcmp(a->data, b->data, a->len_bytes) != 0)
		__builtin_trap();
}

static void expect_saves(struct pl061 *g, const struct buf *expected)
{
	struct buf again = { 0 };

	save(g, &again);
	expect_equal(&again, expected);
	buf_fini(&again);
}

/* To another device, which is the guest's from now on. */
static void move(struct pl061 **g, struct pin *pin)
{
	struct buf state = { 0 };
	struct pl061 *other = create(pin);
	bool level = pin->level;

	save(*g, &state);
	if (load(other, pin, &state) || pin->level != level)
		__builtin_trap();
	expect_saves(other, &state);
	pl061_destroy(*g);
	*g = other;
	buf_fini(&state);
}

/* state.md, section "gpio": what no PL061 is in. */
static bool impossible(const uint8_t *bytes)
{
	return (bytes[STATE_EDGES] & bytes[STATE_IS]) || (bytes[STATE_IN] & ~(1u << PL061_BUTTON));
}

static void load_any(struct pl061 *g, struct pin *pin, const uint8_t *bytes)
{
	struct buf before = { 0 }, state = { 0 };
	bool refused;

	save(g, &before);
	save(g, &state);
	memcpy(&state.data[state.len_bytes - STATE_BYTES], bytes, STATE_BYTES);
	refused = load(g, pin, &state);
	if (refused != impossible(bytes))
		__builtin_trap();
	expect_saves(g, refused ? &before : &state);
	buf_fini(&state);
	buf_fini(&before);
}

static void one_read(struct pl061 *g, uint64_t offset, unsigned int size_bytes)
{
	uint64_t v = pl061_bus_ops.read(g, offset, size_bytes);

	if (v > UINT8_MAX || (offset % 4 && v))
		__builtin_trap();
}

static void one_write(struct pl061 *g, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct buf before = { 0 };

	save(g, &before);
	pl061_bus_ops.write(g, offset, size_bytes, value);
	/* What is read only, and what is between registers, takes nothing. */
	if (offset % 4 || offset == REG_RIS || offset == REG_MIS || offset > 0x420)
		expect_saves(g, &before);
	buf_fini(&before);
}

static bool one_step(struct pl061 **g, struct pin *pin, struct reader *in)
{
	uint8_t step = reader_u8(in);
	unsigned int what = step & 3, size_bytes = (step >> 2 & 7) + 1u;
	uint64_t offset = what < STEP_BUTTON ? reader_u16(in) % PL061_BYTES : 0;
	uint64_t value = what == STEP_WRITE ? reader_u64(in) : 0;
	const uint8_t *bytes =
		what == STEP_STATE && step & 4 ? reader_bytes(in, STATE_BYTES) : NULL;

	if (in->failed)
		return false;
	if (what == STEP_READ)
		one_read(*g, offset, size_bytes);
	else if (what == STEP_WRITE)
		one_write(*g, offset, size_bytes, value);
	else if (what == STEP_BUTTON)
		pl061_button(*g);
	else if (bytes)
		load_any(*g, pin, bytes);
	else
		move(g, pin);
	check_pin(*g, pin);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);
	struct pin pin = { 0 };
	struct pl061 *g = create(&pin);

	while (one_step(&g, &pin, &in))
		continue;
	pl061_destroy(g);
	return 0;
}
