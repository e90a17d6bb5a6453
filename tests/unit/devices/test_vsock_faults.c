/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that break the rules or want too much, sockets that somebody else has, and a VM that moves. */
#include "vsock_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"

/* Sends @len_bytes of a header that says @claims of payload. */
static void send_raw(struct vsock_fixture *f, uint32_t len_bytes, uint32_t claims)
{
	const struct driver_part part = { .gpa = f->tx, .len_bytes = len_bytes };
	const struct vsock_packet p = { .src_cid = GUEST_CID,
					.dst_cid = VMADDR_CID_HOST,
					.len_bytes = claims,
					.type = VIRTIO_VSOCK_TYPE_STREAM,
					.op = VIRTIO_VSOCK_OP_RW };

	vsock_packet_put(&p, driver_ptr(&f->d, f->tx, VSOCK_HEADER_BYTES));
	driver_add(&f->d, VSOCK_TX, &part, 1);
	driver_kick(&f->d, VSOCK_TX);
}

static void bad_lengths_need_a_reset(void **state)
{
	struct vsock_fixture *f = *state;
	struct driver_part part = { .gpa = f->rx, .len_bytes = VSOCK_HEADER_BYTES, .write = true };
	int host;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	send_raw(f, 43, 0);
	vsock_assert_broken(f, "43 bytes are no header of 44");
	host_expect_end(host); /* nobody will ever serve it */
	send_raw(f, 50, 7);
	vsock_assert_broken(f, "len 7 in a packet of 50 bytes");
	send_raw(f, 44, UINT32_MAX);
	vsock_assert_broken(f, "len 4294967295 in a packet of 44 bytes");
	vsock_start(f, 0);
	driver_add(&f->d, VSOCK_RX, &part, 1);
	vsock_op(f, VIRTIO_VSOCK_OP_RW, 1, 2);
	vsock_assert_broken(f, "a receive buffer of 44 bytes");
	vsock_start(f, 0);
	part.write = false;
	driver_add(&f->d, VSOCK_RX, &part, 1);
	vsock_op(f, VIRTIO_VSOCK_OP_RW, 1, 2);
	vsock_assert_broken(f, "a receive buffer of 0 bytes");
	/* And works on. */
	close(vsock_from_guest(f));
}

static void what_belongs_to_nothing_is_refused(void **state)
{
	static const uint16_t ops[] = { 0, 2, 4, 5, 6, 7, 8, UINT16_MAX };
	struct vsock_fixture *f = *state;
	struct vsock_packet p = { .src_port = 9, .dst_port = 8 }, answer;

	vsock_start(f, RX_BUFFERS);
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		vsock_op(f, ops[i], 9, 8);
		vsock_expect(f, VIRTIO_VSOCK_OP_RST, 9, 8, NULL);
	}
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 9, 8); /* not answered, or it would go on for ever */
	vsock_expect_silence(f);
	/* Another kind of socket, another host. */
	p.op = VIRTIO_VSOCK_OP_REQUEST;
	p.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	vsock_say(f, &p, NULL);
	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &answer));
	assert_int_equal(answer.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(answer.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	p.type = 0;
	p.dst_cid = 77;
	vsock_say(f, &p, NULL);
	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &answer));
	assert_int_equal(answer.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(answer.src_cid, 77);
	assert_int_equal(answer.dst_cid, GUEST_CID);
	assert_int_equal(vsock_counter(f, "refused"), ARRAY_LEN(ops) + 2);
	/* Somebody that the guest is not. */
	p.dst_cid = 0;
	p.src_cid = 4;
	vsock_say(f, &p, NULL);
	p.src_cid = GUEST_CID | 1ull << 32;
	vsock_say(f, &p, NULL);
	vsock_expect_silence(f);
	assert_int_equal(vsock_counter(f, "dropped"), 2);
	assert_int_equal(virtio_get_status(f->v) & VIRTIO_NEEDS_RESET, 0);
}

static void more_than_its_credit(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p = { .src_port = 1000,
				  .dst_port = 7,
				  .op = VIRTIO_VSOCK_OP_RW,
				  .len_bytes = VSOCK_WINDOW_BYTES + 1 };
	uint8_t *data = calloc(1, p.len_bytes);
	int host;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_guest(f);
	vsock_say(f, &p, data);
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 1000, 7, NULL);
	host_expect_end(host);
	/* A little at a time, with nobody reading. */
	host = vsock_from_guest(f);
	p.len_bytes = 65536;
	for (unsigned int i = 0; vsock_counter(f, "connections") == 1; i++) {
		struct vsock_packet answer;

		assert_in_range(i, 0, 100);
		vsock_say(f, &p, data);
		if (vsock_hear(f, 0, &answer) && answer.op == VIRTIO_VSOCK_OP_RST)
			break;
	}
	vsock_expect_counter(f, "connections", 0);
	close(host);
	free(data);
}

static void as_many_as_there_may_be(void **state)
{
	struct vsock_fixture *f = *state;
	int listener = host_listen(f, 7), host[VSOCK_MAX_CONNS], late;
	char path[80];

	vsock_start(f, RX_BUFFERS);
	for (uint32_t i = 0; i < VSOCK_MAX_CONNS; i++) {
		vsock_op(f, VIRTIO_VSOCK_OP_REQUEST, 1000 + i, 7);
		vsock_expect(f, VIRTIO_VSOCK_OP_RESPONSE, 1000 + i, 7, NULL);
		host[i] = host_accept(listener);
	}
	assert_int_equal(vsock_counter(f, "connections"), VSOCK_MAX_CONNS);
	vsock_op(f, VIRTIO_VSOCK_OP_REQUEST, 5000, 7);
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 5000, 7, NULL);
	late = host_connect(f, 0);
	host_expect_end(late);
	/* The others work. */
	assert_int_equal(write(host[200], "x", 1), 1);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 1200, 7, NULL);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 1100, 7);
	host_expect_end(host[100]);
	vsock_op(f, VIRTIO_VSOCK_OP_REQUEST, 5000, 7);
	vsock_expect(f, VIRTIO_VSOCK_OP_RESPONSE, 5000, 7, NULL);
	host[100] = host_accept(listener);
	/* A reset of the device ends them all. */
	vsock_start(f, RX_BUFFERS);
	for (unsigned int i = 0; i < VSOCK_MAX_CONNS; i++)
		host_expect_end(host[i]);
	assert_int_equal(vsock_counter(f, "connections"), 0);
	close(listener);
	snprintf(path, sizeof(path), "%s_7", f->path);
	unlink(path);
}

/* A guest that provokes answers and has no room for them: its own packets wait, and nothing grows. */
static void refusals_wait_for_room(void **state)
{
	struct vsock_fixture *f = *state;
	struct vsock_packet p;
	unsigned int heard = 0;

	vsock_start(f, 0);
	for (unsigned int i = 0; i < 200; i++) {
		const struct driver_part part = { .gpa = f->tx + i * 64,
						  .len_bytes = VSOCK_HEADER_BYTES };
		const struct vsock_packet bad = { .src_cid = GUEST_CID,
						  .dst_cid = VMADDR_CID_HOST,
						  .src_port = i,
						  .type = VIRTIO_VSOCK_TYPE_STREAM };

		vsock_packet_put(&bad, driver_ptr(&f->d, part.gpa, VSOCK_HEADER_BYTES));
		driver_add(&f->d, VSOCK_TX, &part, 1);
	}
	virtio_kick(f->v, VSOCK_TX);
	vsock_expect_counter(f, "refused", VSOCK_MAX_REFUSALS);
	vsock_expect_silence(f);
	assert_int_equal(vsock_counter(f, "refused"), VSOCK_MAX_REFUSALS);
	assert_int_equal(driver_used(&f->d, VSOCK_TX), VSOCK_MAX_REFUSALS);
	vsock_give(f, RX_BUFFERS);
	for (; vsock_hear(f, DRIVER_WAIT_MS, &p); heard++) {
		assert_int_equal(p.op, VIRTIO_VSOCK_OP_RST);
		assert_int_equal(p.dst_port, heard);
		if (heard == 199)
			break;
	}
	assert_int_equal(heard, 199);
	assert_int_equal(driver_used(&f->d, VSOCK_TX), 200);
}

static void paths_that_do_not_do(void **state)
{
	struct vsock_fixture *f = *state;
	struct virtio *v = NULL;
	struct err err = { 0 };
	char path[120];
	struct virtio_face face;
	int fd;

	virtio_get_face(f->v, &face);
	/* Somebody listens: the fixture's own device does. One that comes waits for that. */
	assert_int_equal(vsock_create_at(f, f->path, NULL, &v, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "--vsock"));
	assert_non_null(strstr(err.msg, f->path));
	assert_int_equal(vsock_create_at(f, f->path, &face, &v, NULL), 0);
	assert_int_equal(virtio_take(v, &err), -EADDRINUSE);
	virtio_destroy(v);
	v = NULL;
	/* These never will, so that a receiver says it before any memory moves. */
	for (unsigned int i = 0; i < 2; i++) {
		const struct virtio_face *came = i ? &face : NULL;

		memset(path, 'x', sizeof(path));
		path[97] = 0;
		assert_int_equal(vsock_create_at(f, path, came, &v, &err), -ENAMETOOLONG);
		assert_non_null(strstr(err.msg, "longer than the 96 bytes"));
		assert_int_equal(vsock_create_at(f, "/nonexistent/v", came, &v, &err), -ENOENT);
		assert_non_null(strstr(err.msg, "directory /nonexistent"));
		snprintf(path, sizeof(path), "%s/file", f->dir);
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		assert_int_equal(vsock_create_at(f, path, came, &v, &err), -EADDRINUSE);
		assert_non_null(strstr(err.msg, "is no socket"));
		close(fd);
		unlink(path);
	}
	assert_null(v);
	le64_put(face.config, GUEST_CID + 1);
	assert_int_equal(vsock_create_at(f, f->path, &face, &v, &err), -EOPNOTSUPP);
}

/* A socket file whose owner died is nobody's. */
static void a_stale_socket_is_replaced(void **state)
{
	struct vsock_fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct virtio *v;
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/stale", f->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(vsock_create_at(f, addr.sun_path, NULL, &v, NULL), 0);
	assert_int_equal(stat(addr.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	virtio_destroy(v);
	assert_int_equal(stat(addr.sun_path, &st), -1);
}

static unsigned int entries_of(struct virtio *v, struct state_entry *entries)
{
	unsigned int n = virtio_state_entries(v, 3, entries);

	assert_int_equal(n, 2);
	assert_string_equal(entries[1].desc->name, "vsock");
	return n;
}

static void moves_and_tells_the_guest(void **state)
{
	struct vsock_fixture *f = *state;
	struct virtio *source = f->v, *there;
	struct state_entry entries[2];
	struct buf saved = { 0 };
	struct virtio_face face;
	const struct driver_part event = { .gpa = f->tx + 4096, .len_bytes = 8, .write = true };
	struct vsock_packet p;
	struct stat st;
	uint32_t port, after, written;
	uint16_t head;
	int host, early;

	vsock_start(f, RX_BUFFERS);
	host = vsock_from_host(f, &port);
	assert_int_equal(virtio_pause(source, UINT64_MAX, NULL), 0);
	assert_int_equal(state_save_all(entries, entries_of(source, entries), &saved, NULL), 0);
	virtio_get_face(source, &face);
	assert_int_equal(vsock_create_at(f, f->path, &face, &there, NULL), 0);
	assert_int_equal(state_load_all(entries, entries_of(there, entries), saved.data,
					saved.len_bytes, NULL),
			 0);
	/* The source lets go, has it back, and its connection is as it was. */
	assert_int_equal(virtio_release(source, NULL), 0);
	assert_int_equal(stat(f->path, &st), -1);
	assert_int_equal(virtio_take(source, NULL), 0);
	virtio_resume(source);
	assert_int_equal(write(host, "still", 5), 5);
	vsock_expect(f, VIRTIO_VSOCK_OP_RW, 80, port, NULL);
	assert_int_equal(virtio_pause(source, UINT64_MAX, NULL), 0);
	/* Now for good. Its state is that of a moment ago, with the rings that there are now. */
	buf_fini(&saved);
	saved = (struct buf){ 0 };
	assert_int_equal(state_save_all(entries, entries_of(source, entries), &saved, NULL), 0);
	assert_int_equal(state_load_all(entries, entries_of(there, entries), saved.data,
					saved.len_bytes, NULL),
			 0);
	assert_int_equal(virtio_release(source, NULL), 0);
	assert_int_equal(virtio_take(there, NULL), 0);
	virtio_destroy(source);
	host_expect_end(host);
	f->v = there;
	driver_attach(&f->d, there);
	early = host_connect(f, 80);
	virtio_resume(there);
	virtio_arrived(there);
	/* Nothing new begins before the guest has heard that the old is gone. */
	vsock_expect_silence(f);
	driver_add(&f->d, VSOCK_EVENT, &event, 1);
	driver_kick(&f->d, VSOCK_EVENT);
	assert_true(driver_wait_used(&f->d, VSOCK_EVENT, &head, &written));
	assert_int_equal(written, 4);
	assert_int_equal(le32_get(driver_ptr(&f->d, event.gpa, 4)),
			 VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &p));
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.src_port, port + 1); /* no port stands for two */
	vsock_op(f, VIRTIO_VSOCK_OP_RW, 80, port); /* of the old one */
	vsock_expect(f, VIRTIO_VSOCK_OP_RST, 80, port, NULL);
	vsock_op(f, VIRTIO_VSOCK_OP_RST, 80, p.src_port);
	host_expect_end(early);
	close(vsock_from_host(f, &after));
	/* Once. */
	driver_add(&f->d, VSOCK_EVENT, &event, 1);
	driver_kick(&f->d, VSOCK_EVENT);
	assert_int_equal(virtio_pause(there, UINT64_MAX, NULL), 0);
	assert_int_equal(driver_used(&f->d, VSOCK_EVENT), 0);
	virtio_resume(there);
	/* And with every move. */
	assert_true(driver_move(&f->d));
	assert_true(driver_wait_used(&f->d, VSOCK_EVENT, &head, &written));
	buf_fini(&saved);
}

static void refuses_what_no_device_has(void **state)
{
	static const uint32_t ports[] = { 0, VSOCK_FIRST_PORT - 1, VSOCK_END_PORT, UINT32_MAX };
	struct vsock_fixture *f = *state;
	struct state_entry entries[2];
	struct buf saved = { 0 };
	unsigned int n = entries_of(f->v, entries);

	assert_int_equal(virtio_pause(f->v, UINT64_MAX, NULL), 0);
	assert_int_equal(state_save_all(entries, n, &saved, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
		struct err err = { 0 };

		le32_put(saved.data + saved.len_bytes - 4, ports[i]);
		assert_int_equal(state_load_all(entries, n, saved.data, saved.len_bytes, &err),
				 -EBADMSG);
		assert_non_null(strstr(err.msg, "next_port"));
	}
	le32_put(saved.data + saved.len_bytes - 4, VSOCK_END_PORT - 1);
	assert_int_equal(state_load_all(entries, n, saved.data, saved.len_bytes, NULL), 0);
	buf_fini(&saved);
}

/* From the last port to the first, past one that is in use. */
static void ports_go_round(void **state)
{
	struct vsock_fixture *f = *state;
	uint32_t port;
	int first, last, next;

	vsock_start(f, RX_BUFFERS);
	first = vsock_from_host(f, &port);
	assert_int_equal(port, VSOCK_FIRST_PORT);
	assert_int_equal(virtio_pause(f->v, UINT64_MAX, NULL), 0);
	((struct vsock *)f->v->self)->next_port = VSOCK_END_PORT - 1;
	virtio_resume(f->v);
	last = vsock_from_host(f, &port);
	assert_int_equal(port, VSOCK_END_PORT - 1);
	next = vsock_from_host(f, &port);
	assert_int_equal(port, VSOCK_FIRST_PORT + 1);
	close(first);
	close(last);
	close(next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bad_lengths_need_a_reset),   TEST(what_belongs_to_nothing_is_refused),
		TEST(more_than_its_credit),       TEST(as_many_as_there_may_be),
		TEST(refusals_wait_for_room),     TEST(paths_that_do_not_do),
		TEST(a_stale_socket_is_replaced), TEST(moves_and_tells_the_guest),
		TEST(refuses_what_no_device_has), TEST(ports_go_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
