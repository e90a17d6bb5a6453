/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_NET_FILTER_H
#define DEVICES_VIRTIO_NET_FILTER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Which frames the driver wants (virtio 1.2 §5.1.6.5.1 and §5.1.6.5.2), by their destination. Pure.
 */
#define NET_FILTER_MACS 64u /* in each table */
#define NET_MAC_BYTES 6u

/* In @mode. The first six are those of VIRTIO_NET_CTRL_RX, in its order; an overflow takes the place of a table that was longer than NET_FILTER_MACS. */
enum {
	NET_PROMISC = 1 << 0,
	NET_ALLMULTI = 1 << 1,
	NET_ALLUNI = 1 << 2,
	NET_NOMULTI = 1 << 3,
	NET_NOUNI = 1 << 4,
	NET_NOBCAST = 1 << 5,
	NET_UNI_OVERFLOW = 1 << 6,
	NET_MULTI_OVERFLOW = 1 << 7,
};

struct net_mac_table {
	uint32_t len_bytes; /* a multiple of NET_MAC_BYTES */
	uint8_t macs[NET_FILTER_MACS * NET_MAC_BYTES];
};

struct net_filter {
	uint8_t mode;
	uint8_t mac[NET_MAC_BYTES]; /* the card's own */
	struct net_mac_table uni, multi;
};

/* As after a reset: everything, until the driver says what it wants. @mac stays. */
void net_filter_reset(struct net_filter *f);
bool net_filter_wants(const struct net_filter *f, const uint8_t dst[NET_MAC_BYTES]);

#endif
