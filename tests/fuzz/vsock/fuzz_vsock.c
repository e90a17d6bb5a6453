/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole socket device between a driver that says anything and programs of the host that come, write, read and go: each packet of the guest is taken or the device wants a reset, no buffer is used that
 * was not given, nothing is written beyond one, and the state moves.
 *
 * Input: u8 features (bit 0 indirect tables, 1 event indices), then steps, each a u8: bits 2-0 what, bits 7-3 an argument.
 *   0  a packet of the guest: u8 operation, u8 ports (bits 1-0 the guest's, 5-4 the host's: 0 to 2 or, for 3, the one of the last connection from the host), u8 flags, u16 len claimed, u32 buf_alloc,
 *      u32 fwd_cnt; the argument in eighths of 512 bytes is what there is of it, 31: no more than 20 bytes of header
 *   1  a buffer for packets of 16 bytes times the argument; 2  one for events
 *   3  the host connects: to guest port 0 to 2, or says something else
 *   4  the host accepts; 5  an end on the host: bits 4-3 which one, then by bits 7-5 writes, reads, shuts or closes
 *   6  a packet that is not for us: u8 CID, u8 type; 7  a move
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "devices/virtio/vsock.h"
#include "tests/unit/devices/virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define MAX_STEPS 48u
#define BUFFER_BYTES 640u
#define CANARY 0xc5
#define MAX_HOSTS 4u
#define GUEST_CID 9u

enum { PACKET, RX_BUFFER, EVENT_BUFFER, CONNECT, ACCEPT, HOST, STRANGE, MOVE };

static struct driver driver;
static uint64_t buffers_gpa, rings_gpa;
static unsigned int noffered[VSOCK_NQUEUES], nbuffers;
static char dir[] = "/tmp/fuzz-vsock-XXXXXX", path[64];
static int listener, host[MAX_HOSTS];

static void clean_up(void)
{
	char name[80];

	virtio_destroy(driver.v);
	snprintf(name, sizeof(name), "%s_1", path);
	unlink(name);
	rmdir(dir);
}

static struct sockaddr_un address(const char *suffix)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s%s", path, suffix);
	return a;
}

static void set_up(void)
{
	const struct vsock_config config = { .cid = GUEST_CID, .path = path };
	struct virtio_common common = { .id = "fuzzed" };
	struct sockaddr_un a;
	struct virtio *v;

	if (driver_init(&driver) || !mkdtemp(dir))
		__builtin_trap();
	snprintf(path, sizeof(path), "%s/v", dir);
	a = address("_1");
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 64))
		__builtin_trap();
	common.host = driver.host;
	if (virtio_vsock_create(&common, &config, &v, NULL))
		__builtin_trap();
	driver_attach(&driver, v);
	for (unsigned int i = 0; i < MAX_HOSTS; i++)
		host[i] = -1;
	buffers_gpa = driver_alloc(&driver, (MAX_STEPS + 1) * BUFFER_BYTES);
	rings_gpa = driver.next_gpa;
	atexit(clean_up);
}

static void offer(unsigned int queue, uint32_t len_bytes)
{
	const struct driver_part part = { .gpa = buffers_gpa + nbuffers++ * BUFFER_BYTES,
					  .len_bytes = len_bytes,
					  .write = queue != VSOCK_TX };

	driver_add(&driver, queue, &part, 1);
	noffered[queue]++;
	virtio_kick(driver.v, queue);
}

static void send_packet(const struct vsock_packet *p, uint32_t len_bytes)
{
	vsock_packet_put(p, driver_ptr(&driver, buffers_gpa + nbuffers * BUFFER_BYTES,
				       VSOCK_HEADER_BYTES));
	offer(VSOCK_TX, len_bytes);
}

static uint32_t host_port(unsigned int which)
{
	const struct vsock *s = driver.v->self;
	uint32_t port;

	if (which != 3)
		return which;
	/* The worker's; it stands still. */
	if (virtio_pause(driver.v, UINT64_MAX, NULL))
		__builtin_trap();
	port = s->next_port - 1;
	virtio_resume(driver.v);
	return port;
}

static void one_packet(struct reader *in, unsigned int arg)
{
	struct vsock_packet p = { .src_cid = GUEST_CID,
				  .dst_cid = VMADDR_CID_HOST,
				  .type = VIRTIO_VSOCK_TYPE_STREAM };
	uint8_t ports;

	p.op = reader_u8(in);
	ports = reader_u8(in);
	p.src_port = ports & 3;
	p.dst_port = host_port(ports >> 4 & 3);
	p.flags = reader_u8(in);
	p.len_bytes = reader_u16(in);
	p.buf_alloc = reader_u32(in);
	p.fwd_cnt = reader_u32(in);
	if (!in->failed)
		send_packet(&p, arg == 31 ? 20 : VSOCK_HEADER_BYTES + arg * 16);
}

static void connect_host(unsigned int arg)
{
	static const char *const hellos[] = {
		"CONNECT 0\n", "CONNECT 1\n", "CONNECT 2\nmore", "CONNECT x\n", "CONN", "\n", "",
		"CONNECT 1"
	};
	const struct sockaddr_un a = address("");
	int *fd = &host[arg % MAX_HOSTS];
	const char *hello = hellos[arg / MAX_HOSTS];

	fd_close(fd);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(*fd, (const struct sockaddr *)&a, sizeof(a)))
		fd_close(fd); /* the device is broken, and its backlog full */
	else
		(void)!send(*fd, hello, strlen(hello), MSG_NOSIGNAL);
}

static void use_host(unsigned int arg)
{
	static char data[300];
	int *fd = &host[arg % MAX_HOSTS];

	if (*fd < 0)
		return;
	if (arg / MAX_HOSTS < 4)
		(void)!send(*fd, data, sizeof(data) >> arg / MAX_HOSTS, MSG_NOSIGNAL);
	else if (arg / MAX_HOSTS == 4)
		(void)!recv(*fd, data, sizeof(data), 0);
	else if (arg / MAX_HOSTS < 7)
		shutdown(*fd, arg / MAX_HOSTS == 5 ? SHUT_WR : SHUT_RD);
	else
		fd_close(fd);
}

static void strange(struct reader *in)
{
	struct vsock_packet p = { .src_cid = GUEST_CID, .op = VIRTIO_VSOCK_OP_REQUEST };

	p.dst_cid = reader_u8(in);
	p.type = reader_u8(in);
	if (!(p.type & 0x80))
		p.src_cid = p.type;
	if (!in->failed)
		send_packet(&p, VSOCK_HEADER_BYTES);
}

static bool one_step(struct reader *in)
{
	uint8_t step = reader_u8(in);
	unsigned int arg = step >> 3;

	if (in->failed)
		return false;
	switch (step & 7) {
	case PACKET:
		one_packet(in, arg);
		break;
	case RX_BUFFER:
		offer(VSOCK_RX, arg * 16 + 1);
		break;
	case EVENT_BUFFER:
		offer(VSOCK_EVENT, arg + 1);
		break;
	case CONNECT:
		connect_host(arg);
		break;
	case ACCEPT:
		fd_close(&host[arg % MAX_HOSTS]);
		host[arg % MAX_HOSTS] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case HOST:
		use_host(arg);
		break;
	case STRANGE:
		strange(in);
		break;
	default:
		if (!driver_move(&driver))
			__builtin_trap();
	}
	return !in->failed;
}

/* All that the guest sent is taken: there are fewer than refusals may wait. */
static void wait_for_answers(void)
{
	if (!driver_settle(&driver, VSOCK_TX, noffered[VSOCK_TX]))
		__builtin_trap();
	if (virtio_pause(driver.v, UINT64_MAX, NULL))
		__builtin_trap();
	for (unsigned int q = 0; q < VSOCK_NQUEUES; q++)
		if (driver_used(&driver, q) > noffered[q])
			__builtin_trap();
}

static void note_connections(void *opaque, const char *name, uint64_t value)
{
	if (!strcmp(name, "connections"))
		*(uint64_t *)opaque = value;
}

/* Whoever is left over from the last time. */
static void start_anew(uint8_t bits)
{
	uint64_t connections = UINT64_MAX;
	int fd;

	driver.next_gpa = rings_gpa;
	memset(noffered, 0, sizeof(noffered));
	nbuffers = 0;
	if (!driver_start(&driver,
			  1ULL << VIRTIO_F_VERSION_1 |
				  (uint64_t)(bits & 1) << VIRTIO_F_RING_INDIRECT_DESC |
				  (uint64_t)(bits >> 1 & 1) << VIRTIO_F_RING_EVENT_IDX,
			  64))
		__builtin_trap();
	virtio_counters(driver.v, note_connections, &connections);
	/* Those that waited in the backlog of a device that was broken come in now: they have gone. */
	if (connections > VSOCK_MAX_CONNS)
		__builtin_trap();
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);
	const uint8_t *canary;

	if (!rings_gpa)
		set_up();
	start_anew(reader_u8(&in));
	memset(driver_ptr(&driver, buffers_gpa, (MAX_STEPS + 1) * BUFFER_BYTES), CANARY,
	       (MAX_STEPS + 1) * BUFFER_BYTES);
	for (unsigned int i = 0; i < MAX_STEPS && one_step(&in); i++)
		continue;
	wait_for_answers();
	canary = driver_ptr(&driver, buffers_gpa + nbuffers * BUFFER_BYTES, BUFFER_BYTES);
	for (unsigned int i = 0; i < BUFFER_BYTES; i++)
		if (canary[i] != CANARY)
			__builtin_trap();
	for (unsigned int i = 0; i < MAX_HOSTS; i++)
		fd_close(&host[i]);
	return 0;
}
