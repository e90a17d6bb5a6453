/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device: its queues, configuration and life (virtio 1.2 §5.10). */
#include "vsock.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

#define QUEUE_SIZE 256u
#define PCI_CLASS_OTHER_COMM 0x078000u
#define F_STREAM 0 /* §5.10.3 */

/* ---- to the guest ---- */

/* While the guest is not told that its old connections are gone, nothing of a new one comes ahead of that. */
static bool has_something(const struct vsock *s)
{
	if (s->owes_reset)
		return false;
	if (s->nrefusals)
		return true;
	for (unsigned int i = 0; i < s->end; i++)
		if (vsock_conn_next(&s->conn[i]))
			return true;
	return false;
}

static void put_refusal(struct vsock *s, struct vsock_packet *ret)
{
	const struct vsock_refusal *r = &s->refusal[s->first_refusal];

	*ret = (struct vsock_packet){ .src_cid = r->from_cid,
				      .dst_cid = s->cid,
				      .src_port = r->from_port,
				      .dst_port = r->to_port,
				      .type = r->type,
				      .op = VIRTIO_VSOCK_OP_RST };
	s->first_refusal = (s->first_refusal + 1) % VSOCK_MAX_REFUSALS;
	s->nrefusals--;
}

/* A packet of this connection, its payload read to where the guest has it: true, or false when there was nothing after all. */
static bool put_packet(struct vsock *s, struct vsock_conn *c, struct vsock_packet *ret)
{
	struct iovec iov[VIRTQ_MAX_SEGS];
	uint32_t len_bytes = 0;
	uint16_t op;

	/* An attempt to read that finds nothing changes what is next. */
	while ((op = vsock_conn_next(c)) == VIRTIO_VSOCK_OP_RW && !len_bytes) {
		unsigned int niov =
			virtq_iov(&s->chain, true, VSOCK_HEADER_BYTES, vsock_conn_credit(c), iov);

		len_bytes = (uint32_t)vsock_host_read(c, iov, niov);
	}
	if (!op)
		return false;
	vsock_conn_send(c, op, len_bytes, s->cid, ret);
	if (op == VIRTIO_VSOCK_OP_RST)
		vsock_host_told_end(c);
	return true;
}

/* The next packet of anybody, connections in turn. */
static bool next_packet(struct vsock *s, struct vsock_packet *ret)
{
	if (s->nrefusals) {
		put_refusal(s, ret);
		return true;
	}
	for (unsigned int n = s->end; n > 0; n--) {
		s->turn = s->turn + 1 < s->end ? s->turn + 1 : 0;
		if (put_packet(s, &s->conn[s->turn], ret))
			return true;
	}
	return false;
}

/* 1, 0: nothing to send or nowhere to put it, -EBADMSG. */
static int send_one(struct vsock *s, struct virtio_queue *q, struct err *err)
{
	uint8_t wire[VSOCK_HEADER_BYTES];
	struct vsock_packet p;
	int rc = virtq_pop(&q->vq, &s->chain, err);

	if (rc <= 0) {
		q->quiet = false;
		return rc;
	}
	/* §5.10.6.3.1: for a packet with data. */
	if (s->chain.write_bytes <= VSOCK_HEADER_BYTES)
		return err_set(err, -EBADMSG, "a receive buffer of %llu bytes",
			       (unsigned long long)s->chain.write_bytes);
	if (!next_packet(s, &p)) {
		virtq_unpop(&q->vq, s->chain.head);
		return 0;
	}
	vsock_packet_put(&p, wire);
	virtq_written(&q->vq, &s->chain, VSOCK_HEADER_BYTES + (uint64_t)p.len_bytes);
	virtq_write(&q->vq, &s->chain, 0, wire, sizeof(wire));
	virtq_push(&q->vq, s->chain.head, VSOCK_HEADER_BYTES + p.len_bytes);
	return 1;
}

static int serve_rx(struct vsock *s, struct err *err)
{
	struct virtio_queue *q = &s->v.queue[VSOCK_RX];
	unsigned int n = 0;
	int rc = 1;

	/* It is something to say that is waited for, unless there are no buffers. */
	q->quiet = true;
	while (n < q->vq.size && has_something(s) && (rc = send_one(s, q, err)) > 0)
		n++;
	virtio_signal(&s->v, VSOCK_RX);
	if (n == q->vq.size)
		virtio_again(&s->v, VSOCK_RX);
	if (n && s->v.queue[VSOCK_TX].quiet) /* for room among the refusals */
		virtio_again(&s->v, VSOCK_TX);
	return rc;
}

static int serve_event(struct vsock *s, struct err *err)
{
	struct virtio_queue *q = &s->v.queue[VSOCK_EVENT];
	uint8_t event[sizeof(struct virtio_vsock_event)];
	int rc = 0;

	if (s->owes_reset && (rc = virtq_pop(&q->vq, &s->chain, err)) > 0) {
		le32_put(event, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
		if (virtq_write(&q->vq, &s->chain, 0, event, sizeof(event)) != sizeof(event))
			return err_set(err, -EBADMSG, "an event buffer of %llu bytes",
				       (unsigned long long)s->chain.write_bytes);
		virtq_push(&q->vq, s->chain.head, sizeof(event));
		virtio_signal(&s->v, VSOCK_EVENT);
		s->owes_reset = false;
		virtio_again(&s->v, VSOCK_RX);
	}
	q->quiet = !s->owes_reset;
	return rc;
}

/* ---- from the guest ---- */

static void refuse(struct vsock *s, const struct vsock_packet *p)
{
	unsigned int at = (s->first_refusal + s->nrefusals++) % VSOCK_MAX_REFUSALS;

	s->refusal[at] = (struct vsock_refusal){ .from_cid = p->dst_cid,
						 .from_port = p->dst_port,
						 .to_port = p->src_port,
						 .type = p->type };
	s->counts.refused++;
}

static struct vsock_conn *find(struct vsock *s, const struct vsock_packet *p)
{
	for (unsigned int i = 0; i < s->end; i++)
		if (vsock_conn_is(&s->conn[i], p->src_port, p->dst_port))
			return &s->conn[i];
	return NULL;
}

/* §5.10.6: to the host, of streams, and of a connection that there is or is to be; anything else but a RST is answered by one. */
static void take_packet(struct vsock *s, const struct vsock_packet *p)
{
	bool good = p->dst_cid == VMADDR_CID_HOST && p->type == VIRTIO_VSOCK_TYPE_STREAM;
	struct vsock_conn *c = good ? find(s, p) : NULL;

	if (p->src_cid != s->cid) /* there is nobody to answer (§5.10.4.1) */
		s->counts.dropped++;
	else if (c)
		vsock_host_do(c, vsock_conn_packet(c, p), &s->chain, p->len_bytes);
	else if (p->op != VIRTIO_VSOCK_OP_RST &&
		 (!good || p->op != VIRTIO_VSOCK_OP_REQUEST || !vsock_host_open(s, p)))
		refuse(s, p);
}

static int serve_tx(struct vsock *s, struct err *err)
{
	struct virtio_queue *q = &s->v.queue[VSOCK_TX];
	unsigned int n = 0;
	int rc = 0;

	while (n < q->vq.size && s->nrefusals < VSOCK_MAX_REFUSALS &&
	       (rc = virtq_pop(&q->vq, &s->chain, err)) > 0) {
		uint8_t wire[VSOCK_HEADER_BYTES];
		struct vsock_packet p;

		if (virtq_read(&s->chain, 0, wire, sizeof(wire)) != sizeof(wire))
			return err_set(err, -EBADMSG, "%llu bytes are no header of %u",
				       (unsigned long long)s->chain.read_bytes, VSOCK_HEADER_BYTES);
		vsock_packet_get(wire, &p);
		if (p.len_bytes > s->chain.read_bytes - VSOCK_HEADER_BYTES)
			return err_set(err, -EBADMSG, "len %u in a packet of %llu bytes",
				       p.len_bytes, (unsigned long long)s->chain.read_bytes);
		take_packet(s, &p);
		virtq_push(&q->vq, s->chain.head, 0);
		n++;
	}
	virtio_signal(&s->v, VSOCK_TX);
	q->quiet = s->nrefusals == VSOCK_MAX_REFUSALS;
	if (n == q->vq.size && !q->quiet)
		virtio_again(&s->v, VSOCK_TX);
	if (has_something(s))
		virtio_again(&s->v, VSOCK_RX);
	return rc;
}

/* ---- the device type ---- */

static void vsock_serve(void *self, unsigned int queue)
{
	struct vsock *s = self;
	struct err err = { 0 };
	int rc = 0;

	if (queue == VSOCK_RX)
		rc = serve_rx(s, &err);
	else if (queue == VSOCK_TX)
		rc = serve_tx(s, &err);
	else
		rc = serve_event(s, &err);
	if (rc < 0)
		virtio_broken(&s->v, &err);
}

static void vsock_activate(void *self)
{
	struct vsock *s = self;

	s->owes_reset = s->v.restored;
}

static void vsock_serving(void *self, bool on)
{
	vsock_host_watch(self, on);
}

static void forget(struct vsock *s)
{
	vsock_host_close_all(s);
	s->nrefusals = 0;
	s->owes_reset = false;
}

static void vsock_reset(void *self)
{
	forget(self);
}

static int vsock_release(void *self, struct err *err)
{
	/* Connections stay for the case that the VM comes back; they end with this process. */
	vsock_host_unlisten(self);
	return 0;
}

static int vsock_take(void *self, struct err *err)
{
	struct vsock *s = self;
	int rc = s->listener.fd < 0 ? vsock_host_listen(s, err) : 0;

	if (rc)
		err_prefix(err, "--vsock");
	return rc;
}

static void vsock_counters(void *self, void (*fn)(void *opaque, const char *name, uint64_t value),
			   void *opaque)
{
	const struct vsock *s = self;

	fn(opaque, "connections", s->nconns);
	fn(opaque, "opened", s->counts.opened);
	fn(opaque, "refused", s->counts.refused);
	fn(opaque, "dropped", s->counts.dropped);
	fn(opaque, "bytes_in", s->counts.bytes_in);
	fn(opaque, "bytes_out", s->counts.bytes_out);
}

static void vsock_stop(void *self)
{
	struct vsock *s = self;

	forget(s);
	vsock_host_unlisten(s);
}

static void vsock_destroy(void *self)
{
	struct vsock *s = self;

	free(s->path);
	free(s);
}

/* state.md, section "vsock". */
struct vsock_image {
	uint32_t next_port;
};

static const struct state_field vsock_fields[] = {
	STATE_FIELD_U32(struct vsock_image, next_port),
};

/* On the worker: programs of the host come and go while the device is paused. */
struct image_call {
	struct vsock *s;
	uint32_t next_port;
};

static void capture_now(void *opaque)
{
	struct image_call *c = opaque;

	c->next_port = c->s->next_port;
}

static int vsock_capture(void *dev, void *image, struct err *err)
{
	struct image_call c = { .s = dev };

	worker_call(c.s->v.worker, capture_now, &c);
	((struct vsock_image *)image)->next_port = c.next_port;
	return 0;
}

static int vsock_check(const void *image, struct err *err)
{
	uint32_t port = ((const struct vsock_image *)image)->next_port;

	if (port < VSOCK_FIRST_PORT || port >= VSOCK_END_PORT)
		return err_set(err, -EBADMSG, "next_port %u", port);
	return 0;
}

static void apply_now(void *opaque)
{
	struct image_call *c = opaque;

	c->s->next_port = c->next_port;
}

static int vsock_apply(void *dev, const void *image, struct err *err)
{
	struct image_call c = { dev, ((const struct vsock_image *)image)->next_port };

	worker_call(c.s->v.worker, apply_now, &c);
	return 0;
}

static const struct state_desc vsock_state =
	STATE_DESC_("vsock", struct vsock_image, vsock_fields, vsock, vsock_check);

static const struct virtio_type vsock_type = {
	.kind = "vsock",
	.device_id = VIRTIO_ID_VSOCK,
	.pci_class = PCI_CLASS_OTHER_COMM,
	.activate = vsock_activate,
	.serve = vsock_serve,
	.serving = vsock_serving,
	.reset = vsock_reset,
	.release = vsock_release,
	.take = vsock_take,
	.counters = vsock_counters,
	.stop = vsock_stop,
	.destroy = vsock_destroy,
	.state = &vsock_state,
};

static int check_config(const struct virtio_common *common, const struct vsock_config *config,
			struct err *err)
{
	const struct virtio_face *face = common->face;

	if (config->cid < VSOCK_MIN_CID || config->cid > VSOCK_MAX_CID)
		return err_set(err, -EINVAL, "cid: expected %u to %u, got %llu", VSOCK_MIN_CID,
			       VSOCK_MAX_CID, (unsigned long long)config->cid);
	if (face && (face->config_bytes < 8 || le64_get(face->config) != config->cid))
		return err_set(err, -EOPNOTSUPP, "the source's guest has another CID than %llu",
			       (unsigned long long)config->cid);
	return vsock_host_check(config->path, err);
}

static int create(const struct virtio_common *common, const struct vsock_config *config,
		  struct virtio **ret, struct err *err)
{
	uint8_t bytes[sizeof(struct virtio_vsock_config)];
	struct virtio_init init = { .type = &vsock_type,
				    .features = 1ULL << F_STREAM,
				    .nqueues = VSOCK_NQUEUES,
				    .queue_size = QUEUE_SIZE,
				    .config = bytes,
				    .config_bytes = sizeof(bytes) };
	struct vsock *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (s)
		s->path = strdup(config->path);
	if (!s || !s->path) {
		free(s);
		return err_set(err, rc, "out of memory");
	}
	s->cid = config->cid;
	s->listener.fd = -1;
	s->next_port = VSOCK_FIRST_PORT;
	le64_put(bytes, s->cid);
	init.self = s;
	rc = virtio_init(&s->v, common, &init, err);
	if (rc) {
		vsock_destroy(s);
		return rc;
	}
	/* The socket of a VM that comes is its source's until that lets go. Nothing is watched before the device serves. */
	rc = common->face ? 0 : vsock_host_listen(s, err);
	if (rc) {
		virtio_destroy(&s->v);
		return rc;
	}
	*ret = &s->v;
	return 0;
}

int virtio_vsock_create(const struct virtio_common *common, const struct vsock_config *config,
			struct virtio **ret, struct err *err)
{
	int rc = check_config(common, config, err);

	if (!rc)
		rc = create(common, config, ret, err);
	if (rc)
		err_prefix(err, "--vsock");
	return rc;
}
