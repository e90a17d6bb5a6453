/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole console with two ports that lead nowhere, and a driver that says anything: each message and each output is answered or the device wants a reset, it never uses more buffers than it was given, and its
 * state moves.
 *
 * Input: u8 features (bit 0 MULTIPORT, 1 event indices), then steps, each a u8: bits 2-0 a queue, bit 3 writable, bits 7-4 length in eighths of 64 bytes, then 8 bytes of contents; 6: a new
 * size; 7: a move.
 */
#include <string.h>

#include "base/bytes.h"
#include "devices/virtio/console.h"
#include "tests/unit/devices/virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define NQUEUES 6u
#define MAX_STEPS 32u
#define BUFFER_BYTES 128u
#define CANARY 0xc5
#define FEATURES (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_CONSOLE_F_SIZE)

enum { STEP_SIZE = NQUEUES, STEP_MOVE };

static struct driver driver;
static uint64_t buffers_gpa, rings_gpa;
static unsigned int noffered[NQUEUES], nrequests;

static void set_up(void)
{
	const struct console_config config = {
		.nports = 2, .port = { { .spec = "null" }, { .spec = "null", .name = "port" } }
	};
	struct virtio_common common = { .id = "fuzzed" };
	struct virtio *v;

	if (driver_init(&driver))
		__builtin_trap();
	common.host = driver.host;
	if (virtio_console_create(&common, &config, &v, NULL))
		__builtin_trap();
	driver_attach(&driver, v);
	buffers_gpa = driver_alloc(&driver, (MAX_STEPS + 1) * BUFFER_BYTES);
	rings_gpa = driver.next_gpa;
}

static void move(void)
{
	if (!driver_move(&driver))
		__builtin_trap();
}

static bool one_step(struct reader *in)
{
	uint8_t step = reader_u8(in);
	const uint8_t *contents = reader_bytes(in, 8);
	unsigned int queue = step & 7;
	struct driver_part part = { .gpa = buffers_gpa + nrequests * BUFFER_BYTES,
				    .len_bytes = (step >> 4) * 8u + (step >> 4 & 1),
				    .write = step >> 3 & 1 };

	if (in->failed)
		return false;
	if (queue == STEP_MOVE) {
		move();
		return true;
	}
	if (queue == STEP_SIZE) {
		virtio_console_resize(driver.v, le16_get(contents), le16_get(contents + 2));
		return true;
	}
	if (!part.write)
		memcpy(driver_ptr(&driver, part.gpa, 8), contents, 8);
	driver_add(&driver, queue, &part, 1);
	noffered[queue]++;
	nrequests++;
	virtio_kick(driver.v, queue);
	return true;
}

/* What the driver sends (odd queues) comes back; what it gives is used or not. */
static void wait_for_answers(void)
{
	for (unsigned int q = 1; q < NQUEUES; q += 2)
		if (!driver_settle(&driver, q, noffered[q]))
			__builtin_trap();
	if (virtio_pause(driver.v, UINT64_MAX, NULL))
		__builtin_trap();
	for (unsigned int q = 0; q < NQUEUES; q++)
		if (driver_used(&driver, q) > noffered[q])
			__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);
	const uint8_t *canary;
	uint8_t bits;

	if (!rings_gpa)
		set_up();
	driver.next_gpa = rings_gpa;
	memset(noffered, 0, sizeof(noffered));
	nrequests = 0;
	bits = reader_u8(&in);
	if (!driver_start(&driver,
			  FEATURES | (uint64_t)(bits & 1) << VIRTIO_CONSOLE_F_MULTIPORT |
				  (uint64_t)(bits >> 1 & 1) << VIRTIO_F_RING_EVENT_IDX,
			  64))
		__builtin_trap();
	memset(driver_ptr(&driver, buffers_gpa, (MAX_STEPS + 1) * BUFFER_BYTES), CANARY,
	       (MAX_STEPS + 1) * BUFFER_BYTES);
	for (unsigned int i = 0; i < MAX_STEPS && one_step(&in); i++)
		continue;
	wait_for_answers();
	canary = driver_ptr(&driver, buffers_gpa + nrequests * BUFFER_BYTES, BUFFER_BYTES);
	for (unsigned int i = 0; i < BUFFER_BYTES; i++)
		if (canary[i] != CANARY)
			__builtin_trap();
	return 0;
}
