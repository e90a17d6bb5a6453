/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep and reset registers of a hardware-reduced ACPI machine, the power button, and the keyboard controller's reset line. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/num.h"
#include "devices/device.h"

enum { REG_SLEEP_CONTROL, REG_RESET, REG_SLEEP_STATUS, REG_BUTTON };

enum {
	SLEEP_EN = 0x20, /* ACPI 6.5 table 4.22: SLP_TYPx bits 4-2, SLP_EN bit 5 */
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_TYPE_MASK = 0x07,
	KBC_PULSE_RESET = 0xfe,
};

struct power {
	pthread_mutex_t lock;
	struct irq_pin button;
	struct power_sink sink;
	bool latched;
};

/* Lock held, so that the pin's last level is the latch's. */
static void set_latch(struct power *p, bool latched)
{
	p->latched = latched;
	p->button.set(p->button.opaque, p->button.gsi, latched);
}

static uint64_t power_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	struct power *p = dev;
	uint64_t v = 0;

	/* SLP_EN is write-only and WAK_STS never set: the machine does not sleep, it stops. The button's register sits where a wider
	 * access to its neighbours does not take its event along. */
	if (offset != REG_BUTTON)
		return 0;
	pthread_mutex_lock(&p->lock);
	if (p->latched) {
		v = 1;
		set_latch(p, false);
	}
	pthread_mutex_unlock(&p->lock);
	return v;
}

static void power_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct power *p = dev;

	if (size_bytes != 1)
		return;
	if (offset == REG_SLEEP_CONTROL && (value & SLEEP_EN) &&
	    ((value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK) == POWER_SLEEP_S5)
		p->sink.event(p->sink.opaque, POWER_OFF);
	else if (offset == REG_RESET && value == POWER_RESET_VALUE)
		p->sink.event(p->sink.opaque, POWER_RESET);
}

const struct bus_ops power_bus_ops = { .read = power_read, .write = power_write };

static uint64_t kbc_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	return 0;
}

static void kbc_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct power *p = dev;

	if (value == KBC_PULSE_RESET)
		p->sink.event(p->sink.opaque, POWER_RESET);
}

const struct bus_ops power_kbc_bus_ops = { .read = kbc_read, .write = kbc_write };

void power_button(struct power *p)
{
	pthread_mutex_lock(&p->lock);
	if (!p->latched)
		set_latch(p, true);
	pthread_mutex_unlock(&p->lock);
}

int power_create(const struct irq_pin *button, const struct power_sink *sink, struct power **ret,
		 struct err *err)
{
	struct power *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(err, -ENOMEM, "power block: out of memory");
	pthread_mutex_init(&p->lock, NULL);
	p->button = *button;
	p->sink = *sink;
	*ret = p;
	return 0;
}

void power_destroy(struct power *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* state.md, section "power". */
struct power_image {
	uint8_t button;
};

static const struct state_field power_fields[] = {
	STATE_FIELD_U8(struct power_image, button),
};

static int power_capture(void *dev, void *image, struct err *err)
{
	struct power *p = dev;
	struct power_image *img = image;

	pthread_mutex_lock(&p->lock);
	img->button = p->latched;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static int power_check(const void *image, struct err *err)
{
	const struct power_image *img = image;

	if (img->button > 1)
		return err_set(err, -EBADMSG, "button %u", img->button);
	return 0;
}

static int power_apply(void *dev, const void *image, struct err *err)
{
	struct power *p = dev;
	const struct power_image *img = image;

	pthread_mutex_lock(&p->lock);
	set_latch(p, img->button);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

const struct state_desc power_state =
	STATE_DESC_("power", struct power_image, power_fields, power, power_check);
