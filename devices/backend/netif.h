/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_BACKEND_NETIF_H
#define DEVICES_BACKEND_NETIF_H

#include <net/if.h>
#include <stdint.h>

/*
 * The host's side of a network card: descriptors that take and give one frame a call (writev, readv) behind a struct virtio_net_hdr_v1 (virtio 1.2 §5.1.6) and never block. A frame
 * longer than the buffers is cut off. A descriptor whose interface is gone says -EBADFD to either.
 * One thread at a time.
 */
#define NETIF_MAX_QUEUES 8u

struct netif;

struct netif_ops {
	/* What the guest takes from now on, TUN_F_* of <linux/if_tun.h> and at most @offloads of the interface: 0 or -errno. */
	int (*set_offloads)(struct netif *n, unsigned int tun_f);
	/* Frames come to the first @active descriptors, and only these send. 0 or -errno. */
	int (*set_active)(struct netif *n, unsigned int active);
};

struct netif {
	const struct netif_ops *ops;
	char name[IFNAMSIZ];
	unsigned int nqueues;
	unsigned int active;
	int fd[NETIF_MAX_QUEUES]; /* netif_close closes them */
	unsigned int offloads; /* TUN_F_* */
	uint16_t mtu;
};

void netif_close(struct netif *n);

#endif
