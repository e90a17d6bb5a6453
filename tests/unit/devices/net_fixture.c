/* SPDX-License-Identifier: Apache-2.0 */
#include "net_fixture.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

/* struct netif has no room for a pointer, which a TAP does not need. */
static struct net_fixture *fixture;

static int set_offloads(struct netif *n, unsigned int tun_f)
{
	__atomic_store_n(&fixture->offloads, tun_f, __ATOMIC_SEQ_CST);
	return 0;
}

static int set_active(struct netif *n, unsigned int active)
{
	n->active = active;
	__atomic_store_n(&fixture->active, active, __ATOMIC_SEQ_CST);
	return 0;
}

static const struct netif_ops ops = { .set_offloads = set_offloads, .set_active = set_active };

struct netif net_fixture_netif(struct net_fixture *f, unsigned int nqueues)
{
	struct netif n = {
		.ops = &ops,
		.name = "fake0",
		.nqueues = nqueues,
		.offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
		.mtu = 1500,
	};

	fixture = f;
	for (unsigned int i = 0; i < nqueues; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
			abort();
		n.fd[i] = pair[0];
		f->network[i] = pair[1];
	}
	f->nqueues = nqueues;
	return n;
}

int net_fixture_init(struct net_fixture *f, unsigned int npairs, const struct virtio_face *face,
		     struct err *err)
{
	const struct net_config config = { .tap = "fake0", .nqueue_pairs = npairs };
	struct virtio_common common = { .id = "net0", .face = face };
	struct netif n;
	int rc;

	*f = (struct net_fixture){ 0 };
	rc = driver_init(&f->d);
	if (rc)
		return rc;
	n = net_fixture_netif(f, npairs);
	common.host = f->d.host;
	rc = net_create_on(&common, &n, &config, &f->v, err);
	if (!rc)
		driver_attach(&f->d, f->v);
	return rc;
}

void net_fixture_fini(struct net_fixture *f)
{
	virtio_destroy(f->v);
	for (unsigned int i = 0; i < f->nqueues; i++)
		fd_close(&f->network[i]);
	driver_fini(&f->d);
}

unsigned int net_fixture_frame(uint8_t *ret, unsigned int frame_bytes, const uint8_t *dst,
			       uint8_t seed)
{
	memset(ret, 0, NET_HEADER_BYTES);
	for (unsigned int i = 0; i < frame_bytes; i++)
		ret[NET_HEADER_BYTES + i] = (uint8_t)(seed + i * 7);
	memset(ret + NET_HEADER_BYTES, 0xff, NET_MAC_BYTES);
	if (dst)
		memcpy(ret + NET_HEADER_BYTES, dst, NET_MAC_BYTES);
	return NET_HEADER_BYTES + frame_bytes;
}

bool net_fixture_send(struct net_fixture *f, unsigned int queue, const void *frame,
		      unsigned int len_bytes)
{
	return send(f->network[queue], frame, len_bytes, MSG_NOSIGNAL) == (ssize_t)len_bytes;
}

int net_fixture_receive(struct net_fixture *f, unsigned int queue, void *ret, unsigned int max)
{
	struct pollfd p = { .fd = f->network[queue], .events = POLLIN };

	if (poll(&p, 1, DRIVER_WAIT_MS) <= 0)
		return -1;
	return (int)recv(f->network[queue], ret, max, 0);
}

struct taken {
	const struct virtq *vq;
	uint16_t n;
};

static void get_taken(void *opaque)
{
	struct taken *t = opaque;

	t->n = t->vq->avail_idx;
}

bool net_fixture_wait_taken(struct net_fixture *f, unsigned int queue, uint16_t n)
{
	uint64_t deadline_ns = clock_mono_ns() + DRIVER_WAIT_MS * NS_PER_MS;
	struct taken t = { .vq = &f->v->queue[queue].vq };

	do {
		worker_call(f->v->worker, get_taken, &t);
	} while (t.n != n && clock_mono_ns() < deadline_ns);
	return t.n == n;
}

struct wanted {
	const char *name;
	uint64_t value;
};

static void take_counter(void *opaque, const char *name, uint64_t value)
{
	struct wanted *w = opaque;

	if (!strcmp(name, w->name))
		w->value = value;
}

uint64_t net_fixture_counter(struct net_fixture *f, const char *name)
{
	struct wanted w = { .name = name, .value = UINT64_MAX };

	virtio_counters(f->v, take_counter, &w);
	return w.value;
}
