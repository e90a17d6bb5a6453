/* SPDX-License-Identifier: Apache-2.0 */
/* TAP interfaces in a network namespace of the test's own. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "devices/backend/tap.h"
#include "net_fixture.h"

#define ONE "vmmtest0" /* a queue */
#define MANY "vmmtest1" /* multi-queue */

/* NULL, or why there are no interfaces to test with. */
static const char *unable;

static int make_tap(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags) };
	cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	memcpy(ifr.ifr_name, name, strlen(name));
	return fd < 0 || ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETPERSIST, 1) ? -errno : 0;
}

static int set_flags(const char *name, short flags)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct ifreq ifr = { .ifr_flags = flags };

	memcpy(ifr.ifr_name, name, strlen(name));
	return ioctl(fd, SIOCSIFFLAGS, &ifr) ? -errno : 0;
}

/* ip link del */
static int delete_link(const char *name)
{
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = RTM_DELLINK,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.info = { .ifi_index = (int)if_nametoindex(name) },
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t more[256];
	} answer;

	if (send(fd, &request, sizeof(request), 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		return -errno;
	return answer.error.error;
}

/* Without IPv6 nobody but the tests sends frames. */
static void quiet_ipv6(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)fd_write_all(fd, "1", 1);
	fd_close(&fd);
}

static int enter_namespace(void **state)
{
	if (unshare(CLONE_NEWNET))
		unable = "no network namespace";
	else
		quiet_ipv6();
	if (!unable && access("/dev/net/tun", R_OK | W_OK))
		unable = "no /dev/net/tun";
	return 0;
}

struct fixture {
	int wire; /* a packet socket on ONE: what the host sends and receives there */
	struct netif n;
	struct net_fixture f; /* its driver alone */
	uint8_t frame[NET_FIXTURE_FRAME_MAX];
	uint8_t got[NET_FIXTURE_FRAME_MAX];
	uint64_t buffer_gpa[256]; /* of the card's receive queue, by head */
};

static int setup(void **state)
{
	static struct fixture fx;
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

	memset(&fx, 0, sizeof(fx));
	*state = &fx;
	fx.wire = -1;
	if (unable)
		return 0;
	if (make_tap(ONE, 0) || make_tap(MANY, IFF_MULTI_QUEUE) || set_flags(ONE, IFF_UP) ||
	    set_flags(MANY, IFF_UP))
		return -1;
	fx.wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	addr.sll_ifindex = (int)if_nametoindex(ONE);
	return fx.wire < 0 || bind(fx.wire, (struct sockaddr *)&addr, sizeof(addr));
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	fd_close(&fx->wire);
	if (!unable) {
		(void)delete_link(ONE); /* a test may have done it */
		(void)delete_link(MANY);
	}
	return 0;
}

static struct fixture *able(void **state)
{
	if (unable) {
		print_message("skipped: %s\n", unable);
		skip();
	}
	return *state;
}

static void refused(const char *name, unsigned int nqueues, int code, const char *what)
{
	struct netif n = { .nqueues = 77 };
	struct err err = { 0 };

	assert_int_equal(tap_open(name, nqueues, &n, &err), code);
	if (!strstr(err.msg, what))
		fail_msg("%s: \"%s\" has no \"%s\"", name, err.msg, what);
	assert_int_equal(n.nqueues, 77);
}

static void refuses_names(void **state)
{
	refused("", 1, -EINVAL, "not the name");
	refused("a/b", 1, -EINVAL, "not the name");
	refused("tap%d", 1, -EINVAL, "not the name"); /* TUNSETIFF would make one */
	refused("..", 1, -EINVAL, "not the name");
	refused("0123456789abcdef", 1, -EINVAL, "not the name");
}

static void refuses_what_is_no_tap_of_ours(void **state)
{
	able(state);
	refused("vmmtest9", 1, -ENODEV, "ip tuntap add dev vmmtest9 mode tap");
	assert_int_equal(if_nametoindex("vmmtest9"), 0); /* and made none */
	refused("lo", 1, -EINVAL, "not a TAP");
	refused(ONE, 2, -EINVAL, "multi-queue");
	refused(ONE, 9, -EINVAL, "1 to 8");
}

static void refuses_a_second_user(void **state)
{
	struct fixture *fx = able(state);

	assert_int_equal(tap_open(ONE, 1, &fx->n, NULL), 0);
	refused(ONE, 1, -EBUSY, "in use");
	netif_close(&fx->n);
	assert_int_equal(tap_open(ONE, 1, &fx->n, NULL), 0);
	netif_close(&fx->n);
}

/* The next frame at @fd, or -1. */
static ssize_t take(int fd, uint8_t *ret, size_t max)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, DRIVER_WAIT_MS) > 0 ? read(fd, ret, max) : -1;
}

/* An interface that somebody has just attached to takes a while to come up, and drops what is sent till then. */
static bool wait_link(struct fixture *fx, bool (*arrived)(struct fixture *fx))
{
	uint8_t probe[60];
	uint64_t deadline_ns = clock_mono_ns() + DRIVER_WAIT_MS * NS_PER_MS;

	memset(probe, 0xff, sizeof(probe));
	while (clock_mono_ns() < deadline_ns) {
		if (write(fx->wire, probe, sizeof(probe)) == sizeof(probe) && arrived(fx))
			return true;
	}
	return false;
}

static bool at_descriptor(struct fixture *fx)
{
	struct pollfd p = { .fd = fx->n.fd[0], .events = POLLIN };

	if (poll(&p, 1, 20) <= 0)
		return false;
	while (read(fx->n.fd[0], fx->got, sizeof(fx->got)) > 0)
		;
	return true;
}

static bool at_card(struct fixture *fx)
{
	usleep(20000);
	return net_fixture_counter(&fx->f, "rx_frames") > 0;
}

static void moves_frames(void **state)
{
	struct fixture *fx = able(state);
	unsigned int len = net_fixture_frame(fx->frame, 100, NULL, 1);

	assert_int_equal(tap_open(ONE, 1, &fx->n, NULL), 0);
	assert_int_equal(fx->n.mtu, 1500);
	assert_int_equal(fx->n.offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
	assert_true(wait_link(fx, at_descriptor));
	assert_int_equal(write(fx->n.fd[0], fx->frame, len), len);
	assert_int_equal(take(fx->wire, fx->got, sizeof(fx->got)), 100);
	assert_memory_equal(fx->got, fx->frame + NET_HEADER_BYTES, 100);
	fx->frame[50] ^= 1;
	assert_int_equal(write(fx->wire, fx->frame + NET_HEADER_BYTES, 100), 100);
	assert_int_equal(take(fx->n.fd[0], fx->got, sizeof(fx->got)), len);
	assert_memory_equal(fx->got + NET_HEADER_BYTES, fx->frame + NET_HEADER_BYTES, 100);
	/* What the interface's kernel refuses: a header that does not fit, too short a frame. */
	fx->frame[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	assert_int_equal(write(fx->n.fd[0], fx->frame, len), -1);
	assert_int_equal(errno, EINVAL);
	fx->frame[1] = 0;
	assert_int_equal(write(fx->n.fd[0], fx->frame, NET_HEADER_BYTES + 13), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(fx->n.ops->set_offloads(&fx->n, TUN_F_CSUM | TUN_F_TSO4), 0);
	assert_int_equal(fx->n.ops->set_offloads(&fx->n, 0), 0);
	netif_close(&fx->n);
}

static void uses_several_queues(void **state)
{
	struct fixture *fx = able(state);
	unsigned int len = net_fixture_frame(fx->frame, 100, NULL, 1);

	assert_int_equal(tap_open(MANY, 1, &fx->n, NULL), 0);
	netif_close(&fx->n);
	assert_int_equal(tap_open(MANY, 4, &fx->n, NULL), 0);
	assert_int_equal(fx->n.active, 4);
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int active = 4 - i;

		assert_int_equal(fx->n.ops->set_active(&fx->n, active), 0);
		assert_int_equal(fx->n.active, active);
		assert_int_equal(write(fx->n.fd[active - 1], fx->frame, len), len);
	}
	assert_int_equal(fx->n.ops->set_active(&fx->n, 4), 0);
	assert_int_equal(write(fx->n.fd[3], fx->frame, len), len);
	netif_close(&fx->n);
	assert_int_equal(tap_open(MANY, 8, &fx->n, NULL), 0);
	netif_close(&fx->n);
}

static void tells_when_it_is_gone(void **state)
{
	struct fixture *fx = able(state);
	unsigned int len = net_fixture_frame(fx->frame, 100, NULL, 1);

	assert_int_equal(tap_open(ONE, 1, &fx->n, NULL), 0);
	assert_int_equal(delete_link(ONE), 0);
	assert_int_equal(write(fx->n.fd[0], fx->frame, len), -1);
	assert_int_equal(errno, EBADFD);
	assert_int_equal(read(fx->n.fd[0], fx->got, sizeof(fx->got)), -1);
	assert_int_equal(errno, EBADFD);
	netif_close(&fx->n);
}

#define BUFFER_BYTES 1600u

static void add_buffers(struct fixture *fx)
{
	for (unsigned int i = 0; i < 256; i++) {
		const struct driver_part in = { driver_alloc(&fx->f.d, BUFFER_BYTES), BUFFER_BYTES,
						true };

		fx->buffer_gpa[driver_add(&fx->f.d, 0, &in, 1)] = in.gpa;
	}
	driver_kick(&fx->f.d, 0);
}

/* The next frame of this length; probes are shorter. */
static const uint8_t *take_of_length(struct fixture *fx, uint32_t len_bytes)
{
	uint32_t written;
	uint16_t head;

	do {
		assert_true(driver_wait_used(&fx->f.d, 0, &head, &written));
	} while (written != len_bytes);
	return driver_ptr(&fx->f.d, fx->buffer_gpa[head], BUFFER_BYTES);
}

/* The whole card on a real interface: both ways, down, and gone. */
static void carries_a_card(void **state)
{
	struct fixture *fx = able(state);
	struct driver *d = &fx->f.d;
	const struct net_config config = { .tap = ONE };
	struct virtio_common common = { .id = "net0" };
	struct driver_part out;
	const uint8_t *got;
	uint32_t written;
	unsigned int len;

	assert_int_equal(driver_init(d), 0);
	common.host = d->host;
	assert_int_equal(virtio_net_create(&common, &config, &fx->f.v, NULL), 0);
	driver_attach(d, fx->f.v);
	assert_true(driver_start(d, UINT64_MAX, 256));
	add_buffers(fx);
	len = net_fixture_frame(fx->frame, 100, NULL, 1);
	assert_true(wait_link(fx, at_card));
	assert_int_equal(write(fx->wire, fx->frame + NET_HEADER_BYTES, 100), 100);
	got = take_of_length(fx, len);
	assert_memory_equal(got + NET_HEADER_BYTES, fx->frame + NET_HEADER_BYTES, 100);
	out = (struct driver_part){ driver_alloc(d, len), len, false };
	memcpy(driver_ptr(d, out.gpa, len), fx->frame, len);
	assert_true(driver_do(d, 1, &out, 1, &written));
	assert_int_equal(take(fx->wire, fx->got, sizeof(fx->got)), 100);
	assert_memory_equal(fx->got, fx->frame + NET_HEADER_BYTES, 100);
	/* Set down it drops frames, and works again when it is up. */
	assert_int_equal(set_flags(ONE, 0), 0);
	assert_true(driver_do(d, 1, &out, 1, &written));
	assert_int_equal(net_fixture_counter(&fx->f, "tx_dropped"), 1);
	assert_int_equal(set_flags(ONE, IFF_UP), 0);
	assert_true(driver_do(d, 1, &out, 1, &written));
	assert_int_equal(net_fixture_counter(&fx->f, "tx_frames"), 2);
	/* The guest's header is wrong: that frame alone is lost. */
	((uint8_t *)driver_ptr(d, out.gpa, len))[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	assert_true(driver_do(d, 1, &out, 1, &written));
	assert_int_equal(net_fixture_counter(&fx->f, "tx_dropped"), 2);
	assert_int_equal(virtio_get_status(fx->f.v) & VIRTIO_NEEDS_RESET, 0);
	assert_int_equal(delete_link(ONE), 0);
	assert_true(driver_wait_count(&d->config_interrupts, 1));
	assert_true(driver_do(d, 1, &out, 1, &written));
	assert_int_equal(net_fixture_counter(&fx->f, "tx_dropped"), 3);
	assert_int_equal(virtio_pause(fx->f.v, clock_mono_ns() + NS_PER_S, NULL), 0);
	net_fixture_fini(&fx->f);
}

static void says_which_option(void **state)
{
	const struct net_config config = { .tap = "vmmtest9" };
	const struct virtio_common common = { .id = "net0" };
	struct virtio *v = NULL;
	struct err err = { 0 };

	able(state);
	assert_int_equal(virtio_net_create(&common, &config, &v, &err), -ENODEV);
	assert_string_equal(err.msg, "--net tap=vmmtest9: no such interface "
				     "(ip tuntap add dev vmmtest9 mode tap)");
	assert_null(v);
}

#define TAP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_names), TAP_TEST(refuses_what_is_no_tap_of_ours),
		TAP_TEST(refuses_a_second_user), TAP_TEST(moves_frames),
		TAP_TEST(uses_several_queues),   TAP_TEST(tells_when_it_is_gone),
		TAP_TEST(carries_a_card),        TAP_TEST(says_which_option),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
