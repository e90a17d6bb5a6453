/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_VSOCK_FIXTURE_H
#define TESTS_UNIT_DEVICES_VSOCK_FIXTURE_H

#include "test.h"

#include "base/buf.h"
#include "devices/virtio/vsock.h"
#include "virtio_driver.h"

/* A driver in front of a socket device, and programs of the host at unix sockets in a directory of their own. */
#define GUEST_CID 42u
#define RX_BUFFERS 16u
#define RX_DATA_BYTES 4096u
#define ROOM_BYTES 65536u /* the guest's buf_alloc unless a test says otherwise */

struct vsock_fixture {
	struct driver d;
	struct virtio *v;
	char dir[32], path[64];
	uint64_t tx, rx; /* buffers: one of 256 KiB, RX_BUFFERS of RX_DATA_BYTES and a header */
	unsigned int buffer_of[256]; /* by head */
	uint8_t data[RX_DATA_BYTES]; /* of the packet last heard */
};

int vsock_setup(void **state);
int vsock_teardown(void **state);
#define TEST(f) cmocka_unit_test_setup_teardown(f, vsock_setup, vsock_teardown)

/* A device like the fixture's; @face: one that waits for its source. */
int vsock_create_at(struct vsock_fixture *f, const char *path, const struct virtio_face *face,
		    struct virtio **ret, struct err *err);
/* The driver starts, with buffers for events and, if @nbuffers, so many for packets. */
void vsock_start(struct vsock_fixture *f, unsigned int nbuffers);
void vsock_give(struct vsock_fixture *f, unsigned int n);

/* The guest's packet from its port to the host's, with GUEST_CID, ROOM_BYTES and fwd_cnt 0 where @p has zeros; its payload is @data. */
void vsock_say(struct vsock_fixture *f, const struct vsock_packet *p, const void *data);
/* One without payload. */
void vsock_op(struct vsock_fixture *f, uint16_t op, uint32_t guest_port, uint32_t host_port);
/* The next packet for the guest, whose buffer goes back; false: none comes within @ms. */
bool vsock_hear(struct vsock_fixture *f, unsigned int ms, struct vsock_packet *ret);
/* It is this one. */
void vsock_expect(struct vsock_fixture *f, uint16_t op, uint32_t guest_port, uint32_t host_port,
		  struct vsock_packet *ret);
/* None comes while the device does all that it was asked for. */
void vsock_expect_silence(struct vsock_fixture *f);

/* The host: a program that listens for connections to @port, the next connection of it, one that connects and says "CONNECT @port" (0: nothing). */
int host_listen(struct vsock_fixture *f, uint32_t port);
int host_accept(int listener);
int host_connect(struct vsock_fixture *f, uint32_t port);
/* Exactly these bytes come, or the end ("": nothing but the end). */
void host_expect(int fd, const void *data, size_t len_bytes);
void host_expect_end(int fd);

/* A connection from guest port 1000 to host port 7; its end on the host. */
int vsock_from_guest(struct vsock_fixture *f);
/* One from the host to guest port 80; @ret_port: the host's. */
int vsock_from_host(struct vsock_fixture *f, uint32_t *ret_port);

uint64_t vsock_counter(struct vsock_fixture *f, const char *name);
/* Waits until the counter is @value. */
void vsock_expect_counter(struct vsock_fixture *f, const char *name, uint64_t value);
void vsock_assert_broken(struct vsock_fixture *f, const char *why);

#endif
