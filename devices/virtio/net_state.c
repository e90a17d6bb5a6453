/* SPDX-License-Identifier: Apache-2.0 */
/* What migrates of a network card besides its queues: state.md, section "net". */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "net.h"

struct net_image {
	uint8_t mac[NET_MAC_BYTES];
	uint8_t first_mac[NET_MAC_BYTES];
	uint16_t status;
	uint16_t pairs;
	uint64_t offloads;
	uint8_t rx_mode;
	uint32_t unicast_bytes;
	uint8_t unicast[NET_FILTER_MACS * NET_MAC_BYTES];
	uint32_t multicast_bytes;
	uint8_t multicast[NET_FILTER_MACS * NET_MAC_BYTES];
};

static const struct state_field net_fields[] = {
	STATE_FIELD_U8(struct net_image, mac),
	STATE_FIELD_U8(struct net_image, first_mac),
	STATE_FIELD_(struct net_image, status, STATE_U16, 1),
	STATE_FIELD_(struct net_image, pairs, STATE_U16, 1),
	STATE_FIELD_(struct net_image, offloads, STATE_U64, 1),
	STATE_FIELD_(struct net_image, rx_mode, STATE_U8, 1),
	STATE_FIELD_VBYTES(struct net_image, unicast, unicast_bytes),
	STATE_FIELD_VBYTES(struct net_image, multicast, multicast_bytes),
};

#define STATUS_BITS (VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE)

static int net_capture(void *dev, void *image, struct err *err)
{
	struct net *n = dev;
	struct net_image *img = image;

	memcpy(img->mac, n->filter.mac, sizeof(img->mac));
	memcpy(img->first_mac, n->first_mac, sizeof(img->first_mac));
	img->status = net_status(n);
	img->pairs = (uint16_t)n->npairs;
	img->offloads = n->offloads;
	img->rx_mode = n->filter.mode;
	img->unicast_bytes = n->filter.uni.len_bytes;
	memcpy(img->unicast, n->filter.uni.macs, img->unicast_bytes);
	img->multicast_bytes = n->filter.multi.len_bytes;
	memcpy(img->multicast, n->filter.multi.macs, img->multicast_bytes);
	return 0;
}

static int net_check(const void *image, struct err *err)
{
	const struct net_image *img = image;

	if (img->mac[0] & 1)
		return err_set(err, -EBADMSG, "mac: a group's address");
	if (img->first_mac[0] & 1)
		return err_set(err, -EBADMSG, "first_mac: a group's address");
	if (img->status & ~STATUS_BITS)
		return err_set(err, -EBADMSG, "status %#x", img->status);
	if (!img->pairs || img->pairs > NET_MAX_PAIRS)
		return err_set(err, -EBADMSG, "pairs %u", img->pairs);
	if (img->offloads & ~NET_GUEST_OFFLOADS)
		return err_set(err, -EBADMSG, "offloads %#" PRIx64, img->offloads);
	if (img->unicast_bytes % NET_MAC_BYTES)
		return err_set(err, -EBADMSG, "unicast: %u bytes", img->unicast_bytes);
	if (img->multicast_bytes % NET_MAC_BYTES)
		return err_set(err, -EBADMSG, "multicast: %u bytes", img->multicast_bytes);
	return 0;
}

struct applying {
	struct net *n;
	const struct net_image *img;
};

/* As the driver saw it, so that it is no change; that the link is up here it hears when the VM runs. */
static void restore_config(struct net *n, const struct net_image *img)
{
	pthread_mutex_lock(&n->v.lock);
	memcpy(n->v.config + offsetof(struct virtio_net_config, mac), img->mac, sizeof(img->mac));
	le16_put(n->v.config + offsetof(struct virtio_net_config, status), img->status);
	pthread_mutex_unlock(&n->v.lock);
}

/* On the worker: the interface's descriptors are its own. */
static void apply_on_worker(void *opaque)
{
	const struct applying *a = opaque;
	const struct net_image *img = a->img;
	struct net *n = a->n;

	restore_config(n, img);
	memcpy(n->first_mac, img->first_mac, sizeof(n->first_mac));
	memcpy(n->filter.mac, img->mac, sizeof(n->filter.mac));
	n->filter.mode = img->rx_mode;
	n->filter.uni.len_bytes = img->unicast_bytes;
	memcpy(n->filter.uni.macs, img->unicast, img->unicast_bytes);
	n->filter.multi.len_bytes = img->multicast_bytes;
	memcpy(n->filter.multi.macs, img->multicast, img->multicast_bytes);
	net_set_pairs(n, img->pairs);
	net_set_offloads(n, img->offloads);
}

static int net_apply(void *dev, const void *image, struct err *err)
{
	struct applying a = { dev, image };

	if (a.img->pairs > a.n->max_pairs)
		return err_set(err, -EBADMSG, "pairs %u of %u", a.img->pairs, a.n->max_pairs);
	if (a.img->offloads & ~net_offloads_allowed(a.n))
		return err_set(err, -EBADMSG, "offloads %#" PRIx64 ": not negotiated",
			       a.img->offloads);
	worker_call(a.n->v.worker, apply_on_worker, &a);
	return 0;
}

const struct state_desc net_state =
	STATE_DESC_("net", struct net_image, net_fields, net, net_check);
