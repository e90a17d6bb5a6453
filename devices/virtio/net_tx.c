/* SPDX-License-Identifier: Apache-2.0 */
/* Transmit queues (virtio 1.2 §5.1.6.2): each chain is a header and a frame, and goes to the interface as it lies in guest memory. */
#include <errno.h>

#include "net.h"

#define BATCH 128u /* then the other queues have their turn */

enum tx_step { TX_SENT, TX_FULL, TX_BAD };

/* What the interface refuses, for what stands in the header, for its length or because the interface is down, is lost as on a wire. */
static enum tx_step send_frame(struct net_pair *p, const struct virtq_chain *c)
{
	struct net *n = p->net;
	uint64_t frame_bytes = c->read_bytes - NET_HEADER_BYTES;
	ssize_t rc = -1;

	if (c->read_bytes > NET_FRAME_MAX || n->gone) {
		n->tx_count.dropped++;
		return TX_BAD;
	}
	do {
		rc = writev(n->netif.fd[p->index], c->seg, (int)c->nread);
	} while (rc < 0 && errno == EINTR);
	if (rc >= 0) {
		net_count_frame(&n->tx_count, frame_bytes);
		net_gate_pass(&p->tx.gate, frame_bytes);
		return TX_SENT;
	}
	if (errno == EAGAIN)
		return TX_FULL;
	if (errno == EBADFD)
		net_gone(n);
	n->tx_count.dropped++;
	return TX_BAD;
}

/* One chain: 1, 0 when there is none or it has to wait, -EBADMSG. */
static int serve_one(struct net_pair *p, struct virtio_queue *q, struct virtq_chain *c,
		     struct err *err)
{
	int rc;

	if (!net_gate_open(p->net, &p->tx.gate, net_tx_queue(p)))
		return 0;
	rc = virtq_pop(&q->vq, c, err);
	if (rc <= 0) {
		q->quiet = false;
		return rc;
	}
	if (c->read_bytes < NET_HEADER_BYTES)
		return err_set(err, -EBADMSG, "chain %u: %u bytes are no header of %u", c->head,
			       (unsigned int)c->read_bytes, NET_HEADER_BYTES);
	if (send_frame(p, c) == TX_FULL) {
		virtq_unpop(&q->vq, c->head);
		p->tx.blocked = true;
		net_watch(p, true);
		return 0;
	}
	virtq_push(&q->vq, c->head, 0);
	return 1;
}

void net_tx_serve(struct net_pair *p)
{
	struct virtio *v = &p->net->v;
	struct virtio_queue *q = &v->queue[net_tx_queue(p)];
	struct virtq_chain c;
	struct err err = { 0 };
	unsigned int n = 0;
	int rc = 0;

	q->quiet = true;
	if (p->index >= p->net->npairs || p->tx.blocked)
		return;
	while (n < BATCH && (rc = serve_one(p, q, &c, &err)) > 0)
		n++;
	if (n)
		virtio_signal(v, net_tx_queue(p));
	if (rc < 0)
		virtio_broken(v, &err);
	else if (n == BATCH)
		virtio_again(v, net_tx_queue(p));
}
