/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card is somewhere else now: bridges and switches on the way still send its frames to the old place until they see one of its own from the new one. The guest
 * announces itself when it can (virtio 1.2 §5.1.6.5.4), by gratuitous ARP, for it knows its addresses. In its place, and at once, goes a RARP request (RFC 903) with the card's
 * address alone, several times since frames get lost while a bridge's port is not forwarding yet.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/num.h"
#include "net.h"

/* After the first one, which goes at once. */
static const uint32_t gaps_ms[] = { 50, 150, 250, 350 };

#define FRAME_BYTES 60u /* Ethernet's least, without the checksum */
enum { ETHERTYPE = 12, ARP = 14, ARP_SENDER = 22, ARP_TARGET = 32 };

static void make_rarp(const uint8_t *mac, uint8_t *frame)
{
	/* Ethernet, IPv4, their addresses' lengths, operation 3: "reverse request" (RFC 826, RFC 903). */
	static const uint8_t arp[] = { 0x00, 0x01, 0x08, 0x00, NET_MAC_BYTES, 4, 0x00, 0x03 };

	memset(frame, 0, FRAME_BYTES);
	memset(frame, 0xff, NET_MAC_BYTES);
	memcpy(frame + NET_MAC_BYTES, mac, NET_MAC_BYTES);
	frame[ETHERTYPE] = 0x80;
	frame[ETHERTYPE + 1] = 0x35;
	memcpy(frame + ARP, arp, sizeof(arp));
	memcpy(frame + ARP_SENDER, mac, NET_MAC_BYTES);
	memcpy(frame + ARP_TARGET, mac, NET_MAC_BYTES);
}

/* As lost as any frame when the interface does not take it: the next one follows. */
static void send_rarp(struct net *n)
{
	struct virtio_net_hdr_v1 header = { 0 };
	uint8_t frame[FRAME_BYTES];
	const struct iovec iov[] = { { &header, sizeof(header) }, { frame, sizeof(frame) } };
	ssize_t rc;

	make_rarp(n->filter.mac, frame);
	rc = writev(n->netif.fd[0], iov, ARRAY_LEN(iov));
	if (rc < 0 && errno == EBADFD)
		net_gone(n);
}

static void next(struct net *n)
{
	struct itimerspec when = { 0 };

	send_rarp(n);
	n->announce_left--;
	if (!n->announce_left || n->gone) {
		n->announce_left = 0;
		return;
	}
	when.it_value.tv_nsec = (long)(gaps_ms[ARRAY_LEN(gaps_ms) - n->announce_left] * NS_PER_MS);
	(void)timerfd_settime(n->announce_fd, 0, &when, NULL);
}

static void on_timer(void *opaque, int fd, uint32_t events)
{
	struct net *n = opaque;
	uint64_t expired;

	if (read(fd, &expired, sizeof(expired)) != (ssize_t)sizeof(expired) || !n->announce_left)
		return;
	/* It may be about to leave, and must not call the frames back here. */
	if (n->v.paused)
		n->announce_left = 0;
	else
		next(n);
}

int net_announce_init(struct net *n, struct err *err)
{
	n->announce_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return n->announce_fd < 0 ? err_sys(err, -errno, "timerfd") : 0;
}

void net_announce_start(struct net *n)
{
	struct loop *loop = worker_loop(n->v.worker);
	uint16_t status = VIRTIO_NET_S_LINK_UP;

	if (n->gone)
		return;
	/* From zero: one that is pending was asked for at the other place. */
	net_set_status(n, 0, false);
	if (virtio_has(&n->v, VIRTIO_NET_F_GUEST_ANNOUNCE))
		status |= VIRTIO_NET_S_ANNOUNCE;
	net_set_status(n, status, true);
	net_announce_stop(n);
	/* Without memory for a timer it is announced once. */
	n->announce_left = loop_add(loop, n->announce_fd, EPOLLIN, on_timer, n) ?
				   1 :
				   (unsigned int)ARRAY_LEN(gaps_ms) + 1;
	next(n);
}

void net_announce_stop(struct net *n)
{
	const struct itimerspec never = { 0 };

	n->announce_left = 0;
	(void)timerfd_settime(n->announce_fd, 0, &never, NULL);
	loop_del(worker_loop(n->v.worker), n->announce_fd);
}
