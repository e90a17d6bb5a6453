/* SPDX-License-Identifier: Apache-2.0 */
/* One file or block device, past the page cache, a fixed number of requests under way. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "load.h"

#define ALIGN_BYTES 4096u
#define SEED 0x9e3779b97f4a7c15ULL

struct request {
	uint8_t *data;
	uint64_t begun_ns;
};

struct run {
	const struct disk_load *l;
	struct io_uring ring;
	int fd;
	uint64_t nblocks;
	uint64_t next; /* a block number, or the generator's state */
	struct request *requests;
};

static uint64_t next_block(struct run *r)
{
	if (r->l->sequential)
		return r->next++ % r->nblocks;
	r->next ^= r->next << 13;
	r->next ^= r->next >> 7;
	r->next ^= r->next << 17;
	return r->next % r->nblocks;
}

static void begin(struct run *r, struct request *q)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	uint64_t at = next_block(r) * r->l->size_bytes;

	if (!sqe)
		load_fail("io_uring", EBUSY);
	if (r->l->write)
		io_uring_prep_write(sqe, r->fd, q->data, r->l->size_bytes, at);
	else
		io_uring_prep_read(sqe, r->fd, q->data, r->l->size_bytes, at);
	io_uring_sqe_set_data(sqe, q);
	q->begun_ns = clock_mono_ns();
}

static void open_all(struct run *r)
{
	const struct disk_load *l = r->l;
	off_t bytes;
	int rc;

	r->fd = open(l->path, (l->write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (r->fd < 0)
		load_fail(l->path, errno);
	bytes = lseek(r->fd, 0, SEEK_END);
	r->nblocks = bytes > 0 ? (uint64_t)bytes / l->size_bytes : 0;
	if (!r->nblocks)
		load_fail(l->path, ENOSPC);
	r->next = l->sequential ? 0 : SEED;
	rc = io_uring_queue_init(l->depth, &r->ring, 0);
	if (rc)
		load_fail("io_uring", -rc);
	r->requests = calloc(l->depth, sizeof(*r->requests));
	for (unsigned int i = 0; r->requests && i < l->depth; i++) {
		r->requests[i].data = aligned_alloc(ALIGN_BYTES, MAX(l->size_bytes, ALIGN_BYTES));
		if (!r->requests[i].data)
			load_fail("buffers", ENOMEM);
		memset(r->requests[i].data, 0x5a, l->size_bytes);
	}
	if (!r->requests)
		load_fail("buffers", ENOMEM);
}

static void close_all(struct run *r)
{
	for (unsigned int i = 0; i < r->l->depth; i++)
		free(r->requests[i].data);
	free(r->requests);
	io_uring_queue_exit(&r->ring);
	close(r->fd);
}

/* Takes what has come; each is followed by another until @more is false. How many there were. */
static unsigned int take(struct run *r, bool more, struct load_result *ret)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;

	while (!io_uring_peek_cqe(&r->ring, &cqe)) {
		struct request *q = io_uring_cqe_get_data(cqe);

		if (cqe->res != (int)r->l->size_bytes)
			load_fail(r->l->path, cqe->res < 0 ? -cqe->res : EIO);
		io_uring_cqe_seen(&r->ring, cqe);
		ret->longest_ns = MAX(ret->longest_ns, clock_mono_ns() - q->begun_ns);
		n++;
		if (more)
			begin(r, q);
	}
	ret->requests += n;
	return n;
}

void disk_load(const struct disk_load *l, load_gate_fn gate, struct load_result *ret)
{
	struct run r = { .l = l };
	unsigned int under_way = l->depth;
	uint64_t start;

	open_all(&r);
	gate();
	start = clock_mono_ns();
	for (unsigned int i = 0; i < l->depth; i++)
		begin(&r, &r.requests[i]);
	while (under_way) {
		bool more = clock_mono_ns() - start < l->duration_ns;
		int rc = io_uring_submit_and_wait(&r.ring, 1);
		unsigned int n;

		if (rc < 0 && rc != -EINTR)
			load_fail("io_uring", -rc);
		n = take(&r, more, ret);
		under_way -= more ? 0 : n;
	}
	ret->elapsed_ns = clock_mono_ns() - start;
	ret->bytes = ret->requests * l->size_bytes;
	close_all(&r);
}
