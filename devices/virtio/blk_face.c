/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_face.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "blk_request.h"
#include "virtq.h"

#define MAX_SEGMENT_BYTES (1u << 20)
_Static_assert(offsetof(struct virtio_blk_config, unused1) + 3 == BLK_CONFIG_BYTES, "§5.2.4");

void blk_make_config(const struct disk_geometry *g, unsigned int nqueues,
		     struct virtio_blk_config *ret)
{
	uint32_t physical_blocks = g->physical_bytes / g->block_bytes;
	uint32_t physical_sectors = g->physical_bytes / DISK_SECTOR_BYTES;

	*ret = (struct virtio_blk_config){
		.capacity = htole64(g->bytes / DISK_SECTOR_BYTES),
		.size_max = htole32(MAX_SEGMENT_BYTES),
		.seg_max = htole32(VIRTQ_MAX_SEGS - 2), /* header and status */
		.blk_size = htole32(g->block_bytes),
		.physical_block_exp = (uint8_t)__builtin_ctz(physical_blocks),
		.min_io_size = htole16((uint16_t)physical_blocks),
		.opt_io_size = htole32(g->optimal_bytes / g->block_bytes),
		.num_queues = htole16((uint16_t)nqueues),
		.max_discard_sectors = htole32(BLK_MAX_DISCARD_SECTORS),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(physical_sectors),
		.max_write_zeroes_sectors = htole32(BLK_MAX_ZEROES_SECTORS),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = 1,
	};
}

uint64_t blk_features(bool readonly, unsigned int nqueues)
{
	uint64_t f = 1ULL << VIRTIO_BLK_F_SIZE_MAX | 1ULL << VIRTIO_BLK_F_SEG_MAX |
		     1ULL << VIRTIO_BLK_F_BLK_SIZE | 1ULL << VIRTIO_BLK_F_TOPOLOGY |
		     1ULL << VIRTIO_BLK_F_FLUSH;

	if (readonly)
		f |= 1ULL << VIRTIO_BLK_F_RO;
	else
		f |= 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
	if (nqueues > 1)
		f |= 1ULL << VIRTIO_BLK_F_MQ;
	return f;
}

int blk_adopt_face(const struct blk_config *config, const struct virtio_face *face,
		   const struct disk_geometry *g, struct virtio_blk_config *ret, struct err *err)
{
	bool readonly = face->features >> VIRTIO_BLK_F_RO & 1;
	struct virtio_blk_config c = { 0 };
	uint64_t sectors;

	if (face->config_bytes != BLK_CONFIG_BYTES)
		return err_set(err, -EOPNOTSUPP,
			       "--disk %s: the source's has a configuration of %u bytes, not %u",
			       config->path, face->config_bytes, BLK_CONFIG_BYTES);
	memcpy(&c, face->config, BLK_CONFIG_BYTES);
	sectors = le64toh(c.capacity);
	if (sectors != g->bytes / DISK_SECTOR_BYTES)
		return err_set(err, -EINVAL,
			       "--disk %s: has %" PRIu64 " sectors, the source's has %" PRIu64,
			       config->path, g->bytes / DISK_SECTOR_BYTES, sectors);
	if (readonly != config->readonly)
		return err_set(err, -EINVAL, "--disk %s: the source's is %s, this one is not",
			       config->path, readonly ? "read-only" : "writable");
	if (le32toh(c.seg_max) > VIRTQ_MAX_SEGS - 2)
		return err_set(err, -EOPNOTSUPP,
			       "--disk %s: the source's takes %u segments, here %u are possible",
			       config->path, le32toh(c.seg_max), VIRTQ_MAX_SEGS - 2);
	if (le32toh(c.max_discard_sectors) > BLK_MAX_DISCARD_SECTORS ||
	    le32toh(c.max_write_zeroes_sectors) > BLK_MAX_ZEROES_SECTORS ||
	    le32toh(c.max_discard_seg) > 1 || le32toh(c.max_write_zeroes_seg) > 1)
		return err_set(
			err, -EOPNOTSUPP,
			"--disk %s: the source's discards more at once than is possible here",
			config->path);
	*ret = c;
	return 0;
}
