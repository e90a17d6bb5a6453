/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_CONSOLE_H
#define DEVICES_VIRTIO_CONSOLE_H

#include <linux/virtio_console.h>
#include <stdatomic.h>

#include "core.h"
#include "devices/device.h"

/* The console's parts among themselves: console.c is the device and what flows through its ports, console_control.c what driver and device tell each other about them. */
#define CONSOLE_NAME_MAX 63u

/* Queues of the control messages (§5.3.2), with MULTIPORT. */
enum { CONSOLE_CONTROL_RX = 2, CONSOLE_CONTROL_TX = 3 };

/* Messages of a port, in the order in which they go out. */
enum {
	CONSOLE_TELL_ADD = 1,
	CONSOLE_TELL_CONSOLE = 2,
	CONSOLE_TELL_NAME = 4,
	CONSOLE_TELL_SIZE = 8,
	CONSOLE_TELL_OPEN = 16,
	CONSOLE_TELL_ALL = 31
};

struct console_port_state {
	struct console *c;
	unsigned int index;
	struct tty *tty;
	char name[CONSOLE_NAME_MAX + 1]; /* "": a console */
	bool open; /* by the guest */
	uint8_t tell; /* messages that wait for a buffer */
};

struct console {
	struct virtio v; /* first */
	unsigned int nports;
	bool multiport; /* offered */
	/* The worker's. */
	struct console_port_state port[VIRTIO_CONSOLE_MAX_PORTS];
	struct virtq_chain chain;
	uint8_t size[4]; /* as configuration and messages have it */
	uint8_t host_size[4]; /* of the terminal here; zeros: not known */
	atomic_uint_least64_t bytes_in, bytes_out;
};

/* On the worker. serve: 0, or -EBADMSG with what the driver did wrong. */
int console_serve_control_rx(struct console *c, struct err *err);
int console_serve_control_tx(struct console *c, struct err *err);
void console_tell(struct console_port_state *p, unsigned int what);

#endif
