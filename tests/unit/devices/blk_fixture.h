/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_BLK_FIXTURE_H
#define TESTS_UNIT_DEVICES_BLK_FIXTURE_H

#include "test.h"

#include "virtio_driver.h"

/* A driver in front of a block device over a file of IMAGE_SECTORS sectors, each of which begins with its number. */
#define IMAGE_SECTORS 4096u
#define ALL_FEATURES UINT64_MAX

struct blk_fixture {
	struct driver d;
	char path[64];
	struct virtio *v;
	uint64_t header_gpa, status_gpa, data_gpa; /* data: DATA_BYTES */
	uint32_t written; /* of the last request */
};
#define DATA_BYTES 65536u

int blk_setup(void **state);
int blk_teardown(void **state);

/* Makes the device. @config's path is the image; a face makes it a receiver's. */
int blk_create(struct blk_fixture *f, const struct virtio_face *face, struct blk_config config,
	       struct virtio **ret, struct err *err);
/* The same for the fixture, with a driver on it that has taken @features; must succeed. */
void blk_start(struct blk_fixture *f, struct blk_config config, uint64_t features);

/* Writes a header into guest memory. */
void blk_header(struct blk_fixture *f, uint64_t gpa, uint32_t type, uint64_t sector);
/* One request on queue 0, @len_bytes of data at data_gpa: its status, or -1 without an answer. */
int blk_request(struct blk_fixture *f, uint32_t type, uint64_t sector, uint32_t len_bytes);
/* Offers a request of one sector on @queue with header and status of its own at @place, that is data_gpa plus 1024 bytes for each: status at +16, data at +512. */
uint16_t blk_add(struct blk_fixture *f, unsigned int queue, unsigned int place, uint32_t type,
		 uint64_t sector);
uint8_t *blk_place(struct blk_fixture *f, unsigned int place);
/* Takes @n used entries of @queue. */
void blk_wait_all(struct blk_fixture *f, unsigned int queue, unsigned int n);

/* What the file has at the beginning of a sector. */
uint64_t blk_file_word(struct blk_fixture *f, uint64_t sector);
uint64_t blk_counter(struct virtio *v, const char *name);

#endif
