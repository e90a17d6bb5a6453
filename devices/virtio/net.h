/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_NET_H
#define DEVICES_VIRTIO_NET_H

#include <linux/virtio_net.h>

#include "../backend/netif.h"
#include "../backend/rate.h"
#include "core.h"
#include "net_filter.h"

/*
 * Network card (virtio 1.2 §5.1), in parts: net.c makes it and knows its features and configuration, net_rx.c and net_tx.c move frames between the interface's descriptors and guest memory
 * without a copy, net_ctrl.c answers the control queue, net_announce.c tells the network where the card is now, net_state.c is what migrates.
 * All of it runs on the device's worker.
 */
#define NET_MAX_PAIRS NETIF_MAX_QUEUES
#define NET_HEADER_BYTES ((unsigned int)sizeof(struct virtio_net_hdr_v1))
#define NET_ETH_BYTES 14u
/* The longest frame with its header: an IP packet of 64 KiB, Ethernet's header and a VLAN tag. */
#define NET_FRAME_MAX (NET_HEADER_BYTES + NET_ETH_BYTES + 4u + 65535u)
/* Receive buffers taken ahead of a frame whose length is not known yet. */
#define NET_WINDOW 64u
#define NET_GUEST_OFFLOADS                                                   \
	(1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 | \
	 1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN)

/* A limit in one direction of one queue pair. What a frame takes is known once it has gone through, so the next one waits for it. */
struct net_gate {
	struct rate rate;
	bool owes;
	uint64_t owed_bytes;
};

struct net_rx {
	struct net_gate gate;
	bool readable; /* no -EAGAIN since the descriptor's last event */
	bool parked; /* buffers or the limit are waited for: the descriptor is not watched */
	/* Buffers that were taken and not used yet: @count of them from @first on, round the array. */
	struct virtq_chain *window; /* NET_WINDOW */
	unsigned int first, count;
	unsigned int nsegs; /* of all of them */
	uint64_t bytes; /* of all of them */
	/* What is read and longer than the window: it begins in the window's buffers (@held_at bytes of it) and goes on here. */
	uint8_t *spill; /* NET_FRAME_MAX */
	uint32_t held_bytes; /* the whole frame; 0: none */
	uint32_t held_at;
	uint32_t expect_bytes; /* the next frame is probably no longer */
};

struct net_tx {
	struct net_gate gate;
	bool blocked; /* the interface takes no more for now */
};

struct net_count {
	uint64_t frames, bytes, dropped;
};

struct net;
struct net_pair {
	struct net *net;
	unsigned int index;
	uint32_t watched; /* EPOLL* that the loop waits for at the descriptor; 0: not added */
	struct net_rx rx;
	struct net_tx tx;
};

struct net {
	struct virtio v; /* first */
	struct netif netif;
	unsigned int max_pairs;
	unsigned int npairs; /* in use (§5.1.6.5.5) */
	bool gone; /* the interface: the link is down for good */
	uint64_t offloads; /* VIRTIO_NET_F_GUEST_* in force */
	struct net_filter filter;
	uint8_t first_mac[NET_MAC_BYTES]; /* after a reset */
	int announce_fd; /* timerfd */
	unsigned int announce_left;
	struct net_count rx_count, tx_count;
	struct net_pair pair[NET_MAX_PAIRS];
};

/* Takes over @netif, also when it fails. @mac: as in the configuration. The rest as virtio_net_create. */
int net_create_on(const struct virtio_common *common, struct netif *netif,
		  const struct net_config *config, struct virtio **ret, struct err *err);

static inline unsigned int net_rx_queue(const struct net_pair *p)
{
	return p->index * 2;
}
static inline unsigned int net_tx_queue(const struct net_pair *p)
{
	return p->index * 2 + 1;
}
static inline void net_count_frame(struct net_count *c, uint64_t bytes)
{
	c->frames++;
	c->bytes += bytes;
}

/* net.c */
/* False: queue @queue waits until its limit allows the next frame, and is served again then. */
bool net_gate_open(struct net *n, struct net_gate *g, unsigned int queue);
void net_gate_pass(struct net_gate *g, uint64_t bytes);
/* Watches the pair's descriptor for what the pair waits for now; @again: also for what may be true already. */
void net_watch(struct net_pair *p, bool again);
/* The interface has vanished. */
void net_gone(struct net *n);
/* How many pairs are used, and VIRTIO_NET_F_GUEST_* bits, both checked by the caller. That the interface refuses means that it is gone, which the next read tells. */
void net_set_pairs(struct net *n, unsigned int npairs);
void net_set_offloads(struct net *n, uint64_t offloads);
/* Bits that VIRTIO_NET_CTRL_GUEST_OFFLOADS may set: those of the interface that the driver negotiated. */
uint64_t net_offloads_allowed(const struct net *n);
/* Changes the configuration without telling the driver, who asked for it or looks later. */
void net_put_config(struct net *n, unsigned int offset, const void *data, unsigned int len_bytes);
void net_set_mac(struct net *n, const uint8_t mac[NET_MAC_BYTES]);
/* VIRTIO_NET_S_*, as the driver would read it. */
uint16_t net_status(struct net *n);
/* @tell: the driver, when it changes. */
void net_set_status(struct net *n, uint16_t status, bool tell);

/* net_rx.c */
int net_rx_init(struct net_rx *rx);
void net_rx_fini(struct net_rx *rx);
void net_rx_serve(struct net_pair *p);
/* Returns the buffers of a frame that waits for more, which drops it. */
void net_rx_put_back(struct net_pair *p);
/* The queue is forgotten, and with it what was taken from it. */
void net_rx_reset(struct net_pair *p);

/* net_tx.c */
void net_tx_serve(struct net_pair *p);

/* net_ctrl.c */
void net_ctrl_serve(struct net *n, unsigned int queue);

/* net_announce.c */
int net_announce_init(struct net *n,
		      struct err *err); /* any thread; the descriptor is watched by _start */
void net_announce_start(struct net *n);
void net_announce_stop(struct net *n);

/* net_state.c */
extern const struct state_desc net_state;

#endif
