/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/state.h"
#include "devices/bus.h"

/* How a device reaches the interrupt controller; the machine fills it in. Any thread. */
struct irq_pin {
	void (*set)(void *opaque, unsigned int gsi, bool level);
	void *opaque;
	unsigned int gsi;
};

/* 16550A UART (NS16550A data sheet): FIFO, interrupts, modem control, scratch, loopback. Output goes to the sink, input comes through serial_input. */
struct serial;
struct serial_sink {
	/* Bytes the guest sent, in order; must not block for long and takes all or drops. vCPU thread, device lock held. */
	void (*write)(void *opaque, const uint8_t *data, size_t len_bytes);
	/* There is room for input again after serial_input took less than it was given. vCPU thread, no lock held; may be NULL. */
	void (*input_ready)(void *opaque);
	void *opaque;
};
int serial_create(const struct irq_pin *irq, const struct serial_sink *sink, struct serial **ret,
		  struct err *err);
void serial_destroy(struct serial *s);
extern const struct bus_ops serial_bus_ops; /* 8 ports */
extern const struct state_desc serial_state;
/* Bytes for the guest; returns how many were taken (FIFO and an input queue of SERIAL_QUEUE_BYTES). Any thread. */
#define SERIAL_QUEUE_BYTES 256
size_t serial_input(struct serial *s, const uint8_t *data, size_t len_bytes);

/*
 * ACPI hardware-reduced power block (ACPI 6.5 §4.8.3.7 SLEEP_CONTROL/SLEEP_STATUS registers, §4.8.3.6 reset register) at I/O ports POWER_PORT: +0 sleep control, +1 reset register (write 1),
 * +2 sleep status, +3 power-button event latch (bit 0) for the DSDT's event method: reading it clears it and lowers the pin. Also the keyboard controller's reset (port 0x64 write 0xfe), as a second range.
 */
#define POWER_PORT 0x600
#define POWER_PORT_LEN 4
#define POWER_RESET_VALUE 1
#define POWER_SLEEP_S5 5 /* SLP_TYP value the DSDT's \_S5 names */
struct power;
enum power_event { POWER_OFF, POWER_RESET };
struct power_sink {
	void (*event)(void *opaque, enum power_event event); /* vCPU thread */
	void *opaque;
};
int power_create(const struct irq_pin *button, const struct power_sink *sink, struct power **ret,
		 struct err *err);
void power_destroy(struct power *p);
void power_button(struct power *p); /* latches the event and raises the pin; any thread */
extern const struct bus_ops power_bus_ops; /* POWER_PORT_LEN ports */
extern const struct bus_ops
	power_kbc_bus_ops; /* port 0x64, 1 port: status reads 0, write 0xfe resets */
extern const struct state_desc power_state;

/* Real-time clock PL031 (Arm DDI 0224) on the host's time. */
#define RTC_BYTES 0x1000
struct rtc;
struct rtc_sink {
	/* The host's time, seconds since 1970. Any thread, device lock held. */
	uint64_t (*now_s)(void *opaque);
	/* Call rtc_tick when that time has come; replaces the time asked for before, 0: not at all. The same. */
	void (*wake_at)(void *opaque, uint64_t s);
	void *opaque;
};
int rtc_create(const struct irq_pin *irq, const struct rtc_sink *sink, struct rtc **ret,
	       struct err *err);
void rtc_destroy(struct rtc *r);
/* Raises the interrupt if its time has come; too early or once too often does no harm. Any thread. */
void rtc_tick(struct rtc *r);
extern const struct bus_ops rtc_bus_ops; /* RTC_BYTES */
extern const struct state_desc rtc_state;

/* General-purpose lines PL061 (Arm DDI 0190) with a power button. */
#define PL061_BYTES 0x1000
#define PL061_BUTTON 3 /* its line; the device tree names it */
struct pl061;
int pl061_create(const struct irq_pin *irq, struct pl061 **ret, struct err *err);
void pl061_destroy(struct pl061 *g);
/* Presses the button: its line goes high, and falls again when the guest has read it. Any thread. */
void pl061_button(struct pl061 *g);
extern const struct bus_ops pl061_bus_ops; /* PL061_BYTES */
extern const struct state_desc pl061_state;

/* Host side of the console (devices/backend/tty.c): where serial bytes go and come from. "stdio", "file:PATH", "unix:PATH", "pty", "null". */
struct tty;
struct tty_input {
	/* Returns how many it took. The rest is kept, and after TTY_HELD_BYTES of it no more is read, until tty_input_ready. Loop thread. */
	size_t (*bytes)(void *opaque, const uint8_t *data, size_t len_bytes);
	/* A pty has this size now; it is looked at whenever something is typed there. Loop thread; NULL: nobody wants to know. */
	void (*resized)(void *opaque, uint16_t cols, uint16_t rows);
	void *opaque;
};
#define TTY_HELD_BYTES 4096
struct loop;
/* Checks only the text: 0 or -EINVAL. */
int tty_check_spec(const char *spec, struct err *err);
/* unix: listens, one client at a time, the last 64 KiB of output are replayed to a new client; a stale socket file is replaced only if nobody answers on it. pty: the slave's path is given by tty_path. stdio: raw mode when stdin is a
 * terminal, restored by tty_destroy; a terminal is always read, for the sake of its escape key: what it sends beyond TTY_HELD_BYTES is dropped; Ctrl-A X on a terminal raises the quit callback of the machine (tty_set_quit). */
int tty_create(const char *spec, struct loop *loop, const struct tty_input *input, struct tty **ret,
	       struct err *err);
void tty_destroy(struct tty *t);
void tty_write(struct tty *t, const uint8_t *data, size_t len_bytes); /* any thread */
/* Input that was not taken may be now: `bytes` is called again, on the loop thread. Any thread, never blocks. */
void tty_input_ready(struct tty *t);
const char *tty_path(const struct tty *t); /* "/dev/pts/3" for pty, else NULL */
/* Before anybody types; @fn is called on the loop thread. */
void tty_set_quit(struct tty *t, void (*fn)(void *opaque), void *opaque);

#endif
