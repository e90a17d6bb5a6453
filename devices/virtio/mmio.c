/* SPDX-License-Identifier: Apache-2.0 */
/* virtio over MMIO (virtio 1.2 §4.2), version 2: no legacy interface. One edge-triggered interrupt line; notifications are ioeventfds that match the queue's index. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/num.h"
#include "core.h"

/* §4.2.2, table 4.1 */
enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM_MAX = 0x034,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC_LOW = 0x080,
	REG_QUEUE_DESC_HIGH = 0x084,
	REG_QUEUE_DRIVER_LOW = 0x090,
	REG_QUEUE_DRIVER_HIGH = 0x094,
	REG_QUEUE_DEVICE_LOW = 0x0a0,
	REG_QUEUE_DEVICE_HIGH = 0x0a4,
	REG_SHM_LEN_LOW = 0x0b0,
	REG_SHM_BASE_HIGH = 0x0bc,
	REG_CONFIG_GENERATION = 0x0fc,
	REG_CONFIG = 0x100,
};
#define MAGIC 0x74726976u /* "virt" */
#define VENDOR_ID 0x4d4d5656u /* "VVMM" */
#define NO_SHM UINT32_MAX /* §4.2.2: length and base of a region that does not exist */

enum { INTERRUPT_USED = 1, INTERRUPT_CONFIG = 2 };
#define INTERRUPT_BITS 3u

struct virtio_mmio {
	struct virtio *v;
	struct dev_host host;
	uint64_t gpa;
	int irq_fd;
	unsigned int nnotify; /* ioeventfds that are registered, from queue 0 on */
	atomic_uint interrupt_status;
	pthread_mutex_t
		lock; /* the selectors, and over a change of what they select; never over a call that waits for the worker */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
};

/* The status is there before the edge: a handler that the edge of an earlier interrupt has started reads it late enough, or this edge starts it again. */
static void mmio_interrupt(void *transport, int queue)
{
	struct virtio_mmio *t = transport;
	const uint64_t one = 1;
	ssize_t n;

	atomic_fetch_or(&t->interrupt_status,
			queue < 0 ? (unsigned int)INTERRUPT_CONFIG : INTERRUPT_USED);
	n = write(t->irq_fd, &one, sizeof(one));
	(void)n; /* EAGAIN: it is signalled */
}

static const struct virtio_transport_ops transport_ops = { .interrupt = mmio_interrupt };

/* Registers of the selected queue; zero when there is none. */
static uint32_t read_queue(struct virtio_mmio *t, uint64_t reg)
{
	struct virtio_queue_regs q;
	uint16_t max;

	if (!virtio_get_queue(t->v, t->queue_sel, &q, &max))
		return 0;
	return reg == REG_QUEUE_NUM_MAX ? max : q.enabled;
}

/* Lock held. */
static uint32_t read_selected(struct virtio_mmio *t, uint64_t reg)
{
	switch (reg) {
	case REG_DEVICE_FEATURES:
		return virtio_half(virtio_get_features(t->v), t->device_features_sel);
	case REG_QUEUE_NUM_MAX:
	case REG_QUEUE_READY:
		return read_queue(t, reg);
	default:
		return 0;
	}
}

static uint32_t read_reg(struct virtio_mmio *t, uint64_t reg)
{
	uint32_t v;

	switch (reg) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return 2;
	case REG_DEVICE_ID:
		return t->v->type->device_id;
	case REG_VENDOR_ID:
		return VENDOR_ID;
	case REG_INTERRUPT_STATUS:
		return atomic_load(&t->interrupt_status);
	case REG_STATUS:
		return virtio_get_status(t->v);
	case REG_SHM_LEN_LOW ... REG_SHM_BASE_HIGH:
		return NO_SHM;
	case REG_CONFIG_GENERATION:
		return virtio_config_read(t->v, 0, NULL, 0);
	default:
		pthread_mutex_lock(&t->lock);
		v = read_selected(t, reg);
		pthread_mutex_unlock(&t->lock);
		return v;
	}
}

static void write_queue(struct virtio_mmio *t, uint64_t reg, uint32_t v)
{
	struct virtio_queue_regs q;
	uint16_t max;

	if (!virtio_get_queue(t->v, t->queue_sel, &q, &max))
		return;
	switch (reg) {
	case REG_QUEUE_NUM:
		q.size = (uint16_t)MIN(v, UINT16_MAX);
		break;
	case REG_QUEUE_READY:
		q.enabled = v & 1;
		break;
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
		q.desc_gpa = virtio_with_half(q.desc_gpa, reg == REG_QUEUE_DESC_HIGH, v);
		break;
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
		q.avail_gpa = virtio_with_half(q.avail_gpa, reg == REG_QUEUE_DRIVER_HIGH, v);
		break;
	case REG_QUEUE_DEVICE_LOW:
	case REG_QUEUE_DEVICE_HIGH:
		q.used_gpa = virtio_with_half(q.used_gpa, reg == REG_QUEUE_DEVICE_HIGH, v);
		break;
	default:
		return;
	}
	virtio_set_queue(t->v, t->queue_sel, &q);
}

/* Lock held. */
static void write_selected(struct virtio_mmio *t, uint64_t reg, uint32_t v)
{
	switch (reg) {
	case REG_DEVICE_FEATURES_SEL:
		t->device_features_sel = v;
		break;
	case REG_DRIVER_FEATURES_SEL:
		t->driver_features_sel = v;
		break;
	case REG_DRIVER_FEATURES:
		virtio_set_driver_features(t->v, virtio_with_half(virtio_get_driver_features(t->v),
								  t->driver_features_sel, v));
		break;
	case REG_QUEUE_SEL:
		t->queue_sel = v;
		break;
	default:
		write_queue(t, reg, v);
	}
}

static void write_status(struct virtio_mmio *t, uint32_t v)
{
	virtio_set_status(t->v, (uint8_t)v);
	if (v & 0xff)
		return;
	pthread_mutex_lock(&t->lock);
	t->device_features_sel = t->driver_features_sel = t->queue_sel = 0;
	pthread_mutex_unlock(&t->lock);
	atomic_store(&t->interrupt_status, 0);
}

static void write_reg(struct virtio_mmio *t, uint64_t reg, uint32_t v)
{
	switch (reg) {
	case REG_QUEUE_NOTIFY: /* one that KVM did not take: no queue has this index, or the write has other bits set */
		virtio_kick(t->v, v);
		break;
	case REG_INTERRUPT_ACK:
		atomic_fetch_and(&t->interrupt_status, ~v);
		break;
	case REG_STATUS:
		write_status(t, v);
		break;
	default:
		pthread_mutex_lock(&t->lock);
		write_selected(t, reg, v);
		pthread_mutex_unlock(&t->lock);
	}
}

/* §4.2.2.2: registers are accessed with 32 bits, aligned; what is not is nobody's. The configuration with any size. */
static uint64_t mmio_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	struct virtio_mmio *t = dev;
	uint8_t bytes[8] = { 0 };

	if (offset >= REG_CONFIG) {
		virtio_config_read(t->v, (unsigned int)(offset - REG_CONFIG), bytes, size_bytes);
		return le64_get(bytes);
	}
	return size_bytes == 4 && offset % 4 == 0 ? read_reg(t, offset) : 0;
}

static void mmio_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct virtio_mmio *t = dev;
	uint8_t bytes[8];

	if (offset >= REG_CONFIG) {
		le64_put(bytes, value);
		virtio_config_write(t->v, (unsigned int)(offset - REG_CONFIG), bytes, size_bytes);
	} else if (size_bytes == 4 && offset % 4 == 0) {
		write_reg(t, offset, (uint32_t)value);
	}
}

static const struct bus_ops mmio_bus_ops = { .read = mmio_read, .write = mmio_write };

static int add_notifications(struct virtio_mmio *t, struct err *err)
{
	const struct dev_host *h = &t->host;

	for (; t->nnotify < t->v->nqueues; t->nnotify++) {
		int rc = h->ops->notify_add(h->opaque, t->gpa + REG_QUEUE_NOTIFY, 4, true,
					    t->nnotify, t->v->queue[t->nnotify].kick_fd, err);

		if (rc)
			return rc;
	}
	return 0;
}

int virtio_mmio_create(struct virtio *v, const struct dev_host *host, struct bus *mmio,
		       uint64_t gpa, unsigned int gsi, struct virtio_mmio **ret, struct err *err)
{
	struct virtio_mmio *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(err, -ENOMEM, "%s: out of memory", v->id);
	*t = (struct virtio_mmio){ .v = v, .host = *host, .gpa = gpa };
	pthread_mutex_init(&t->lock, NULL);
	t->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = t->irq_fd < 0 ? err_sys(err, -errno, "%s: eventfd", v->id) :
			     host->ops->line_open(host->opaque, gsi, t->irq_fd, err);
	if (!rc)
		rc = add_notifications(t, err);
	/* Last: there is no taking it away again. */
	if (!rc)
		rc = bus_add(mmio, gpa, VIRTIO_MMIO_BYTES, &mmio_bus_ops, t, err);
	if (rc) {
		virtio_mmio_destroy(t);
		return rc;
	}
	virtio_set_transport(v, &transport_ops, t);
	*ret = t;
	return 0;
}

void virtio_mmio_destroy(struct virtio_mmio *t)
{
	const struct dev_host *h;

	if (!t)
		return;
	h = &t->host;
	virtio_set_transport(t->v, NULL, NULL);
	while (t->nnotify) {
		t->nnotify--;
		h->ops->notify_del(h->opaque, t->gpa + REG_QUEUE_NOTIFY, 4, true, t->nnotify,
				   t->v->queue[t->nnotify].kick_fd);
	}
	fd_close(&t->irq_fd); /* which ends its irqfd */
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* state.md, section "virtio-mmio". */
struct mmio_image {
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
	uint32_t interrupt_status;
};

static const struct state_field mmio_fields[] = {
	STATE_FIELD_U32(struct mmio_image, device_features_sel),
	STATE_FIELD_U32(struct mmio_image, driver_features_sel),
	STATE_FIELD_U32(struct mmio_image, queue_sel),
	STATE_FIELD_U32(struct mmio_image, interrupt_status),
};

static int mmio_capture(void *dev, void *image, struct err *err)
{
	struct virtio_mmio *t = dev;
	struct mmio_image *img = image;

	pthread_mutex_lock(&t->lock);
	img->device_features_sel = t->device_features_sel;
	img->driver_features_sel = t->driver_features_sel;
	img->queue_sel = t->queue_sel;
	pthread_mutex_unlock(&t->lock);
	img->interrupt_status = atomic_load(&t->interrupt_status);
	return 0;
}

static int mmio_check(const void *image, struct err *err)
{
	const struct mmio_image *img = image;

	if (img->interrupt_status & ~INTERRUPT_BITS)
		return err_set(err, -EBADMSG, "interrupt_status %#x", img->interrupt_status);
	return 0;
}

static int mmio_apply(void *dev, const void *image, struct err *err)
{
	struct virtio_mmio *t = dev;
	const struct mmio_image *img = image;

	pthread_mutex_lock(&t->lock);
	t->device_features_sel = img->device_features_sel;
	t->driver_features_sel = img->driver_features_sel;
	t->queue_sel = img->queue_sel;
	pthread_mutex_unlock(&t->lock);
	atomic_store(&t->interrupt_status, img->interrupt_status);
	return 0;
}

static const struct state_desc mmio_state =
	STATE_DESC_("virtio-mmio", struct mmio_image, mmio_fields, mmio, mmio_check);

unsigned int virtio_mmio_state_entries(struct virtio_mmio *t, uint32_t instance,
				       struct state_entry *entries)
{
	entries[0] = (struct state_entry){ &mmio_state, instance, t };
	return 1;
}
