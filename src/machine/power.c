/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

#include "vmm/arch.h"

/* How the user and the guest speak of power: ACPI's block with button, sleep and reset, or, where KVM hears of those two from the guest itself, a button on a general-purpose line. */

static void on_power(void *opaque, enum power_event event)
{
	machine_note_guest_end(opaque, event == POWER_OFF ? GUEST_OFF : GUEST_RESET, NULL);
}

static int build_block(struct machine *m, struct bus *bus, struct err *err)
{
	const struct power_sink sink = { .event = on_power, .opaque = m };
	const struct irq_pin button_irq = { .set = machine_irq,
					    .opaque = m,
					    .gsi = arch_platform.power_gsi };
	int rc = power_create(&button_irq, &sink, &m->power, err);

	if (!rc)
		rc = bus_add(bus, arch_platform.power_base, POWER_PORT_LEN, &power_bus_ops,
			     m->power, err);
	if (!rc && arch_platform.kbc_base)
		rc = bus_add(&m->pio, arch_platform.kbc_base, 1, &power_kbc_bus_ops, m->power, err);
	return rc;
}

static int build_gpio(struct machine *m, struct bus *bus, struct err *err)
{
	const struct irq_pin irq = { .set = machine_irq,
				     .opaque = m,
				     .gsi = arch_platform.gpio_gsi };
	int rc = pl061_create(&irq, &m->gpio, err);

	return rc ? rc :
		    bus_add(bus, arch_platform.gpio_base, PL061_BYTES, &pl061_bus_ops, m->gpio,
			    err);
}

int machine_build_power(struct machine *m, struct bus *bus, struct err *err)
{
	int rc = arch_platform.power_base ? build_block(m, bus, err) : 0;

	if (!rc && arch_platform.gpio_base)
		rc = build_gpio(m, bus, err);
	return rc;
}

void machine_destroy_power(struct machine *m)
{
	power_destroy(m->power);
	pl061_destroy(m->gpio);
	m->power = NULL;
	m->gpio = NULL;
}

unsigned int machine_power_entries(struct machine *m, struct state_entry *entries)
{
	unsigned int n = 0;

	if (m->power)
		entries[n++] = (struct state_entry){ .desc = &power_state, .dev = m->power };
	if (m->gpio)
		entries[n++] = (struct state_entry){ .desc = &pl061_state, .dev = m->gpio };
	return n;
}

void machine_press_button(struct machine *m)
{
	if (m->power)
		power_button(m->power);
	else if (m->gpio)
		pl061_button(m->gpio);
}
