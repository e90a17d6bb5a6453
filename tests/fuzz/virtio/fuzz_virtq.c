/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a guest's rings: a chain that comes out of a queue lies in guest memory, adds up, and is not out already; whatever the device then writes, into its own rings
 * if the guest says so, leaves the next pop as safe.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "devices/virtio/virtq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

/* RAM begins at 0, so that small numbers are good addresses. The input lies at its start. */
#define RAM_BYTES (256u << 10)
#define IMAGE_BYTES 16384u
#define MAX_OPS 64u

static struct gmem *memory(void)
{
	static struct gmem *mem;
	const struct gmem_config config = { .backing = GMEM_4K,
					    .nregions = 1,
					    .region = { { .gpa = 0, .len_bytes = RAM_BYTES } } };

	if (!mem && gmem_create(&config, &mem, NULL))
		abort();
	return mem;
}

/* Heads that are out. */
struct out {
	uint16_t head[VIRTQ_MAX_SIZE];
	unsigned int n;
};

static void check_chain(const struct gmem *mem, const struct virtq *q, const struct virtq_chain *c,
			const struct out *out)
{
	uint64_t sum[2] = { 0, 0 };

	if (c->head >= q->size || c->nread + c->nwrite > VIRTQ_MAX_SEGS)
		abort();
	for (unsigned int i = 0; i < c->nread + c->nwrite; i++) {
		if (gmem_ptr(mem, c->gpa[i], c->seg[i].iov_len) != c->seg[i].iov_base ||
		    !c->seg[i].iov_len)
			abort();
		sum[i >= c->nread] += c->seg[i].iov_len;
	}
	if (sum[0] != c->read_bytes || sum[1] != c->write_bytes ||
	    c->read_bytes + c->write_bytes > UINT32_MAX)
		abort();
	for (unsigned int i = 0; i < out->n; i++)
		if (out->head[i] == c->head)
			abort();
}

/* Copies are bounded by the chain, whatever is asked for. */
static void copy(struct virtq *q, const struct virtq_chain *c, uint8_t op)
{
	uint8_t bytes[600];
	size_t n = virtq_read(c, op, bytes, sizeof(bytes));

	if (n > sizeof(bytes) || n > c->read_bytes)
		abort();
	memset(bytes, op, sizeof(bytes));
	n = virtq_write(q, c, op >> 4, bytes, sizeof(bytes));
	if (n > sizeof(bytes) || n > c->write_bytes)
		abort();
	virtq_written(q, c, UINT64_MAX);
}

/* False: the driver broke a rule, and it was said which. */
static bool one_op(struct virtq *q, struct out *out, uint8_t op)
{
	static struct virtq_chain c;
	struct err err = { 0 };
	int rc = virtq_pop(q, &c, &err);

	if (rc < 0)
		return rc == -EBADMSG && err.code == rc && err.msg[0] ? false : (abort(), false);
	if (rc) {
		check_chain(q->mem, q, &c, out);
		out->head[out->n++] = c.head;
		copy(q, &c, op);
		if (op & 1) {
			virtq_unpop(q, c.head);
			out->n--;
		}
	}
	if (op & 2 && out->n)
		virtq_push(q, out->head[--out->n], op);
	if (op & 4)
		virtq_wants_interrupt(q);
	if (op & 8)
		virtq_enable_notify(q, op & 16);
	if (virtq_pending(q) > q->size || (uint16_t)(q->avail_idx - q->used_idx) > q->size)
		abort();
	virtq_unseen(q);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct virtq q = { .mem = memory() };
	struct reader in = reader_over(data, len_bytes);
	const uint8_t *ops;
	struct out out = { .n = 0 };
	size_t nops, n;

	q.size = (uint16_t)(1u << (reader_u8(&in) % 12));
	q.indirect = reader_u8(&in) & 1;
	q.event_idx = reader_u8(&in) & 1;
	q.avail_idx = q.used_idx = reader_u16(&in);
	q.desc_gpa = reader_u16(&in);
	q.avail_gpa = reader_u16(&in);
	q.used_gpa = reader_u16(&in);
	nops = reader_u8(&in) % MAX_OPS;
	ops = reader_bytes(&in, nops);
	if (in.failed)
		return 0;
	n = reader_left(&in) < IMAGE_BYTES ? reader_left(&in) : IMAGE_BYTES;
	memset(q.mem->base, 0, RAM_BYTES);
	memcpy(q.mem->base, in.pos, n);
	if (virtq_start(&q, NULL))
		return 0;
	for (size_t i = 0; i < nops; i++)
		if (!one_op(&q, &out, ops[i]))
			break;
	return 0;
}
