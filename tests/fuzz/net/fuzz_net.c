/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole network card between a driver and a network that do anything: each control command and each frame to send is answered or the device wants a reset, what is received fits the buffers, nothing is
 * written outside of them, and saved state loads to the same.
 *
 * Input: u8 features (bit 0 MRG_RXBUF, 1 MQ, 2 event indices, 3 the others), then operations of a u8 and what they say.
 */
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/num.h"
#include "net_fixture.h"

#define NPAIRS 2u
#define AREA_BYTES 65536u /* of buffers; a part begins in it and may end behind it */
#define SLACK_BYTES 8192u
#define CANARY_BYTES 4096u
#define CANARY 0xc5
#define MAX_OPS 64u
#define QUEUE_SIZE 64u
#define WAIT_NS (5 * NS_PER_S)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

enum op {
	OP_SEND, /* u8 queue, parts */
	OP_BUFFER, /* the same */
	OP_COMMAND, /* u8 bytes of answer, u8 length, command */
	OP_FRAME, /* u8 pair, u16 length, u8 bytes of header, header */
	OP_PAUSE,
	OP_MOVE,
	OP_ARRIVE,
	OP_TAKE, /* the network reads */
	NOPS,
};

static struct net_fixture f;
static uint64_t area_gpa, canary_gpa, rings_gpa;
static uint8_t frame[NET_FRAME_MAX];

static void set_up(void)
{
	if (net_fixture_init(&f, NPAIRS, NULL, NULL))
		__builtin_trap();
	area_gpa = driver_alloc(&f.d, AREA_BYTES + SLACK_BYTES);
	canary_gpa = driver_alloc(&f.d, CANARY_BYTES);
	rings_gpa = f.d.next_gpa;
	memset(driver_ptr(&f.d, canary_gpa, CANARY_BYTES), CANARY, CANARY_BYTES);
}

static uint64_t features_of(uint8_t bits)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1;

	if (bits & 8)
		features = ~(1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_MQ |
			     1ull << VIRTIO_F_RING_EVENT_IDX);
	features |= (uint64_t)(bits & 1) << VIRTIO_NET_F_MRG_RXBUF;
	features |= (uint64_t)(bits >> 1 & 1) << VIRTIO_NET_F_MQ;
	features |= (uint64_t)(bits >> 2 & 1) << VIRTIO_F_RING_EVENT_IDX;
	return features;
}

static bool broken(void)
{
	return virtio_get_status(f.v) & VIRTIO_NEEDS_RESET;
}

/* Takes used entries, at least until there is room for @n descriptors; false when the driver has to do without. */
static bool has_room(unsigned int queue, unsigned int n)
{
	uint32_t written;
	uint16_t head;

	while (driver_used(&f.d, queue))
		if (!driver_wait_used(&f.d, queue, &head, &written) || written > NET_FRAME_MAX)
			__builtin_trap();
	return f.d.queue[queue].nfree >= n;
}

/* A chain of u8 parts (1 to 4), each u16 offset, u16 length. */
static void add_chain(struct reader *in, unsigned int queue, bool write)
{
	struct driver_part part[4];
	unsigned int n = reader_u8(in) % ARRAY_LEN(part) + 1u;

	for (unsigned int i = 0; i < n; i++)
		part[i] = (struct driver_part){ area_gpa + reader_u16(in),
						reader_u16(in) % SLACK_BYTES, write };
	if (in->failed || !has_room(queue, n))
		return;
	driver_add(&f.d, queue, part, n);
	virtio_kick(f.v, queue);
}

/* Answered before the next operation, so that an input does the same each time. */
static void add_command(struct reader *in)
{
	unsigned int queue = f.d.features >> VIRTIO_NET_F_MQ & 1 ? NPAIRS * 2 : 2;
	uint32_t answer_bytes = reader_u8(in) % 3;
	uint32_t len_bytes = reader_u8(in);
	const uint8_t *command = reader_bytes(in, len_bytes);
	const struct driver_part part[] = { { area_gpa, len_bytes, false },
					    { area_gpa + 256, answer_bytes, true } };
	uint64_t end_ns = clock_mono_ns() + WAIT_NS;

	if (in->failed || !has_room(queue, 2))
		return;
	memcpy(driver_ptr(&f.d, area_gpa, 256), command, len_bytes);
	driver_add(&f.d, queue, part, 2);
	virtio_kick(f.v, queue);
	/* Without CTRL_VQ nobody serves the queue. */
	while (f.d.features >> VIRTIO_NET_F_CTRL_VQ & 1 && !driver_used(&f.d, queue) && !broken()) {
		if (clock_mono_ns() > end_ns)
			__builtin_trap();
		sched_yield();
	}
}

static void send_frame(struct reader *in)
{
	unsigned int pair = reader_u8(in) % NPAIRS;
	unsigned int len_bytes = reader_u16(in);
	unsigned int header_bytes = reader_u8(in) % (NET_HEADER_BYTES + NET_ETH_BYTES + 1);
	const uint8_t *header = reader_bytes(in, header_bytes);

	if (in->failed || !len_bytes) /* an empty message is no frame */
		return;
	memcpy(frame, header, header_bytes);
	(void)net_fixture_send(&f, pair, frame, len_bytes);
}

static void pause_now(void)
{
	if (virtio_pause(f.v, clock_mono_ns() + WAIT_NS, NULL))
		__builtin_trap();
}

static void move(void)
{
	struct state_entry e[2];
	struct buf first = { 0 }, second = { 0 };
	unsigned int n = virtio_state_entries(f.v, 1, e);

	pause_now();
	if (state_save_all(e, n, &first, NULL) ||
	    state_load_all(e, n, first.data, first.len_bytes, NULL) ||
	    state_save_all(e, n, &second, NULL) || first.len_bytes != second.len_bytes ||
	    memcmp(first.data, second.data, first.len_bytes))
		__builtin_trap();
	buf_fini(&first);
	buf_fini(&second);
	virtio_resume(f.v);
}

static void drain(int fd)
{
	while (recv(fd, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
}

static void one_op(struct reader *in)
{
	enum op op = reader_u8(in) % NOPS;

	switch (op) {
	case OP_SEND:
	case OP_BUFFER:
		add_chain(in, reader_u8(in) % NPAIRS * 2 + (op == OP_SEND), op == OP_BUFFER);
		break;
	case OP_COMMAND:
		add_command(in);
		break;
	case OP_FRAME:
		send_frame(in);
		break;
	case OP_PAUSE:
		pause_now();
		virtio_resume(f.v);
		break;
	case OP_MOVE:
		move();
		break;
	case OP_ARRIVE:
		virtio_arrived(f.v);
		break;
	case OP_TAKE:
		for (unsigned int i = 0; i < NPAIRS; i++)
			drain(f.network[i]);
		break;
	case NOPS:
		break;
	}
}

static void check_memory(void)
{
	const uint8_t *canary = driver_ptr(&f.d, canary_gpa, CANARY_BYTES);

	for (unsigned int i = 0; i < CANARY_BYTES; i++)
		if (canary[i] != CANARY)
			__builtin_trap();
}

/* After a reset nothing of the past is left; frames neither. */
static void check_reset(void)
{
	const struct net *n = f.v->self;
	uint8_t mac[NET_MAC_BYTES];

	virtio_set_status(f.v, 0);
	virtio_config_read(f.v, 0, mac, sizeof(mac));
	if (n->npairs != 1 || n->offloads || n->filter.mode != NET_PROMISC || n->pair[0].rx.count ||
	    n->pair[1].rx.count || memcmp(mac, n->first_mac, sizeof(mac)))
		__builtin_trap();
	for (unsigned int i = 0; i < NPAIRS; i++) {
		drain(f.network[i]);
		drain(n->netif.fd[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);

	if (!f.v)
		set_up();
	f.d.next_gpa = rings_gpa;
	if (!driver_start(&f.d, features_of(reader_u8(&in)), QUEUE_SIZE))
		__builtin_trap();
	for (unsigned int i = 0; i < MAX_OPS && reader_left(&in); i++)
		one_op(&in);
	pause_now();
	check_memory();
	check_reset();
	return 0;
}
