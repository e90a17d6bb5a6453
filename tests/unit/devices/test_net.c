/* SPDX-License-Identifier: Apache-2.0 */
/* Receive and transmit queues of the network card; test_net_ctrl.c has the rest. */
#include "test.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "net_fixture.h"

enum { RX = 0, TX = 1 };
#define MERGEABLE (1ull << VIRTIO_NET_F_MRG_RXBUF)
#define MAX_BUFFERS 128u

struct card {
	struct net_fixture f;
	uint8_t frame[NET_FIXTURE_FRAME_MAX];
	uint8_t got[NET_FIXTURE_FRAME_MAX];
	bool scribbled; /* buffers hold what came of an earlier frame */
	/* Receive buffers by head. */
	struct driver_part buffer[VIRTQ_MAX_SIZE];
};

static int setup(void **state)
{
	static struct card c;

	memset(&c, 0, sizeof(c));
	*state = &c;
	return net_fixture_init(&c.f, 1, NULL, NULL);
}

static int teardown(void **state)
{
	struct card *c = *state;

	net_fixture_fini(&c->f);
	return 0;
}

static void start(struct card *c, uint64_t features)
{
	assert_true(driver_start(&c->f.d, features | VIRTIO_CORE_FEATURES, 256));
}

static void add_buffers(struct card *c, unsigned int n, uint32_t len_bytes)
{
	struct driver *d = &c->f.d;

	for (unsigned int i = 0; i < n; i++) {
		struct driver_part part = { driver_alloc(d, len_bytes), len_bytes, true };

		memset(driver_ptr(d, part.gpa, len_bytes), 0xaa, len_bytes);
		c->buffer[driver_add(d, RX, &part, 1)] = part;
	}
	driver_kick(d, RX);
}

/* Puts the next frame together from the buffers it came in: its length, with the header; *ret_nbuffers as in the header. */
static unsigned int take_frame(struct card *c, unsigned int *ret_nbuffers)
{
	struct driver *d = &c->f.d;
	unsigned int len = 0, n = 1;

	for (unsigned int i = 0; i < n; i++) {
		const struct driver_part *part;
		const uint8_t *data;
		uint32_t written;
		uint16_t head;

		assert_true(driver_wait_used(d, RX, &head, &written));
		part = &c->buffer[head];
		assert_true(written && written <= part->len_bytes);
		data = driver_ptr(d, part->gpa, part->len_bytes);
		assert_true(len + written <= sizeof(c->got));
		memcpy(c->got + len, data, written);
		if (!i)
			n = le16_get(c->got + 10);
		if (i + 1 < n)
			assert_int_equal(written, part->len_bytes);
		if (written < part->len_bytes && !c->scribbled)
			assert_int_equal(data[written], 0xaa);
		len += written;
	}
	*ret_nbuffers = n;
	return len;
}

static void expect_frame(struct card *c, unsigned int frame_bytes, uint8_t seed,
			 unsigned int nbuffers)
{
	unsigned int n, len = net_fixture_frame(c->frame, frame_bytes, NULL, seed);

	assert_int_equal(take_frame(c, &n), len);
	assert_int_equal(n, nbuffers);
	assert_memory_equal(c->got + NET_HEADER_BYTES, c->frame + NET_HEADER_BYTES, frame_bytes);
	assert_int_equal(c->got[0], 0);
	assert_int_equal(c->got[1], 0);
}

static void send_frame(struct card *c, unsigned int frame_bytes, uint8_t seed)
{
	unsigned int len = net_fixture_frame(c->frame, frame_bytes, NULL, seed);

	assert_true(net_fixture_send(&c->f, 0, c->frame, len));
}

static void receives(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	add_buffers(c, 4, 2048);
	send_frame(c, 60, 1);
	send_frame(c, 1514, 2);
	expect_frame(c, 60, 1, 1);
	expect_frame(c, 1514, 2, 1);
	assert_int_equal(net_fixture_counter(&c->f, "rx_frames"), 2);
	assert_int_equal(net_fixture_counter(&c->f, "rx_bytes"), 1574);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 0);
}

static void receives_over_several_buffers(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	add_buffers(c, 8, 512);
	send_frame(c, 1500, 1);
	send_frame(c, 500, 2); /* just one */
	send_frame(c, 501, 3); /* a byte more */
	expect_frame(c, 1500, 1, 3);
	expect_frame(c, 500, 2, 1);
	expect_frame(c, 501, 3, 2);
}

/* Down to headers that are cut in two by the buffers' parts. */
static void receives_into_small_parts(void **state)
{
	struct card *c = *state;
	struct driver *d = &c->f.d;
	const uint64_t gpa = driver_alloc(d, 4096);
	const struct driver_part parts[] = { { gpa, 11, true },
					     { gpa + 100, 3, true },
					     { gpa + 200, 500, true } };
	const uint8_t *ram = driver_ptr(d, gpa, 4096);
	unsigned int len = net_fixture_frame(c->frame, 64, NULL, 5);
	uint32_t written;
	uint16_t head;

	start(c, MERGEABLE);
	driver_add_indirect(d, RX, parts, 3);
	driver_kick(d, RX);
	c->frame[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	assert_true(net_fixture_send(&c->f, 0, c->frame, len));
	assert_true(driver_wait_used(d, RX, &head, &written));
	assert_int_equal(written, len);
	le16_put(c->frame + 10, 1);
	assert_memory_equal(ram, c->frame, 11);
	assert_memory_equal(ram + 100, c->frame + 11, 3);
	assert_memory_equal(ram + 200, c->frame + 14, len - 14);
}

static void receives_long_frames(void **state)
{
	struct card *c = *state;
	const unsigned int longest = NET_FRAME_MAX - NET_HEADER_BYTES;

	start(c, MERGEABLE);
	add_buffers(c, 100, 1536);
	/* The card gets used to short ones and has few buffers at hand when the long one comes. */
	for (unsigned int i = 0; i < 40; i++) {
		send_frame(c, 60, (uint8_t)i);
		expect_frame(c, 60, (uint8_t)i, 1);
	}
	add_buffers(c, 40, 1536);
	send_frame(c, longest, 77);
	expect_frame(c, longest, 77, (NET_FRAME_MAX + 1535) / 1536);
	send_frame(c, 60, 78);
	expect_frame(c, 60, 78, 1);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 0);
}

static void marks_what_it_writes(void **state)
{
	struct card *c = *state;
	struct gmem *mem = c->f.d.mem;
	struct bitmap log;
	unsigned int marked = 0;

	start(c, MERGEABLE);
	assert_int_equal(bitmap_init(&log, mem->npages), 0);
	add_buffers(c, 4, 4096);
	/* Nothing is served in between. */
	assert_int_equal(virtio_pause(c->f.v, clock_mono_ns() + NS_PER_S, NULL), 0);
	mem->host_log = &log;
	virtio_resume(c->f.v);
	send_frame(c, 6000, 1);
	expect_frame(c, 6000, 1, 2);
	assert_int_equal(virtio_pause(c->f.v, clock_mono_ns() + NS_PER_S, NULL), 0);
	mem->host_log = NULL;
	for (unsigned int head = 0; head < VIRTQ_MAX_SIZE; head++) {
		uint64_t gpa = c->buffer[head].gpa;

		if (gpa && bitmap_test(&log, (gpa - DRIVER_RAM_GPA) / 4096))
			marked++;
	}
	assert_true(bitmap_test(&log, (c->f.d.queue[RX].used_gpa - DRIVER_RAM_GPA) / 4096));
	/* All that were offered to readv may have been written, but no more than the frame needs were. */
	assert_int_equal(marked, 2);
	bitmap_fini(&log);
}

static void waits_for_buffers(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	for (uint8_t i = 0; i < 3; i++)
		send_frame(c, 100, i);
	assert_int_equal(driver_used(&c->f.d, RX), 0);
	add_buffers(c, 2, 512);
	expect_frame(c, 100, 0, 1);
	expect_frame(c, 100, 1, 1);
	add_buffers(c, 2, 512);
	expect_frame(c, 100, 2, 1);
	send_frame(c, 100, 3);
	expect_frame(c, 100, 3, 1);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 0);
}

/* The card has read the frame when it sees that it does not fit. */
static void waits_for_more_buffers(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	add_buffers(c, 2, 512);
	send_frame(c, 1500, 1);
	send_frame(c, 60, 2);
	/* A counters call is a turn of the worker's: the frames have been looked at. */
	net_fixture_counter(&c->f, "rx_frames");
	assert_int_equal(driver_used(&c->f.d, RX), 0);
	add_buffers(c, 1, 512);
	expect_frame(c, 1500, 1, 3);
	add_buffers(c, 1, 512);
	expect_frame(c, 60, 2, 1);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 0);
}

/* Buffers that a waiting frame had begun to fill are the driver's again when the device pauses, and the frame is gone. */
static void pauses_with_a_frame_that_waits(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	add_buffers(c, 2, 512);
	send_frame(c, 1500, 1);
	assert_true(net_fixture_wait_taken(&c->f, RX, 2));
	assert_int_equal(virtio_pause(c->f.v, clock_mono_ns() + NS_PER_S, NULL), 0);
	assert_int_equal(c->f.v->queue[RX].vq.avail_idx, 0);
	assert_int_equal(c->f.v->queue[RX].vq.used_idx, 0);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 1);
	send_frame(c, 60, 2); /* stays where it is */
	net_fixture_counter(&c->f, "rx_frames");
	assert_int_equal(driver_used(&c->f.d, RX), 0);
	virtio_resume(c->f.v);
	c->scribbled = true;
	expect_frame(c, 60, 2, 1);
}

static void drops_what_no_buffers_take(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	add_buffers(c, MAX_BUFFERS, 64);
	send_frame(c, 9000, 1); /* more buffers than one frame may have */
	send_frame(c, 50, 2);
	c->scribbled = true;
	expect_frame(c, 50, 2, 1);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 1);
}

static void drops_what_one_buffer_does_not_take(void **state)
{
	struct card *c = *state;

	start(c, 0);
	add_buffers(c, 4, 512);
	send_frame(c, 501, 1);
	send_frame(c, 500, 2);
	send_frame(c, 60, 3);
	expect_frame(c, 500, 2, 1);
	expect_frame(c, 60, 3, 1);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 1);
}

static void drops_short_frames(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	add_buffers(c, 4, 512);
	send_frame(c, 13, 1);
	assert_true(net_fixture_send(&c->f, 0, "x", 1));
	send_frame(c, 14, 2);
	expect_frame(c, 14, 2, 1);
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 2);
}

static void refuses_receive_buffers_without_a_header(void **state)
{
	struct card *c = *state;

	start(c, MERGEABLE);
	add_buffers(c, 1, NET_HEADER_BYTES - 1);
	send_frame(c, 60, 1);
	assert_true(driver_wait_status(&c->f.d, VIRTIO_NEEDS_RESET));
	assert_int_equal(net_fixture_counter(&c->f, "broken"), 1);
	/* A reset, and it is as good as new. */
	start(c, MERGEABLE);
	add_buffers(c, 1, 512);
	send_frame(c, 60, 2);
	expect_frame(c, 60, 1, 1);
	add_buffers(c, 1, 512);
	expect_frame(c, 60, 2, 1);
}

static void add_transmit(struct card *c, unsigned int frame_bytes, uint8_t seed)
{
	struct driver *d = &c->f.d;
	unsigned int len = net_fixture_frame(c->frame, frame_bytes, NULL, seed);
	uint64_t gpa = driver_alloc(d, len);
	const struct driver_part parts[] = { { gpa, NET_HEADER_BYTES, false },
					     { gpa + NET_HEADER_BYTES, frame_bytes, false } };

	memcpy(driver_ptr(d, gpa, len), c->frame, len);
	driver_add(d, TX, parts, frame_bytes ? 2 : 1);
	driver_kick(d, TX);
}

static void expect_sent(struct card *c, unsigned int frame_bytes, uint8_t seed)
{
	unsigned int len = net_fixture_frame(c->frame, frame_bytes, NULL, seed);

	assert_int_equal(net_fixture_receive(&c->f, 0, c->got, sizeof(c->got)), len);
	assert_memory_equal(c->got, c->frame, len);
}

static void wait_used(struct card *c, unsigned int n)
{
	uint32_t written;
	uint16_t head;

	for (unsigned int i = 0; i < n; i++) {
		assert_true(driver_wait_used(&c->f.d, TX, &head, &written));
		assert_int_equal(written, 0);
	}
}

static void transmits(void **state)
{
	struct card *c = *state;

	start(c, 0);
	add_transmit(c, 60, 1);
	add_transmit(c, 1514, 2);
	add_transmit(c, NET_FRAME_MAX - NET_HEADER_BYTES, 3);
	expect_sent(c, 60, 1);
	expect_sent(c, 1514, 2);
	expect_sent(c, NET_FRAME_MAX - NET_HEADER_BYTES, 3);
	wait_used(c, 3);
	assert_int_equal(net_fixture_counter(&c->f, "tx_frames"), 3);
	assert_int_equal(net_fixture_counter(&c->f, "tx_dropped"), 0);
}

static void keeps_the_header(void **state)
{
	struct card *c = *state;
	struct driver *d = &c->f.d;
	const struct virtio_net_hdr_v1 header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = htole16(54),
		.gso_size = htole16(1448),
		.csum_start = htole16(34),
		.csum_offset = htole16(16),
	};
	unsigned int len = net_fixture_frame(c->frame, 4000, NULL, 9);
	struct driver_part part = { driver_alloc(d, len), len, false };
	uint32_t written;

	start(c, 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4);
	memcpy(c->frame, &header, sizeof(header));
	memcpy(driver_ptr(d, part.gpa, len), c->frame, len);
	assert_true(driver_do(d, TX, &part, 1, &written));
	assert_int_equal(net_fixture_receive(&c->f, 0, c->got, sizeof(c->got)), len);
	assert_memory_equal(c->got, c->frame, len);
}

static void drops_what_is_too_long(void **state)
{
	struct card *c = *state;

	start(c, 0);
	add_transmit(c, 60, 1);
	{
		const uint64_t gpa = driver_alloc(&c->f.d, 128u << 10);
		const struct driver_part part = { gpa, NET_FRAME_MAX + 1, false };

		driver_add(&c->f.d, TX, &part, 1);
	}
	add_transmit(c, 60, 2);
	expect_sent(c, 60, 1);
	expect_sent(c, 60, 2);
	wait_used(c, 3);
	assert_int_equal(net_fixture_counter(&c->f, "tx_dropped"), 1);
}

static void refuses_a_frame_without_a_header(void **state)
{
	struct card *c = *state;
	const struct driver_part part = { driver_alloc(&c->f.d, 64), NET_HEADER_BYTES - 1, false };

	start(c, 0);
	driver_add(&c->f.d, TX, &part, 1);
	driver_kick(&c->f.d, TX);
	assert_true(driver_wait_status(&c->f.d, VIRTIO_NEEDS_RESET));
	start(c, 0);
	add_transmit(c, 60, 2);
	expect_sent(c, 60, 2);
}

/* More than the network's side holds: the rest waits there and goes out in its order. */
static void waits_for_the_interface(void **state)
{
	struct card *c = *state;
	unsigned int n = 100;

	start(c, 0);
	for (unsigned int i = 0; i < n; i++)
		add_transmit(c, 4000, (uint8_t)i);
	wait_used(c, 1);
	assert_in_range(driver_used(&c->f.d, TX), 0, n - 2);
	for (unsigned int i = 0; i < n; i++)
		expect_sent(c, 4000, (uint8_t)i);
	wait_used(c, n - 1);
	assert_int_equal(net_fixture_counter(&c->f, "tx_frames"), n);
	assert_int_equal(net_fixture_counter(&c->f, "tx_dropped"), 0);
}

/* Also when it is paused and resumed meanwhile. */
static void waits_for_the_interface_over_a_pause(void **state)
{
	struct card *c = *state;
	unsigned int n = 100;

	start(c, 0);
	for (unsigned int i = 0; i < n; i++)
		add_transmit(c, 4000, (uint8_t)i);
	wait_used(c, 5);
	assert_int_equal(virtio_pause(c->f.v, clock_mono_ns() + NS_PER_S, NULL), 0);
	for (unsigned int i = 0; i < 5; i++)
		expect_sent(c, 4000, (uint8_t)i);
	virtio_resume(c->f.v);
	for (unsigned int i = 5; i < n; i++)
		expect_sent(c, 4000, (uint8_t)i);
	wait_used(c, n - 5);
}

static void link_goes_down_with_the_interface(void **state)
{
	struct card *c = *state;
	uint8_t status[2];

	start(c, 1ull << VIRTIO_NET_F_STATUS);
	add_buffers(c, 4, 512);
	virtio_config_read(c->f.v, 6, status, 2);
	assert_int_equal(le16_get(status), VIRTIO_NET_S_LINK_UP);
	fd_close(&c->f.network[0]);
	assert_true(driver_wait_count(&c->f.d.config_interrupts, 1));
	virtio_config_read(c->f.v, 6, status, 2);
	assert_int_equal(le16_get(status), 0);
	/* As on a cable that is not plugged in: the driver gets its buffers back. */
	for (unsigned int i = 0; i < 100; i++)
		add_transmit(c, 60, 1);
	wait_used(c, 100);
	assert_int_equal(net_fixture_counter(&c->f, "tx_dropped"), 100);
	assert_int_equal(net_fixture_counter(&c->f, "tx_frames"), 0);
	assert_int_equal(driver_used(&c->f.d, RX), 0);
	/* And a reset does not bring it back. */
	start(c, 1ull << VIRTIO_NET_F_STATUS);
	virtio_config_read(c->f.v, 6, status, 2);
	assert_int_equal(le16_get(status), 0);
	virtio_arrived(c->f.v);
	virtio_config_read(c->f.v, 6, status, 2);
	assert_int_equal(le16_get(status), 0);
}

/* A bucket of one byte, and each frame may overdraw it by its length: the third has to wait for longer than any test. */
static void limits_the_rate(void **state)
{
	struct card *c = *state;
	struct net *n = c->f.v->self;
	const struct rate_limit limit = { .bytes_per_s = 1 };

	for (unsigned int i = 0; i < 2; i++) {
		struct net_gate *g = i ? &n->pair[0].tx.gate : &n->pair[0].rx.gate;

		rate_init(&g->rate, &limit, clock_mono_ns());
	}
	start(c, MERGEABLE);
	add_buffers(c, 8, 2048);
	for (uint8_t i = 0; i < 5; i++) {
		add_transmit(c, 1000, i);
		send_frame(c, 1000, i);
	}
	for (uint8_t i = 0; i < 2; i++) {
		expect_sent(c, 1000, i);
		expect_frame(c, 1000, i, 1);
	}
	wait_used(c, 2);
	assert_int_equal(virtio_pause(c->f.v, clock_mono_ns() + NS_PER_S, NULL), 0);
	assert_int_equal(net_fixture_counter(&c->f, "tx_frames"), 2);
	assert_int_equal(net_fixture_counter(&c->f, "rx_frames"), 2);
	assert_int_equal(c->f.v->queue[TX].vq.avail_idx, 2);
	assert_int_equal(c->f.v->queue[RX].vq.avail_idx, 2);
	/* Debts are forgiven: all goes on where it was. */
	n->pair[0].tx.gate = n->pair[0].rx.gate = (struct net_gate){ 0 };
	virtio_resume(c->f.v);
	for (uint8_t i = 2; i < 5; i++) {
		expect_sent(c, 1000, i);
		expect_frame(c, 1000, i, 1);
	}
}

#define NET_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(receives),
		NET_TEST(receives_over_several_buffers),
		NET_TEST(receives_into_small_parts),
		NET_TEST(receives_long_frames),
		NET_TEST(marks_what_it_writes),
		NET_TEST(waits_for_buffers),
		NET_TEST(waits_for_more_buffers),
		NET_TEST(pauses_with_a_frame_that_waits),
		NET_TEST(drops_what_no_buffers_take),
		NET_TEST(drops_what_one_buffer_does_not_take),
		NET_TEST(drops_short_frames),
		NET_TEST(refuses_receive_buffers_without_a_header),
		NET_TEST(transmits),
		NET_TEST(keeps_the_header),
		NET_TEST(drops_what_is_too_long),
		NET_TEST(refuses_a_frame_without_a_header),
		NET_TEST(waits_for_the_interface),
		NET_TEST(waits_for_the_interface_over_a_pause),
		NET_TEST(link_goes_down_with_the_interface),
		NET_TEST(limits_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
