/* SPDX-License-Identifier: Apache-2.0 */
/* The connection's state (virtio 1.2 §5.10.6): what a packet of the guest means for it, and which one the guest is sent next. */
#include "vsock.h"

#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

void vsock_packet_get(const uint8_t wire[VSOCK_HEADER_BYTES], struct vsock_packet *ret)
{
	struct virtio_vsock_hdr h;

	memcpy(&h, wire, sizeof(h));
	*ret = (struct vsock_packet){
		.src_cid = le64toh(h.src_cid),
		.dst_cid = le64toh(h.dst_cid),
		.src_port = le32toh(h.src_port),
		.dst_port = le32toh(h.dst_port),
		.len_bytes = le32toh(h.len),
		.type = le16toh(h.type),
		.op = le16toh(h.op),
		.flags = le32toh(h.flags),
		.buf_alloc = le32toh(h.buf_alloc),
		.fwd_cnt = le32toh(h.fwd_cnt),
	};
}

void vsock_packet_put(const struct vsock_packet *p, uint8_t wire[VSOCK_HEADER_BYTES])
{
	const struct virtio_vsock_hdr h = {
		.src_cid = htole64(p->src_cid),
		.dst_cid = htole64(p->dst_cid),
		.src_port = htole32(p->src_port),
		.dst_port = htole32(p->dst_port),
		.len = htole32(p->len_bytes),
		.type = htole16(p->type),
		.op = htole16(p->op),
		.flags = htole32(p->flags),
		.buf_alloc = htole32(p->buf_alloc),
		.fwd_cnt = htole32(p->fwd_cnt),
	};

	memcpy(wire, &h, sizeof(h));
}

bool vsock_conn_is(const struct vsock_conn *c, uint32_t guest_port, uint32_t host_port)
{
	if (c->guest_port != guest_port || c->host_port != host_port)
		return false;
	return c->phase == VSOCK_ASKING || c->phase == VSOCK_OPEN || c->tell & VSOCK_TELL_RST;
}

uint32_t vsock_conn_credit(const struct vsock_conn *c)
{
	uint32_t ahead = c->sent - c->guest_fwd_cnt;

	return ahead < c->guest_buf_alloc ? c->guest_buf_alloc - ahead : 0;
}

/* Every packet has the guest's credit (§5.10.6.3). A driver may send them in another order than it made them: a count that goes back is an old one. One that is ahead of what was sent is a lie. Neither
 * is taken. */
static void take_credit(struct vsock_conn *c, const struct vsock_packet *p)
{
	if (p->fwd_cnt - c->guest_fwd_cnt <= c->sent - c->guest_fwd_cnt)
		c->guest_fwd_cnt = p->fwd_cnt;
	c->guest_buf_alloc = p->buf_alloc;
	if (vsock_conn_credit(c))
		c->asked = false;
}

static enum vsock_todo take_shutdown(struct vsock_conn *c, uint32_t flags)
{
	uint8_t before = c->guest_shutdown;

	c->guest_shutdown |= (uint8_t)(flags & BOTH);
	return c->guest_shutdown == before ? VSOCK_NOTHING : VSOCK_HALVES;
}

static enum vsock_todo take_data(const struct vsock_conn *c, const struct vsock_packet *p)
{
	if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND ||
	    p->len_bytes > VSOCK_WINDOW_BYTES - c->held_bytes)
		return VSOCK_RESET;
	/* It may not know yet that nobody reads. */
	return c->host_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV ? VSOCK_NOTHING : VSOCK_DATA;
}

enum vsock_todo vsock_conn_packet(struct vsock_conn *c, const struct vsock_packet *p)
{
	if (p->op == VIRTIO_VSOCK_OP_RST)
		return VSOCK_CLOSE;
	/* The guest's RST is on its way. */
	if (c->tell & VSOCK_TELL_RST)
		return VSOCK_NOTHING;
	if (c->phase == VSOCK_ASKING) {
		if (p->op != VIRTIO_VSOCK_OP_RESPONSE || c->tell & VSOCK_TELL_REQUEST)
			return VSOCK_RESET;
		c->phase = VSOCK_OPEN;
		take_credit(c, p);
		return VSOCK_ACCEPTED;
	}
	take_credit(c, p);
	switch (p->op) {
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		return take_shutdown(c, p->flags);
	case VIRTIO_VSOCK_OP_RW:
		return take_data(c, p);
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->tell |= VSOCK_TELL_CREDIT;
		return VSOCK_NOTHING;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return VSOCK_NOTHING;
	default:
		return VSOCK_RESET;
	}
}

void vsock_conn_open(struct vsock_conn *c, const struct vsock_packet *p)
{
	c->guest_port = p->src_port;
	c->host_port = p->dst_port;
	c->phase = VSOCK_OPEN;
	c->tell = VSOCK_TELL_RESPONSE;
	take_credit(c, p);
}

void vsock_conn_ask(struct vsock_conn *c, uint32_t guest_port, uint32_t host_port)
{
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->phase = VSOCK_ASKING;
	c->tell = VSOCK_TELL_REQUEST;
}

void vsock_conn_end(struct vsock_conn *c)
{
	c->phase = VSOCK_DEAD;
	c->tell = VSOCK_TELL_RST;
}

void vsock_conn_shut(struct vsock_conn *c, unsigned int flags)
{
	if (c->phase != VSOCK_OPEN || !(flags & ~(unsigned int)c->host_shutdown))
		return;
	c->host_shutdown |= (uint8_t)flags;
	c->tell |= VSOCK_TELL_SHUTDOWN;
}

void vsock_conn_forwarded(struct vsock_conn *c, uint32_t n)
{
	c->fwd_cnt += n;
	/* Half a window at a time: never so late that the guest stands still, never a packet for each of its packets. */
	if (c->phase == VSOCK_OPEN && c->fwd_cnt - c->fwd_cnt_told >= VSOCK_WINDOW_BYTES / 2)
		c->tell |= VSOCK_TELL_CREDIT;
}

static bool wants_data(const struct vsock_conn *c)
{
	return c->phase == VSOCK_OPEN && c->readable &&
	       !(c->host_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       !(c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

uint16_t vsock_conn_next(const struct vsock_conn *c)
{
	static const struct {
		uint8_t tell;
		uint16_t op;
	} first[] = {
		{ VSOCK_TELL_RST, VIRTIO_VSOCK_OP_RST },
		{ VSOCK_TELL_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
		{ VSOCK_TELL_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
		/* That nothing more comes is found behind the last byte. */
		{ VSOCK_TELL_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
	};

	for (unsigned int i = 0; i < ARRAY_LEN(first); i++)
		if (c->tell & first[i].tell)
			return first[i].op;
	if (wants_data(c) && vsock_conn_credit(c))
		return VIRTIO_VSOCK_OP_RW;
	/* Once: a guest whose reader sleeps would answer that there is still none, for ever. */
	if (wants_data(c) && !c->asked)
		return VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	return c->tell & VSOCK_TELL_CREDIT ? VIRTIO_VSOCK_OP_CREDIT_UPDATE : 0;
}

void vsock_conn_send(struct vsock_conn *c, uint16_t op, uint32_t len_bytes, uint64_t guest_cid,
		     struct vsock_packet *ret)
{
	*ret = (struct vsock_packet){
		.src_cid = VMADDR_CID_HOST,
		.dst_cid = guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len_bytes = len_bytes,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? c->host_shutdown : 0,
		.buf_alloc = VSOCK_WINDOW_BYTES,
		.fwd_cnt = c->fwd_cnt,
	};
	c->sent += len_bytes;
	c->fwd_cnt_told = c->fwd_cnt;
	c->tell &= (uint8_t)~VSOCK_TELL_CREDIT;
	if (op == VIRTIO_VSOCK_OP_RST)
		c->tell = 0;
	else if (op == VIRTIO_VSOCK_OP_REQUEST)
		c->tell &= (uint8_t)~VSOCK_TELL_REQUEST;
	else if (op == VIRTIO_VSOCK_OP_RESPONSE)
		c->tell &= (uint8_t)~VSOCK_TELL_RESPONSE;
	else if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
		c->tell &= (uint8_t)~VSOCK_TELL_SHUTDOWN;
	else if (op == VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		c->asked = true;
}
