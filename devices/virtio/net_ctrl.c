/* SPDX-License-Identifier: Apache-2.0 */
/* The control queue (virtio 1.2 §5.1.6.5): a header of class and command, the command's data, and a byte for the answer. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net.h"

#define BATCH 16u /* then the other queues have their turn */
#define HEADER_BYTES 2u

/* What follows the header. Fetched piece by piece, each once; a piece that is not there whole is an error. */
struct command {
	const struct virtq_chain *chain;
	uint64_t offset;
};

static bool get(struct command *c, void *dst, size_t len_bytes)
{
	if (virtq_read(c->chain, c->offset, dst, len_bytes) != len_bytes)
		return false;
	c->offset += len_bytes;
	return true;
}

static bool at_end(const struct command *c)
{
	return c->offset == c->chain->read_bytes;
}

/* The commands; true: done. @mode: the mode's bit, of class VIRTIO_NET_CTRL_RX. */

static bool set_rx_mode(struct net *n, uint8_t mode, struct command *c)
{
	uint8_t on;

	if (!get(c, &on, 1) || on > 1 || !at_end(c))
		return false;
	n->filter.mode = (uint8_t)(on ? n->filter.mode | mode : n->filter.mode & ~mode);
	return true;
}

/* u32 count, addresses. More of them than the table takes are as good as "all". */
static bool get_macs(struct command *c, struct net_mac_table *ret, bool *ret_overflow)
{
	uint8_t count_bytes[4];
	uint64_t len_bytes;

	if (!get(c, count_bytes, sizeof(count_bytes)))
		return false;
	len_bytes = (uint64_t)le32_get(count_bytes) * NET_MAC_BYTES;
	if (len_bytes > c->chain->read_bytes - c->offset)
		return false;
	*ret_overflow = len_bytes > sizeof(ret->macs);
	if (*ret_overflow) {
		c->offset += len_bytes;
		ret->len_bytes = 0;
		return true;
	}
	ret->len_bytes = (uint32_t)len_bytes;
	return get(c, ret->macs, len_bytes);
}

static bool set_mac_table(struct net *n, uint8_t mode, struct command *c)
{
	const uint8_t overflows = NET_UNI_OVERFLOW | NET_MULTI_OVERFLOW;
	struct net_filter f = n->filter;
	bool uni = false, multi = false;

	if (!get_macs(c, &f.uni, &uni) || !get_macs(c, &f.multi, &multi) || !at_end(c))
		return false;
	f.mode = (uint8_t)((f.mode & ~overflows) | (uni ? NET_UNI_OVERFLOW : 0) |
			   (multi ? NET_MULTI_OVERFLOW : 0));
	n->filter = f;
	return true;
}

static bool set_mac(struct net *n, uint8_t mode, struct command *c)
{
	uint8_t mac[NET_MAC_BYTES];

	if (!get(c, mac, sizeof(mac)) || !at_end(c) || mac[0] & 1)
		return false;
	net_set_mac(n, mac);
	return true;
}

static bool ack_announce(struct net *n, uint8_t mode, struct command *c)
{
	if (!at_end(c))
		return false;
	net_set_status(n, net_status(n) & (uint16_t)~VIRTIO_NET_S_ANNOUNCE, false);
	return true;
}

static bool set_pairs(struct net *n, uint8_t mode, struct command *c)
{
	uint8_t bytes[2];
	uint16_t npairs;

	if (!get(c, bytes, sizeof(bytes)) || !at_end(c))
		return false;
	npairs = le16_get(bytes);
	if (npairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || npairs > n->max_pairs)
		return false;
	net_set_pairs(n, npairs);
	return true;
}

static bool set_offloads(struct net *n, uint8_t mode, struct command *c)
{
	uint8_t bytes[8];
	uint64_t offloads;

	if (!get(c, bytes, sizeof(bytes)) || !at_end(c))
		return false;
	offloads = le64_get(bytes);
	if (offloads & ~net_offloads_allowed(n))
		return false;
	net_set_offloads(n, offloads);
	return true;
}

static const struct {
	uint8_t class, cmd;
	uint8_t feature;
	uint8_t mode;
	bool (*run)(struct net *n, uint8_t mode, struct command *c);
} commands[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, NET_PROMISC,
	  set_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, NET_ALLMULTI,
	  set_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, NET_ALLUNI,
	  set_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, NET_NOMULTI,
	  set_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, NET_NOUNI,
	  set_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, NET_NOBCAST,
	  set_rx_mode },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, 0,
	  set_mac_table },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, 0,
	  set_mac },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE, 0,
	  ack_announce },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, 0, set_pairs },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, 0, set_offloads },
};

/* What is unknown, was not negotiated or has the wrong data is an error that the driver reads (§5.1.6.5), not one of its own. */
static uint8_t run(struct net *n, const struct virtq_chain *chain)
{
	struct command c = { .chain = chain };
	uint8_t header[HEADER_BYTES];

	if (!get(&c, header, sizeof(header)))
		return VIRTIO_NET_ERR;
	for (unsigned int i = 0; i < ARRAY_LEN(commands); i++) {
		if (commands[i].class != header[0] || commands[i].cmd != header[1])
			continue;
		if (!virtio_has(&n->v, commands[i].feature))
			break;
		return commands[i].run(n, commands[i].mode, &c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	}
	return VIRTIO_NET_ERR;
}

void net_ctrl_serve(struct net *n, unsigned int queue)
{
	struct virtq *vq = &n->v.queue[queue].vq;
	struct virtq_chain c;
	struct err err = { 0 };
	unsigned int done = 0;
	int rc = 0;

	while (done < BATCH && (rc = virtq_pop(vq, &c, &err)) > 0) {
		uint8_t ack;

		if (!c.write_bytes) {
			rc = err_set(&err, -EBADMSG, "chain %u: no room for an answer", c.head);
			break;
		}
		ack = run(n, &c);
		virtq_write(vq, &c, 0, &ack, 1);
		virtq_push(vq, c.head, 1);
		done++;
	}
	if (done)
		virtio_signal(&n->v, queue);
	if (rc < 0)
		virtio_broken(&n->v, &err);
	else if (done == BATCH)
		virtio_again(&n->v, queue);
}
