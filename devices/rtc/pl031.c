/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real-time clock after the Arm PrimeCell PL031 (DDI 0224): seconds since 1970 in 32 bits, a match register, one interrupt. Its counter runs from power on, as one
 * with a battery does, and starts with the host's time; what the guest loads is kept as an offset to that, and moves with it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/num.h"
#include "devices/device.h"

enum {
	REG_DR = 0x000, /* data: the time */
	REG_MR = 0x004, /* match */
	REG_LR = 0x008, /* load */
	REG_CR = 0x00c, /* control: bit 0, running, cannot be cleared */
	REG_IMSC = 0x010, /* interrupt mask: bit 0 lets it through */
	REG_RIS = 0x014, /* raw interrupt status */
	REG_MIS = 0x018, /* masked interrupt status */
	REG_ICR = 0x01c, /* interrupt clear */
	REG_ID = 0xfe0, /* peripheral and PrimeCell identification, 8 registers */
};
#define BIT_0 1u

struct rtc {
	pthread_mutex_t lock; /* everything below */
	struct irq_pin irq;
	struct rtc_sink sink;
	uint32_t offset; /* of the counter from the host's time, modulo 2^32 */
	uint32_t mr, lr;
	bool enabled; /* interrupt */
	bool raised; /* RIS */
	bool level; /* what the pin was last set to */
	uint64_t match_s; /* the host's time at the next match; 0: that is reached and was raised */
};

static uint64_t now_s(const struct rtc *r)
{
	return r->sink.now_s(r->sink.opaque);
}

static uint32_t counter(const struct rtc *r)
{
	return (uint32_t)now_s(r) + r->offset;
}

static void update_irq(struct rtc *r)
{
	bool level = r->raised && r->enabled;

	if (level == r->level)
		return;
	r->level = level;
	r->irq.set(r->irq.opaque, r->irq.gsi, level);
}

/* The match may be now, or up to 2^32 - 1 seconds away: the counter wraps. */
static void plan_match(struct rtc *r)
{
	uint64_t now = now_s(r);

	r->match_s = now + (uint32_t)(r->mr - ((uint32_t)now + r->offset));
	r->sink.wake_at(r->sink.opaque, r->match_s);
}

/* Late is as good as in time: the clock may jump, and so may a guest that was moved. */
static void check_match(struct rtc *r)
{
	if (r->match_s == 0 || now_s(r) < r->match_s)
		return;
	r->match_s = 0;
	r->raised = true;
	update_irq(r);
}

static uint32_t read_reg(struct rtc *r, uint64_t offset)
{
	static const uint8_t id[] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	if (offset >= REG_ID && (offset - REG_ID) / 4 < ARRAY_LEN(id))
		return id[(offset - REG_ID) / 4];
	check_match(r);
	switch (offset) {
	case REG_DR:
		return counter(r);
	case REG_MR:
		return r->mr;
	case REG_LR:
		return r->lr;
	case REG_CR:
		return BIT_0;
	case REG_IMSC:
		return r->enabled;
	case REG_RIS:
		return r->raised;
	case REG_MIS:
		return r->raised && r->enabled;
	default:
		return 0;
	}
}

static void write_reg(struct rtc *r, uint64_t offset, uint32_t v)
{
	check_match(r);
	switch (offset) {
	case REG_MR:
		r->mr = v;
		break;
	case REG_LR:
		r->lr = v;
		r->offset = v - (uint32_t)now_s(r);
		break;
	case REG_IMSC:
		r->enabled = v & BIT_0;
		break;
	case REG_ICR:
		if (v & BIT_0)
			r->raised = false;
		break;
	default:
		return;
	}
	if (offset == REG_MR || offset == REG_LR) {
		plan_match(r);
		check_match(r);
	}
	update_irq(r);
}

/* All registers have 32 bits; what is not aligned to one, or writes less, is not the PL031's. A wider read finds zeros above. */
static uint64_t rtc_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	struct rtc *r = dev;
	uint32_t v;

	if (offset % 4)
		return 0;
	pthread_mutex_lock(&r->lock);
	v = read_reg(r, offset);
	pthread_mutex_unlock(&r->lock);
	return v;
}

static void rtc_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct rtc *r = dev;

	if (offset % 4 || size_bytes < 4)
		return;
	pthread_mutex_lock(&r->lock);
	write_reg(r, offset, (uint32_t)value);
	pthread_mutex_unlock(&r->lock);
}

const struct bus_ops rtc_bus_ops = { .read = rtc_read, .write = rtc_write };

void rtc_tick(struct rtc *r)
{
	pthread_mutex_lock(&r->lock);
	check_match(r);
	pthread_mutex_unlock(&r->lock);
}

int rtc_create(const struct irq_pin *irq, const struct rtc_sink *sink, struct rtc **ret,
	       struct err *err)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(err, -ENOMEM, "real-time clock: out of memory");
	pthread_mutex_init(&r->lock, NULL);
	r->irq = *irq;
	r->sink = *sink;
	plan_match(r);
	*ret = r;
	return 0;
}

void rtc_destroy(struct rtc *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* state.md, section "rtc". */
struct rtc_image {
	uint32_t offset;
	uint32_t mr;
	uint32_t lr;
	uint8_t enabled;
	uint8_t raised;
	uint64_t match_s;
};

static const struct state_field rtc_fields[] = {
	STATE_FIELD_(struct rtc_image, offset, STATE_U32, 1),
	STATE_FIELD_(struct rtc_image, mr, STATE_U32, 1),
	STATE_FIELD_(struct rtc_image, lr, STATE_U32, 1),
	STATE_FIELD_(struct rtc_image, enabled, STATE_U8, 1),
	STATE_FIELD_(struct rtc_image, raised, STATE_U8, 1),
	STATE_FIELD_(struct rtc_image, match_s, STATE_U64, 1),
};

static int rtc_capture(void *dev, void *image, struct err *err)
{
	struct rtc *r = dev;
	struct rtc_image *img = image;

	pthread_mutex_lock(&r->lock);
	img->offset = r->offset;
	img->mr = r->mr;
	img->lr = r->lr;
	img->enabled = r->enabled;
	img->raised = r->raised;
	img->match_s = r->match_s;
	pthread_mutex_unlock(&r->lock);
	return 0;
}

/* A time that this program's clocks can hold, and the one at which the counter does match. */
#define MATCH_MAX_S (1ull << 40)

static int rtc_check(const void *image, struct err *err)
{
	const struct rtc_image *img = image;

	if (img->enabled > 1)
		return err_set(err, -EBADMSG, "enabled %u", img->enabled);
	if (img->raised > 1)
		return err_set(err, -EBADMSG, "raised %u", img->raised);
	if (img->match_s > MATCH_MAX_S ||
	    (img->match_s && (uint32_t)img->match_s + img->offset != img->mr))
		return err_set(err, -EBADMSG, "match_s %llu", (unsigned long long)img->match_s);
	return 0;
}

static int rtc_apply(void *dev, const void *image, struct err *err)
{
	struct rtc *r = dev;
	const struct rtc_image *img = image;

	pthread_mutex_lock(&r->lock);
	r->offset = img->offset;
	r->mr = img->mr;
	r->lr = img->lr;
	r->enabled = img->enabled;
	r->raised = img->raised;
	r->match_s = img->match_s;
	/* As for the serial port: the pin is driven anew whatever it was. What became due on the way is found by the first tick. */
	r->level = r->raised && r->enabled;
	r->irq.set(r->irq.opaque, r->irq.gsi, r->level);
	r->sink.wake_at(r->sink.opaque, r->match_s);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

const struct state_desc rtc_state =
	STATE_DESC_("rtc", struct rtc_image, rtc_fields, rtc, rtc_check);
