/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between chains and buffers. */
#include <string.h>

#include "base/num.h"
#include "virtq.h"

/* A place in one part of a chain: segments [seg, end), @offset bytes into the first of them. */
struct place {
	unsigned int seg, end;
	uint64_t offset;
};

/* The next piece of at most @left bytes: its segment, where it begins and its length, or 0 at the end. */
static size_t next_piece(const struct virtq_chain *c, struct place *p, uint64_t left,
			 unsigned int *ret_seg, uint64_t *ret_offset)
{
	size_t n;

	while (p->seg < p->end && p->offset >= c->seg[p->seg].iov_len)
		p->offset -= c->seg[p->seg++].iov_len;
	if (p->seg == p->end)
		return 0;
	n = (size_t)MIN(left, c->seg[p->seg].iov_len - p->offset);
	*ret_seg = p->seg;
	*ret_offset = p->offset;
	p->offset += n;
	return n;
}

size_t virtq_read(const struct virtq_chain *c, uint64_t offset, void *dst, size_t len_bytes)
{
	struct place p = { 0, c->nread, offset };
	size_t done = 0, n;
	unsigned int seg;
	uint64_t at;

	while (done < len_bytes && (n = next_piece(c, &p, len_bytes - done, &seg, &at)) > 0) {
		memcpy((uint8_t *)dst + done, (const uint8_t *)c->seg[seg].iov_base + at, n);
		done += n;
	}
	return done;
}

size_t virtq_write(struct virtq *q, const struct virtq_chain *c, uint64_t offset, const void *src,
		   size_t len_bytes)
{
	struct place p = { c->nread, c->nread + c->nwrite, offset };
	size_t done = 0, n;
	unsigned int seg;
	uint64_t at;

	while (done < len_bytes && (n = next_piece(c, &p, len_bytes - done, &seg, &at)) > 0) {
		memcpy((uint8_t *)c->seg[seg].iov_base + at, (const uint8_t *)src + done, n);
		gmem_mark_dirty(q->mem, c->gpa[seg] + at, n);
		done += n;
	}
	return done;
}

unsigned int virtq_iov(const struct virtq_chain *c, bool write, uint64_t offset, uint64_t len_bytes,
		       struct iovec *ret)
{
	struct place p = { write ? c->nread : 0, c->nread + (write ? c->nwrite : 0), offset };
	unsigned int niov = 0, seg;
	uint64_t at;
	size_t n;

	for (; len_bytes && (n = next_piece(c, &p, len_bytes, &seg, &at)) > 0; len_bytes -= n)
		ret[niov++] = (struct iovec){ (uint8_t *)c->seg[seg].iov_base + at, n };
	return niov;
}

void virtq_written(struct virtq *q, const struct virtq_chain *c, uint64_t len_bytes)
{
	struct place p = { c->nread, c->nread + c->nwrite, 0 };
	uint64_t at, done = 0;
	unsigned int seg;
	size_t n;

	while (done < len_bytes && (n = next_piece(c, &p, len_bytes - done, &seg, &at)) > 0) {
		gmem_mark_dirty(q->mem, c->gpa[seg] + at, n);
		done += n;
	}
}
