/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_NET_FIXTURE_H
#define TESTS_UNIT_DEVICES_NET_FIXTURE_H

#include "devices/virtio/net.h"
#include "virtio_driver.h"

/*
 * A network card between a driver and a network of sockets: one message is a frame with its header, as on a TAP. One at a time.
 */
struct net_fixture {
	struct driver d;
	struct virtio *v;
	int network[NETIF_MAX_QUEUES]; /* the other ends, non-blocking */
	unsigned int nqueues;
	unsigned int offloads; /* what the card asked of its interface */
	unsigned int active;
};

/* An interface of @nqueues with all offloads and an MTU of 1500. */
struct netif net_fixture_netif(struct net_fixture *f, unsigned int nqueues);
/* Driver and card. @face: NULL, or as in virtio_common. 0 or net_create_on's error. */
int net_fixture_init(struct net_fixture *f, unsigned int npairs, const struct virtio_face *face,
		     struct err *err);
void net_fixture_fini(struct net_fixture *f);

/* A frame of @frame_bytes behind an empty header, to @dst (NULL: broadcast) and otherwise a pattern that begins with @seed; returns the whole length. */
#define NET_FIXTURE_FRAME_MAX NET_FRAME_MAX
unsigned int net_fixture_frame(uint8_t *ret, unsigned int frame_bytes, const uint8_t *dst,
			       uint8_t seed);
/* From the network to the card. False: its socket is full. */
bool net_fixture_send(struct net_fixture *f, unsigned int queue, const void *frame,
		      unsigned int len_bytes);
/* The next message from the card, waited for; -1: none came. */
int net_fixture_receive(struct net_fixture *f, unsigned int queue, void *ret, unsigned int max);
/* Waits until the card has taken @n chains, and not put them back. */
bool net_fixture_wait_taken(struct net_fixture *f, unsigned int queue, uint16_t n);
uint64_t net_fixture_counter(struct net_fixture *f, const char *name);

#endif
