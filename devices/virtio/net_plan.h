/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_NET_PLAN_H
#define DEVICES_VIRTIO_NET_PLAN_H

#include "net.h"

/* What a card is to be, before it is made: from its configuration and interface, or from what the guest saw of it where it comes from (common->face). */
#define NET_CONFIG_BYTES ((unsigned int)offsetof(struct virtio_net_config, speed))

struct net_plan {
	uint64_t features; /* the device's own */
	unsigned int npairs;
	uint8_t config[NET_CONFIG_BYTES]; /* struct virtio_net_config as far as mtu */
};

/* How many queues the interface needs. -EINVAL, -EOPNOTSUPP. */
int net_plan_pairs(const struct virtio_common *common, const struct net_config *config,
		   unsigned int *ret, struct err *err);
/* -EINVAL, and -EOPNOTSUPP for what the guest was told and @netif cannot do. */
int net_plan(const struct virtio_common *common, const struct netif *netif,
	     const struct net_config *config, struct net_plan *ret, struct err *err);

#endif
