/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_driver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/num.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { FLAGS_QUIET = 1 };

/* ---- the machine ---- */

static int line_open(void *opaque, unsigned int gsi, int eventfd, struct err *err)
{
	struct driver *d = opaque;

	if (d->line_fd >= 0)
		return err_set(err, -EBUSY, "a second line");
	d->line_fd = eventfd;
	d->line_gsi = gsi;
	return 0;
}

static int msi_open(void *opaque, int eventfd, unsigned int *ret_vector, struct err *err)
{
	struct driver *d = opaque;

	for (unsigned int i = 0; i < DRIVER_MAX_MSI; i++) {
		if (d->msi[i].open)
			continue;
		d->msi[i] = (struct driver_msi){ .open = true, .eventfd = eventfd };
		*ret_vector = i;
		return 0;
	}
	return err_set(err, -ENOSPC, "no vector");
}

static int msi_set(void *opaque, unsigned int vector, const struct irq_msi *message,
		   struct err *err)
{
	struct driver *d = opaque;

	if (vector >= DRIVER_MAX_MSI || !d->msi[vector].open)
		return err_set(err, -EINVAL, "vector %u", vector);
	d->msi[vector].set = message != NULL;
	if (message)
		d->msi[vector].message = *message;
	return 0;
}

static void msi_close(void *opaque, unsigned int vector)
{
	struct driver *d = opaque;

	if (vector < DRIVER_MAX_MSI)
		d->msi[vector].open = false;
}

static bool same_notify(const struct driver_notify *n, uint64_t gpa, unsigned int len_bytes,
			bool match, uint64_t value)
{
	return n->gpa == gpa && n->len_bytes == len_bytes && n->match == match &&
	       (!match || n->value == value);
}

static int notify_add(void *opaque, uint64_t gpa, unsigned int len_bytes, bool match,
		      uint64_t value, int eventfd, struct err *err)
{
	struct driver *d = opaque;

	for (unsigned int i = 0; i < d->nnotify; i++)
		if (same_notify(&d->notify[i], gpa, len_bytes, match, value))
			return err_set(err, -EEXIST, "address %#llx is taken",
				       (unsigned long long)gpa);
	if (d->nnotify == DRIVER_MAX_NOTIFY)
		return err_set(err, -ENOSPC, "no more notifications");
	d->notify[d->nnotify++] = (struct driver_notify){ .gpa = gpa,
							  .value = value,
							  .len_bytes = len_bytes,
							  .match = match,
							  .eventfd = eventfd };
	return 0;
}

static void notify_del(void *opaque, uint64_t gpa, unsigned int len_bytes, bool match,
		       uint64_t value, int eventfd)
{
	struct driver *d = opaque;

	for (unsigned int i = 0; i < d->nnotify; i++) {
		if (!same_notify(&d->notify[i], gpa, len_bytes, match, value))
			continue;
		d->notify[i] = d->notify[--d->nnotify];
		return;
	}
}

static const struct dev_host_ops host_ops = {
	.line_open = line_open,
	.msi_open = msi_open,
	.msi_set = msi_set,
	.msi_close = msi_close,
	.notify_add = notify_add,
	.notify_del = notify_del,
};

int driver_init(struct driver *d)
{
	const struct gmem_config config = {
		.backing = GMEM_4K,
		.nregions = 2,
		.region = { { .gpa = DRIVER_RAM_GPA, .len_bytes = DRIVER_RAM_BYTES },
			    { .gpa = DRIVER_FAR_GPA, .len_bytes = DRIVER_FAR_BYTES } },
	};

	memset(d, 0, sizeof(*d));
	d->line_fd = -1;
	d->next_gpa = DRIVER_RAM_GPA;
	d->host = (struct dev_host){ .ops = &host_ops, .opaque = d };
	if (gmem_create(&config, &d->mem, NULL))
		return -ENOMEM;
	d->host.mem = d->mem;
	return 0;
}

void driver_fini(struct driver *d)
{
	gmem_destroy(d->mem);
	d->mem = NULL;
}

/* ---- memory ---- */

void *driver_ptr(struct driver *d, uint64_t gpa, uint64_t len_bytes)
{
	void *p = gmem_ptr(d->mem, gpa, len_bytes);

	if (!p)
		abort();
	return p;
}

uint64_t driver_alloc(struct driver *d, uint32_t len_bytes)
{
	uint64_t gpa;

	if (!align_up(d->next_gpa, len_bytes >= 4096 ? 4096 : 16, &gpa))
		abort();
	d->next_gpa = gpa + len_bytes;
	memset(driver_ptr(d, gpa, len_bytes), 0, len_bytes);
	return gpa;
}

static uint16_t get16(struct driver *d, uint64_t gpa)
{
	return le16toh(__atomic_load_n((uint16_t *)driver_ptr(d, gpa, 2), __ATOMIC_ACQUIRE));
}

static void put16(struct driver *d, uint64_t gpa, uint16_t v)
{
	__atomic_store_n((uint16_t *)driver_ptr(d, gpa, 2), htole16(v), __ATOMIC_RELEASE);
}

/* ---- interrupts ---- */

static void on_interrupt(void *transport, int queue)
{
	struct driver *d = transport;

	atomic_fetch_add(queue < 0 ? &d->config_interrupts : &d->interrupts[queue], 1);
}

void driver_attach(struct driver *d, struct virtio *v)
{
	static const struct virtio_transport_ops ops = { .interrupt = on_interrupt };

	d->v = v;
	virtio_set_transport(v, &ops, d);
}

/* ---- queues ---- */

void driver_place_queue(struct driver *d, unsigned int queue, uint16_t size)
{
	struct driver_queue *q = &d->queue[queue];

	*q = (struct driver_queue){
		.size = size,
		.desc_gpa = driver_alloc(d, 16u * size),
		.avail_gpa = driver_alloc(d, 6u + 2u * size),
		.used_gpa = driver_alloc(d, 6u + 8u * size),
		.nfree = size,
	};
	for (uint16_t i = 0; i < size; i++)
		driver_raw_desc(d, q->desc_gpa, i, 0, 0, 0, (uint16_t)(i + 1));
}

static void start_queue(struct driver *d, unsigned int queue, uint16_t max_size)
{
	struct virtio_queue_regs regs;
	struct driver_queue *q = &d->queue[queue];
	uint16_t max;

	if (!virtio_get_queue(d->v, queue, &regs, &max))
		abort();
	driver_place_queue(d, queue, MIN(max, max_size));
	regs = (struct virtio_queue_regs){ .size = q->size,
					   .enabled = true,
					   .desc_gpa = q->desc_gpa,
					   .avail_gpa = q->avail_gpa,
					   .used_gpa = q->used_gpa };
	virtio_set_queue(d->v, queue, &regs);
}

bool driver_start(struct driver *d, uint64_t features, uint16_t max_size)
{
	uint8_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	virtio_set_status(d->v, 0);
	if (virtio_get_status(d->v))
		return false;
	virtio_set_status(d->v, VIRTIO_ACKNOWLEDGE);
	virtio_set_status(d->v, status);
	d->features = virtio_get_features(d->v) & features;
	virtio_set_driver_features(d->v, d->features);
	status |= VIRTIO_FEATURES_OK;
	virtio_set_status(d->v, status);
	if (virtio_get_status(d->v) != status)
		return false;
	for (unsigned int i = 0; i < d->v->nqueues; i++)
		start_queue(d, i, max_size);
	status |= VIRTIO_DRIVER_OK;
	virtio_set_status(d->v, status);
	virtio_resume(d->v);
	return virtio_get_status(d->v) == status;
}

static bool event_idx(const struct driver *d)
{
	return d->features >> VIRTIO_F_RING_EVENT_IDX & 1;
}

void driver_raw_desc(struct driver *d, uint64_t table_gpa, uint16_t index, uint64_t gpa,
		     uint32_t len_bytes, uint16_t flags, uint16_t next)
{
	uint8_t *p = driver_ptr(d, table_gpa + 16u * index, 16);

	le64_put(p, gpa);
	le32_put(p + 8, len_bytes);
	le16_put(p + 12, flags);
	le16_put(p + 14, next);
}

void driver_raw_avail_idx(struct driver *d, unsigned int queue, uint16_t idx)
{
	put16(d, d->queue[queue].avail_gpa + 2, idx);
}

void driver_raw_offer(struct driver *d, unsigned int queue, uint16_t head)
{
	struct driver_queue *q = &d->queue[queue];

	put16(d, q->avail_gpa + 4 + 2u * (q->avail_idx % q->size), head);
	driver_raw_avail_idx(d, queue, ++q->avail_idx);
}

static uint16_t part_flags(const struct driver_part *parts, unsigned int nparts, unsigned int i)
{
	return (uint16_t)((i + 1 < nparts ? DESC_NEXT : 0) | (parts[i].write ? DESC_WRITE : 0));
}

static uint16_t next_of(struct driver *d, struct driver_queue *q, uint16_t index)
{
	return le16_get(driver_ptr(d, q->desc_gpa + 16u * index + 14, 2));
}

/* Takes @n descriptors from the free list, which is linked by `next`; the chain is in its order. */
static uint16_t take_descs(struct driver *d, struct driver_queue *q, unsigned int n)
{
	uint16_t head = q->free_head;

	if (n > q->nfree || !n)
		abort();
	for (unsigned int i = 0; i < n; i++)
		q->free_head = next_of(d, q, q->free_head);
	q->nfree = (uint16_t)(q->nfree - n);
	q->chain_len[head] = (uint16_t)n;
	return head;
}

static void free_chain(struct driver *d, struct driver_queue *q, uint16_t head)
{
	uint16_t last = head;

	for (unsigned int i = 1; i < q->chain_len[head]; i++)
		last = next_of(d, q, last);
	le16_put(driver_ptr(d, q->desc_gpa + 16u * last + 14, 2), q->free_head);
	q->free_head = head;
	q->nfree = (uint16_t)(q->nfree + q->chain_len[head]);
	q->chain_len[head] = 0;
}

uint16_t driver_add(struct driver *d, unsigned int queue, const struct driver_part *parts,
		    unsigned int nparts)
{
	struct driver_queue *q = &d->queue[queue];
	uint16_t head = take_descs(d, q, nparts);
	uint16_t at = head;

	for (unsigned int i = 0; i < nparts; i++) {
		uint16_t next = next_of(d, q, at);

		driver_raw_desc(d, q->desc_gpa, at, parts[i].gpa, parts[i].len_bytes,
				part_flags(parts, nparts, i), next);
		at = next;
	}
	driver_raw_offer(d, queue, head);
	return head;
}

uint16_t driver_add_indirect(struct driver *d, unsigned int queue, const struct driver_part *parts,
			     unsigned int nparts)
{
	struct driver_queue *q = &d->queue[queue];
	uint64_t table = driver_alloc(d, 16 * nparts);
	uint16_t head = take_descs(d, q, 1);

	for (unsigned int i = 0; i < nparts; i++)
		driver_raw_desc(d, table, (uint16_t)i, parts[i].gpa, parts[i].len_bytes,
				part_flags(parts, nparts, i), (uint16_t)(i + 1));
	driver_raw_desc(d, q->desc_gpa, head, table, 16 * nparts, DESC_INDIRECT,
			next_of(d, q, head));
	driver_raw_offer(d, queue, head);
	return head;
}

bool driver_kick(struct driver *d, unsigned int queue)
{
	struct driver_queue *q = &d->queue[queue];
	uint16_t before = q->told_idx, event;
	bool wanted;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = get16(d, q->used_gpa + 4 + 8u * q->size);
	wanted = event_idx(d) ?
			 (uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - before) :
			 !(get16(d, q->used_gpa) & FLAGS_QUIET);
	q->told_idx = q->avail_idx;
	if (wanted)
		virtio_kick(d->v, queue);
	return wanted;
}

void driver_want_interrupts(struct driver *d, unsigned int queue, bool on)
{
	struct driver_queue *q = &d->queue[queue];

	if (event_idx(d))
		put16(d, q->avail_gpa + 4 + 2u * q->size,
		      on ? q->used_idx : (uint16_t)(q->used_idx - 1));
	else
		put16(d, q->avail_gpa, on ? 0 : FLAGS_QUIET);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

unsigned int driver_used(struct driver *d, unsigned int queue)
{
	struct driver_queue *q = &d->queue[queue];

	return (uint16_t)(get16(d, q->used_gpa + 2) - q->used_idx);
}

/* ---- waiting ---- */

static bool wait_until(bool (*fn)(struct driver *d, const void *what), struct driver *d,
		       const void *what)
{
	uint64_t end = clock_mono_ns() + DRIVER_WAIT_MS * NS_PER_MS;

	for (unsigned int i = 0; !fn(d, what); i++) {
		if (clock_mono_ns() > end)
			return false;
		if (i > 100)
			poll(NULL, 0, 1);
	}
	return true;
}

static bool has_used(struct driver *d, const void *what)
{
	return driver_used(d, *(const unsigned int *)what) > 0;
}

bool driver_wait_used(struct driver *d, unsigned int queue, uint16_t *ret_head,
		      uint32_t *ret_written)
{
	struct driver_queue *q = &d->queue[queue];
	uint64_t entry;
	uint32_t head;

	if (!wait_until(has_used, d, &queue))
		return false;
	entry = q->used_gpa + 4 + 8u * (q->used_idx % q->size);
	head = le32_get(driver_ptr(d, entry, 4));
	if (head >= q->size)
		return false;
	*ret_head = (uint16_t)head;
	*ret_written = le32_get(driver_ptr(d, entry + 4, 4));
	q->used_idx++;
	if (q->chain_len[head]) /* else it was a raw one */
		free_chain(d, q, (uint16_t)head);
	return true;
}

bool driver_do(struct driver *d, unsigned int queue, const struct driver_part *parts,
	       unsigned int nparts, uint32_t *ret_written)
{
	uint16_t head = driver_add(d, queue, parts, nparts), used;

	driver_kick(d, queue);
	return driver_wait_used(d, queue, &used, ret_written) && used == head;
}

static bool has_status(struct driver *d, const void *what)
{
	uint8_t bits = *(const uint8_t *)what;

	return (virtio_get_status(d->v) & bits) == bits;
}

bool driver_wait_status(struct driver *d, uint8_t bits)
{
	return wait_until(has_status, d, &bits);
}

struct entries {
	unsigned int queue, n;
};

static bool has_settled(struct driver *d, const void *what)
{
	const struct entries *e = what;

	return driver_used(d, e->queue) >= e->n || virtio_get_status(d->v) & VIRTIO_NEEDS_RESET;
}

bool driver_settle(struct driver *d, unsigned int queue, unsigned int n)
{
	const struct entries e = { queue, n };

	return wait_until(has_settled, d, &e) && driver_used(d, queue) <= n;
}

struct count {
	atomic_uint *counter;
	unsigned int n;
};

static bool has_count(struct driver *d, const void *what)
{
	const struct count *c = what;

	return atomic_load(c->counter) >= c->n;
}

bool driver_wait_count(atomic_uint *counter, unsigned int n)
{
	const struct count c = { counter, n };

	return wait_until(has_count, NULL, &c);
}

bool driver_move(struct driver *d)
{
	struct state_entry entries[2];
	struct buf first = { 0 }, second = { 0 };
	unsigned int n = virtio_state_entries(d->v, 1, entries);
	bool same = !virtio_pause(d->v, UINT64_MAX, NULL) &&
		    !state_save_all(entries, n, &first, NULL) &&
		    !state_load_all(entries, n, first.data, first.len_bytes, NULL) &&
		    !state_save_all(entries, n, &second, NULL) &&
		    first.len_bytes == second.len_bytes &&
		    !memcmp(first.data, second.data, first.len_bytes);

	virtio_resume(d->v);
	virtio_arrived(d->v);
	buf_fini(&first);
	buf_fini(&second);
	return same;
}
