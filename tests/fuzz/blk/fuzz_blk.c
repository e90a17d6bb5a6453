/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole block device, and a driver that asks for anything: each request is answered or the device wants a reset, the image keeps its size and nothing is written outside the buffers.
 *
 * Input: u8 features (bit 0 FLUSH, 1 DISCARD, 2 WRITE_ZEROES, 3 event indices), then requests: u8 parts - 1 (bits 1-0; bits 7-4: which are writable), 16 bytes of header, and for each part
 * u16 offset and u16 length.
 */
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "virtio_driver.h"

#define IMAGE_BYTES 65536
#define AREA_BYTES 16384u /* of buffers; a part begins in it and may end behind it */
#define SLACK_BYTES 4096u
#define CANARY_BYTES 4096u
#define CANARY 0xc5
#define MAX_REQUESTS 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static struct driver driver;
static int image = -1;
static uint64_t area_gpa, canary_gpa, rings_gpa;

static void set_up(void)
{
	struct virtio_common common = { .id = "fuzzed" };
	struct blk_config config = { 0 };
	char path[32];
	struct virtio *v;

	image = memfd_create("image", MFD_CLOEXEC);
	if (image < 0 || ftruncate(image, IMAGE_BYTES) || driver_init(&driver))
		__builtin_trap();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", image);
	common.host = driver.host;
	config.path = path;
	if (virtio_blk_create(&common, &config, 1, &v, NULL))
		__builtin_trap();
	driver_attach(&driver, v);
	area_gpa = driver_alloc(&driver, AREA_BYTES + SLACK_BYTES);
	canary_gpa = driver_alloc(&driver, CANARY_BYTES);
	rings_gpa = driver.next_gpa;
	memset(driver_ptr(&driver, canary_gpa, CANARY_BYTES), CANARY, CANARY_BYTES);
}

static uint64_t features_of(uint8_t bits)
{
	static const unsigned int feature[] = { VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_DISCARD,
						VIRTIO_BLK_F_WRITE_ZEROES,
						VIRTIO_F_RING_EVENT_IDX };
	uint64_t f = 1ULL << VIRTIO_F_VERSION_1;

	for (unsigned int i = 0; i < ARRAY_LEN(feature); i++)
		f |= (uint64_t)(bits >> i & 1) << feature[i];
	return f;
}

static bool add_request(struct reader *in)
{
	uint8_t shape = reader_u8(in);
	const uint8_t *header = reader_bytes(in, 16);
	struct driver_part part[4];
	unsigned int n = (shape & 3) + 1u;

	for (unsigned int i = 0; i < n; i++)
		part[i] =
			(struct driver_part){ area_gpa + reader_u16(in) % AREA_BYTES,
					      reader_u16(in) % SLACK_BYTES, shape >> (4 + i) & 1 };
	if (in->failed)
		return false;
	memcpy(driver_ptr(&driver, part[0].gpa, 16), header, 16);
	driver_add(&driver, 0, part, n);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);
	const uint8_t *canary;
	struct stat st;
	unsigned int n = 0;

	if (image < 0)
		set_up();
	driver.next_gpa = rings_gpa;
	if (!driver_start(&driver, features_of(reader_u8(&in)), 64))
		__builtin_trap();
	while (n < MAX_REQUESTS && add_request(&in))
		n++;
	virtio_kick(driver.v, 0);
	if (!driver_settle(&driver, 0, n))
		__builtin_trap();
	if (fstat(image, &st) || st.st_size != IMAGE_BYTES)
		__builtin_trap();
	canary = driver_ptr(&driver, canary_gpa, CANARY_BYTES);
	for (unsigned int i = 0; i < CANARY_BYTES; i++)
		if (canary[i] != CANARY)
			__builtin_trap();
	return 0;
}
