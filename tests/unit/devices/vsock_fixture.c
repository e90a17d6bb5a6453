/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define RX_BUFFER_BYTES (VSOCK_HEADER_BYTES + RX_DATA_BYTES)
#define TX_BYTES (256u << 10)

int vsock_create_at(struct vsock_fixture *f, const char *path, const struct virtio_face *face,
		    struct virtio **ret, struct err *err)
{
	const struct virtio_common common = { .id = "vsock0", .host = f->d.host, .face = face };
	const struct vsock_config config = { .cid = GUEST_CID, .path = path };

	return virtio_vsock_create(&common, &config, ret, err);
}

int vsock_setup(void **state)
{
	struct vsock_fixture *f = calloc(1, sizeof(*f));
	struct err err = { 0 };

	if (!f)
		return -1;
	strcpy(f->dir, "/tmp/test-vsock-XXXXXX");
	if (!mkdtemp(f->dir) || driver_init(&f->d))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/v", f->dir);
	f->tx = driver_alloc(&f->d, TX_BYTES);
	f->rx = driver_alloc(&f->d, RX_BUFFERS * RX_BUFFER_BYTES);
	if (vsock_create_at(f, f->path, NULL, &f->v, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return -1;
	}
	driver_attach(&f->d, f->v);
	*state = f;
	return 0;
}

int vsock_teardown(void **state)
{
	struct vsock_fixture *f = *state;

	virtio_destroy(f->v);
	driver_fini(&f->d);
	if (rmdir(f->dir)) /* all sockets are gone */
		return -1;
	free(f);
	return 0;
}

static void give_buffer(struct vsock_fixture *f, unsigned int i)
{
	const struct driver_part part = { .gpa = f->rx + (uint64_t)i * RX_BUFFER_BYTES,
					  .len_bytes = RX_BUFFER_BYTES,
					  .write = true };

	f->buffer_of[driver_add(&f->d, VSOCK_RX, &part, 1)] = i;
	driver_kick(&f->d, VSOCK_RX);
}

void vsock_give(struct vsock_fixture *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		give_buffer(f, i);
}

void vsock_start(struct vsock_fixture *f, unsigned int nbuffers)
{
	assert_true(driver_start(&f->d, UINT64_MAX, 256));
	vsock_give(f, nbuffers);
}

void vsock_say(struct vsock_fixture *f, const struct vsock_packet *p, const void *data)
{
	const struct driver_part part = { .gpa = f->tx,
					  .len_bytes = VSOCK_HEADER_BYTES + p->len_bytes };
	struct vsock_packet sent = *p;
	uint8_t *at = driver_ptr(&f->d, part.gpa, part.len_bytes);
	uint32_t written;

	sent.src_cid = p->src_cid ? p->src_cid : GUEST_CID;
	sent.dst_cid = p->dst_cid ? p->dst_cid : VMADDR_CID_HOST;
	sent.type = p->type ? p->type : VIRTIO_VSOCK_TYPE_STREAM;
	sent.buf_alloc = p->buf_alloc ? p->buf_alloc : ROOM_BYTES;
	vsock_packet_put(&sent, at);
	if (p->len_bytes)
		memcpy(at + VSOCK_HEADER_BYTES, data, p->len_bytes);
	assert_true(driver_do(&f->d, VSOCK_TX, &part, 1, &written));
	assert_int_equal(written, 0);
}

void vsock_op(struct vsock_fixture *f, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	vsock_say(f,
		  &(struct vsock_packet){ .src_port = guest_port, .dst_port = host_port, .op = op },
		  NULL);
}

bool vsock_hear(struct vsock_fixture *f, unsigned int ms, struct vsock_packet *ret)
{
	uint64_t end_ns = clock_mono_ns() + ms * NS_PER_MS;
	const uint8_t *at;
	uint32_t written;
	unsigned int i;
	uint16_t head;

	while (!driver_used(&f->d, VSOCK_RX)) {
		if (clock_mono_ns() >= end_ns)
			return false;
		poll(NULL, 0, 1);
	}
	assert_true(driver_wait_used(&f->d, VSOCK_RX, &head, &written));
	i = f->buffer_of[head];
	assert_in_range(written, VSOCK_HEADER_BYTES, RX_BUFFER_BYTES);
	at = driver_ptr(&f->d, f->rx + (uint64_t)i * RX_BUFFER_BYTES, RX_BUFFER_BYTES);
	vsock_packet_get(at, ret);
	assert_int_equal(ret->len_bytes, written - VSOCK_HEADER_BYTES);
	memcpy(f->data, at + VSOCK_HEADER_BYTES, ret->len_bytes);
	give_buffer(f, i);
	return true;
}

void vsock_expect(struct vsock_fixture *f, uint16_t op, uint32_t guest_port, uint32_t host_port,
		  struct vsock_packet *ret)
{
	struct vsock_packet p;

	if (!vsock_hear(f, DRIVER_WAIT_MS, &p))
		fail_msg("no packet, not of op %u", op);
	assert_int_equal(p.op, op);
	assert_int_equal(p.src_cid, VMADDR_CID_HOST);
	assert_int_equal(p.dst_cid, GUEST_CID);
	assert_int_equal(p.dst_port, guest_port);
	assert_int_equal(p.src_port, host_port);
	assert_int_equal(p.type, VIRTIO_VSOCK_TYPE_STREAM);
	if (op != VIRTIO_VSOCK_OP_RST)
		assert_int_equal(p.buf_alloc, VSOCK_WINDOW_BYTES);
	if (ret)
		*ret = p;
}

void vsock_expect_silence(struct vsock_fixture *f)
{
	struct vsock_packet p;

	/* A pause waits for what the worker is about; a resume has it look at all queues. */
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(virtio_pause(f->v, UINT64_MAX, NULL), 0);
		virtio_resume(f->v);
	}
	if (vsock_hear(f, 0, &p))
		fail_msg("op %u, len %u", p.op, p.len_bytes);
}

static struct sockaddr_un address(struct vsock_fixture *f, uint32_t port)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (port)
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", f->path, port);
	else
		strcpy(addr.sun_path, f->path);
	return addr;
}

int host_listen(struct vsock_fixture *f, uint32_t port)
{
	const struct sockaddr_un addr = address(f, port);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 300), 0);
	return fd;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, DRIVER_WAIT_MS) == 1;
}

int host_accept(int listener)
{
	assert_true(readable(listener));
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

int host_connect(struct vsock_fixture *f, uint32_t port)
{
	const struct sockaddr_un addr = address(f, 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	if (port)
		assert_true(dprintf(fd, "CONNECT %u\n", port) > 0);
	return fd;
}

void host_expect(int fd, const void *data, size_t len_bytes)
{
	uint8_t got[4096];

	for (size_t at = 0; at < len_bytes;) {
		ssize_t n;

		if (!readable(fd))
			fail_msg("%zu bytes of %zu", at, len_bytes);
		n = read(fd, got, len_bytes - at < sizeof(got) ? len_bytes - at : sizeof(got));
		if (n <= 0)
			fail_msg("the end after %zu bytes of %zu", at, len_bytes);
		assert_memory_equal(got, (const uint8_t *)data + at, (size_t)n);
		at += (size_t)n;
	}
}

void host_expect_end(int fd)
{
	char byte;

	assert_true(readable(fd));
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
}

int vsock_from_guest(struct vsock_fixture *f)
{
	const struct sockaddr_un addr = address(f, 7);
	int listener = host_listen(f, 7), fd;

	vsock_op(f, VIRTIO_VSOCK_OP_REQUEST, 1000, 7);
	vsock_expect(f, VIRTIO_VSOCK_OP_RESPONSE, 1000, 7, NULL);
	fd = host_accept(listener);
	close(listener);
	unlink(addr.sun_path);
	return fd;
}

int vsock_from_host(struct vsock_fixture *f, uint32_t *ret_port)
{
	struct vsock_packet p;
	char line[32];
	int fd = host_connect(f, 80);

	assert_true(vsock_hear(f, DRIVER_WAIT_MS, &p));
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.dst_port, 80);
	assert_in_range(p.src_port, VSOCK_FIRST_PORT, VSOCK_END_PORT - 1);
	vsock_op(f, VIRTIO_VSOCK_OP_RESPONSE, 80, p.src_port);
	snprintf(line, sizeof(line), "OK %u\n", p.src_port);
	host_expect(fd, line, strlen(line));
	*ret_port = p.src_port;
	return fd;
}

struct wanted {
	const char *name;
	uint64_t value;
};

static void note_counter(void *opaque, const char *name, uint64_t value)
{
	struct wanted *w = opaque;

	if (!strcmp(name, w->name))
		w->value = value;
}

uint64_t vsock_counter(struct vsock_fixture *f, const char *name)
{
	struct wanted w = { .name = name, .value = UINT64_MAX };

	virtio_counters(f->v, note_counter, &w);
	return w.value;
}

void vsock_expect_counter(struct vsock_fixture *f, const char *name, uint64_t value)
{
	uint64_t end_ns = clock_mono_ns() + DRIVER_WAIT_MS * NS_PER_MS;

	while (vsock_counter(f, name) != value && clock_mono_ns() < end_ns)
		poll(NULL, 0, 1);
	assert_int_equal(vsock_counter(f, name), value);
}

void vsock_assert_broken(struct vsock_fixture *f, const char *why)
{
	assert_true(driver_wait_status(&f->d, VIRTIO_NEEDS_RESET));
	if (!strstr(f->v->fault.msg, why))
		fail_msg("%s, not %s", f->v->fault.msg, why);
	vsock_start(f, RX_BUFFERS);
}
