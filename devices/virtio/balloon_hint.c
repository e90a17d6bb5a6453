/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free-page hints (virtio 1.2 §5.5.6.4): while a migration's first round runs, the driver names pages that hold nothing. What it names counts only behind the command id that it was last
 * shown, and so only for pages that were free after it was asked; what follows from that is in docs/adr/0005.
 */
#include "balloon.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/num.h"

static void show(struct balloon *b, uint32_t cmd_id)
{
	uint8_t bytes[4];

	le32_put(bytes, cmd_id);
	virtio_set_config(&b->v, BALLOON_CMD_ID, bytes, sizeof(bytes));
}

/* Ids below are STOP and DONE. One comes back after 2^32 migrations, when the driver has long sent its own STOP (§5.5.6.4.2). */
static uint32_t next_id(uint32_t id)
{
	return id < VIRTIO_BALLOON_CMD_ID_DONE || id == UINT32_MAX ?
		       VIRTIO_BALLOON_CMD_ID_DONE + 1 :
		       id + 1;
}

int virtio_balloon_hint_begin(struct virtio *v, struct err *err)
{
	struct balloon *b = balloon_of(v);
	int rc = 0;

	if (!(virtio_get_status(v) & VIRTIO_DRIVER_OK))
		return err_set(err, -ENOTSUP, "balloon %s: the guest has no driver running", v->id);
	if (!(virtio_get_driver_features(v) >> VIRTIO_BALLOON_F_FREE_PAGE_HINT & 1))
		return err_set(err, -ENOTSUP, "balloon %s: the guest's driver knows no hints",
			       v->id);
	pthread_mutex_lock(&b->lock);
	if (b->hint.named.words)
		rc = err_set(err, -EBUSY, "balloon %s: hints are being taken already", v->id);
	else if (bitmap_init(&b->hint.named, b->v.host.mem->npages))
		rc = err_set(err, -ENOMEM, "balloon %s: no memory for free-page hints", v->id);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

void virtio_balloon_hint_ask(struct virtio *v)
{
	struct balloon *b = balloon_of(v);
	uint32_t id;

	pthread_mutex_lock(&b->lock);
	id = b->hint.last_id = b->hint.shown = next_id(b->hint.last_id);
	b->hint.current = false;
	pthread_mutex_unlock(&b->lock);
	show(b, id);
}

uint64_t virtio_balloon_hint_take(struct virtio *v, uint64_t first, uint64_t n,
				  struct bitmap *pages)
{
	struct balloon *b = balloon_of(v);
	uint64_t taken = 0;

	pthread_mutex_lock(&b->lock);
	if (b->hint.named.words)
		taken = bitmap_subtract_range(pages, &b->hint.named, first, n);
	pthread_mutex_unlock(&b->lock);
	return taken;
}

/* STOP or DONE, where a command id went before it. */
static void close_hints(struct balloon *b, uint32_t last_word)
{
	bool tell;

	pthread_mutex_lock(&b->lock);
	tell = b->hint.last_id && b->hint.shown != last_word;
	if (tell)
		b->hint.shown = last_word;
	b->hint.current = false;
	if (last_word == VIRTIO_BALLOON_CMD_ID_DONE)
		bitmap_fini(&b->hint.named);
	pthread_mutex_unlock(&b->lock);
	if (tell)
		show(b, last_word);
}

void virtio_balloon_hint_stop(struct virtio *v)
{
	close_hints(balloon_of(v), VIRTIO_BALLOON_CMD_ID_STOP);
}

void virtio_balloon_hint_end(struct virtio *v)
{
	close_hints(balloon_of(v), VIRTIO_BALLOON_CMD_ID_DONE);
}

/* Whole pages of a segment. It lies in guest memory, as all segments do. Lock held. */
static uint64_t name_pages(struct balloon *b, const struct iovec *seg)
{
	const struct gmem *mem = b->v.host.mem;
	uint64_t offset = (uint64_t)((uint8_t *)seg->iov_base - mem->base);
	uint64_t end = align_down(offset + seg->iov_len, GMEM_PAGE_SIZE);
	uint64_t first;

	if (!align_up(offset, GMEM_PAGE_SIZE, &first) || first >= end)
		return 0;
	bitmap_set_range(&b->hint.named, first >> GMEM_PAGE_SHIFT,
			 (end - first) >> GMEM_PAGE_SHIFT);
	return (end - first) >> GMEM_PAGE_SHIFT;
}

int balloon_take_hint(struct balloon *b, const struct virtq_chain *c, struct err *err)
{
	uint64_t named = 0;
	uint8_t id[4];
	int rc = balloon_check_size(b, c->write_bytes, err);

	if (rc)
		return rc;
	if (c->nread && virtq_read(c, 0, id, sizeof(id)) != sizeof(id))
		return err_set(err, -EBADMSG, "a command id of %llu bytes",
			       (unsigned long long)c->read_bytes);
	pthread_mutex_lock(&b->lock);
	if (c->nread)
		b->hint.current =
			le32_get(id) == b->hint.last_id && b->hint.shown == b->hint.last_id;
	for (unsigned int i = 0; i < c->nwrite && b->hint.current && b->hint.named.words; i++)
		named += name_pages(b, &c->seg[c->nread + i]);
	pthread_mutex_unlock(&b->lock);
	atomic_fetch_add_explicit(&b->hinted_pages, named, memory_order_relaxed);
	return 0;
}
