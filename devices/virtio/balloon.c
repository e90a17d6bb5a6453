/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory balloon (virtio 1.2 §5.5): the guest gives pages up because it was asked to (inflate), or for as long as it has no use for them (free-page reporting), and the host gets their memory.
 * A page that is given up reads as zero when it is used again; a driver waits until its request is returned before it does that.
 *
 * Not offered: MUST_TELL_HOST, since a page comes back by being touched; PAGE_POISON, since what a page held is not restored: a driver that counts on the contents of free pages
 * does not report them then (§5.5.6.5).
 */
#include "balloon.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/num.h"

#define QUEUE_SIZE 256u
#define PCI_CLASS_OTHER 0x00ff00u
#define PFN_BYTES 4u
/* Drivers send 256 page numbers in a request, or a page full of them. */
#define MAX_REQUEST_BYTES 65536u
#define BATCH 256u
/* Then it is somebody else's turn: taking memory away costs the kernel time. */
#define TURN_BYTES (1ULL << 30)

#define FEATURES                                                                       \
	(1ULL << VIRTIO_BALLOON_F_STATS_VQ | 1ULL << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | \
	 1ULL << VIRTIO_BALLOON_F_FREE_PAGE_HINT | 1ULL << VIRTIO_BALLOON_F_REPORTING)

static void count(atomic_uint_least64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t ram_bytes(const struct balloon *b)
{
	return b->v.host.mem->npages << GMEM_PAGE_SHIFT;
}

int balloon_check_size(const struct balloon *b, uint64_t bytes, struct err *err)
{
	if (bytes <= ram_bytes(b))
		return 0;
	return err_set(err, -EBADMSG, "%llu bytes of free pages in a guest of %llu",
		       (unsigned long long)bytes, (unsigned long long)ram_bytes(b));
}

/* The guest has given the range up, whether the host can use it or not. */
static uint64_t discard(struct balloon *b, uint64_t gpa, uint64_t len_bytes)
{
	uint64_t bytes = 0;

	b->work_bytes += len_bytes;
	if (gmem_discard(b->v.host.mem, gpa, len_bytes, &bytes))
		count(&b->discards_failed, 1);
	count(&b->discarded_bytes, bytes);
	return bytes;
}

/* Page numbers that follow one another, upwards or downwards. */
struct run {
	uint64_t gpa, len_bytes;
};

static int add_page(struct balloon *b, struct run *run, uint32_t pfn, struct err *err)
{
	const struct gmem *mem = b->v.host.mem;
	uint64_t gpa = (uint64_t)pfn << VIRTIO_BALLOON_PFN_SHIFT;
	uint64_t first = MIN(run->gpa, gpa);

	if (!gmem_ptr(mem, gpa, GMEM_PAGE_SIZE))
		return err_set(err, -EBADMSG, "page number %#x is no memory", pfn);
	if (run->len_bytes &&
	    (gpa == run->gpa + run->len_bytes || gpa + GMEM_PAGE_SIZE == run->gpa) &&
	    gmem_ptr(mem, first, run->len_bytes + GMEM_PAGE_SIZE)) {
		run->gpa = first;
		run->len_bytes += GMEM_PAGE_SIZE;
		return 0;
	}
	if (run->len_bytes)
		discard(b, run->gpa, run->len_bytes);
	*run = (struct run){ .gpa = gpa, .len_bytes = GMEM_PAGE_SIZE };
	return 0;
}

static int check_pfns(const struct virtq_chain *c, struct err *err)
{
	if (c->read_bytes % PFN_BYTES == 0 && c->read_bytes <= MAX_REQUEST_BYTES)
		return 0;
	return err_set(err, -EBADMSG, "%llu bytes of page numbers",
		       (unsigned long long)c->read_bytes);
}

static int inflate(struct balloon *b, const struct virtq_chain *c, struct err *err)
{
	uint8_t pfns[BATCH * PFN_BYTES];
	struct run run = { 0 };
	int rc = check_pfns(c, err);
	size_t n;

	for (uint64_t at = 0; !rc && (n = virtq_read(c, at, pfns, sizeof(pfns))) > 0; at += n) {
		for (size_t i = 0; !rc && i < n; i += PFN_BYTES)
			rc = add_page(b, &run, le32_get(pfns + i), err);
	}
	if (rc)
		return rc;
	if (run.len_bytes)
		discard(b, run.gpa, run.len_bytes);
	count(&b->inflated_pages, c->read_bytes / PFN_BYTES);
	return 0;
}

/* The memory comes back when the guest touches it. */
static int deflate(struct balloon *b, const struct virtq_chain *c, struct err *err)
{
	int rc = check_pfns(c, err);

	if (!rc)
		count(&b->deflated_pages, c->read_bytes / PFN_BYTES);
	return rc;
}

static int report(struct balloon *b, const struct virtq_chain *c, struct err *err)
{
	int rc = balloon_check_size(b, c->write_bytes, err);

	for (unsigned int i = c->nread; !rc && i < c->nread + c->nwrite; i++)
		count(&b->reported_bytes, discard(b, c->gpa[i], c->seg[i].iov_len));
	return rc;
}

static int serve_requests(struct balloon *b, unsigned int queue, struct err *err)
{
	static int (*const take[])(struct balloon *, const struct virtq_chain *, struct err *) = {
		[BALLOON_INFLATE] = inflate,
		[BALLOON_DEFLATE] = deflate,
		[BALLOON_HINT] = balloon_take_hint,
		[BALLOON_REPORT] = report,
	};
	struct virtq *q = &b->v.queue[queue].vq;
	int rc = 0;

	b->work_bytes = 0;
	for (unsigned int i = 0; i < q->size; i++) {
		if (b->work_bytes > TURN_BYTES)
			break;
		rc = virtq_pop(q, &b->chain, err);
		if (rc <= 0)
			break;
		rc = take[queue](b, &b->chain, err);
		if (rc)
			break;
		virtq_push(q, b->chain.head, 0);
	}
	virtio_signal(&b->v, queue);
	if (!rc && virtq_pending(q))
		virtio_again(&b->v, queue);
	return rc;
}

static void serve(void *self, unsigned int queue)
{
	struct balloon *b = self;
	struct err err = { 0 };
	int rc = queue == BALLOON_STATS ? balloon_serve_stats(b, &err) :
					  serve_requests(b, queue, &err);

	if (rc < 0)
		virtio_broken(&b->v, &err);
}

/* The pages are the guest's again, all of them. A migration that takes hints goes on without further ones. */
static void reset(void *self)
{
	struct balloon *b = self;

	b->poll.waiting = false;
	pthread_mutex_lock(&b->lock);
	b->stats = (struct balloon_stats){ 0 };
	b->hint.shown = VIRTIO_BALLOON_CMD_ID_STOP;
	b->hint.current = false;
	if (b->hint.named.words)
		bitmap_zero(&b->hint.named);
	pthread_mutex_unlock(&b->lock);
	pthread_mutex_lock(&b->v.lock);
	le32_put(b->v.config + BALLOON_ACTUAL, 0);
	le32_put(b->v.config + BALLOON_CMD_ID, VIRTIO_BALLOON_CMD_ID_STOP);
	pthread_mutex_unlock(&b->v.lock);
}

/* `actual` is the driver's to write (§5.5.4). */
static void config_write(void *self, unsigned int offset, const void *data, unsigned int len_bytes)
{
	struct balloon *b = self;

	for (unsigned int i = 0; i < len_bytes; i++)
		if (offset + i - BALLOON_ACTUAL < BALLOON_CMD_ID - BALLOON_ACTUAL)
			b->v.config[offset + i] = ((const uint8_t *)data)[i];
}

static void arrived(void *self)
{
	virtio_balloon_hint_end(&((struct balloon *)self)->v);
}

static void counters(void *self, void (*fn)(void *opaque, const char *name, uint64_t value),
		     void *opaque)
{
	struct balloon *b = self;

	fn(opaque, "inflated_pages", atomic_load(&b->inflated_pages));
	fn(opaque, "deflated_pages", atomic_load(&b->deflated_pages));
	fn(opaque, "reported_bytes", atomic_load(&b->reported_bytes));
	fn(opaque, "discarded_bytes", atomic_load(&b->discarded_bytes));
	fn(opaque, "discards_failed", atomic_load(&b->discards_failed));
	fn(opaque, "hinted_pages", atomic_load(&b->hinted_pages));
}

static void destroy(void *self)
{
	struct balloon *b = self;

	bitmap_fini(&b->hint.named);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* state.md, section "balloon". */
struct balloon_image {
	uint32_t target, actual;
	uint32_t hint_id, hint_shown;
};

static const struct state_field balloon_fields[] = {
	STATE_FIELD_(struct balloon_image, target, STATE_U32, 1),
	STATE_FIELD_(struct balloon_image, actual, STATE_U32, 1),
	STATE_FIELD_(struct balloon_image, hint_id, STATE_U32, 1),
	STATE_FIELD_(struct balloon_image, hint_shown, STATE_U32, 1),
};

static int balloon_capture(void *dev, void *image, struct err *err)
{
	struct balloon *b = dev;
	struct balloon_image *img = image;

	pthread_mutex_lock(&b->v.lock);
	img->target = le32_get(b->v.config + BALLOON_TARGET);
	img->actual = le32_get(b->v.config + BALLOON_ACTUAL);
	pthread_mutex_unlock(&b->v.lock);
	pthread_mutex_lock(&b->lock);
	img->hint_id = b->hint.last_id;
	img->hint_shown = b->hint.shown;
	pthread_mutex_unlock(&b->lock);
	return 0;
}

static int balloon_check(const void *image, struct err *err)
{
	const struct balloon_image *img = image;

	if (img->hint_id == VIRTIO_BALLOON_CMD_ID_DONE)
		return err_set(err, -EBADMSG, "hint_id %u", img->hint_id);
	if (img->hint_shown != VIRTIO_BALLOON_CMD_ID_STOP && img->hint_shown != img->hint_id &&
	    (img->hint_shown != VIRTIO_BALLOON_CMD_ID_DONE || !img->hint_id))
		return err_set(err, -EBADMSG, "hint_shown %u", img->hint_shown);
	return 0;
}

static int balloon_apply(void *dev, const void *image, struct err *err)
{
	struct balloon *b = dev;
	const struct balloon_image *img = image;

	if (img->target > b->v.host.mem->npages)
		return err_set(err, -EBADMSG, "target %u", img->target);
	pthread_mutex_lock(&b->v.lock);
	le32_put(b->v.config + BALLOON_TARGET, img->target);
	le32_put(b->v.config + BALLOON_ACTUAL, img->actual);
	le32_put(b->v.config + BALLOON_CMD_ID, img->hint_shown);
	pthread_mutex_unlock(&b->v.lock);
	pthread_mutex_lock(&b->lock);
	b->hint.last_id = img->hint_id;
	b->hint.shown = img->hint_shown;
	pthread_mutex_unlock(&b->lock);
	return 0;
}

static const struct state_desc balloon_state =
	STATE_DESC_("balloon", struct balloon_image, balloon_fields, balloon, balloon_check);

static const struct virtio_type type = {
	.kind = "balloon",
	.device_id = VIRTIO_ID_BALLOON,
	.pci_class = PCI_CLASS_OTHER,
	.serve = serve,
	.reset = reset,
	.config_write = config_write,
	.arrived = arrived,
	.counters = counters,
	.destroy = destroy,
	.state = &balloon_state,
};

int virtio_balloon_create(const struct virtio_common *common, struct virtio **ret, struct err *err)
{
	/* What it shows is state: section "balloon" has it. */
	static const uint8_t config[BALLOON_CONFIG_BYTES];
	struct balloon *b = calloc(1, sizeof(*b));
	int rc = 0;

	if (common->face && common->face->config_bytes != sizeof(config))
		rc = err_set(
			err, -EOPNOTSUPP,
			"--balloon: the source's device has a configuration of %u bytes, this one %zu",
			common->face->config_bytes, sizeof(config));
	else if (!b)
		rc = err_set(err, -ENOMEM, "--balloon: out of memory");
	if (rc) {
		free(b);
		return rc;
	}
	pthread_mutex_init(&b->lock, NULL);
	atomic_init(&b->poll.interval_s, VIRTIO_BALLOON_STATS_DEFAULT_S);
	rc = virtio_init(&b->v, common,
			 &(struct virtio_init){ .type = &type,
						.self = b,
						.features = FEATURES,
						.nqueues = BALLOON_QUEUES,
						.queue_size = QUEUE_SIZE,
						.config = config,
						.config_bytes = sizeof(config) },
			 err);
	if (rc) {
		err_prefix(err, "--balloon");
		destroy(b);
		return rc;
	}
	*ret = &b->v;
	return 0;
}

int virtio_balloon_set_target(struct virtio *v, uint64_t pages, struct err *err)
{
	uint8_t bytes[4];

	if (pages > v->host.mem->npages || pages > UINT32_MAX)
		return err_set(err, -EINVAL, "balloon %s: %llu pages, the guest has %llu", v->id,
			       (unsigned long long)pages, (unsigned long long)v->host.mem->npages);
	le32_put(bytes, (uint32_t)pages);
	virtio_set_config(v, BALLOON_TARGET, bytes, sizeof(bytes));
	return 0;
}
