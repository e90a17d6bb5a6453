/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight general-purpose lines after the Arm PrimeCell PL061 (DDI 0190). On one of them hangs the power button, which springs back: its line is high from the press until the guest has
 * read it, so that neither a guest that is slow nor one that stands still misses it, and no time has to be measured. Nothing is connected to the others, nor to any as an output.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/num.h"
#include "devices/device.h"

enum {
	REG_DATA = 0x000, /* up to 0x3fc: bits 9-2 of the address choose the lines */
	REG_DIR = 0x400, /* 1: output */
	REG_IS = 0x404, /* sense: 1 level, 0 edge */
	REG_IBE = 0x408, /* 1: both edges */
	REG_IEV = 0x40c, /* 1: rising edge or high level */
	REG_IE = 0x410, /* 1 lets the interrupt through */
	REG_RIS = 0x414, /* raw interrupt status */
	REG_MIS = 0x418, /* masked interrupt status */
	REG_IC = 0x41c, /* clears edges */
	REG_AFSEL = 0x420, /* 1: the line is the hardware's, of which there is none */
	REG_ID = 0xfe0, /* peripheral and PrimeCell identification, 8 registers */
};
#define BUTTON (1u << PL061_BUTTON)

struct pl061 {
	pthread_mutex_t lock; /* everything below */
	struct irq_pin irq;
	uint8_t data; /* what the guest wrote, for outputs */
	uint8_t dir, is, ibe, iev, ie, afsel;
	uint8_t edges; /* seen and not cleared; only of lines that sense edges */
	uint8_t in; /* what drives the lines from outside */
	bool level; /* what the pin was last set to */
};

/* Both kinds of interrupt are of inputs. */
static uint8_t raw_status(const struct pl061 *g)
{
	uint8_t levels = (uint8_t) ~(g->in ^ g->iev);

	return g->edges | (levels & g->is & (uint8_t)~g->dir);
}

static void update_irq(struct pl061 *g)
{
	bool level = raw_status(g) & g->ie;

	if (level == g->level)
		return;
	g->level = level;
	g->irq.set(g->irq.opaque, g->irq.gsi, level);
}

static void drive(struct pl061 *g, uint8_t in)
{
	uint8_t changed = in ^ g->in;
	uint8_t wanted = g->ibe | (uint8_t) ~(in ^ g->iev);

	g->in = in;
	g->edges |= changed & wanted & (uint8_t)~g->is & (uint8_t)~g->dir;
	update_irq(g);
}

static uint8_t read_data(struct pl061 *g, uint8_t lines)
{
	uint8_t v = ((g->in & (uint8_t)~g->dir) | (g->data & g->dir)) & lines;

	if (g->in & lines & (uint8_t)~g->dir & BUTTON)
		drive(g, g->in & (uint8_t)~BUTTON);
	return v;
}

static uint8_t read_reg(struct pl061 *g, uint64_t offset)
{
	static const uint8_t id[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	if (offset < REG_DIR)
		return read_data(g, (uint8_t)(offset >> 2));
	if (offset >= REG_ID && (offset - REG_ID) / 4 < ARRAY_LEN(id))
		return id[(offset - REG_ID) / 4];
	switch (offset) {
	case REG_DIR:
		return g->dir;
	case REG_IS:
		return g->is;
	case REG_IBE:
		return g->ibe;
	case REG_IEV:
		return g->iev;
	case REG_IE:
		return g->ie;
	case REG_RIS:
		return raw_status(g);
	case REG_MIS:
		return raw_status(g) & g->ie;
	case REG_AFSEL:
		return g->afsel;
	default:
		return 0;
	}
}

static void write_reg(struct pl061 *g, uint64_t offset, uint8_t v)
{
	uint8_t lines = (uint8_t)(offset >> 2);

	if (offset < REG_DIR) {
		g->data = (g->data & (uint8_t)~lines) | (v & lines);
		return;
	}
	switch (offset) {
	case REG_DIR:
		g->dir = v;
		break;
	case REG_IS:
		g->is = v;
		g->edges &= (uint8_t)~v;
		break;
	case REG_IBE:
		g->ibe = v;
		break;
	case REG_IEV:
		g->iev = v;
		break;
	case REG_IE:
		g->ie = v;
		break;
	case REG_IC:
		g->edges &= (uint8_t)~v;
		break;
	case REG_AFSEL:
		g->afsel = v;
		break;
	default:
		return;
	}
	update_irq(g);
}

/* Registers have 8 bits, 4 bytes apart; what is not aligned to one is not the PL061's. A wider read finds zeros above. */
static uint64_t pl061_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	struct pl061 *g = dev;
	uint8_t v;

	if (offset % 4)
		return 0;
	pthread_mutex_lock(&g->lock);
	v = read_reg(g, offset);
	pthread_mutex_unlock(&g->lock);
	return v;
}

static void pl061_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct pl061 *g = dev;

	if (offset % 4)
		return;
	pthread_mutex_lock(&g->lock);
	write_reg(g, offset, (uint8_t)value);
	pthread_mutex_unlock(&g->lock);
}

const struct bus_ops pl061_bus_ops = { .read = pl061_read, .write = pl061_write };

void pl061_button(struct pl061 *g)
{
	pthread_mutex_lock(&g->lock);
	drive(g, g->in | BUTTON);
	pthread_mutex_unlock(&g->lock);
}

int pl061_create(const struct irq_pin *irq, struct pl061 **ret, struct err *err)
{
	struct pl061 *g = calloc(1, sizeof(*g));

	if (!g)
		return err_set(err, -ENOMEM, "general-purpose lines: out of memory");
	pthread_mutex_init(&g->lock, NULL);
	g->irq = *irq;
	*ret = g;
	return 0;
}

void pl061_destroy(struct pl061 *g)
{
	if (!g)
		return;
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* state.md, section "gpio". */
struct pl061_image {
	uint8_t data, dir, is, ibe, iev, ie, afsel;
	uint8_t edges;
	uint8_t in;
};

static const struct state_field pl061_fields[] = {
	STATE_FIELD_U8(struct pl061_image, data),  STATE_FIELD_U8(struct pl061_image, dir),
	STATE_FIELD_U8(struct pl061_image, is),    STATE_FIELD_U8(struct pl061_image, ibe),
	STATE_FIELD_U8(struct pl061_image, iev),   STATE_FIELD_U8(struct pl061_image, ie),
	STATE_FIELD_U8(struct pl061_image, afsel), STATE_FIELD_U8(struct pl061_image, edges),
	STATE_FIELD_U8(struct pl061_image, in),
};

static int pl061_capture(void *dev, void *image, struct err *err)
{
	struct pl061 *g = dev;

	pthread_mutex_lock(&g->lock);
	*(struct pl061_image *)image = (struct pl061_image){
		.data = g->data,
		.dir = g->dir,
		.is = g->is,
		.ibe = g->ibe,
		.iev = g->iev,
		.ie = g->ie,
		.afsel = g->afsel,
		.edges = g->edges,
		.in = g->in,
	};
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static int pl061_check(const void *image, struct err *err)
{
	const struct pl061_image *img = image;

	if (img->edges & img->is)
		return err_set(err, -EBADMSG, "edges 0x%02x on lines that sense levels (0x%02x)",
			       img->edges, img->is);
	if (img->in & ~BUTTON)
		return err_set(err, -EBADMSG, "in 0x%02x", img->in);
	return 0;
}

static int pl061_apply(void *dev, const void *image, struct err *err)
{
	const struct pl061_image *img = image;
	struct pl061 *g = dev;

	pthread_mutex_lock(&g->lock);
	g->data = img->data;
	g->dir = img->dir;
	g->is = img->is;
	g->ibe = img->ibe;
	g->iev = img->iev;
	g->ie = img->ie;
	g->afsel = img->afsel;
	g->edges = img->edges;
	g->in = img->in;
	/* The pin is driven anew whatever it was. */
	g->level = raw_status(g) & g->ie;
	g->irq.set(g->irq.opaque, g->irq.gsi, g->level);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

const struct state_desc pl061_state =
	STATE_DESC_("gpio", struct pl061_image, pl061_fields, pl061, pl061_check);
