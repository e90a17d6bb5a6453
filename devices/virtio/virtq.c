/* SPDX-License-Identifier: Apache-2.0 */
#include "virtq.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

/* A descriptor (§2.7.5), as it lies in guest memory. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
_Static_assert(sizeof(struct desc) == 16, "virtio 1.2 §2.7.5");
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

/* The rings (§2.7.6, §2.7.8): flags, index, entries, and behind them the index of the other side's event. */
enum { RING_FLAGS = 0, RING_IDX = 2, RING_ENTRIES = 4 };
enum { AVAIL_ENTRY = 2, USED_ENTRY = 8 };
#define RING_QUIET 1u /* in flags: no interrupt, no notification */

static uint64_t ring_bytes(const struct virtq *q, unsigned int entry_bytes)
{
	return RING_ENTRIES + (uint64_t)entry_bytes * q->size + 2;
}

/*
 * Ring memory is shared with a guest that runs: each access is one of the machine's, and the index that publishes entries is ordered with them (§2.7.13.3, §2.7.14).
 * gmem keeps pages aligned and virtq_start checks the rest.
 */
static uint16_t ring_get(const uint8_t *ring, uint32_t at)
{
	return le16toh(
		__atomic_load_n((const uint16_t *)(const void *)(ring + at), __ATOMIC_RELAXED));
}

static uint16_t ring_get_acquire(const uint8_t *ring, uint32_t at)
{
	return le16toh(
		__atomic_load_n((const uint16_t *)(const void *)(ring + at), __ATOMIC_ACQUIRE));
}

static void ring_put_release(uint8_t *ring, uint32_t at, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)(ring + at), htole16(v), __ATOMIC_RELEASE);
}

static uint16_t used_event(const struct virtq *q)
{
	return ring_get(q->avail, RING_ENTRIES + AVAIL_ENTRY * (uint32_t)q->size);
}

/* §2.7.7.2: whether @event lies among the entries that took the index from @before to @now. */
static bool passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

/* Where a ring is, or NULL. */
static void *find_ring(const struct virtq *q, const char *name, uint64_t gpa, uint64_t align,
		       uint64_t len_bytes, struct err *err)
{
	void *ring = gpa % align ? NULL : gmem_ptr(q->mem, gpa, len_bytes);

	if (gpa % align)
		err_set(err, -EINVAL, "%s at %#" PRIx64 ": not a multiple of %" PRIu64, name, gpa,
			align);
	else if (!ring)
		err_set(err, -EINVAL, "%s at %#" PRIx64 ": %" PRIu64 " bytes outside of RAM", name,
			gpa, len_bytes);
	return ring;
}

int virtq_start(struct virtq *q, struct err *err)
{
	const uint8_t *desc, *avail;
	uint8_t *used;

	if (q->size < 2 || q->size > VIRTQ_MAX_SIZE || (q->size & (q->size - 1)))
		return err_set(err, -EINVAL, "size %u", q->size);
	desc = find_ring(q, "descriptor table", q->desc_gpa, 16, 16ull * q->size, err);
	if (!desc)
		return -EINVAL;
	avail = find_ring(q, "available ring", q->avail_gpa, 2, ring_bytes(q, AVAIL_ENTRY), err);
	if (!avail)
		return -EINVAL;
	used = find_ring(q, "used ring", q->used_gpa, 4, ring_bytes(q, USED_ENTRY), err);
	if (!used)
		return -EINVAL;
	q->desc = desc;
	q->avail = avail;
	q->used = used;
	q->avail_seen = q->avail_idx;
	q->signalled = q->used_idx;
	q->signalled_valid = false;
	memset(q->taken, 0, sizeof(q->taken));
	return 0;
}

void virtq_stop(struct virtq *q)
{
	q->desc = q->avail = NULL;
	q->used = NULL;
}

/* Descriptors that one pop still looks at. */
struct walk {
	struct virtq *q;
	struct virtq_chain *c;
	const uint8_t *table;
	uint32_t ndescs; /* of the table */
	bool in_indirect;
};

static int add_segment(struct walk *w, const struct desc *d, struct err *err)
{
	struct virtq_chain *c = w->c;
	unsigned int n = c->nread + c->nwrite;
	bool write = d->flags & DESC_WRITE;
	void *p;

	if (!write && c->nwrite)
		return err_set(err, -EBADMSG, "chain %u: readable behind writable", c->head);
	if (!d->len)
		return 0;
	if (n == VIRTQ_MAX_SEGS)
		return err_set(err, -EBADMSG, "chain %u: more than %u buffers", c->head,
			       VIRTQ_MAX_SEGS);
	/* So that a length written fits the used ring, and no type meets a sum beyond 32 bits. */
	if (c->read_bytes + c->write_bytes + d->len > UINT32_MAX)
		return err_set(err, -EBADMSG, "chain %u: more than 4 GiB", c->head);
	p = gmem_ptr(w->q->mem, d->addr, d->len);
	if (!p)
		return err_set(err, -EBADMSG,
			       "chain %u: buffer at %#" PRIx64 ", %u bytes, outside of RAM",
			       c->head, d->addr, d->len);
	c->seg[n] = (struct iovec){ p, d->len };
	c->gpa[n] = d->addr;
	if (write) {
		c->nwrite++;
		c->write_bytes += d->len;
	} else {
		c->nread++;
		c->read_bytes += d->len;
	}
	return 0;
}

/* §2.7.5.3: the last descriptor of a chain, pointing to a table that the rest of the chain is in. */
static int enter_indirect(struct walk *w, const struct desc *d, struct err *err)
{
	unsigned int head = w->c->head;

	if (!w->q->indirect)
		return err_set(err, -EBADMSG, "chain %u: indirect was not negotiated", head);
	if (w->in_indirect)
		return err_set(err, -EBADMSG, "chain %u: indirect within indirect", head);
	if (d->flags & DESC_NEXT)
		return err_set(err, -EBADMSG, "chain %u: a descriptor behind an indirect table",
			       head);
	if (!d->len || d->len % sizeof(struct desc) ||
	    d->len / sizeof(struct desc) > VIRTQ_MAX_SIZE)
		return err_set(err, -EBADMSG, "chain %u: indirect table of %u bytes", head, d->len);
	w->table = gmem_ptr(w->q->mem, d->addr, d->len);
	if (!w->table)
		return err_set(err, -EBADMSG,
			       "chain %u: indirect table at %#" PRIx64 " outside of RAM", head,
			       d->addr);
	w->ndescs = d->len / (uint32_t)sizeof(struct desc);
	w->in_indirect = true;
	return 0;
}

static struct desc fetch(const uint8_t *table, uint32_t index)
{
	struct desc d;

	memcpy(&d, table + (size_t)index * sizeof(d), sizeof(d));
	/* The compiler must not go back to guest memory for what was checked. */
	__asm__ volatile("" : "+m"(d));
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.flags = le16toh(d.flags);
	d.next = le16toh(d.next);
	return d;
}

static int walk_chain(struct walk *w, struct err *err)
{
	uint32_t index = w->c->head;
	uint32_t steps = 0; /* in this table */

	for (;;) {
		struct desc d;
		int rc;

		if (index >= w->ndescs)
			return err_set(err, -EBADMSG, "chain %u: descriptor %u of %u", w->c->head,
				       index, w->ndescs);
		/* Whoever takes more steps than there are descriptors has been somewhere twice. */
		if (steps++ == w->ndescs)
			return err_set(err, -EBADMSG, "chain %u: a loop", w->c->head);
		d = fetch(w->table, index);
		if (d.flags & DESC_INDIRECT) {
			rc = enter_indirect(w, &d, err);
			index = steps = 0;
		} else {
			rc = add_segment(w, &d, err);
			index = d.next;
		}
		if (rc)
			return rc;
		if (!(d.flags & (DESC_NEXT | DESC_INDIRECT)))
			return 0;
	}
}

static bool is_taken(const struct virtq *q, uint16_t head)
{
	return q->taken[head / 64] >> head % 64 & 1;
}

static void flip_taken(struct virtq *q, uint16_t head)
{
	q->taken[head / 64] ^= 1ull << head % 64;
}

/* Entries between ours and the driver's index, which is read again when they seem to be none. */
static int available(struct virtq *q, struct err *err)
{
	uint16_t n = (uint16_t)(q->avail_seen - q->avail_idx);

	if (!q->avail)
		return 0;
	if (!n) {
		q->avail_seen = ring_get_acquire(q->avail, RING_IDX);
		n = (uint16_t)(q->avail_seen - q->avail_idx);
	}
	if (n > q->size)
		return err_set(err, -EBADMSG, "available index %u, %u ahead of the device",
			       q->avail_seen, n);
	return n;
}

int virtq_pop(struct virtq *q, struct virtq_chain *ret, struct err *err)
{
	struct walk w = { .q = q, .c = ret, .table = q->desc, .ndescs = q->size };
	int rc = available(q, err);
	uint16_t head;

	if (rc <= 0)
		return rc;
	if ((uint16_t)(q->avail_idx - q->used_idx) >= q->size)
		return err_set(err, -EBADMSG, "more than %u chains at a time", q->size);
	head = ring_get(q->avail, RING_ENTRIES + AVAIL_ENTRY * (q->avail_idx & (q->size - 1u)));
	if (head >= q->size)
		return err_set(err, -EBADMSG, "available entry %u: descriptor %u of %u",
			       q->avail_idx, head, q->size);
	if (is_taken(q, head))
		return err_set(err, -EBADMSG, "chain %u: offered twice", head);
	ret->head = head;
	ret->nread = ret->nwrite = 0;
	ret->read_bytes = ret->write_bytes = 0;
	rc = walk_chain(&w, err);
	if (rc)
		return rc;
	flip_taken(q, head);
	q->avail_idx++;
	return 1;
}

void virtq_unpop(struct virtq *q, uint16_t head)
{
	flip_taken(q, head);
	q->avail_idx--;
}

unsigned int virtq_pending(struct virtq *q)
{
	uint16_t n;

	if (!q->avail)
		return 0;
	q->avail_seen = ring_get_acquire(q->avail, RING_IDX);
	n = (uint16_t)(q->avail_seen - q->avail_idx);
	return MIN(n, q->size);
}

bool virtq_came(const struct virtq *q)
{
	return q->avail && ring_get_acquire(q->avail, RING_IDX) != q->avail_seen;
}

void virtq_fill(struct virtq *q, uint16_t head, uint32_t written, unsigned int ahead)
{
	uint32_t at = RING_ENTRIES + USED_ENTRY * ((q->used_idx + ahead) & (q->size - 1u));

	if (!q->used)
		return;
	le32_put(q->used + at, head);
	le32_put(q->used + at + 4, written);
	gmem_mark_dirty(q->mem, q->used_gpa + at, USED_ENTRY);
	/* A head that came over in a migration was not taken here. */
	if (head < q->size && is_taken(q, head))
		flip_taken(q, head);
}

void virtq_flush(struct virtq *q, unsigned int n)
{
	if (!q->used)
		return;
	q->used_idx = (uint16_t)(q->used_idx + n);
	ring_put_release(q->used, RING_IDX, q->used_idx);
	gmem_mark_dirty(q->mem, q->used_gpa + RING_IDX, 2);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	virtq_fill(q, head, written, 0);
	virtq_flush(q, 1);
}

bool virtq_wants_interrupt(struct virtq *q)
{
	uint16_t before = q->signalled;
	bool known = q->signalled_valid;

	if (before == q->used_idx)
		return false;
	q->signalled = q->used_idx;
	q->signalled_valid = true;
	/* The index is visible before the driver's wish is read; the driver does both the other way round (§2.7.7.1), so that one of the two sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(ring_get(q->avail, RING_FLAGS) & RING_QUIET);
	return !known || passed(used_event(q), q->used_idx, before);
}

bool virtq_unseen(const struct virtq *q)
{
	if (!q->event_idx)
		return !(ring_get(q->avail, RING_FLAGS) & RING_QUIET);
	/* A driver that waits has its event at the first entry it has not seen. */
	return used_event(q) != q->used_idx;
}

bool virtq_enable_notify(struct virtq *q, bool on)
{
	uint16_t before = q->avail_seen;
	uint32_t at = RING_FLAGS;

	if (q->event_idx) {
		/* An event that is left where it is, is not passed again for a while. */
		if (!on)
			return false;
		q->avail_seen = ring_get_acquire(q->avail, RING_IDX);
		at = RING_ENTRIES + USED_ENTRY * (uint32_t)q->size;
		ring_put_release(q->used, at, q->avail_seen);
	} else {
		ring_put_release(q->used, at, (uint16_t)(on ? 0 : RING_QUIET));
	}
	gmem_mark_dirty(q->mem, q->used_gpa + at, 2);
	if (!on)
		return false;
	/* Pairs with the driver's fence between its index and its look at our wish (§2.7.13.4.1): a chain that it published without a notification is seen here. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	q->avail_seen = ring_get_acquire(q->avail, RING_IDX);
	return q->avail_seen != before;
}
