/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_VIRTQ_H
#define DEVICES_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "vmm/gmem.h"

/*
 * The device's side of a split virtqueue (virtio 1.2 §2.7), with indirect descriptors (§2.7.5.3) and event indices (§2.7.10). Everything in it is the guest's, who
 * may write any of it at any time: each field is read once, the copy is checked, a chain visits no descriptor twice and has at most VIRTQ_MAX_SEGS buffers, a device sees only
 * ranges that lie in guest memory, and no head twice before it has returned it. What the device writes (used ring, device-writable buffers) is marked in the memory's host log.
 * One thread at a time: the device's worker.
 */
#define VIRTQ_MAX_SIZE 1024u
#define VIRTQ_MAX_SEGS 130u /* in a chain; virtio-blk's seg_max of 128 plus header and status */

struct virtq {
	struct gmem *mem;
	uint16_t size; /* a power of two, 2 .. VIRTQ_MAX_SIZE */
	uint64_t desc_gpa, avail_gpa, used_gpa;
	uint16_t avail_idx; /* of the next entry to take */
	uint16_t used_idx; /* of the next entry to fill */
	bool indirect, event_idx; /* negotiated */

	/* virtq.c's own, set by virtq_start. */
	const uint8_t *desc, *avail;
	uint8_t *used;
	uint16_t avail_seen; /* the driver's index when it was last read */
	uint16_t signalled; /* used_idx when the driver was last interrupted, for event indices */
	bool signalled_valid;
	uint64_t taken[VIRTQ_MAX_SIZE / 64]; /* heads that are not returned yet */
};

/* A request. Segments in the chain's order, those the device reads first (§2.7.4.2): seg[0..nread) and then nwrite more. Pointers are into guest memory and stay valid; contents
 * may change under the reader's eyes. */
struct virtq_chain {
	uint16_t head;
	unsigned int nread, nwrite;
	uint64_t read_bytes, write_bytes; /* sums */
	struct iovec seg[VIRTQ_MAX_SEGS];
	uint64_t gpa[VIRTQ_MAX_SEGS];
};

/* Checks size and addresses (alignment §2.7, all of each ring in guest memory) that the driver, or a source, has set, and begins at avail_idx and used_idx; the first virtq_wants_interrupt after
 * it says yes to whatever was pushed. -EINVAL with the ring named. */
int virtq_start(struct virtq *q, struct err *err);
/* As before the start, and as a zeroed one: nothing comes out, what is returned goes nowhere. A driver need not set up all queues. */
void virtq_stop(struct virtq *q);
/* Takes the next available chain: 1, 0 when there is none, -EBADMSG with what the driver did wrong: the device then needs a reset (§2.1.2). A buffer of length zero is left out.
 * The sum of a chain's lengths is below 4 GiB. At most `size` chains are out at a time. */
int virtq_pop(struct virtq *q, struct virtq_chain *ret, struct err *err);
/* Puts back @head, the chain just popped and not started on (no room, rate limit): the next pop gives it again. Several: the last one first. */
void virtq_unpop(struct virtq *q, uint16_t head);
/* Chains that are available and not taken yet; beyond the size: the size. */
unsigned int virtq_pending(struct virtq *q);
/* Chains came since virtq_pop or virtq_pending last looked: what a look at memory tells, for who polls. */
bool virtq_came(const struct virtq *q);
/* Returns @head with @written bytes of its device-writable part filled (§2.7.8). */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);
/* The same in two steps, for chains that are used together (mergeable receive buffers §5.1.6.4): fills entry @ahead beyond used_idx; virtq_flush makes @n of them visible at once. */
void virtq_fill(struct virtq *q, uint16_t head, uint32_t written, unsigned int ahead);
void virtq_flush(struct virtq *q, unsigned int n);
/* True when the driver wants an interrupt for what was pushed since the last call that said so (§2.7.7). */
bool virtq_wants_interrupt(struct virtq *q);
/* Used entries that the driver may not have seen and would be interrupted for: after a restore the interrupt may have been lost. Changes nothing. */
bool virtq_unseen(const struct virtq *q);
/* Asks for a notification of the next available chain, or for none. On: true when chains came since virtq_pop or virtq_pending last looked, so that the caller looks again
 * (§2.7.10.1); what was left in the queue before that does not count. */
bool virtq_enable_notify(struct virtq *q, bool on);

/* Copies between a chain's segments and a buffer, from byte @offset of the readable or writable part: how many bytes there were. virtq_write marks the memory dirty. */
size_t virtq_read(const struct virtq_chain *c, uint64_t offset, void *dst, size_t len_bytes);
size_t virtq_write(struct virtq *q, const struct virtq_chain *c, uint64_t offset, const void *src,
		   size_t len_bytes);
/* For readv and writev: up to @len_bytes of the readable or, with @write, the writable part from @offset on. @ret has room for VIRTQ_MAX_SEGS; how many there are. */
unsigned int virtq_iov(const struct virtq_chain *c, bool write, uint64_t offset, uint64_t len_bytes,
		       struct iovec *ret);
/* For devices whose host wrote to the segments itself (readv, io_uring): marks the first @len_bytes of the writable part dirty. Before the push. */
void virtq_written(struct virtq *q, const struct virtq_chain *c, uint64_t len_bytes);

#endif
