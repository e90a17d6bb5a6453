/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/num.h"

#define TAP_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define TAP_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

/* Kernel's dev_valid_name, less what TUNSETIFF takes for a pattern and makes a new interface from. */
static bool is_name(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && !strpbrk(name, "/:% \t\n\v\f\r") &&
	       strcmp(name, ".") && strcmp(name, "..");
}

static struct ifreq request(const char *name)
{
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, name, strlen(name));
	return ifr;
}

/* Positive, or -errno. */
static int get_index(int sock, const char *name)
{
	struct ifreq ifr = request(name);

	return ioctl(sock, SIOCGIFINDEX, &ifr) ? -errno : ifr.ifr_ifindex;
}

/* TUNSETIFF says the same -EINVAL to an Ethernet card's name as to wrong flags. */
static bool is_tap(int sock, const char *name)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq ifr = request(name);

	ifr.ifr_data = (void *)&info;
	return !ioctl(sock, SIOCETHTOOL, &ifr) && !strcmp(info.driver, "tun") &&
	       !strcmp(info.bus_info, "tap");
}

static int attach(struct netif *n, int flags, int *ret_fd)
{
	struct ifreq ifr = request(n->name);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return -errno;
	ifr.ifr_flags = (short)flags;
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		rc = -errno;
		fd_close(&fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

static int explain(int rc, unsigned int nqueues, struct err *err)
{
	switch (rc) {
	case -EBUSY:
		return err_set(err, rc, "in use by another process");
	case -EPERM:
		return err_set(
			err, rc,
			"not permitted: it belongs to another user (ip tuntap add ... user)");
	case -EINVAL:
		if (nqueues > 1)
			return err_set(err, rc,
				       "%u queue pairs need a multi-queue TAP interface "
				       "(ip tuntap add ... multi_queue)",
				       nqueues);
		break;
	case -E2BIG:
		return err_set(err, rc, "%u queue pairs are more than it has left", nqueues);
	default:
		break;
	}
	return err_sys(err, rc, "attaching");
}

static int attach_all(struct netif *n, unsigned int nqueues, struct err *err)
{
	int flags = TAP_FLAGS | (nqueues > 1 ? IFF_MULTI_QUEUE : 0);
	int rc;

	while (n->nqueues < nqueues) {
		rc = attach(n, flags, &n->fd[n->nqueues]);
		if (rc == -EINVAL && nqueues == 1 && !(flags & IFF_MULTI_QUEUE)) {
			flags |= IFF_MULTI_QUEUE; /* a multi-queue interface of which one is used */
			continue;
		}
		if (rc)
			return explain(rc, nqueues, err);
		n->active = ++n->nqueues;
	}
	return 0;
}

static int tap_set_offloads(struct netif *n, unsigned int tun_f)
{
	return ioctl(n->fd[0], TUNSETOFFLOAD, (unsigned long)tun_f) ? -errno : 0;
}

static int tap_set_active(struct netif *n, unsigned int active)
{
	while (n->active != active) {
		bool more = n->active < active;
		unsigned int i = more ? n->active : n->active - 1;
		struct ifreq ifr = { .ifr_flags = more ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		if (ioctl(n->fd[i], TUNSETQUEUE, &ifr))
			return -errno;
		n->active = more ? i + 1 : i;
	}
	return 0;
}

static const struct netif_ops tap_ops = {
	.set_offloads = tap_set_offloads,
	.set_active = tap_set_active,
};

/* The header's size and the offloads belong to the interface, and are what its last user left. */
static int set_header(struct netif *n, struct err *err)
{
	int len = sizeof(struct virtio_net_hdr_v1);

	if (ioctl(n->fd[0], TUNSETVNETHDRSZ, &len))
		return err_sys(err, -errno, "setting the header's size");
	n->offloads = tap_set_offloads(n, TAP_OFFLOADS) ? 0 : TAP_OFFLOADS;
	(void)tap_set_offloads(n, 0);
	return 0;
}

static int get_mtu(int sock, struct netif *n, struct err *err)
{
	struct ifreq ifr = request(n->name);

	if (ioctl(sock, SIOCGIFMTU, &ifr))
		return err_sys(err, -errno, "reading its MTU");
	n->mtu = (uint16_t)MIN(MAX(ifr.ifr_mtu, 68), UINT16_MAX);
	return 0;
}

static int open_all(int sock, unsigned int nqueues, struct netif *n, struct err *err)
{
	int index = get_index(sock, n->name);
	int rc;

	if (index == -ENODEV)
		return err_set(err, index, "no such interface (ip tuntap add dev %s mode tap%s)",
			       n->name, nqueues > 1 ? " multi_queue" : "");
	if (index < 0)
		return err_sys(err, index, "looking it up");
	if (!is_tap(sock, n->name))
		return err_set(err, -EINVAL, "not a TAP interface");
	rc = attach_all(n, nqueues, err);
	if (rc)
		return rc;
	/* It may have been deleted since; then TUNSETIFF made a new one, which goes when it is closed. */
	if (get_index(sock, n->name) != index)
		return err_set(err, -ENODEV, "the interface was deleted");
	rc = set_header(n, err);
	return rc ? rc : get_mtu(sock, n, err);
}

int tap_open(const char *name, unsigned int nqueues, struct netif *ret, struct err *err)
{
	struct netif n = { .ops = &tap_ops };
	cleanup_fd int sock = -1;
	int rc;

	if (!is_name(name))
		return err_set(err, -EINVAL, "not the name of an interface");
	if (!nqueues || nqueues > NETIF_MAX_QUEUES)
		return err_set(err, -EINVAL, "%u queue pairs: 1 to %u", nqueues, NETIF_MAX_QUEUES);
	memcpy(n.name, name, strlen(name));
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return err_sys(err, -errno, "socket");
	rc = open_all(sock, nqueues, &n, err);
	if (rc) {
		netif_close(&n);
		return rc;
	}
	*ret = n;
	return 0;
}

void netif_close(struct netif *n)
{
	for (unsigned int i = 0; i < n->nqueues; i++)
		fd_close(&n->fd[i]);
	n->nqueues = 0;
}
