/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's state alone: credits that wrap round, come late or are lies, and what each operation means in each phase. */
#include "test.h"

#include "base/num.h"
#include "devices/virtio/vsock.h"

#define ROOM 1000u

static const struct vsock_packet request = {
	.src_port = 5, .dst_port = 6, .op = VIRTIO_VSOCK_OP_REQUEST, .buf_alloc = ROOM
};

static struct vsock_conn opened(void)
{
	struct vsock_conn c = { .fd = -1 };
	struct vsock_packet p;

	vsock_conn_open(&c, &request);
	assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_RESPONSE);
	vsock_conn_send(&c, VIRTIO_VSOCK_OP_RESPONSE, 0, 3, &p);
	assert_int_equal(vsock_conn_next(&c), 0);
	return c;
}

static enum vsock_todo say(struct vsock_conn *c, uint16_t op, uint32_t fwd_cnt, uint32_t buf_alloc)
{
	const struct vsock_packet p = { .op = op, .fwd_cnt = fwd_cnt, .buf_alloc = buf_alloc };

	return vsock_conn_packet(c, &p);
}

static void packets_are_what_they_were(void **state)
{
	static const struct vsock_packet p = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
	uint8_t wire[VSOCK_HEADER_BYTES], again[VSOCK_HEADER_BYTES];
	struct vsock_packet back;

	assert_int_equal(VSOCK_HEADER_BYTES, 44);
	vsock_packet_put(&p, wire);
	/* §5.10.6: where the specification has them. */
	assert_int_equal(wire[0], 1);
	assert_int_equal(wire[8], 2);
	assert_int_equal(wire[16], 3);
	assert_int_equal(wire[20], 4);
	assert_int_equal(wire[24], 5);
	assert_int_equal(wire[28], 6);
	assert_int_equal(wire[30], 7);
	assert_int_equal(wire[32], 8);
	assert_int_equal(wire[36], 9);
	assert_int_equal(wire[40], 10);
	vsock_packet_get(wire, &back);
	vsock_packet_put(&back, again);
	assert_memory_equal(again, wire, sizeof(wire));
}

static void credit_wraps_round(void **state)
{
	struct vsock_conn c = opened();
	struct vsock_packet p;

	c.sent = c.guest_fwd_cnt = UINT32_MAX - 10;
	c.readable = true;
	assert_int_equal(vsock_conn_credit(&c), ROOM);
	assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_RW);
	vsock_conn_send(&c, VIRTIO_VSOCK_OP_RW, ROOM, 3, &p);
	assert_int_equal(c.sent, ROOM - 11);
	assert_int_equal(vsock_conn_credit(&c), 0);
	assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	vsock_conn_send(&c, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, 3, &p);
	assert_int_equal(vsock_conn_next(&c), 0);
	assert_int_equal(say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 9, ROOM), VSOCK_NOTHING);
	assert_int_equal(vsock_conn_credit(&c), 20);
	assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_RW);
}

static void credit_that_is_late_or_a_lie(void **state)
{
	struct vsock_conn c = opened();
	struct vsock_packet p;

	vsock_conn_send(&c, VIRTIO_VSOCK_OP_RW, 500, 3, &p);
	say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 400, ROOM);
	assert_int_equal(vsock_conn_credit(&c), 900);
	say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 300, ROOM); /* overtaken */
	assert_int_equal(vsock_conn_credit(&c), 900);
	say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 501, ROOM);
	assert_int_equal(vsock_conn_credit(&c), 900);
	say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0x80000000u, ROOM);
	assert_int_equal(vsock_conn_credit(&c), 900);
	say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 400, 50); /* less room than it was sent */
	assert_int_equal(vsock_conn_credit(&c), 0);
	say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 400, UINT32_MAX);
	assert_int_equal(vsock_conn_credit(&c), UINT32_MAX - 100);
	say(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 500, ROOM);
	assert_int_equal(vsock_conn_credit(&c), ROOM);
}

static void the_guest_hears_of_its_credit_in_time(void **state)
{
	struct vsock_conn c = opened();
	struct vsock_packet p;

	c.fwd_cnt = c.fwd_cnt_told = UINT32_MAX - 5;
	vsock_conn_forwarded(&c, VSOCK_WINDOW_BYTES / 2 - 1);
	assert_int_equal(vsock_conn_next(&c), 0);
	vsock_conn_forwarded(&c, 1);
	assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	vsock_conn_send(&c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 3, &p);
	assert_int_equal(p.fwd_cnt, VSOCK_WINDOW_BYTES / 2 - 6);
	assert_int_equal(p.buf_alloc, VSOCK_WINDOW_BYTES);
	assert_int_equal(vsock_conn_next(&c), 0);
	/* With data no packet of its own is needed. */
	vsock_conn_forwarded(&c, VSOCK_WINDOW_BYTES / 2);
	c.readable = true;
	assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_RW);
	vsock_conn_send(&c, VIRTIO_VSOCK_OP_RW, 1, 3, &p);
	c.readable = false;
	assert_int_equal(vsock_conn_next(&c), 0);
}

static void more_than_there_is_room_for(void **state)
{
	struct vsock_conn c = opened();
	struct vsock_packet p = { .op = VIRTIO_VSOCK_OP_RW, .len_bytes = VSOCK_WINDOW_BYTES };

	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_DATA);
	c.held_bytes = 1;
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_RESET);
	p.len_bytes--;
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_DATA);
	p.len_bytes = UINT32_MAX;
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_RESET);
	p.len_bytes = 1;
	vsock_conn_shut(&c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_NOTHING);
	assert_int_equal(say(&c, VIRTIO_VSOCK_OP_SHUTDOWN, 0, ROOM), VSOCK_NOTHING);
	c.guest_shutdown = VIRTIO_VSOCK_SHUTDOWN_SEND;
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_RESET);
}

/* Operations 0 to 8 of a guest, by phase. */
static void each_operation_in_each_phase(void **state)
{
	static const struct {
		enum vsock_todo asking, open;
	} wanted[] = {
		{ VSOCK_RESET, VSOCK_RESET }, /* none */
		{ VSOCK_RESET, VSOCK_RESET }, /* REQUEST */
		{ VSOCK_ACCEPTED, VSOCK_RESET }, /* RESPONSE */
		{ VSOCK_CLOSE, VSOCK_CLOSE }, /* RST */
		{ VSOCK_RESET, VSOCK_NOTHING }, /* SHUTDOWN of nothing */
		{ VSOCK_RESET, VSOCK_DATA }, /* RW */
		{ VSOCK_RESET, VSOCK_NOTHING }, /* CREDIT_UPDATE */
		{ VSOCK_RESET, VSOCK_NOTHING }, /* CREDIT_REQUEST */
		{ VSOCK_RESET, VSOCK_RESET },
	};

	for (uint16_t op = 0; op < ARRAY_LEN(wanted); op++) {
		struct vsock_conn c = { .fd = -1 };
		struct vsock_packet p;

		vsock_conn_ask(&c, 5, 6);
		assert_true(vsock_conn_is(&c, 5, 6));
		assert_false(vsock_conn_is(&c, 6, 5));
		/* Before it was even asked. */
		assert_int_equal(say(&c, op, 0, ROOM), op == 3 ? VSOCK_CLOSE : VSOCK_RESET);
		assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_REQUEST);
		vsock_conn_send(&c, VIRTIO_VSOCK_OP_REQUEST, 0, 3, &p);
		assert_int_equal(p.buf_alloc, VSOCK_WINDOW_BYTES);
		assert_int_equal(say(&c, op, 0, ROOM), wanted[op].asking);
		c = opened();
		assert_int_equal(say(&c, op, 0, ROOM), wanted[op].open);
		assert_int_equal(vsock_conn_next(&c), op == 7 ? VIRTIO_VSOCK_OP_CREDIT_UPDATE : 0);
		/* Nothing moves one that has ended. */
		vsock_conn_end(&c);
		assert_int_equal(say(&c, op, 0, ROOM), op == 3 ? VSOCK_CLOSE : VSOCK_NOTHING);
		assert_true(vsock_conn_is(&c, 5, 6));
		assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_RST);
		vsock_conn_send(&c, VIRTIO_VSOCK_OP_RST, 0, 3, &p);
		assert_false(vsock_conn_is(&c, 5, 6));
		assert_int_equal(vsock_conn_next(&c), 0);
	}
}

static void halves(void **state)
{
	struct vsock_conn c = opened();
	struct vsock_packet p = { .op = VIRTIO_VSOCK_OP_SHUTDOWN,
				  .flags = 0xfffffff0u | VIRTIO_VSOCK_SHUTDOWN_RCV };

	c.readable = true;
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_HALVES);
	assert_int_equal(c.guest_shutdown, VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_int_equal(vsock_conn_next(&c), 0); /* it wants nothing more */
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_NOTHING);
	p.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	assert_int_equal(vsock_conn_packet(&c, &p), VSOCK_HALVES);
	assert_int_equal(c.guest_shutdown, 3);
	c = opened();
	vsock_conn_shut(&c, VIRTIO_VSOCK_SHUTDOWN_SEND);
	assert_int_equal(vsock_conn_next(&c), VIRTIO_VSOCK_OP_SHUTDOWN);
	vsock_conn_send(&c, VIRTIO_VSOCK_OP_SHUTDOWN, 0, 3, &p);
	assert_int_equal(p.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vsock_conn_shut(&c, VIRTIO_VSOCK_SHUTDOWN_SEND); /* no news */
	assert_int_equal(vsock_conn_next(&c), 0);
	vsock_conn_shut(&c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	vsock_conn_send(&c, VIRTIO_VSOCK_OP_SHUTDOWN, 0, 3, &p);
	assert_int_equal(p.flags, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_are_what_they_were),
		cmocka_unit_test(credit_wraps_round),
		cmocka_unit_test(credit_that_is_late_or_a_lie),
		cmocka_unit_test(the_guest_hears_of_its_credit_in_time),
		cmocka_unit_test(more_than_there_is_room_for),
		cmocka_unit_test(each_operation_in_each_phase),
		cmocka_unit_test(halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
