/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control messages of a console with several ports (virtio 1.2 §5.3.6.2). What is to be said about a port is kept as a set, so that what waits for the guest's buffers is bounded. The size of
 * the screen goes columns first, as the specification has it; older kernels of Linux take them for rows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "console.h"

#define CONTROL_BYTES 8u

/* The lowest message of @tell for the port, as bytes. */
static size_t make_message(const struct console_port_state *p, uint8_t *ret)
{
	unsigned int what = p->tell & -(unsigned int)p->tell;
	size_t len = CONTROL_BYTES;
	uint16_t event = VIRTIO_CONSOLE_PORT_ADD, value = 1;

	if (what == CONSOLE_TELL_CONSOLE) {
		event = VIRTIO_CONSOLE_CONSOLE_PORT;
	} else if (what == CONSOLE_TELL_NAME) {
		event = VIRTIO_CONSOLE_PORT_NAME;
		len += (size_t)snprintf((char *)ret + len, sizeof(p->name), "%s", p->name);
	} else if (what == CONSOLE_TELL_SIZE) {
		event = VIRTIO_CONSOLE_RESIZE;
		memcpy(ret + len, p->c->size, sizeof(p->c->size));
		len += sizeof(p->c->size);
	} else if (what == CONSOLE_TELL_OPEN) {
		event = VIRTIO_CONSOLE_PORT_OPEN;
	}
	le32_put(ret, p->index);
	le16_put(ret + 4, event);
	le16_put(ret + 6, value);
	return len;
}

static struct console_port_state *next_to_tell(struct console *c)
{
	for (unsigned int i = 0; i < c->nports; i++)
		if (c->port[i].tell)
			return &c->port[i];
	return NULL;
}

int console_serve_control_rx(struct console *c, struct err *err)
{
	struct virtio_queue *q = &c->v.queue[CONSOLE_CONTROL_RX];
	struct console_port_state *p;
	int rc = 1;

	while ((p = next_to_tell(c)) && (rc = virtq_pop(&q->vq, &c->chain, err)) > 0) {
		uint8_t message[CONTROL_BYTES + CONSOLE_NAME_MAX + 1];
		size_t len = make_message(p, message);

		if (virtq_write(&q->vq, &c->chain, 0, message, len) != len)
			return err_set(err, -EBADMSG, "a control buffer of %llu bytes",
				       (unsigned long long)c->chain.write_bytes);
		virtq_push(&q->vq, c->chain.head, (uint32_t)len);
		p->tell &= (uint8_t)(p->tell - 1);
	}
	virtio_signal(&c->v, CONSOLE_CONTROL_RX);
	q->quiet = !p;
	return rc;
}

void console_tell(struct console_port_state *p, unsigned int what)
{
	p->tell |= (uint8_t)what;
	virtio_again(&p->c->v, CONSOLE_CONTROL_RX);
}

/* §5.3.6.2. Messages about ports that there are not, and events that are not the driver's to send, mean nothing. */
static void on_control(struct console *c, uint32_t id, uint16_t event, uint16_t value)
{
	struct console_port_state *p = id < c->nports ? &c->port[id] : NULL;
	bool sized = le32_get(c->size) != 0;

	if (event == VIRTIO_CONSOLE_DEVICE_READY && value) {
		for (unsigned int i = 0; i < c->nports; i++)
			console_tell(&c->port[i], CONSOLE_TELL_ADD);
	} else if (event == VIRTIO_CONSOLE_PORT_READY && value && p) {
		console_tell(p, p->name[0] ? CONSOLE_TELL_NAME | CONSOLE_TELL_OPEN :
					     CONSOLE_TELL_CONSOLE | CONSOLE_TELL_OPEN |
						     (sized && !id ? CONSOLE_TELL_SIZE : 0));
	} else if (event == VIRTIO_CONSOLE_PORT_OPEN && p) {
		p->open = value;
		tty_input_ready(p->tty);
	}
}

int console_serve_control_tx(struct console *c, struct err *err)
{
	struct virtq *q = &c->v.queue[CONSOLE_CONTROL_TX].vq;
	int rc = 0;

	for (unsigned int i = 0; i < q->size && (rc = virtq_pop(q, &c->chain, err)) > 0; i++) {
		uint8_t m[CONTROL_BYTES];

		if (virtq_read(&c->chain, 0, m, sizeof(m)) != sizeof(m))
			return err_set(err, -EBADMSG, "a control message of %llu bytes",
				       (unsigned long long)c->chain.read_bytes);
		on_control(c, le32_get(m), le16_get(m + 4), le16_get(m + 6));
		virtq_push(q, c->chain.head, 0);
	}
	virtio_signal(&c->v, CONSOLE_CONTROL_TX);
	if (rc >= 0 && virtq_pending(q))
		virtio_again(&c->v, CONSOLE_CONTROL_TX);
	return rc;
}
