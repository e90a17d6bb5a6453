/* SPDX-License-Identifier: Apache-2.0 */
/* Any sequence of accesses to a virtio device over MMIO, of notifications and of writes to its rings, with pauses and moves of its state in between: the device survives, and works after a reset. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/devices/tiny_virtio.h"
#include "tests/unit/devices/virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define GPA 0xd0000000u
#define REG_STATUS 0x70u
#define MAX_OPS 512u
/* The guest's rings and buffers are in here: registers and descriptors get addresses from it when the input says so. */
#define SPACE_BYTES 16384u

enum op {
	OP_READ, /* a: register; b: size */
	OP_WRITE, /* value: what */
	OP_WRITE_ADDRESS, /* value: where in the space */
	OP_POKE, /* 16 bits into the space. a: where */
	OP_DESC, /* a descriptor into the space. a: where; b: flags; value: buffer's place and length */
	OP_KICK, /* b: queue */
	OP_PAUSE,
	OP_RESUME,
	OP_MOVE, /* saves and loads */
	OP_SET_CONFIG,
	NOPS,
};

static struct driver machine;
static struct bus bus;
static struct virtio *device;
static struct virtio_mmio *transport;

static void set_up(void)
{
	if (device)
		return;
	if (driver_init(&machine) || tiny_virtio_create(&machine.host, &device) ||
	    virtio_mmio_create(device, &machine.host, &bus, GPA, 5, &transport, NULL))
		abort();
	driver_alloc(&machine, SPACE_BYTES); /* from the beginning of RAM */
	machine.v = device;
}

static void write_reg(uint16_t reg, uint32_t value, unsigned int size)
{
	uint8_t bytes[8] = { 0 };

	le32_put(bytes, value);
	bus_access(&bus, GPA + reg % VIRTIO_MMIO_BYTES, true, bytes, size);
}

static void move(void)
{
	struct state_entry entries[3];
	struct buf first = { 0 }, second = { 0 };
	unsigned int n = virtio_state_entries(device, 1, entries);

	n += virtio_mmio_state_entries(transport, 1, entries + n);
	if (virtio_pause(device, UINT64_MAX, NULL) || state_save_all(entries, n, &first, NULL) ||
	    state_load_all(entries, n, first.data, first.len_bytes, NULL) ||
	    state_save_all(entries, n, &second, NULL) || first.len_bytes != second.len_bytes ||
	    memcmp(first.data, second.data, first.len_bytes))
		abort();
	buf_fini(&first);
	buf_fini(&second);
}

static void poke16(uint16_t at, uint16_t v)
{
	uint16_t *p = driver_ptr(&machine, DRIVER_RAM_GPA + (at % SPACE_BYTES & ~1u), 2);

	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

static void one_op(enum op op, uint8_t b, uint16_t a, uint32_t value)
{
	const unsigned int size = 1u << b % 4;
	uint8_t bytes[8];

	switch (op) {
	case OP_READ:
		bus_access(&bus, GPA + a % VIRTIO_MMIO_BYTES, false, bytes, size);
		break;
	case OP_WRITE:
		write_reg(a, value, size);
		break;
	case OP_WRITE_ADDRESS:
		write_reg(a, DRIVER_RAM_GPA + value % SPACE_BYTES, 4);
		break;
	case OP_POKE:
		poke16(a, (uint16_t)value);
		break;
	case OP_DESC:
		driver_raw_desc(&machine, DRIVER_RAM_GPA, a % (SPACE_BYTES / 16),
				DRIVER_RAM_GPA + (value & 0xffff), value >> 16, b & 7, b >> 3);
		break;
	case OP_KICK:
		virtio_kick(device, b);
		break;
	case OP_PAUSE:
		if (virtio_pause(device, UINT64_MAX, NULL))
			abort();
		break;
	case OP_RESUME:
		virtio_resume(device);
		break;
	case OP_MOVE:
		move();
		break;
	case OP_SET_CONFIG:
		le32_put(bytes, value);
		virtio_set_config(device, a, bytes, size % 4);
		break;
	case NOPS:
		break;
	}
}

/* As any driver would find it: after a reset nothing of the past is left. */
static void check_reset(void)
{
	struct virtio_queue_regs regs;
	uint8_t status[4];
	uint16_t max;

	write_reg(REG_STATUS, 0, 4);
	bus_access(&bus, GPA + REG_STATUS, false, status, 4);
	if (le32_get(status) || virtio_get_driver_features(device))
		abort();
	for (unsigned int i = 0; i < TINY_QUEUES; i++)
		if (!virtio_get_queue(device, i, &regs, &max) || regs.enabled ||
		    regs.size != TINY_QUEUE_SIZE || regs.desc_gpa)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);

	set_up();
	memset(driver_ptr(&machine, DRIVER_RAM_GPA, SPACE_BYTES), 0, SPACE_BYTES);
	virtio_resume(device);
	for (unsigned int i = 0; i < MAX_OPS && reader_left(&in) >= 8; i++) {
		enum op op = reader_u8(&in) % NOPS;
		uint8_t b = reader_u8(&in);
		uint16_t a = reader_u16(&in);

		one_op(op, b, a, reader_u32(&in));
	}
	check_reset();
	return 0;
}
