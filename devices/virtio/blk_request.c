/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_request.h"

#include <errno.h>
#include <linux/virtio_blk.h>

#include "base/bytes.h"

/* struct virtio_blk_req and struct virtio_blk_discard_write_zeroes (§5.2.6). */
#define HEADER_BYTES 16u
#define RANGE_BYTES 16u

/* §5.2.6.2: beyond the capacity and not made of whole sectors are errors. */
static bool in_disk(const struct blk_rules *rules, uint64_t sector, uint64_t nsectors)
{
	return sector <= rules->sectors && nsectors <= rules->sectors - sector;
}

static void plan_answer(struct blk_plan *p, uint8_t status)
{
	p->what = BLK_ANSWER;
	p->status = status;
}

static void plan_io(const struct blk_rules *rules, struct blk_plan *p, enum disk_op op,
		    uint64_t sector, uint64_t nsectors)
{
	if (!in_disk(rules, sector, nsectors)) {
		plan_answer(p, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (nsectors == 0) {
		plan_answer(p, VIRTIO_BLK_S_OK);
		return;
	}
	p->what = BLK_IO;
	p->op = op;
	p->offset = sector * DISK_SECTOR_BYTES;
	p->len_bytes = nsectors * DISK_SECTOR_BYTES;
}

static void plan_transfer(const struct blk_rules *rules, struct blk_plan *p, enum disk_op op,
			  uint64_t sector, uint64_t len_bytes)
{
	if (len_bytes % DISK_SECTOR_BYTES || (op == DISK_WRITE && rules->readonly))
		plan_answer(p, VIRTIO_BLK_S_IOERR);
	else
		plan_io(rules, p, op, sector, len_bytes / DISK_SECTOR_BYTES);
}

/* One range: the configuration promises no more (max_discard_seg, max_write_zeroes_seg). */
static void plan_range(const struct blk_rules *rules, const struct virtq_chain *c,
		       struct blk_plan *p, enum disk_op op)
{
	uint32_t known_flags = op == DISK_ZERO ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	uint32_t max = op == DISK_ZERO ? BLK_MAX_ZEROES_SECTORS : BLK_MAX_DISCARD_SECTORS;
	uint8_t range[RANGE_BYTES];
	uint32_t nsectors, flags;

	if (!(op == DISK_ZERO ? rules->write_zeroes : rules->discard)) {
		plan_answer(p, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (c->read_bytes != HEADER_BYTES + RANGE_BYTES ||
	    virtq_read(c, HEADER_BYTES, range, RANGE_BYTES) != RANGE_BYTES) {
		plan_answer(p, VIRTIO_BLK_S_IOERR);
		return;
	}
	nsectors = le32_get(range + 8);
	flags = le32_get(range + 12);
	if (flags & ~known_flags)
		plan_answer(p, VIRTIO_BLK_S_UNSUPP);
	else if (nsectors > max)
		plan_answer(p, VIRTIO_BLK_S_IOERR);
	else
		plan_io(rules, p, op, le64_get(range), nsectors);
	p->may_unmap = flags != 0;
}

/* The last byte the driver gave us to write (§5.2.6: the status stands behind the data). */
static uint64_t last_gpa(const struct virtq_chain *c)
{
	unsigned int last = c->nread + c->nwrite - 1;

	return c->gpa[last] + c->seg[last].iov_len - 1;
}

int blk_plan(const struct blk_rules *rules, const struct virtq_chain *c, struct blk_plan *ret,
	     struct err *err)
{
	uint8_t header[HEADER_BYTES];
	struct blk_plan p = { 0 };
	uint64_t sector;

	if (virtq_read(c, 0, header, HEADER_BYTES) != HEADER_BYTES)
		return err_set(err, -EBADMSG, "a request with a header of %llu bytes, not %u",
			       (unsigned long long)c->read_bytes, HEADER_BYTES);
	if (c->write_bytes == 0)
		return err_set(err, -EBADMSG, "a request without room for its status");
	p.room_bytes = c->write_bytes - 1;
	p.status_gpa = last_gpa(c);
	sector = le64_get(header + 8);
	switch (le32_get(header)) {
	case VIRTIO_BLK_T_IN:
		plan_transfer(rules, &p, DISK_READ, sector, p.room_bytes);
		break;
	case VIRTIO_BLK_T_OUT:
		plan_transfer(rules, &p, DISK_WRITE, sector, c->read_bytes - HEADER_BYTES);
		break;
	case VIRTIO_BLK_T_FLUSH:
		p.what = BLK_IO;
		p.op = DISK_FLUSH;
		break;
	case VIRTIO_BLK_T_GET_ID:
		p.what = BLK_GET_ID;
		break;
	case VIRTIO_BLK_T_DISCARD:
		plan_range(rules, c, &p, DISK_DISCARD);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		plan_range(rules, c, &p, DISK_ZERO);
		break;
	default:
		plan_answer(&p, VIRTIO_BLK_S_UNSUPP);
		break;
	}
	*ret = p;
	return 0;
}

struct iovec *blk_data(struct virtq_chain *c, const struct blk_plan *plan, unsigned int *ret_n)
{
	struct iovec *part = c->seg, *end = c->seg + c->nread;
	size_t skip = HEADER_BYTES;

	if (plan->op == DISK_READ) {
		part = end;
		end += c->nwrite;
		skip = 0;
		if (--end[-1].iov_len == 0)
			end--;
	}
	while (skip >= part->iov_len)
		skip -= (part++)->iov_len;
	part->iov_base = (uint8_t *)part->iov_base + skip;
	part->iov_len -= skip;
	*ret_n = (unsigned int)(end - part);
	return part;
}
