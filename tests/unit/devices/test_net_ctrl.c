/* SPDX-License-Identifier: Apache-2.0 */
/* The network card's control queue, what it says of itself, its announcement and its state. */
#include "test.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "net_fixture.h"

#define ALL_FEATURES UINT64_MAX
#define BIT(feature) (1ull << (feature))

struct card {
	struct net_fixture f;
	uint8_t frame[NET_FIXTURE_FRAME_MAX];
	uint8_t got[NET_FIXTURE_FRAME_MAX];
	uint64_t buffer_gpa[VIRTQ_MAX_SIZE]; /* receive buffers by head */
};

static int setup_pairs(void **state, unsigned int npairs)
{
	static struct card c;

	memset(&c, 0, sizeof(c));
	*state = &c;
	return net_fixture_init(&c.f, npairs, NULL, NULL);
}

static int setup(void **state)
{
	return setup_pairs(state, 1);
}

static int setup_three(void **state)
{
	return setup_pairs(state, 3);
}

static int teardown(void **state)
{
	struct card *c = *state;

	net_fixture_fini(&c->f);
	return 0;
}

static void start(struct card *c, uint64_t features)
{
	assert_true(driver_start(&c->f.d, features, 256));
}

/* One command, its bytes in two parts; the answer. */
static uint8_t command(struct card *c, unsigned int queue, const void *data, unsigned int len_bytes)
{
	struct driver *d = &c->f.d;
	uint64_t gpa = driver_alloc(d, len_bytes + 2);
	uint8_t *ram = driver_ptr(d, gpa, len_bytes + 2);
	unsigned int first = MIN(len_bytes, 3u);
	const struct driver_part parts[] = {
		{ gpa, first, false },
		{ gpa + first, len_bytes - first, false }, /* may be empty: left out by the queue */
		{ gpa + len_bytes, 2, true },
	};
	uint32_t written;

	memcpy(ram, data, len_bytes);
	ram[len_bytes] = ram[len_bytes + 1] = 0x55;
	assert_true(driver_do(d, queue, parts, 3, &written));
	assert_int_equal(written, 1);
	assert_int_equal(ram[len_bytes + 1], 0x55);
	return ram[len_bytes];
}

#define BUFFER_BYTES 2048u

static void add_buffers(struct card *c, unsigned int queue, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct driver_part part = { driver_alloc(&c->f.d, BUFFER_BYTES), BUFFER_BYTES,
						  true };

		c->buffer_gpa[driver_add(&c->f.d, queue, &part, 1)] = part.gpa;
	}
	driver_kick(&c->f.d, queue);
}

/* Takes a frame: the first byte behind its destination. */
static uint8_t receive(struct card *c, unsigned int queue)
{
	const uint8_t *data;
	uint32_t written;
	uint16_t head;

	assert_true(driver_wait_used(&c->f.d, queue, &head, &written));
	data = driver_ptr(&c->f.d, c->buffer_gpa[head], BUFFER_BYTES);
	return data[NET_HEADER_BYTES + NET_MAC_BYTES];
}

/* Whether a frame to @dst gets through: one to @certain, which does, is sent behind it. */
static bool gets_through(struct card *c, const uint8_t *dst, const uint8_t *certain)
{
	uint8_t first;

	add_buffers(c, 0, 2);
	assert_true(net_fixture_send(&c->f, 0, c->frame, net_fixture_frame(c->frame, 60, dst, 1)));
	first = c->frame[NET_HEADER_BYTES + NET_MAC_BYTES];
	assert_true(
		net_fixture_send(&c->f, 0, c->frame, net_fixture_frame(c->frame, 60, certain, 2)));
	if (receive(c, 0) != first)
		return false;
	assert_int_not_equal(receive(c, 0), first);
	return true;
}

static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t other[6] = { 0x02, 1, 2, 3, 4, 5 };
static const uint8_t group[6] = { 0x01, 0x00, 0x5e, 0, 0, 1 };

static void get_mac(struct card *c, uint8_t *ret)
{
	virtio_config_read(c->f.v, 0, ret, 6);
}

static void offers(void **state)
{
	struct card *c = *state;
	struct virtio_face face;
	const uint64_t expected = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
				  BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_CTRL_VQ);

	virtio_get_face(c->f.v, &face);
	assert_string_equal(face.kind, "net");
	assert_int_equal(face.nqueues, 3);
	assert_int_equal(face.config_bytes, 12);
	assert_true((face.features & expected) == expected);
	assert_false(face.features & BIT(VIRTIO_NET_F_MQ));
	assert_int_equal(face.config[0] & 3, 2); /* one card's, locally administered */
	assert_int_equal(le16_get(face.config + 6), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(le16_get(face.config + 8), 1);
	assert_int_equal(le16_get(face.config + 10), 1500);
}

static void makes_an_address_from_the_id(void **state)
{
	struct card *c = *state;
	static struct net_fixture second;
	uint8_t a[6], b[6];
	const struct net_config config = { .tap = "fake0" };
	struct virtio_common common = { .id = "net0" };
	static const char *const ids[] = { "net0", "net1" };

	get_mac(c, a);
	for (unsigned int i = 0; i < 2; i++) {
		struct netif n;

		assert_int_equal(driver_init(&second.d), 0);
		n = net_fixture_netif(&second, 1);
		common.id = ids[i];
		common.host = second.d.host;
		assert_int_equal(net_create_on(&common, &n, &config, &second.v, NULL), 0);
		virtio_config_read(second.v, 0, b, 6);
		if (i)
			assert_memory_not_equal(a, b, 6);
		else
			assert_memory_equal(a, b, 6);
		net_fixture_fini(&second);
	}
}

static void filters(void **state)
{
	struct card *c = *state;
	uint8_t own[6];
	static const struct {
		uint8_t cmd[3];
		bool other, group, broadcast;
	} modes[] = {
		{ { 0, 0, 0 }, false, false, true }, /* not promiscuous any more */
		{ { 0, 1, 1 }, false, true, true }, /* all-multicast */
		{ { 0, 2, 1 }, true, true, true }, /* all-unicast */
		{ { 0, 3, 1 }, true, false, true }, /* no multicast, whatever else */
		{ { 0, 5, 1 }, true, false, false }, /* no broadcast */
		{ { 0, 0, 1 }, true, true, true }, /* promiscuous over all */
	};

	start(c, ALL_FEATURES);
	get_mac(c, own);
	assert_true(gets_through(c, other, own));
	assert_true(gets_through(c, group, own));
	for (unsigned int i = 0; i < ARRAY_LEN(modes); i++) {
		assert_int_equal(command(c, 2, modes[i].cmd, 3), VIRTIO_NET_OK);
		assert_int_equal(gets_through(c, other, own), modes[i].other);
		assert_int_equal(gets_through(c, group, own), modes[i].group);
		assert_int_equal(gets_through(c, broadcast, own), modes[i].broadcast);
	}
	assert_int_equal(net_fixture_counter(&c->f, "rx_dropped"), 0);
}

static void filters_by_table(void **state)
{
	struct card *c = *state;
	static const uint8_t off[] = { 0, 0, 0 };
	uint8_t own[6];
	uint8_t table[2 + 4 + 6 + 4 + 65 * 6] = { VIRTIO_NET_CTRL_MAC,
						  VIRTIO_NET_CTRL_MAC_TABLE_SET, 1 };

	start(c, ALL_FEATURES);
	get_mac(c, own);
	assert_int_equal(command(c, 2, off, 3), VIRTIO_NET_OK);
	memcpy(table + 6, other, 6);
	assert_int_equal(command(c, 2, table, 16), VIRTIO_NET_OK); /* no group */
	assert_true(gets_through(c, other, own));
	assert_false(gets_through(c, group, own));
	table[12] = 65; /* more than there is room for */
	assert_int_equal(command(c, 2, table, 16 + 65 * 6), VIRTIO_NET_OK);
	assert_true(gets_through(c, other, own));
	assert_true(gets_through(c, group, own));
	table[12] = 1;
	assert_int_equal(command(c, 2, table, 22), VIRTIO_NET_OK);
	assert_false(gets_through(c, group, own)); /* 00:00:... is what the table has */
	/* What is wrong changes nothing. */
	table[6] ^= 0x40;
	assert_int_equal(command(c, 2, table, 21), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, table, 23), VIRTIO_NET_ERR);
	table[5] = 0x80; /* 2^31 addresses */
	assert_int_equal(command(c, 2, table, 22), VIRTIO_NET_ERR);
	assert_true(gets_through(c, other, own));
}

static void takes_another_address(void **state)
{
	struct card *c = *state;
	uint8_t set[8] = { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET };
	static const uint8_t off[] = { 0, 0, 0 };
	uint8_t own[6], now[6];

	start(c, ALL_FEATURES);
	get_mac(c, own);
	memcpy(set + 2, other, 6);
	assert_int_equal(command(c, 2, off, 3), VIRTIO_NET_OK);
	assert_int_equal(command(c, 2, set, 8), VIRTIO_NET_OK);
	get_mac(c, now);
	assert_memory_equal(now, other, 6);
	assert_false(gets_through(c, own, other));
	assert_int_equal(atomic_load(&c->f.d.config_interrupts), 0); /* who asked knows */
	memcpy(set + 2, group, 6);
	assert_int_equal(command(c, 2, set, 8), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, set, 7), VIRTIO_NET_ERR);
	get_mac(c, now);
	assert_memory_equal(now, other, 6);
	start(c, ALL_FEATURES);
	get_mac(c, now);
	assert_memory_equal(now, own, 6);
}

static void sets_offloads(void **state)
{
	struct card *c = *state;
	uint8_t set[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET };
	const uint64_t features = ~BIT(VIRTIO_NET_F_GUEST_TSO6);

	start(c, features);
	assert_int_equal(c->f.offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN);
	le64_put(set + 2, BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(command(c, 2, set, 10), VIRTIO_NET_OK);
	assert_int_equal(c->f.offloads, TUN_F_CSUM);
	le64_put(set + 2, 0);
	assert_int_equal(command(c, 2, set, 10), VIRTIO_NET_OK);
	assert_int_equal(c->f.offloads, 0);
	le64_put(set + 2, BIT(VIRTIO_NET_F_GUEST_TSO4)); /* cannot do without checksums */
	assert_int_equal(command(c, 2, set, 10), VIRTIO_NET_OK);
	assert_int_equal(c->f.offloads, 0);
	/* Not negotiated, not an offload, too short. */
	le64_put(set + 2, BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO6));
	assert_int_equal(command(c, 2, set, 10), VIRTIO_NET_ERR);
	le64_put(set + 2, BIT(VIRTIO_NET_F_MRG_RXBUF));
	assert_int_equal(command(c, 2, set, 10), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, set, 9), VIRTIO_NET_ERR);
	assert_int_equal(c->f.offloads, 0);
	start(c, VIRTIO_CORE_FEATURES);
	assert_int_equal(c->f.offloads, 0);
}

static void refuses_commands(void **state)
{
	struct card *c = *state;
	static const uint8_t mode[] = { 0, 0, 2 }, none[] = { 0, 0 }, much[] = { 0, 0, 1, 0 };
	static const uint8_t unknown[] = { 0, 6, 1 }, vlan[] = { 2, 0, 1, 0 }, far[] = { 200, 0 };
	static const uint8_t pairs[] = { 4, 0, 1, 0 }, ack[] = { 3, 0, 0 }, good[] = { 0, 0, 1 };
	const struct driver_part no_answer = { driver_alloc(&c->f.d, 16), 3, false };

	start(c, ALL_FEATURES);
	assert_int_equal(command(c, 2, mode, 3), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, none, 2), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, none, 1), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, much, 4), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, unknown, 3), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, vlan, 4), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, far, 2), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, pairs, 4), VIRTIO_NET_ERR); /* there is one */
	assert_int_equal(command(c, 2, ack, 3), VIRTIO_NET_ERR);
	assert_int_equal(command(c, 2, good, 3), VIRTIO_NET_OK);
	start(c, ~BIT(VIRTIO_NET_F_CTRL_RX));
	assert_int_equal(command(c, 2, good, 3), VIRTIO_NET_ERR);
	driver_add(&c->f.d, 2, &no_answer, 1);
	driver_kick(&c->f.d, 2);
	assert_true(driver_wait_status(&c->f.d, VIRTIO_NEEDS_RESET));
}

static void set_pairs(struct card *c, uint16_t npairs, uint8_t answer)
{
	uint8_t set[4] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET };

	le16_put(set + 2, npairs);
	assert_int_equal(command(c, 6, set, 4), answer);
}

static void uses_several_pairs(void **state)
{
	struct card *c = *state;
	unsigned int len = net_fixture_frame(c->frame, 60, NULL, 1);
	struct driver_part part = { driver_alloc(&c->f.d, len), len, false };
	uint16_t head;
	uint32_t written;

	start(c, ALL_FEATURES);
	assert_int_equal(c->f.active, 1);
	add_buffers(c, 2, 4);
	driver_add(&c->f.d, 3, &part, 1);
	driver_kick(&c->f.d, 3);
	assert_true(net_fixture_send(&c->f, 1, c->frame, len));
	set_pairs(c, 0, VIRTIO_NET_ERR);
	set_pairs(c, 4, VIRTIO_NET_ERR);
	assert_int_equal(c->f.active, 1);
	assert_int_equal(driver_used(&c->f.d, 2) + driver_used(&c->f.d, 3), 0);
	/* What waited comes through. */
	set_pairs(c, 2, VIRTIO_NET_OK);
	assert_int_equal(c->f.active, 2);
	receive(c, 2);
	assert_true(driver_wait_used(&c->f.d, 3, &head, &written));
	assert_int_equal(net_fixture_receive(&c->f, 1, c->got, sizeof(c->got)), len);
	/* And no more does. */
	set_pairs(c, 1, VIRTIO_NET_OK);
	assert_int_equal(c->f.active, 1);
	assert_true(net_fixture_send(&c->f, 1, c->frame, len));
	add_buffers(c, 0, 1);
	assert_true(net_fixture_send(&c->f, 0, c->frame, len));
	receive(c, 0);
	assert_int_equal(driver_used(&c->f.d, 2), 0);
	set_pairs(c, 3, VIRTIO_NET_OK);
	receive(c, 2);
	start(c, ALL_FEATURES);
	assert_int_equal(c->f.active, 1);
}

/* A driver that knows of one pair has the control queue behind that one (§5.1.2). */
static void finds_the_control_queue(void **state)
{
	struct card *c = *state;
	static const uint8_t good[] = { 0, 0, 1 };

	start(c, ~BIT(VIRTIO_NET_F_MQ));
	assert_int_equal(command(c, 2, good, 3), VIRTIO_NET_OK);
}

static void announces_itself(void **state)
{
	struct card *c = *state;
	static const uint8_t ack[] = { VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK };
	uint8_t rarp[NET_HEADER_BYTES + 60] = { 0 };
	uint8_t *frame = rarp + NET_HEADER_BYTES;
	uint8_t status[2];

	memset(frame, 0xff, 6);
	get_mac(c, frame + 6);
	memcpy(frame + 12, "\x80\x35\x00\x01\x08\x00\x06\x04\x00\x03", 10);
	get_mac(c, frame + 22);
	get_mac(c, frame + 32);
	start(c, ALL_FEATURES);
	virtio_arrived(c->f.v);
	assert_int_equal(atomic_load(&c->f.d.config_interrupts), 1);
	virtio_config_read(c->f.v, 6, status, 2);
	assert_int_equal(le16_get(status), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(net_fixture_receive(&c->f, 0, c->got, sizeof(c->got)),
				 sizeof(rarp));
		assert_memory_equal(c->got, rarp, sizeof(rarp));
	}
	assert_int_equal(command(c, 2, ack, 2), VIRTIO_NET_OK);
	virtio_config_read(c->f.v, 6, status, 2);
	assert_int_equal(le16_get(status), VIRTIO_NET_S_LINK_UP);
	/* A driver that cannot is not asked. */
	start(c, ~BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
	virtio_arrived(c->f.v);
	virtio_config_read(c->f.v, 6, status, 2);
	assert_int_equal(le16_get(status), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(command(c, 2, ack, 2), VIRTIO_NET_ERR);
}

/* A second move while the first is still being announced. */
static void announces_itself_anew(void **state)
{
	struct card *c = *state;

	start(c, ALL_FEATURES);
	virtio_arrived(c->f.v);
	virtio_arrived(c->f.v);
	assert_int_equal(atomic_load(&c->f.d.config_interrupts), 2);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(net_fixture_receive(&c->f, 0, c->got, sizeof(c->got)),
				 NET_HEADER_BYTES + 60);
}

static void save(struct card *c, struct buf *ret)
{
	struct state_entry e[2];

	assert_int_equal(virtio_pause(c->f.v, clock_mono_ns() + NS_PER_S, NULL), 0);
	assert_int_equal(virtio_state_entries(c->f.v, 7, e), 2);
	assert_int_equal(state_save_all(e, 2, ret, NULL), 0);
}

static int load(struct net_fixture *f, const struct buf *b, struct err *err)
{
	struct state_entry e[2];

	assert_int_equal(virtio_state_entries(f->v, 7, e), 2);
	return state_load_all(e, 2, b->data, b->len_bytes, err);
}

/* Guest memory and what the driver knows go over as well. */
static void move_driver(struct driver *to, const struct driver *from)
{
	memcpy(to->mem->base, from->mem->base, from->mem->npages * 4096);
	memcpy(to->queue, from->queue, sizeof(to->queue));
	to->features = from->features;
	to->next_gpa = from->next_gpa;
}

static void moves(void **state)
{
	struct card *c = *state;
	static struct card there;
	struct virtio_face face;
	struct buf first = { 0 }, second = { 0 };
	uint8_t set[8] = { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET };
	uint8_t table[22] = { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 1 };
	uint8_t offloads[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS };
	uint8_t mac[6], own[6];
	static const uint8_t off[] = { 0, 0, 0 };

	start(c, ALL_FEATURES);
	get_mac(c, own);
	memcpy(set + 2, other, 6);
	memcpy(table + 6, other, 6);
	table[12] = 1;
	memcpy(table + 16, group, 6);
	le64_put(offloads + 2, BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(command(c, 6, off, 3), VIRTIO_NET_OK);
	assert_int_equal(command(c, 6, set, 8), VIRTIO_NET_OK);
	assert_int_equal(command(c, 6, table, 22), VIRTIO_NET_OK);
	assert_int_equal(command(c, 6, offloads, 10), VIRTIO_NET_OK);
	set_pairs(c, 3, VIRTIO_NET_OK);
	add_buffers(c, 4, 2); /* the third pair's */
	add_buffers(c, 0, 8);
	save(c, &first);
	virtio_get_face(c->f.v, &face);

	assert_int_equal(net_fixture_init(&there.f, 3, &face, NULL), 0);
	move_driver(&there.f.d, &c->f.d);
	memcpy(there.buffer_gpa, c->buffer_gpa, sizeof(there.buffer_gpa));
	assert_int_equal(load(&there.f, &first, NULL), 0);
	save(&there, &second);
	assert_int_equal(first.len_bytes, second.len_bytes);
	assert_memory_equal(first.data, second.data, first.len_bytes);
	assert_int_equal(there.f.active, 3);
	assert_int_equal(there.f.offloads, TUN_F_CSUM);
	get_mac(&there, mac);
	assert_memory_equal(mac, other, 6);
	virtio_resume(there.f.v);
	virtio_arrived(there.f.v);
	assert_int_equal(there.f.d.config_interrupts, 1);
	assert_true(
		net_fixture_send(&there.f, 2, c->frame, net_fixture_frame(c->frame, 60, other, 1)));
	receive(&there, 4);
	assert_true(gets_through(&there, group, other));
	assert_false(gets_through(&there, own, other));
	start(&there, ALL_FEATURES);
	get_mac(&there, mac);
	assert_memory_equal(mac, own, 6);
	buf_fini(&first);
	buf_fini(&second);
	net_fixture_fini(&there.f);
}

/* The driver resets it where it is then, and finds a card as new. */
static void forgets_what_came_with_a_broken_card(void **state)
{
	struct card *c = *state;
	static struct card there;
	struct virtio_face face;
	struct buf b = { 0 };
	uint8_t set[8] = { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET };
	const struct driver_part no_answer = { driver_alloc(&c->f.d, 16), 3, false };
	uint8_t mac[6], own[6];

	virtio_get_face(c->f.v, &face);
	start(c, ALL_FEATURES);
	get_mac(c, own);
	memcpy(set + 2, other, 6);
	assert_int_equal(command(c, 6, set, 8), VIRTIO_NET_OK);
	set_pairs(c, 2, VIRTIO_NET_OK);
	driver_add(&c->f.d, 6, &no_answer, 1);
	driver_kick(&c->f.d, 6);
	assert_true(driver_wait_status(&c->f.d, VIRTIO_NEEDS_RESET));
	save(c, &b);
	assert_int_equal(net_fixture_init(&there.f, 3, &face, NULL), 0);
	assert_int_equal(load(&there.f, &b, NULL), 0);
	assert_true(virtio_get_status(there.f.v) & VIRTIO_NEEDS_RESET);
	get_mac(&there, mac);
	assert_memory_equal(mac, other, 6);
	virtio_set_status(there.f.v, 0);
	get_mac(&there, mac);
	assert_memory_equal(mac, own, 6);
	assert_int_equal(there.f.active, 1);
	assert_int_equal(there.f.offloads, 0);
	buf_fini(&b);
	net_fixture_fini(&there.f);
}

/* A value of section "net" that no healthy card has: bytes from its body's offset on. */
static void refuses_state(void **state)
{
	struct card *c = *state;
	static const struct {
		unsigned int offset;
		uint8_t byte;
		const char *what;
	} bad[] = {
		{ 0, 0x01, "mac" },       { 6, 0x01, "first_mac" },
		{ 12, 0x05, "status" },   { 14, 0, "pairs" },
		{ 14, 9, "pairs" },       { 14, 4, "pairs 4 of 3" },
		{ 16, 0x01, "offloads" }, { 16, 0x02, "not negotiated" },
		{ 25, 5, "unicast" },     { 29, 7, "multicast" },
	};
	struct buf good = { 0 };
	size_t body;

	start(c, ~BIT(VIRTIO_NET_F_GUEST_CSUM));
	save(c, &good);
	/* The section is the last; without tables its body has 33 bytes. */
	body = good.len_bytes - 33;
	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		uint8_t before = good.data[body + bad[i].offset];

		good.data[body + bad[i].offset] = bad[i].byte;
		assert_int_not_equal(load(&c->f, &good, &err), 0);
		if (bad[i].offset < 25) /* a length that is wrong breaks the encoding first */
			assert_non_null(strstr(err.msg, bad[i].what));
		good.data[body + bad[i].offset] = before;
	}
	assert_int_equal(load(&c->f, &good, NULL), 0);
	buf_fini(&good);
}

static int make_with(const struct virtio_face *face, unsigned int offloads, uint16_t mtu,
		     const uint8_t *mac, unsigned int npairs, struct err *err)
{
	static struct net_fixture f;
	struct net_config config = { .tap = "fake0", .nqueue_pairs = npairs };
	struct virtio_common common = { .id = "net0", .face = face };
	struct netif n;
	int rc;

	memset(&f, 0, sizeof(f));
	if (mac)
		memcpy(config.mac, mac, 6);
	assert_int_equal(driver_init(&f.d), 0);
	n = net_fixture_netif(&f, 3);
	n.offloads = offloads;
	n.mtu = mtu;
	common.host = f.d.host;
	rc = net_create_on(&common, &n, &config, &f.v, err);
	net_fixture_fini(&f);
	return rc;
}

/* The receiver's interface has to do what the guest was promised. */
static void refuses_what_it_cannot_be(void **state)
{
	struct card *c = *state;
	struct virtio_face face, bad;
	struct err err = { 0 };

	virtio_get_face(c->f.v, &face);
	assert_int_equal(make_with(&face, 15, 1500, NULL, 0, &err), 0);
	assert_int_equal(make_with(&face, 15, 9000, NULL, 0, &err), 0);
	assert_int_equal(make_with(&face, 15, 1400, NULL, 0, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "MTU is 1400, the guest was told 1500"));
	assert_int_equal(make_with(&face, 0, 1500, NULL, 0, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "segmentation offload"));
	bad = face;
	bad.features |= BIT(VIRTIO_NET_F_RSS);
	assert_int_equal(make_with(&bad, 15, 1500, NULL, 0, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "60"));
	bad = face;
	bad.config_bytes = 11;
	assert_int_equal(make_with(&bad, 15, 1500, NULL, 0, &err), -EOPNOTSUPP);
	bad = face;
	bad.config[8] = 0;
	assert_int_equal(make_with(&bad, 15, 1500, NULL, 0, &err), -EOPNOTSUPP);
	bad.config[8] = 2; /* pairs, and queues for three */
	assert_int_equal(make_with(&bad, 15, 1500, NULL, 0, &err), -EOPNOTSUPP);
	bad = face;
	bad.config[0] |= 1;
	assert_int_equal(make_with(&bad, 15, 1500, NULL, 0, &err), -EINVAL);
	/* And without a face. */
	assert_int_equal(make_with(NULL, 15, 1500, other, 3, &err), 0);
	assert_int_equal(make_with(NULL, 0, 1500, other, 3, &err), 0);
	assert_int_equal(make_with(NULL, 15, 1500, group, 3, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "01:00:5e:00:00:01"));
	assert_int_equal(make_with(NULL, 15, 1500, NULL, 9, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "9 queue pairs: 1 to 8"));
}

#define NET_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define NET_TEST_3(fn) cmocka_unit_test_setup_teardown(fn, setup_three, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(offers),
		NET_TEST(makes_an_address_from_the_id),
		NET_TEST(filters),
		NET_TEST(filters_by_table),
		NET_TEST(takes_another_address),
		NET_TEST(sets_offloads),
		NET_TEST(refuses_commands),
		NET_TEST_3(uses_several_pairs),
		NET_TEST_3(finds_the_control_queue),
		NET_TEST(announces_itself),
		NET_TEST(announces_itself_anew),
		NET_TEST_3(moves),
		NET_TEST_3(forgets_what_came_with_a_broken_card),
		NET_TEST_3(refuses_state),
		NET_TEST_3(refuses_what_it_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
