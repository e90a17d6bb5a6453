/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block device (virtio 1.2 §5.2) over a raw image. Requests go from the queues to the disk's io_uring in batches and come back in any order; guest memory is read and written by the
 * kernel, in place. One pool of requests serves all queues.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "blk_face.h"
#include "blk_request.h"
#include "core.h"
#include "devices/backend/disk.h"
#include "devices/backend/rate.h"

#define QUEUE_SIZE 256u
#define DEFAULT_MAX_QUEUES 8u
#define PCI_CLASS_STORAGE 0x018000u /* mass storage, other */

struct blk_request {
	struct disk_io io;
	struct virtq_chain chain;
	struct blk_plan plan;
	unsigned int queue;
	unsigned int generation;
	struct blk_request *next; /* in the pool */
};

struct blk_counts {
	uint64_t requests, bytes_read, bytes_written, flushes, errors, throttled;
};

struct blk {
	struct virtio v;
	struct disk *disk;
	bool watched; /* the disk's descriptor is in the worker's loop */
	struct blk_rules rules;
	bool durable; /* no FLUSH: what is answered is on the medium (§5.2.6.2) */
	struct rate rate;
	struct blk_request *requests; /* DISK_MAX_IO; beyond @ntouched they cost no memory yet */
	unsigned int ntouched;
	struct blk_request *pool; /* those that are free, the last used first */
	unsigned int nactive;
	unsigned int generation; /* what was begun before a reset is not returned after it */
	uint32_t starved; /* queues that found the pool empty */
	uint32_t returned; /* queues that have used buffers and were not signalled */
	char serial[BLK_ID_BYTES + 1];
	struct blk_counts counts;
};
_Static_assert(VIRTIO_MAX_QUEUES <= 32, "sets of queues are 32 bits");

static void put_request(struct blk *b, struct blk_request *r)
{
	r->next = b->pool;
	b->pool = r;
}

/* The request that is used next, which stays in the pool, or NULL when all are under way. */
static struct blk_request *next_request(struct blk *b)
{
	if (!b->pool && b->ntouched < DISK_MAX_IO)
		put_request(b, &b->requests[b->ntouched++]);
	return b->pool;
}

/* Back to the driver; @written: filled from the start of the room in front of the status. The used length counts to the first byte that was not written (§2.7.8). */
static void answer(struct blk *b, struct blk_request *r, uint8_t status, uint64_t written)
{
	bool whole = written == r->plan.room_bytes;

	/* The chain lies in guest memory: this cannot fail. */
	gmem_write(b->v.host.mem, r->plan.status_gpa, &status, 1);
	virtq_push(&b->v.queue[r->queue].vq, r->chain.head, (uint32_t)(written + whole));
	b->returned |= 1u << r->queue;
	b->counts.errors += status == VIRTIO_BLK_S_IOERR;
}

static void count_done(struct blk_counts *c, const struct disk_io *io)
{
	if (io->op == DISK_READ)
		c->bytes_read += io->len_bytes;
	else if (io->op == DISK_WRITE)
		c->bytes_written += io->len_bytes;
	else if (io->op == DISK_FLUSH)
		c->flushes++;
}

static void request_done(void *opaque, struct disk_io *io, int error)
{
	struct blk *b = opaque;
	struct blk_request *r = (void *)((char *)io - offsetof(struct blk_request, io));
	bool read = io->op == DISK_READ;

	/* On an error some of it may have been written, and so it may after a reset. */
	if (read)
		virtq_written(&b->v.queue[r->queue].vq, &r->chain, io->len_bytes);
	if (!error)
		count_done(&b->counts, io);
	if (r->generation == b->generation)
		answer(b, r, error ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK,
		       read && !error ? io->len_bytes : 0);
	b->nactive--;
	put_request(b, r);
}

/* After a batch: one interrupt a queue, and those that waited for a request of the pool have one now. */
static void end_batch(struct blk *b)
{
	uint32_t returned = b->returned;
	uint32_t starved = b->pool ? b->starved : 0;

	b->returned = 0;
	b->starved &= ~starved;
	for (; returned; returned &= returned - 1)
		virtio_signal(&b->v, (unsigned int)__builtin_ctz(returned));
	for (; starved; starved &= starved - 1)
		virtio_again(&b->v, (unsigned int)__builtin_ctz(starved));
}

static void start_io(struct blk *b, struct blk_request *r)
{
	r->io = (struct disk_io){
		.op = r->plan.op,
		.offset = r->plan.offset,
		.len_bytes = r->plan.len_bytes,
		.durable = b->durable,
		.may_unmap = r->plan.may_unmap,
	};
	if (r->io.op == DISK_READ || r->io.op == DISK_WRITE)
		r->io.iov = blk_data(&r->chain, &r->plan, &r->io.niov);
	b->nactive++;
	if (disk_begin(b->disk, &r->io))
		request_done(b, &r->io, -EIO);
}

static void start_request(struct blk *b, struct blk_request *r)
{
	size_t n;

	r->generation = b->generation;
	b->counts.requests++;
	switch (r->plan.what) {
	case BLK_IO:
		start_io(b, r);
		return;
	case BLK_GET_ID:
		n = MIN(r->plan.room_bytes, BLK_ID_BYTES);
		virtq_write(&b->v.queue[r->queue].vq, &r->chain, 0, b->serial, n);
		answer(b, r, VIRTIO_BLK_S_OK, n);
		break;
	case BLK_ANSWER:
		answer(b, r, r->plan.status, 0);
		break;
	}
	put_request(b, r);
}

/* False: not now; the queue is asked again when there is something left of the limit. */
static bool within_limit(struct blk *b, const struct blk_request *r)
{
	uint64_t wait_ns;

	if (!rate_limits(&b->rate) ||
	    rate_take(&b->rate, r->plan.len_bytes, clock_mono_ns(), &wait_ns))
		return true;
	b->counts.throttled++;
	virtio_again_in(&b->v, r->queue, wait_ns);
	return false;
}

/* Takes one request: false when there is none that can be taken. */
static bool serve_one(struct blk *b, unsigned int queue)
{
	struct virtio_queue *q = &b->v.queue[queue];
	struct blk_request *r = next_request(b);
	struct err err = { 0 };
	int rc;

	if (!r) {
		b->starved |= 1u << queue;
		q->quiet = true;
		return false;
	}
	rc = virtq_pop(&q->vq, &r->chain, &err);
	if (rc == 0)
		return false;
	if (rc > 0)
		rc = blk_plan(&b->rules, &r->chain, &r->plan, &err);
	if (rc < 0) {
		virtio_broken(&b->v, &err);
		return false;
	}
	r->queue = queue;
	if (!within_limit(b, r)) {
		virtq_unpop(&q->vq, r->chain.head);
		q->quiet = true;
		return false;
	}
	b->pool = r->next;
	start_request(b, r);
	return true;
}

static void blk_serve(void *self, unsigned int queue)
{
	struct blk *b = self;
	struct virtio_queue *q = &b->v.queue[queue];

	q->quiet = false;
	for (unsigned int n = q->vq.size; n && serve_one(b, queue); n--)
		;
	disk_run(b->disk);
	end_batch(b);
}

static void completions_ready(void *opaque, int fd, uint32_t events)
{
	struct blk *b = opaque;

	disk_run(b->disk);
	end_batch(b);
}

static void blk_activate(void *self)
{
	struct blk *b = self;

	b->rules.discard = virtio_has(&b->v, VIRTIO_BLK_F_DISCARD);
	b->rules.write_zeroes = virtio_has(&b->v, VIRTIO_BLK_F_WRITE_ZEROES);
	b->durable = !virtio_has(&b->v, VIRTIO_BLK_F_FLUSH);
}

static unsigned int blk_in_flight(void *self)
{
	return ((struct blk *)self)->nactive;
}

static void blk_wait(void *self, uint64_t deadline_ns)
{
	struct blk *b = self;

	disk_wait(b->disk, deadline_ns);
	end_batch(b);
}

static void blk_reset(void *self)
{
	struct blk *b = self;

	b->generation++;
	b->starved = 0;
	b->returned = 0;
}

static int blk_release(void *self, struct err *err)
{
	return disk_release(((struct blk *)self)->disk, err);
}

static int blk_take(void *self, struct err *err)
{
	return disk_take(((struct blk *)self)->disk, err);
}

static void blk_counters(void *self, void (*fn)(void *opaque, const char *name, uint64_t value),
			 void *opaque)
{
	const struct blk_counts *c = &((struct blk *)self)->counts;

	fn(opaque, "requests", c->requests);
	fn(opaque, "bytes_read", c->bytes_read);
	fn(opaque, "bytes_written", c->bytes_written);
	fn(opaque, "flushes", c->flushes);
	fn(opaque, "errors", c->errors);
	fn(opaque, "throttled", c->throttled);
}

static void blk_stop(void *self)
{
	struct blk *b = self;

	if (b->watched)
		loop_del(worker_loop(b->v.worker), disk_fd(b->disk));
	disk_stop(b->disk);
}

static void blk_destroy(void *self)
{
	struct blk *b = self;

	disk_destroy(b->disk);
	free(b->requests);
	free(b);
}

/* state.md, section "blk". */
struct blk_image {
	uint8_t serial[BLK_ID_BYTES];
};

static const struct state_field blk_fields[] = {
	STATE_FIELD_U8(struct blk_image, serial),
};

static int blk_capture(void *dev, void *image, struct err *err)
{
	memcpy(((struct blk_image *)image)->serial, ((struct blk *)dev)->serial, BLK_ID_BYTES);
	return 0;
}

static bool is_serial_char(unsigned char c)
{
	return c >= ' ' && c <= '~';
}

static int blk_check(const void *image, struct err *err)
{
	const struct blk_image *img = image;
	unsigned int n = 0;

	while (n < BLK_ID_BYTES && is_serial_char(img->serial[n]))
		n++;
	for (; n < BLK_ID_BYTES; n++) {
		if (img->serial[n])
			return err_set(err, -EBADMSG, "serial: byte %u is %#x", n, img->serial[n]);
	}
	return 0;
}

static int blk_apply(void *dev, const void *image, struct err *err)
{
	memcpy(((struct blk *)dev)->serial, ((const struct blk_image *)image)->serial,
	       BLK_ID_BYTES);
	return 0;
}

static const struct state_desc blk_state =
	STATE_DESC_("blk", struct blk_image, blk_fields, blk, blk_check);

static const struct virtio_type blk_type = {
	.kind = "blk",
	.device_id = VIRTIO_ID_BLOCK,
	.pci_class = PCI_CLASS_STORAGE,
	.activate = blk_activate,
	.serve = blk_serve,
	.polls = true,
	.in_flight = blk_in_flight,
	.wait = blk_wait,
	.reset = blk_reset,
	.release = blk_release,
	.take = blk_take,
	.counters = blk_counters,
	.stop = blk_stop,
	.destroy = blk_destroy,
	.state = &blk_state,
};

static int check_config(const struct blk_config *config, const char *serial, struct err *err)
{
	for (; *serial; serial++) {
		if (!is_serial_char((unsigned char)*serial))
			return err_set(err, -EINVAL,
				       "--disk %s: serial: only printable ASCII characters",
				       config->path);
	}
	if (config->nqueues > VIRTIO_MAX_QUEUES)
		return err_set(err, -EINVAL, "--disk %s: queues: %u, at most %u are possible",
			       config->path, config->nqueues, VIRTIO_MAX_QUEUES);
	return 0;
}

struct start_call {
	struct blk *b;
	const char *path;
	struct err *err;
	int rc;
};

static void start_on_worker(void *opaque)
{
	struct start_call *call = opaque;
	struct blk *b = call->b;

	call->rc = disk_start(b->disk, request_done, b, call->err);
	if (call->rc)
		return;
	call->rc = loop_add(worker_loop(b->v.worker), disk_fd(b->disk), EPOLLIN | EPOLLET,
			    completions_ready, b);
	if (call->rc)
		err_sys(call->err, call->rc, "--disk %s: event loop", call->path);
	b->watched = call->rc == 0;
}

/* From the disk to the device in front of it; on failure @b is still the caller's. */
static int init_device(struct blk *b, const struct virtio_common *common,
		       const struct blk_config *config, unsigned int nqueues, struct err *err)
{
	const struct disk_geometry *g = disk_geometry(b->disk);
	struct virtio_blk_config wire;
	struct virtio_init init = {
		.type = &blk_type,
		.self = b,
		.features = blk_features(config->readonly, nqueues),
		.nqueues = nqueues,
		.queue_size = common->face ? (uint16_t)common->face->queue_size : QUEUE_SIZE,
		.config = &wire,
		.config_bytes = BLK_CONFIG_BYTES,
	};
	int rc = 0;

	blk_make_config(g, nqueues, &wire);
	if (common->face)
		rc = blk_adopt_face(config, common->face, g, &wire, err);
	if (rc)
		return rc;
	rc = virtio_init(&b->v, common, &init, err);
	if (rc)
		err_prefix(err, "--disk %s", config->path);
	return rc;
}

static unsigned int choose_nqueues(const struct virtio_common *common,
				   const struct blk_config *config, unsigned int ncpus)
{
	if (common->face)
		return common->face->nqueues;
	if (config->nqueues)
		return config->nqueues;
	return MAX(1u, MIN(ncpus, DEFAULT_MAX_QUEUES));
}

int virtio_blk_create(const struct virtio_common *common, const struct blk_config *config,
		      unsigned int ncpus, struct virtio **ret, struct err *err)
{
	const struct disk_config disk_config = { config->path, config->readonly, config->direct,
						 config->shared };
	const char *serial = config->serial[0] ? config->serial : common->id;
	struct start_call call = { .path = config->path, .err = err };
	struct blk *b;
	int rc = check_config(config, serial, err);

	if (rc)
		return rc;
	b = calloc(1, sizeof(*b));
	if (b)
		b->requests = calloc(DISK_MAX_IO, sizeof(*b->requests));
	if (!b || !b->requests) {
		free(b);
		return err_set(err, -ENOMEM, "--disk %s: out of memory", config->path);
	}
	snprintf(b->serial, sizeof(b->serial), "%s", serial);
	rate_init(&b->rate, &config->limit, clock_mono_ns());
	rc = disk_create(&disk_config, !common->face, &b->disk, err);
	if (!rc)
		rc = init_device(b, common, config, choose_nqueues(common, config, ncpus), err);
	if (rc) {
		blk_destroy(b);
		return rc;
	}
	b->rules.sectors = disk_geometry(b->disk)->bytes / DISK_SECTOR_BYTES;
	b->rules.readonly = config->readonly;
	call.b = b;
	worker_call(b->v.worker, start_on_worker, &call);
	if (call.rc) {
		virtio_destroy(&b->v);
		return call.rc;
	}
	*ret = &b->v;
	return 0;
}
