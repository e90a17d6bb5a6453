/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_BLK_REQUEST_H
#define DEVICES_VIRTIO_BLK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "devices/backend/disk.h"
#include "virtq.h"

/*
 * What a driver asks of a block device (virtio 1.2 §5.2.6): from a chain, which it may have built in any way, to something that is safe to do. Pure; the chain's bytes are read once.
 */
#define BLK_ID_BYTES 20u /* of a serial number */
#define BLK_MAX_DISCARD_SECTORS (1u << 22)
#define BLK_MAX_ZEROES_SECTORS (1u << 17)

/* What holds for all requests since the driver chose its features. */
struct blk_rules {
	uint64_t sectors;
	bool readonly;
	bool discard, write_zeroes; /* negotiated */
};

enum blk_what {
	BLK_ANSWER, /* nothing to be done, or nothing that can be: the status is known */
	BLK_GET_ID, /* the serial number into the writable part */
	BLK_IO,
};

struct blk_plan {
	enum blk_what what;
	uint8_t status; /* BLK_ANSWER: VIRTIO_BLK_S_* */
	/* BLK_IO, as in struct disk_io. */
	enum disk_op op;
	uint64_t offset, len_bytes;
	bool may_unmap;
	/* In front of the status byte in the device-writable part. */
	uint64_t room_bytes;
	uint64_t status_gpa;
};

/* -EBADMSG, with the reason, when there is no whole header or no byte for the status: then there is no way to answer. */
int blk_plan(const struct blk_rules *rules, const struct virtq_chain *c, struct blk_plan *ret,
	     struct err *err);

/* The data of a DISK_READ or DISK_WRITE, len_bytes of it, as the chain's own segments: those are cut to it, so that virtq_read is of no use any more; virtq_written still is. */
struct iovec *blk_data(struct virtq_chain *c, const struct blk_plan *plan, unsigned int *ret_n);

#endif
