/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets between guest and host: how connections begin and end, and that what goes through them comes out, whoever is slow. */
#include "vsock_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"

#define MUCH (3u << 20) /* many windows of either side */
#define PIECE 60000u

/* Bytes that do not repeat where packets end. */
static uint8_t byte_at(uint32_t i)
{
	return (uint8_t)(i * 2654435761u >> 24);
}

/* What vsock_from_guest opened: both halves at once, answered by a RST (§5.10.6.5). */
static void guest_closes(struct vsock_fixture *f)
{
	vsock_say(f,
		  &(struct vsock_packet){ .src_port = 1000,
					  .dst_port = 7,
					  .op = VIRTIO_VSOCK_OP_SHUTDOWN,
					  .flags = 3 },
		  NULL);
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 1000, 7, NULL);
}

static void fill(uint8_t *p, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p[i] = byte_at(first + i);
}

static void shows_its_face(void **state)
{
	struct vsock_fixture *f = *state;
	struct virtio_face face;

	virtio_get_face(f->v, &face);
	assert_string_equal(face.kind, "vsock");
	assert_int_equal(face.nqueues, 3);
	assert_int_equal(face.features, VIRTIO_CORE_FEATURES | 1);
	assert_int_equal(face.config_bytes, 8);
	assert_int_equal(le64_get(face.config), GUEST_CID);
	assert_int_equal(f->v->type->device_id, 19);
}

static void guest_connects_and_both_speak(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p;
	int host;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	vsock_say(
		f,
		&(struct vsock_packet){
			.src_port = 1000, .dst_port = 7, .op = VIRTIO_VSOCK_OP_RW, .len_bytes = 5 },
		"hello");
	host_expect(host, "hello", 5);
	assert_int_equal(write(host, "world!", 6), 6);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 1000, 7, &p);
	assert_int_equal(p.len_bytes, 6);
	assert_memory_equal(f->data, "world!", 6);
	assert_int_equal(p.fwd_cnt, 5);
	assert_int_equal(vsock_counter(f, "connections"), 1);
	assert_int_equal(vsock_counter(f, "bytes_in"), 6);
	assert_int_equal(vsock_counter(f, "bytes_out"), 5);
	close(host);
	vsock_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7, &p);
	assert_int_equal(p.flags, VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 1000, 7);
	vsock_expect_silence(f);
	assert_int_equal(vsock_counter(f, "connections"), 0);
}

static void host_connects_and_both_speak(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p;
	uint32_t port, second;
	int host, other;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_host(f, &port);
	other = vsock_from_host(f, &second);
	assert_int_not_equal(port, second);
	assert_int_equal(write(host, "to the guest", 12), 12);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 80, port, &p);
	assert_memory_equal(f->data, "to the guest", 12);
	vsock_say(f,
		  &(struct vsock_packet){ .src_port = 80,
					  .dst_port = second,
					  .op = VIRTIO_VSOCK_OP_RW,
					  .len_bytes = 3 },
		  "two");
	host_expect(other, "two", 3);
	/* The guest closes one, and hears that the host has heard. */
	vsock_say(f,
		  &(struct vsock_packet){ .src_port = 80,
					  .dst_port = port,
					  .op = VIRTIO_VSOCK_OP_SHUTDOWN,
					  .flags = 3 },
		  NULL);
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 80, port, NULL);
	host_expect_end(host);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 80, second);
	host_expect_end(other);
	vsock_expect_silence(f);
	assert_int_equal(vsock_counter(f, "connections"), 0);
	assert_int_equal(vsock_counter(f, "opened"), 2);
}

/* What follows the host's line is the guest's, however it is cut. */
static void the_first_line_alone_is_ours(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p;
	char line[32];
	int host;

	vsock_start(f, RX_BUFFERS);
	host = host_connect(f, 0);
	assert_int_equal(write(host, "CONN", 4), 4);
	vsock_expect_silence(f);
	assert_int_equal(write(host, "ECT 4294967295\nabc\ndef", 22), 22);
	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &p));
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.dst_port, UINT32_MAX);
	vsock_expect_silence(f);
	vsock_op(f, VIRTIO_VSOCK_OP_RESPONSE, UINT32_MAX, p.src_port);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, UINT32_MAX, p.src_port, &p);
	assert_int_equal(p.len_bytes, 7);
	assert_memory_equal(f->data, "abc\ndef", 7);
	snprintf(line, sizeof(line), "OK %u\n", p.src_port);
	host_expect(host, line, strlen(line));
	close(host);
	vsock_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN, UINT32_MAX, p.src_port, NULL);
}

static void lines_that_mean_nothing(void **state)
{
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT 4294967296\n",
		"CONNECT -1\n",
		"CONNECT  5\n",
		"connect 5\n",
		"CONNECT 00000000000000000000000000000000000005\n",
		"GET / HTTP/1.1\r\n",
	};
	struct vsock_fixture *f = *state;
	int host;

	vsock_start(f, RX_BUFFERS);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct pollfd p = { .events = POLLIN };
		char byte;

		p.fd = host = host_connect(f, 0);
		assert_int_equal(write(host, lines[i], strlen(lines[i])), strlen(lines[i]));
		/* ECONNRESET where the device has not read it all. */
		assert_int_equal(poll(&p, 1, DRIVER_WAIT_MS), 1);
		assert_true(read(host, &byte, 1) <= 0);
		close(host);
	}
	host = host_connect(f, 0);
	assert_int_equal(write(host, "CONNECT 5", 9), 9);
	shutdown(host, SHUT_WR);
	assert_int_equal(poll(&(struct pollfd){ .fd = host, .events = POLLIN }, 1, DRIVER_WAIT_MS),
			 1);
	close(host);
	vsock_expect_silence(f);
	vsock_expect_counter(f, "connections", 0);
}

static void nobody_there(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p;
	int host;

	vsock_start(f, RX_BUFFERS);
	vsock_op(f, VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 1000, 7, NULL);
	host = host_connect(f, 80);
	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &p));
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 80, p.src_port);
	host_expect_end(host);
	/* The host gives up first. */
	host = host_connect(f, 80);
	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &p));
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_REQUEST);
	close(host);
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 80, p.src_port, NULL);
	/* And an answer that comes too late. */
	vsock_op(f, VIRTIO_VSOCK_OP_RESPONSE, 80, p.src_port);
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 80, p.src_port, NULL);
	assert_int_equal(vsock_counter(f, "connections"), 0);
}

/* Many windows of the guest's, to a reader that keeps up. */
static void much_to_the_host(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p = { 0 };
	uint8_t *data = malloc(PIECE);
	uint32_t sent = 0, fwd = 0;
	int host;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	while (sent < MUCH) {
		uint32_t n = MIN(MUCH - sent, PIECE);

		while (sent + n - fwd > VSOCK_WINDOW_BYTES) {
			vsock_expect(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1000, 7, &p);
			assert_true(p.fwd_cnt > fwd);
			fwd = p.fwd_cnt;
		}
		fill(data, sent, n);
		vsock_say(f,
			  &(struct vsock_packet){ .src_port = 1000,
						  .dst_port = 7,
						  .op = VIRTIO_VSOCK_OP_RW,
						  .len_bytes = n },
			  data);
		host_expect(host, data, n);
		sent += n;
	}
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 1000, 7);
	host_expect_end(host);
	assert_int_equal(vsock_counter(f, "bytes_out"), MUCH);
	free(data);
}

/* The guest gets no more than it has room for, and all of it. */
static void much_to_the_guest(void **state)
{
	struct vsock_fixture *f = *state;
	uint32_t written = 0, got = 0, credit = ROOM_BYTES;
	uint8_t *data = malloc(PIECE), *want = malloc(RX_DATA_BYTES);
	int host;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	fcntl(host, F_SETFL, O_NONBLOCK);
	while (got < MUCH) {
		struct vsock_packet p;
		uint32_t n = MIN(MUCH - written, PIECE);
		ssize_t rc;

		fill(data, written, n);
		rc = n ? write(host, data, n) : 0;
		written += rc > 0 ? (uint32_t)rc : 0;
		assert_true(vsock_hear(f, DRIVER_WAIT_MS, &p));
		if (p.op == VIRTIO_VSOCK_OP_RW) {
			fill(want, got, p.len_bytes);
			assert_memory_equal(f->data, want, p.len_bytes);
			got += p.len_bytes;
			assert_true(got <= credit);
			continue;
		}
		assert_int_equal(p.op, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		assert_int_equal(got, credit);
		credit = got + ROOM_BYTES;
		vsock_say(f,
			  &(struct vsock_packet){ .src_port = 1000,
						  .dst_port = 7,
						  .op = VIRTIO_VSOCK_OP_CREDIT_UPDATE,
						  .fwd_cnt = got },
			  NULL);
	}
	close(host);
	free(data);
	free(want);
}

static void halves_are_shut_one_by_one(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p = { .src_port = 1000, .dst_port = 7 };
	char byte;
	int host;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	/* The guest has said all that it had to say, and still hears. */
	p.op = VIRTIO_VSOCK_OP_SHUTDOWN;
	p.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	vsock_say(f, &p, NULL);
	assert_true(poll(&(struct pollfd){ .fd = host, .events = POLLIN }, 1, DRIVER_WAIT_MS) == 1);
	assert_int_equal(read(host, &byte, 1), 0);
	assert_int_equal(write(host, "later", 5), 5);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 1000, 7, NULL);
	assert_memory_equal(f->data, "later", 5);
	/* Then the host too. */
	shutdown(host, SHUT_WR);
	vsock_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7, &p);
	assert_true(p.flags & VIRTIO_VSOCK_SHUTDOWN_SEND);
	close(host);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 1000, 7);
	vsock_expect_counter(f, "connections", 0);
	/* The other way round. */
	while (vsock_hear(f, 0, &p))
		continue;
	host = vsock_from_guest(f);
	shutdown(host, SHUT_WR);
	vsock_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7, &p);
	assert_int_equal(p.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vsock_say(
		f,
		&(struct vsock_packet){
			.src_port = 1000, .dst_port = 7, .op = VIRTIO_VSOCK_OP_RW, .len_bytes = 4 },
		"last");
	host_expect(host, "last", 4);
	guest_closes(f);
	host_expect_end(host);
	vsock_expect_counter(f, "connections", 0);
}

/* Fills what the host's socket and the device keep for a reader that sleeps; returns how much that was. */
static uint32_t stuff(struct vsock_fixture *f, uint8_t *data)
{
	struct vsock_packet p = { .src_port = 1000, .dst_port = 7, .op = VIRTIO_VSOCK_OP_RW };
	struct vsock_packet answer;
	uint32_t sent = 0, fwd = 0;

	for (;;) {
		p.len_bytes = MIN(VSOCK_WINDOW_BYTES - (sent - fwd), PIECE);
		if (!p.len_bytes)
			break;
		fill(data, sent, p.len_bytes);
		vsock_say(f, &p, data);
		sent += p.len_bytes;
		vsock_op(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 1000, 7);
		vsock_expect(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1000, 7, &answer);
		fwd = answer.fwd_cnt;
	}
	return sent;
}

static void a_reader_that_sleeps(void **state)
{
	struct vsock_fixture *f = *state;
	uint8_t *data = malloc(4u << 20);
	struct vsock_packet p;
	uint32_t sent, port;
	int host, other;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	sent = stuff(f, data);
	/* The others go on. */
	other = vsock_from_host(f, &port);
	assert_int_equal(write(other, "awake", 5), 5);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 80, port, NULL);
	close(other);
	vsock_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN, 80, port, NULL);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 80, port);
	/* The guest closes; its ports are free at once, and the rest is read at leisure. */
	guest_closes(f);
	other = vsock_from_guest(f);
	fill(data, 0, sent);
	host_expect(host, data, sent);
	host_expect_end(host);
	close(other);
	vsock_expect(f, VIRTIO_VSOCK_OP_SHUTDOWN, 1000, 7, &p);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 1000, 7);
	vsock_expect_counter(f, "connections", 0);
	free(data);
}

/* One that has left while the guest's bytes were waiting for it. */
static void a_reader_that_leaves(void **state)
{
	struct vsock_fixture *f = *state;
	uint8_t *data = malloc(4u << 20);
	struct vsock_packet p;
	int host;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	(void)stuff(f, data);
	close(host);
	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &p));
	assert_true(p.op == VIRTIO_VSOCK_OP_RST || p.op == VIRTIO_VSOCK_OP_SHUTDOWN);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 1000, 7);
	vsock_expect_counter(f, "connections", 0);
	free(data);
}

/* A guest without buffers, and one without a reader: the host's bytes stay in its socket, and another's go by. */
static void a_guest_that_does_not_read(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p = { .src_port = 1000, .dst_port = 7, .buf_alloc = 10 };
	uint32_t port;
	int host, other;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	p.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	vsock_say(f, &p, NULL);
	assert_int_equal(write(host, "0123456789abcdef", 16), 16);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 1000, 7, NULL);
	vsock_expect(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 1000, 7, NULL);
	for (unsigned int i = 0; i < 3;
	     i++) /* it says that there is none: that is not asked again */
		vsock_say(f, &p, NULL);
	vsock_expect_silence(f);
	other = vsock_from_host(f, &port);
	assert_int_equal(write(other, "by", 2), 2);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 80, port, NULL);
	p.fwd_cnt = 10;
	vsock_say(f, &p, NULL);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 1000, 7, NULL);
	assert_memory_equal(f->data, "abcdef", 6);
	close(host);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_its_face),
		TEST(guest_connects_and_both_speak),
		TEST(host_connects_and_both_speak),
		TEST(the_first_line_alone_is_ours),
		TEST(lines_that_mean_nothing),
		TEST(nobody_there),
		TEST(much_to_the_host),
		TEST(much_to_the_guest),
		TEST(halves_are_shut_one_by_one),
		TEST(a_reader_that_sleeps),
		TEST(a_reader_that_leaves),
		TEST(a_guest_that_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
