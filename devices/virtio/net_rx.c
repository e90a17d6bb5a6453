/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive queues (virtio 1.2 §5.1.6.3, §5.1.6.4). A frame is read straight into the driver's buffers. Its length shows only then; so buffers for about as much as the frames before
 * had are taken ahead, and what does not fit runs over into memory of our own, from where it is copied into further buffers. When the driver has none, the frame waits for them, and those
 * behind it in the interface.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net.h"

#define BATCH 128u /* then the other queues have their turn */
#define MAX_SEGS 512u /* of a readv; below IOV_MAX */

enum rx_step {
	RX_AGAIN, /* a frame is done with */
	RX_EMPTY, /* the interface has none, or the queue is not to have any */
	RX_LIMITED,
	RX_STARVED, /* of buffers */
	RX_BROKEN,
};

static struct virtq *queue_of(struct net_pair *p)
{
	return &p->net->v.queue[net_rx_queue(p)].vq;
}

static struct virtq_chain *window_at(const struct net_rx *rx, unsigned int i)
{
	return &rx->window[(rx->first + i) % NET_WINDOW];
}

int net_rx_init(struct net_rx *rx)
{
	/* Large, and touched as far as frames need it. */
	rx->window = calloc(NET_WINDOW, sizeof(*rx->window));
	rx->spill = malloc(NET_FRAME_MAX);
	rx->expect_bytes = NET_FRAME_MAX;
	return rx->window && rx->spill ? 0 : -ENOMEM;
}

void net_rx_fini(struct net_rx *rx)
{
	free(rx->window);
	free(rx->spill);
}

static void forget_window(struct net_rx *rx)
{
	rx->first = rx->count = rx->nsegs = 0;
	rx->bytes = 0;
	rx->held_bytes = 0;
}

void net_rx_reset(struct net_pair *p)
{
	if (p->rx.held_bytes)
		p->net->rx_count.dropped++;
	forget_window(&p->rx);
	p->rx.parked = false;
	p->rx.expect_bytes = NET_FRAME_MAX;
}

void net_rx_put_back(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;

	if (rx->held_bytes)
		p->net->rx_count.dropped++;
	for (unsigned int i = rx->count; i > 0; i--)
		virtq_unpop(queue_of(p), window_at(rx, i - 1)->head);
	forget_window(rx);
}

/* Without mergeable buffers one has to hold all of a frame. */
static bool window_full(const struct net_pair *p)
{
	if (!virtio_has(&p->net->v, VIRTIO_NET_F_MRG_RXBUF))
		return p->rx.count == 1;
	return p->rx.count == NET_WINDOW || p->rx.nsegs + VIRTQ_MAX_SEGS > MAX_SEGS;
}

/* Takes buffers until there are @bytes, or no more: 0 or -EBADMSG. */
static int fill_window(struct net_pair *p, uint64_t bytes, struct err *err)
{
	struct net_rx *rx = &p->rx;

	while (rx->bytes < bytes && !window_full(p)) {
		struct virtq_chain *c = window_at(rx, rx->count);
		int rc = virtq_pop(queue_of(p), c, err);

		if (rc <= 0)
			return rc;
		/* §5.1.6.3.1: each holds at least the header. */
		if (c->write_bytes < NET_HEADER_BYTES)
			return err_set(err, -EBADMSG, "chain %u: %u bytes are no receive buffer",
				       c->head, (unsigned int)c->write_bytes);
		rx->count++;
		rx->nsegs += c->nwrite;
		rx->bytes += c->write_bytes;
	}
	return 0;
}

static void use_buffers(struct net_rx *rx, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct virtq_chain *c = window_at(rx, i);

		rx->nsegs -= c->nwrite;
		rx->bytes -= c->write_bytes;
	}
	rx->first = (rx->first + n) % NET_WINDOW;
	rx->count -= n;
}

static unsigned int window_iov(const struct net_rx *rx, struct iovec *iov)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < rx->count; i++) {
		const struct virtq_chain *c = window_at(rx, i);

		memcpy(iov + n, c->seg + c->nread, c->nwrite * sizeof(*iov));
		n += c->nwrite;
	}
	return n;
}

static void iov_copy_out(const struct iovec *iov, size_t offset, uint8_t *dst, size_t len_bytes)
{
	for (; len_bytes; iov++, offset = 0) {
		size_t n;

		for (; offset >= iov->iov_len; iov++)
			offset -= iov->iov_len;
		n = MIN(len_bytes, iov->iov_len - offset);
		memcpy(dst, (const uint8_t *)iov->iov_base + offset, n);
		dst += n;
		len_bytes -= n;
	}
}

/* Dirty before the driver or a migration can see what becomes of the buffers. */
static void mark_written(struct net_pair *p, uint64_t bytes)
{
	for (unsigned int i = 0; i < p->rx.count && bytes; i++) {
		const struct virtq_chain *c = window_at(&p->rx, i);
		uint64_t n = MIN(bytes, c->write_bytes);

		virtq_written(queue_of(p), c, n);
		bytes -= n;
	}
}

/* Gives the driver a frame that lies in the first buffers of the window. */
static void deliver(struct net_pair *p, uint32_t frame_bytes)
{
	struct virtq *vq = queue_of(p);
	uint32_t left = frame_bytes;
	unsigned int n = 0;
	uint8_t num_buffers[2];

	while (left) {
		const struct virtq_chain *c = window_at(&p->rx, n);
		uint32_t len = (uint32_t)MIN(left, c->write_bytes);

		virtq_fill(vq, c->head, len, n++);
		left -= len;
	}
	le16_put(num_buffers, (uint16_t)n);
	virtq_write(vq, window_at(&p->rx, 0), offsetof(struct virtio_net_hdr_v1, num_buffers),
		    num_buffers, sizeof(num_buffers));
	virtq_flush(vq, n);
	use_buffers(&p->rx, n);
	net_count_frame(&p->net->rx_count, frame_bytes - NET_HEADER_BYTES);
}

static void copy_spill(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	uint64_t at = 0;

	for (unsigned int i = 0; at < rx->held_bytes; i++) {
		const struct virtq_chain *c = window_at(rx, i);
		uint64_t end = MIN(at + c->write_bytes, rx->held_bytes);

		if (at >= rx->held_at)
			virtq_write(queue_of(p), c, 0, rx->spill + (at - rx->held_at), end - at);
		at = end;
	}
}

/* The frame that is longer than the window was. */
static enum rx_step deliver_held(struct net_pair *p, struct err *err)
{
	struct net_rx *rx = &p->rx;

	if (fill_window(p, rx->held_bytes, err))
		return RX_BROKEN;
	if (rx->bytes >= rx->held_bytes) {
		copy_spill(p);
		deliver(p, rx->held_bytes);
	} else if (window_full(p) || rx->count == queue_of(p)->size) {
		p->net->rx_count.dropped++; /* no buffers to come would be enough */
	} else {
		return RX_STARVED;
	}
	rx->held_bytes = 0;
	return RX_AGAIN;
}

/* A frame that was not expected is seldom alone: all the way up at once, and down slowly. */
static void learn(struct net_rx *rx, uint32_t frame_bytes)
{
	if (frame_bytes > rx->expect_bytes)
		rx->expect_bytes = NET_FRAME_MAX;
	else
		rx->expect_bytes -= (rx->expect_bytes - frame_bytes) / 64;
}

static enum rx_step read_failed(struct net_pair *p, int code)
{
	p->rx.readable = false;
	if (code == EBADFD)
		net_gone(p->net);
	else if (code != EAGAIN)
		p->net->rx_count.dropped++;
	return RX_EMPTY;
}

static enum rx_step read_frame(struct net_pair *p, struct err *err)
{
	struct net_rx *rx = &p->rx;
	struct iovec iov[MAX_SEGS + 1];
	unsigned int niov = window_iov(rx, iov);
	uint8_t dst[NET_MAC_BYTES];
	uint32_t frame_bytes;
	ssize_t n;

	iov[niov] = (struct iovec){ rx->spill, NET_FRAME_MAX };
	do {
		n = readv(p->net->netif.fd[p->index], iov, (int)niov + 1);
	} while (n < 0 && errno == EINTR);
	if (n <= 0) /* an interface's frame is never empty; the end of a file is */
		return read_failed(p, n ? errno : EBADFD);
	frame_bytes = (uint32_t)n;
	mark_written(p, frame_bytes);
	if (frame_bytes < NET_HEADER_BYTES + NET_ETH_BYTES) {
		p->net->rx_count.dropped++;
		return RX_AGAIN;
	}
	net_gate_pass(&rx->gate, frame_bytes - NET_HEADER_BYTES);
	iov_copy_out(iov, NET_HEADER_BYTES, dst, sizeof(dst));
	if (!net_filter_wants(&p->net->filter, dst))
		return RX_AGAIN;
	learn(rx, frame_bytes);
	if (frame_bytes > rx->bytes) {
		rx->held_bytes = frame_bytes;
		rx->held_at = (uint32_t)rx->bytes;
		return deliver_held(p, err);
	}
	deliver(p, frame_bytes);
	return RX_AGAIN;
}

static enum rx_step serve_one(struct net_pair *p, struct err *err)
{
	struct net_rx *rx = &p->rx;

	if (rx->held_bytes)
		return deliver_held(p, err);
	if (!rx->readable)
		return RX_EMPTY;
	if (!net_gate_open(p->net, &rx->gate, net_rx_queue(p)))
		return RX_LIMITED;
	if (fill_window(p, rx->expect_bytes, err))
		return RX_BROKEN;
	return rx->count ? read_frame(p, err) : RX_STARVED;
}

void net_rx_serve(struct net_pair *p)
{
	struct net_rx *rx = &p->rx;
	struct virtio *v = &p->net->v;
	struct virtio_queue *q = &v->queue[net_rx_queue(p)];
	enum rx_step step = RX_AGAIN;
	uint16_t before = q->vq.used_idx;
	struct err err = { 0 };

	q->quiet = true;
	if (p->index >= p->net->npairs || p->net->gone)
		return;
	for (unsigned int i = 0; i < BATCH && step == RX_AGAIN; i++)
		step = serve_one(p, &err);
	if (!rx->held_bytes)
		net_rx_put_back(p);
	if (q->vq.used_idx != before)
		virtio_signal(v, net_rx_queue(p));
	if (step == RX_BROKEN) {
		virtio_broken(v, &err);
		return;
	}
	if (step == RX_AGAIN)
		virtio_again(v, net_rx_queue(p));
	/* What cannot be taken stays in the interface, and is no reason to wake up. */
	rx->parked = step == RX_STARVED || step == RX_LIMITED;
	q->quiet = step != RX_STARVED;
	net_watch(p, false);
}
