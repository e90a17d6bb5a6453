/* SPDX-License-Identifier: Apache-2.0 */
#include "net_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/num.h"

#define BIT(feature) (1ull << (feature))
/* Whatever the interface: it takes frames that are not finished yet, and the rest is done here. */
#define OWN_FEATURES                                                                          \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
	 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_MAC) |         \
	 BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) | \
	 BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |                        \
	 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))
#define INTERFACE_FEATURES (NET_GUEST_OFFLOADS | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))

static uint64_t features_of(const struct netif *netif, unsigned int npairs)
{
	return OWN_FEATURES | (netif->offloads ? INTERFACE_FEATURES : 0) |
	       (npairs > 1 ? BIT(VIRTIO_NET_F_MQ) : 0);
}

static uint16_t config_u16(const struct virtio_face *face, size_t offset)
{
	return le16_get(face->config + offset);
}

int net_plan_pairs(const struct virtio_common *common, const struct net_config *config,
		   unsigned int *ret, struct err *err)
{
	const struct virtio_face *face = common->face;
	unsigned int npairs = config->nqueue_pairs ? config->nqueue_pairs : 1;

	if (face && face->config_bytes != NET_CONFIG_BYTES)
		return err_set(err, -EOPNOTSUPP,
			       "the source's card has a configuration of %u bytes, here it is %u",
			       face->config_bytes, NET_CONFIG_BYTES);
	if (face)
		npairs = config_u16(face, offsetof(struct virtio_net_config, max_virtqueue_pairs));
	if (!npairs || npairs > NET_MAX_PAIRS)
		return err_set(err, face ? -EOPNOTSUPP : -EINVAL, "%u queue pairs: 1 to %u", npairs,
			       NET_MAX_PAIRS);
	*ret = npairs;
	return 0;
}

/* Numbers that differ from host to host, so that two VMs made alike on two hosts get along in one network. */
static void host_name(char *ret, size_t size)
{
	cleanup_fd int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	if (n > 0)
		ret[n] = '\0';
	else if (gethostname(ret, size))
		*ret = '\0';
	ret[size - 1] = '\0';
}

/* FNV-1a, 64 bits, the terminating zero too. */
static uint64_t hash(uint64_t h, const char *s)
{
	do {
		h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
	} while (*s++);
	return h;
}

static void make_mac(const char *id, const char *interface, uint8_t *ret)
{
	char host[65];
	uint64_t h;

	host_name(host, sizeof(host));
	h = hash(hash(hash(0xcbf29ce484222325ull, host), interface), id);
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++)
		ret[i] = (uint8_t)(h >> 8 * i);
	ret[0] = (uint8_t)((ret[0] & 0xfcu) | 2u); /* one card's, locally administered */
}

static int plan_mac(const struct virtio_common *common, const struct netif *netif,
		    const struct net_config *config, uint8_t *ret, struct err *err)
{
	static const uint8_t none[NET_MAC_BYTES];

	if (common->face)
		memcpy(ret, common->face->config, NET_MAC_BYTES);
	else if (!memcmp(config->mac, none, NET_MAC_BYTES))
		make_mac(common->id, netif->name, ret);
	else
		memcpy(ret, config->mac, NET_MAC_BYTES);
	if (ret[0] & 1)
		return err_set(
			err, -EINVAL,
			"mac %02x:%02x:%02x:%02x:%02x:%02x: the address of a group, not of a card",
			ret[0], ret[1], ret[2], ret[3], ret[4], ret[5]);
	return 0;
}

/* What the guest may use already. */
static int check_face(const struct virtio_face *face, const struct netif *netif, struct err *err)
{
	uint16_t mtu = config_u16(face, offsetof(struct virtio_net_config, mtu));

	if (face->features & INTERFACE_FEATURES && !netif->offloads)
		return err_set(
			err, -EOPNOTSUPP,
			"it has no checksum and segmentation offload, which the guest knows of");
	if (face->features & BIT(VIRTIO_NET_F_MTU) && mtu > netif->mtu)
		return err_set(err, -EOPNOTSUPP, "its MTU is %u, the guest was told %u", netif->mtu,
			       mtu);
	return 0;
}

int net_plan(const struct virtio_common *common, const struct netif *netif,
	     const struct net_config *config, struct net_plan *ret, struct err *err)
{
	struct net_plan plan = { 0 };
	struct virtio_net_config c = { 0 };
	int rc = net_plan_pairs(common, config, &plan.npairs, err);

	if (!rc)
		rc = plan_mac(common, netif, config, c.mac, err);
	if (!rc && common->face)
		rc = check_face(common->face, netif, err);
	if (rc)
		return rc;
	plan.features = features_of(netif, plan.npairs);
	c.status = htole16(VIRTIO_NET_S_LINK_UP);
	c.max_virtqueue_pairs = htole16((uint16_t)plan.npairs);
	c.mtu = htole16(netif->mtu);
	if (common->face)
		c.mtu = htole16(config_u16(common->face, offsetof(struct virtio_net_config, mtu)));
	memcpy(plan.config, &c, sizeof(plan.config));
	*ret = plan;
	return 0;
}
