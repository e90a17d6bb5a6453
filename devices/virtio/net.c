/* SPDX-License-Identifier: Apache-2.0 */
/* The network card's features, configuration and life (virtio 1.2 §5.1.3, §5.1.4). */
#include "net.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../backend/tap.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "net_plan.h"

#define QUEUE_SIZE 256u
#define PCI_CLASS_ETHERNET 0x020000u
#define CONFIG_STATUS offsetof(struct virtio_net_config, status)

/* Limits. */

bool net_gate_open(struct net *n, struct net_gate *g, unsigned int queue)
{
	uint64_t wait_ns;

	if (!g->owes)
		return true;
	if (!rate_take(&g->rate, g->owed_bytes, clock_mono_ns(), &wait_ns)) {
		virtio_again_in(&n->v, queue, wait_ns);
		return false;
	}
	g->owes = false;
	return true;
}

void net_gate_pass(struct net_gate *g, uint64_t bytes)
{
	g->owes = rate_limits(&g->rate);
	g->owed_bytes = bytes;
}

/* The interface. */

/* On an edge: whoever cannot do anything about it now looks again later without being told. */
static void on_interface(void *opaque, int fd, uint32_t events)
{
	struct net_pair *p = opaque;
	struct virtio *v = &p->net->v;

	if (p->tx.blocked && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		p->tx.blocked = false;
		net_watch(p, false);
		virtio_serve(v, net_tx_queue(p));
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
		p->rx.readable = true;
		virtio_serve(v, net_rx_queue(p));
	}
}

void net_watch(struct net_pair *p, bool again)
{
	struct net *n = p->net;
	struct loop *loop = worker_loop(n->v.worker);
	int fd = n->netif.fd[p->index];
	uint32_t want = 0;

	if (virtio_serving(&n->v) && !n->gone && p->index < n->npairs)
		want = (p->rx.parked ? 0 : (uint32_t)EPOLLIN) |
		       (p->tx.blocked ? (uint32_t)EPOLLOUT : 0);
	if (want == p->watched && !again)
		return;
	if (p->watched)
		loop_del(loop, fd);
	p->watched = 0;
	if (!want)
		return;
	if (loop_add(loop, fd, want | EPOLLET, on_interface, p))
		net_gone(n); /* as good as gone without the memory to watch it */
	else
		p->watched = want;
}

void net_gone(struct net *n)
{
	if (n->gone)
		return;
	n->gone = true;
	net_set_status(n, 0, true);
	for (unsigned int i = 0; i < n->max_pairs; i++) {
		n->pair[i].tx.blocked = false;
		net_watch(&n->pair[i], false);
		virtio_again(&n->v, net_tx_queue(&n->pair[i]));
	}
}

void net_set_pairs(struct net *n, unsigned int npairs)
{
	n->npairs = npairs;
	(void)n->netif.ops->set_active(&n->netif, npairs);
	for (unsigned int i = 0; i < n->max_pairs; i++) {
		struct net_pair *p = &n->pair[i];

		if (i >= npairs)
			net_rx_put_back(p);
		p->rx.readable = true;
		p->rx.parked = p->tx.blocked = false;
		net_watch(p, false);
		virtio_again(&n->v, net_rx_queue(p));
		virtio_again(&n->v, net_tx_queue(p));
	}
}

static unsigned int tun_offloads(uint64_t offloads)
{
	static const struct {
		uint8_t feature;
		uint8_t tun_f;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	unsigned int tun_f = 0;

	/* §5.1.3.1: the others need this one; so do the interface's. */
	if (!(offloads >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return 0;
	for (unsigned int i = 0; i < ARRAY_LEN(map); i++)
		if (offloads >> map[i].feature & 1)
			tun_f |= map[i].tun_f;
	return tun_f;
}

void net_set_offloads(struct net *n, uint64_t offloads)
{
	n->offloads = offloads;
	(void)n->netif.ops->set_offloads(&n->netif, tun_offloads(offloads) & n->netif.offloads);
}

uint64_t net_offloads_allowed(const struct net *n)
{
	return n->v.driver_features & NET_GUEST_OFFLOADS;
}

/* Configuration. */

void net_put_config(struct net *n, unsigned int offset, const void *data, unsigned int len_bytes)
{
	pthread_mutex_lock(&n->v.lock);
	if (memcmp(n->v.config + offset, data, len_bytes) != 0) {
		memcpy(n->v.config + offset, data, len_bytes);
		n->v.config_generation++;
	}
	pthread_mutex_unlock(&n->v.lock);
}

void net_set_mac(struct net *n, const uint8_t mac[NET_MAC_BYTES])
{
	memcpy(n->filter.mac, mac, NET_MAC_BYTES);
	net_put_config(n, offsetof(struct virtio_net_config, mac), mac, NET_MAC_BYTES);
}

uint16_t net_status(struct net *n)
{
	uint16_t status;

	pthread_mutex_lock(&n->v.lock);
	status = le16_get(n->v.config + CONFIG_STATUS);
	pthread_mutex_unlock(&n->v.lock);
	return status;
}

void net_set_status(struct net *n, uint16_t status, bool tell)
{
	uint8_t bytes[2];

	le16_put(bytes, status);
	if (tell)
		virtio_set_config(&n->v, CONFIG_STATUS, bytes, sizeof(bytes));
	else
		net_put_config(n, CONFIG_STATUS, bytes, sizeof(bytes));
}

/* The device type. */

static void net_activate(void *self)
{
	struct net *n = self;

	net_set_pairs(n, 1);
	net_set_offloads(n, net_offloads_allowed(n));
}

/* §5.1.2: the control queue comes behind all pairs, or behind the only one when the driver does not know of more. */
static unsigned int ctrl_queue(const struct net *n)
{
	return virtio_has(&n->v, VIRTIO_NET_F_MQ) ? n->max_pairs * 2 : 2;
}

static void net_serve(void *self, unsigned int queue)
{
	struct net *n = self;

	if (queue == ctrl_queue(n)) {
		if (virtio_has(&n->v, VIRTIO_NET_F_CTRL_VQ))
			net_ctrl_serve(n, queue);
	} else if (queue / 2 >= n->max_pairs) {
		/* the control queue's place with more pairs than the driver knows */
	} else if (queue % 2) {
		net_tx_serve(&n->pair[queue / 2]);
	} else {
		net_rx_serve(&n->pair[queue / 2]);
	}
}

static void net_serving(void *self, bool on)
{
	struct net *n = self;

	for (unsigned int i = 0; i < n->max_pairs; i++) {
		/* Nobody has looked while it was not watched. */
		n->pair[i].rx.readable = on;
		n->pair[i].tx.blocked = false;
		net_watch(&n->pair[i], false);
	}
}

static unsigned int net_in_flight(void *self)
{
	const struct net *n = self;
	unsigned int sum = 0;

	for (unsigned int i = 0; i < n->max_pairs; i++)
		sum += n->pair[i].rx.count;
	return sum;
}

static void net_wait(void *self, uint64_t deadline_ns)
{
	struct net *n = self;

	for (unsigned int i = 0; i < n->max_pairs; i++)
		net_rx_put_back(&n->pair[i]);
}

static void net_reset(void *self)
{
	struct net *n = self;

	for (unsigned int i = 0; i < n->max_pairs; i++)
		net_rx_reset(&n->pair[i]);
	net_set_pairs(n, 1);
	net_set_offloads(n, 0);
	net_filter_reset(&n->filter);
	net_set_mac(n, n->first_mac);
	net_set_status(n, n->gone ? 0 : VIRTIO_NET_S_LINK_UP, false);
}

static void net_counters(void *self, void (*fn)(void *opaque, const char *name, uint64_t value),
			 void *opaque)
{
	const struct net *n = self;

	fn(opaque, "rx_frames", n->rx_count.frames);
	fn(opaque, "rx_bytes", n->rx_count.bytes);
	fn(opaque, "rx_dropped", n->rx_count.dropped);
	fn(opaque, "tx_frames", n->tx_count.frames);
	fn(opaque, "tx_bytes", n->tx_count.bytes);
	fn(opaque, "tx_dropped", n->tx_count.dropped);
}

static void net_arrived(void *self)
{
	net_announce_start(self);
}

static void net_stop(void *self)
{
	struct net *n = self;

	net_announce_stop(n);
	/* The queues are not served any more. */
	for (unsigned int i = 0; i < n->max_pairs; i++)
		net_watch(&n->pair[i], false);
}

static void net_destroy(void *self)
{
	struct net *n = self;

	fd_close(&n->announce_fd);
	for (unsigned int i = 0; i < n->max_pairs; i++)
		net_rx_fini(&n->pair[i].rx);
	netif_close(&n->netif);
	free(n);
}

static const struct virtio_type net_type = {
	.kind = "net",
	.device_id = 1,
	.pci_class = PCI_CLASS_ETHERNET,
	.activate = net_activate,
	.serve = net_serve,
	.serving = net_serving,
	.in_flight = net_in_flight,
	.wait = net_wait,
	.reset = net_reset,
	.arrived = net_arrived,
	.counters = net_counters,
	.stop = net_stop,
	.destroy = net_destroy,
	.state = &net_state,
};

static int net_init(struct net *n, const struct virtio_common *common, const struct net_plan *plan,
		    const struct rate_limit *limit, struct err *err)
{
	struct virtio_init init = {
		.type = &net_type,
		.self = n,
		.features = plan->features,
		.nqueues = plan->npairs * 2 + 1,
		.queue_size = QUEUE_SIZE,
		.config = plan->config,
		.config_bytes = NET_CONFIG_BYTES,
	};
	uint64_t now_ns = clock_mono_ns();

	n->max_pairs = plan->npairs;
	n->npairs = 1;
	memcpy(n->first_mac, plan->config, NET_MAC_BYTES);
	memcpy(n->filter.mac, plan->config, NET_MAC_BYTES);
	net_filter_reset(&n->filter);
	for (unsigned int i = 0; i < n->max_pairs; i++) {
		struct net_pair *p = &n->pair[i];

		p->net = n;
		p->index = i;
		rate_init(&p->rx.gate.rate, limit, now_ns);
		rate_init(&p->tx.gate.rate, limit, now_ns);
		if (net_rx_init(&p->rx))
			return err_set(err, -ENOMEM, "out of memory");
	}
	if (n->netif.ops->set_active(&n->netif, 1))
		return err_set(err, -ENODEV, "the interface was deleted");
	return virtio_init(&n->v, common, &init, err);
}

int net_create_on(const struct virtio_common *common, struct netif *netif,
		  const struct net_config *config, struct virtio **ret, struct err *err)
{
	struct net_plan plan;
	struct net *n = calloc(1, sizeof(*n));
	int rc;

	if (!n) {
		netif_close(netif);
		return err_set(err, -ENOMEM, "out of memory");
	}
	n->netif = *netif;
	n->announce_fd = -1;
	rc = net_plan(common, netif, config, &plan, err);
	if (!rc)
		rc = net_announce_init(n, err);
	if (!rc)
		rc = net_init(n, common, &plan, &config->limit, err);
	if (rc) {
		net_destroy(n);
		return rc;
	}
	*ret = &n->v;
	return 0;
}

static int create(const struct virtio_common *common, const struct net_config *config,
		  struct virtio **ret, struct err *err)
{
	struct netif netif;
	unsigned int npairs;
	int rc = net_plan_pairs(common, config, &npairs, err);

	if (!rc)
		rc = tap_open(config->tap, npairs, &netif, err);
	return rc ? rc : net_create_on(common, &netif, config, ret, err);
}

int virtio_net_create(const struct virtio_common *common, const struct net_config *config,
		      struct virtio **ret, struct err *err)
{
	int rc = create(common, config, ret, err);

	if (rc)
		err_prefix(err, "--net tap=%s", config->tap);
	return rc;
}
