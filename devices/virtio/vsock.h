/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_VSOCK_H
#define DEVICES_VIRTIO_VSOCK_H

/* vm_sockets.h wants it, and not all of them say so. */
#include <sys/socket.h>

#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>
#include <sys/types.h>

#include "../backend/unix_listen.h"
#include "core.h"

/*
 * Socket device (virtio 1.2 §5.10), streams only, in parts: vsock.c is the device and its queues, vsock_conn.c what packets make of a connection and what the guest is told of it (no
 * descriptors, no memory of the guest), vsock_host.c its end on the host, a unix socket. All of it runs on the device's worker, but for vsock_conn.c, which runs anywhere.
 */
#define VSOCK_HEADER_BYTES ((unsigned int)sizeof(struct virtio_vsock_hdr))
/* Of a VM, with those that are being made or end. */
#define VSOCK_MAX_CONNS 256u
/* What a guest may send ahead of the host's reader, kept for it when its socket takes no more: buf_alloc. */
#define VSOCK_WINDOW_BYTES (128u << 10)
/* Ports of the host's side that the device gives away itself, to whoever connects from here. */
#define VSOCK_FIRST_PORT (1u << 30)
#define VSOCK_END_PORT (1u << 31)

/* struct virtio_vsock_hdr in the host's order. */
struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len_bytes; /* of the payload */
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt; /* the sender's */
};

void vsock_packet_get(const uint8_t wire[VSOCK_HEADER_BYTES], struct vsock_packet *ret);
void vsock_packet_put(const struct vsock_packet *p, uint8_t wire[VSOCK_HEADER_BYTES]);

enum vsock_phase {
	VSOCK_FREE,
	VSOCK_HELLO, /* somebody on the host has connected and not said yet to which port */
	VSOCK_ASKING, /* the guest was asked for that port */
	VSOCK_OPEN,
	VSOCK_DRAINING, /* the guest has closed it, the host has not read all yet */
	VSOCK_DEAD, /* the host's end is closed; that the guest is told of it is all that is left */
};

/* What the guest is to be told, besides data. Kept as a set, so that what waits for its buffers is bounded. */
enum {
	VSOCK_TELL_RST = 1,
	VSOCK_TELL_REQUEST = 2,
	VSOCK_TELL_RESPONSE = 4,
	VSOCK_TELL_SHUTDOWN = 8,
	VSOCK_TELL_CREDIT = 16,
};

struct vsock;
struct vsock_conn {
	struct vsock *s; /* of vsock_host.c */
	int fd;
	enum vsock_phase phase;
	uint32_t guest_port, host_port;
	uint8_t tell;
	uint8_t guest_shutdown,
		host_shutdown; /* VIRTIO_VSOCK_SHUTDOWN_*: what each side said of itself */
	bool readable; /* no -EAGAIN since the socket's last event */
	bool hung_up; /* nobody is at the other end of the socket */
	/* To the guest: bytes sent and, by its last word, those its reader has taken and those it has room for. */
	uint32_t sent, guest_fwd_cnt, guest_buf_alloc;
	bool asked; /* for credit, since there was some */
	/* From the guest: bytes that went on to the host, and how many of them it knows of. */
	uint32_t fwd_cnt, fwd_cnt_told;
	/* A ring of VSOCK_WINDOW_BYTES, made when it is first needed: @held_bytes from @held_at on. */
	uint8_t *held;
	uint32_t held_at, held_bytes;
};

/* ---- vsock_conn.c ---- */

/* Of the other side, the guest's first or the device's: what there is to do. */
enum vsock_todo {
	VSOCK_NOTHING,
	VSOCK_ACCEPTED, /* the guest has taken the host's connection: say so */
	VSOCK_DATA, /* the packet's payload goes to the host; it fits into the ring */
	VSOCK_HALVES, /* guest_shutdown has changed */
	VSOCK_CLOSE, /* the guest has dropped it */
	VSOCK_RESET, /* the packet has no place here: close it and tell the guest */
};
/* A packet of the guest for this connection, which vsock_conn_is found. */
enum vsock_todo vsock_conn_packet(struct vsock_conn *c, const struct vsock_packet *p);
/* Whether the guest knows it, or is about to hear of its end, under these ports. */
bool vsock_conn_is(const struct vsock_conn *c, uint32_t guest_port, uint32_t host_port);
/* A connection that the guest asks for with @p begins, and is open. */
void vsock_conn_open(struct vsock_conn *c, const struct vsock_packet *p);
/* One that the host asks for. */
void vsock_conn_ask(struct vsock_conn *c, uint32_t guest_port, uint32_t host_port);
/* Nothing remains but to tell the guest that it has ended. */
void vsock_conn_end(struct vsock_conn *c);
/* The host's half or halves @flags are shut. */
void vsock_conn_shut(struct vsock_conn *c, unsigned int flags);
/* @n bytes of the guest went on to the host. */
void vsock_conn_forwarded(struct vsock_conn *c, uint32_t n);
/* Bytes that the guest has room for. */
uint32_t vsock_conn_credit(const struct vsock_conn *c);
/* The operation of the next packet for the guest, 0: none. RW: as far as there is something to read. */
uint16_t vsock_conn_next(const struct vsock_conn *c);
/* That packet, with @len_bytes of data; the connection counts as having sent it. */
void vsock_conn_send(struct vsock_conn *c, uint16_t op, uint32_t len_bytes, uint64_t guest_cid,
		     struct vsock_packet *ret);

/* ---- the device ---- */

/* A RST for a packet that belongs to nothing. */
struct vsock_refusal {
	uint64_t from_cid;
	uint32_t from_port, to_port;
	uint16_t type;
};
/* When so many wait for buffers, the guest's packets wait too (§5.10.6.1.1). */
#define VSOCK_MAX_REFUSALS 64u

struct vsock_counts {
	uint64_t opened, refused, dropped;
	uint64_t bytes_in, bytes_out; /* to and from the guest */
};

struct vsock {
	struct virtio v; /* first */
	uint64_t cid;
	char *path;
	struct unix_listener listener;
	bool watched; /* the listener */
	uint32_t next_port;
	bool owes_reset; /* the event of §5.10.6.7: the VM came from elsewhere and its connections did not */
	struct vsock_counts counts;
	struct vsock_conn conn[VSOCK_MAX_CONNS];
	unsigned int nconns; /* not free */
	unsigned int end; /* all from here on are free */
	unsigned int turn; /* whose turn it is to tell the guest something */
	struct vsock_refusal refusal[VSOCK_MAX_REFUSALS];
	unsigned int first_refusal, nrefusals;
	struct virtq_chain chain;
};

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_NQUEUES };

/* ---- vsock_host.c ---- */

/* -ENAMETOOLONG; else what stands in the way of listening there, as far as it shows without trying: a file that is no socket, a directory that is missing. */
int vsock_host_check(const char *path, struct err *err);
int vsock_host_listen(struct vsock *s, struct err *err);
void vsock_host_unlisten(struct vsock *s);
/* Takes connections of the host, or lets them wait. */
void vsock_host_watch(struct vsock *s, bool on);
/* The guest asks for host port @p->dst_port. NULL: nobody listens there, or there are too many. */
struct vsock_conn *vsock_host_open(struct vsock *s, const struct vsock_packet *p);
/* What vsock_conn_packet found; @chain holds the packet's payload behind its header. */
void vsock_host_do(struct vsock_conn *c, enum vsock_todo todo, const struct virtq_chain *chain,
		   uint32_t len_bytes);
/* Reads into @iov. 0: nothing now, and the connection knows why. */
size_t vsock_host_read(struct vsock_conn *c, struct iovec *iov, unsigned int niov);
/* The guest was told that it has ended. */
void vsock_host_told_end(struct vsock_conn *c);
void vsock_host_close_all(struct vsock *s);

#endif
