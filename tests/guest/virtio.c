/* SPDX-License-Identifier: Apache-2.0 */
/* A device's registers behind both transports, and the driver's side of a split queue (virtio 1.2 §2.7). */
#include "virtio.h"

#define RESET_TIMEOUT_MS 10000u

/* §4.1.4.3 */
enum pci_common {
	PCI_FEATURE_SELECT = 0,
	PCI_FEATURE = 4,
	PCI_DRIVER_FEATURE_SELECT = 8,
	PCI_DRIVER_FEATURE = 12,
	PCI_STATUS = 20,
	PCI_QUEUE_SELECT = 22,
	PCI_QUEUE_SIZE = 24,
	PCI_QUEUE_ENABLE = 28,
	PCI_QUEUE_NOTIFY_OFF = 30,
	PCI_QUEUE_DESC = 32,
	PCI_QUEUE_AVAIL = 40,
	PCI_QUEUE_USED = 48,
};

/* §4.2.2 */
enum mmio_register {
	MMIO_FEATURE = 0x10,
	MMIO_FEATURE_SELECT = 0x14,
	MMIO_DRIVER_FEATURE = 0x20,
	MMIO_DRIVER_FEATURE_SELECT = 0x24,
	MMIO_QUEUE_SELECT = 0x30,
	MMIO_QUEUE_MAX = 0x34,
	MMIO_QUEUE_SIZE = 0x38,
	MMIO_QUEUE_READY = 0x44,
	MMIO_QUEUE_NOTIFY = 0x50,
	MMIO_STATUS = 0x70,
	MMIO_QUEUE_DESC = 0x80,
	MMIO_QUEUE_AVAIL = 0x90,
	MMIO_QUEUE_USED = 0xa0,
	MMIO_CONFIG = 0x100,
};

/* ---- status and features ---- */

uint8_t virtio_status(const struct virtio_device *d)
{
	return d->pci ? mmio_read8(d->common + PCI_STATUS) :
			(uint8_t)mmio_read32(d->at + MMIO_STATUS);
}

static void set_status(struct virtio_device *d, uint8_t status)
{
	if (d->pci)
		mmio_write8(d->common + PCI_STATUS, status);
	else
		mmio_write32(d->at + MMIO_STATUS, status);
}

bool virtio_reset(struct virtio_device *d)
{
	uint64_t start = cpu_clock();

	set_status(d, 0);
	while (virtio_status(d))
		if (cpu_clock() - start > cpu_clock_khz() * RESET_TIMEOUT_MS)
			return false;
	d->avail_idx = d->used_idx = 0;
	d->features = 0;
	return true;
}

static uint64_t offered_features(struct virtio_device *d)
{
	uint64_t features = 0;

	for (uint32_t half = 0; half < 2; half++) {
		uint32_t bits;

		if (d->pci) {
			mmio_write32(d->common + PCI_FEATURE_SELECT, half);
			bits = mmio_read32(d->common + PCI_FEATURE);
		} else {
			mmio_write32(d->at + MMIO_FEATURE_SELECT, half);
			bits = mmio_read32(d->at + MMIO_FEATURE);
		}
		features |= (uint64_t)bits << half * 32;
	}
	return features;
}

static void accept_features(struct virtio_device *d)
{
	for (uint32_t half = 0; half < 2; half++) {
		uint32_t bits = (uint32_t)(d->features >> half * 32);

		if (d->pci) {
			mmio_write32(d->common + PCI_DRIVER_FEATURE_SELECT, half);
			mmio_write32(d->common + PCI_DRIVER_FEATURE, bits);
		} else {
			mmio_write32(d->at + MMIO_DRIVER_FEATURE_SELECT, half);
			mmio_write32(d->at + MMIO_DRIVER_FEATURE, bits);
		}
	}
}

bool virtio_negotiate(struct virtio_device *d, uint64_t wanted)
{
	const uint8_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	set_status(d, VIRTIO_ACKNOWLEDGE);
	set_status(d, status);
	d->features = offered_features(d) & (wanted | 1ull << VIRTIO_F_VERSION_1);
	accept_features(d);
	set_status(d, status | VIRTIO_FEATURES_OK);
	return virtio_has(d, VIRTIO_F_VERSION_1) && virtio_status(d) & VIRTIO_FEATURES_OK;
}

void virtio_driver_ok(struct virtio_device *d)
{
	set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

/* Two halves: a device need not take 64 bits at once (§4.1.3.1). */
static void write_address(uint64_t at, uint64_t address)
{
	mmio_write32(at, (uint32_t)address);
	mmio_write32(at + 4, (uint32_t)(address >> 32));
}

static uint16_t set_queue_pci(struct virtio_device *d, uint16_t queue,
			      const struct virtio_rings *at)
{
	uint16_t size;

	mmio_write16(d->common + PCI_QUEUE_SELECT, queue);
	size = mmio_read16(d->common + PCI_QUEUE_SIZE);
	if (size > VIRTIO_QUEUE_MAX)
		size = VIRTIO_QUEUE_MAX;
	if (!size)
		return 0;
	mmio_write16(d->common + PCI_QUEUE_SIZE, size);
	write_address(d->common + PCI_QUEUE_DESC, at->desc);
	write_address(d->common + PCI_QUEUE_AVAIL, at->avail);
	write_address(d->common + PCI_QUEUE_USED, at->used);
	d->doorbell = d->notify + (uint64_t)d->notify_multiplier *
					  mmio_read16(d->common + PCI_QUEUE_NOTIFY_OFF);
	mmio_write16(d->common + PCI_QUEUE_ENABLE, 1);
	return size;
}

static uint16_t set_queue_mmio(struct virtio_device *d, uint16_t queue,
			       const struct virtio_rings *at)
{
	uint32_t size;

	mmio_write32(d->at + MMIO_QUEUE_SELECT, queue);
	size = mmio_read32(d->at + MMIO_QUEUE_MAX);
	if (size > VIRTIO_QUEUE_MAX)
		size = VIRTIO_QUEUE_MAX;
	if (!size)
		return 0;
	mmio_write32(d->at + MMIO_QUEUE_SIZE, size);
	write_address(d->at + MMIO_QUEUE_DESC, at->desc);
	write_address(d->at + MMIO_QUEUE_AVAIL, at->avail);
	write_address(d->at + MMIO_QUEUE_USED, at->used);
	d->doorbell = d->at + MMIO_QUEUE_NOTIFY;
	mmio_write32(d->at + MMIO_QUEUE_READY, 1);
	return (uint16_t)size;
}

uint16_t virtio_set_queue(struct virtio_device *d, uint16_t queue, const struct virtio_rings *at)
{
	d->queue = queue;
	d->size = d->pci ? set_queue_pci(d, queue, at) : set_queue_mmio(d, queue, at);
	return d->size;
}

bool virtio_queue_enabled(const struct virtio_device *d, uint16_t queue)
{
	if (d->pci) {
		mmio_write16(d->common + PCI_QUEUE_SELECT, queue);
		return mmio_read16(d->common + PCI_QUEUE_ENABLE) == 1;
	}
	mmio_write32(d->at + MMIO_QUEUE_SELECT, queue);
	return mmio_read32(d->at + MMIO_QUEUE_READY) == 1;
}

uint64_t virtio_config64(const struct virtio_device *d, uint32_t offset)
{
	uint64_t at = (d->pci ? d->config : d->at + MMIO_CONFIG) + offset;

	return mmio_read32(at) | (uint64_t)mmio_read32(at + 4) << 32;
}

/* §2.7.7.1: by the flag, or with event indices, where there is none that says never, by one that is half the ring of numbers ahead. */
static void no_interrupts(struct virtio_device *d)
{
	struct vring_avail *avail = &d->ring->avail;

	if (virtio_has(d, VIRTIO_F_EVENT_IDX))
		__atomic_store_n(&avail->ring[d->size], (uint16_t)(d->used_idx + 0x8000),
				 __ATOMIC_RELAXED);
	else
		avail->flags = 1;
}

bool virtio_start(struct virtio_device *d, uint64_t wanted, uint16_t queue, struct vring *ring)
{
	const struct virtio_rings at = { (uint64_t)ring->desc, (uint64_t)&ring->avail,
					 (uint64_t)&ring->used };

	if (!virtio_reset(d) || !virtio_negotiate(d, wanted))
		return false;
	memset(ring, 0, sizeof(*ring));
	d->ring = ring;
	if (!virtio_set_queue(d, queue, &at) || !virtio_queue_enabled(d, queue))
		return false;
	no_interrupts(d);
	virtio_driver_ok(d);
	return true;
}

/* ---- the queue ---- */

void virtio_offer(struct virtio_device *d, uint16_t head)
{
	d->ring->avail.ring[d->avail_idx % d->size] = head;
	d->avail_idx++;
}

void virtio_kick(struct virtio_device *d)
{
	d->kicks++;
	if (d->pci)
		mmio_write16(d->doorbell, d->queue);
	else
		mmio_write32(d->doorbell, d->queue);
}

/* §2.7.10: notify when the index asked for lies in what is new. */
static bool wants_kick(const struct virtio_device *d, uint16_t before)
{
	const struct vring_used *used = &d->ring->used;
	uint16_t event;

	if (!virtio_has(d, VIRTIO_F_EVENT_IDX))
		return !(__atomic_load_n(&used->flags, __ATOMIC_RELAXED) & 1);
	event = (uint16_t)__atomic_load_n(&used->ring[d->size].id, __ATOMIC_RELAXED);
	return (uint16_t)(d->avail_idx - event - 1) < (uint16_t)(d->avail_idx - before);
}

void virtio_publish(struct virtio_device *d)
{
	struct vring_avail *avail = &d->ring->avail;
	uint16_t before = avail->idx;

	if (before == d->avail_idx)
		return;
	__atomic_store_n(&avail->idx, d->avail_idx, __ATOMIC_RELEASE);
	/* What the device asks for is read after it can see the index, or both wait for one another. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wants_kick(d, before))
		virtio_kick(d);
}

uint16_t virtio_used_ahead(const struct virtio_device *d)
{
	return (uint16_t)(__atomic_load_n(&d->ring->used.idx, __ATOMIC_ACQUIRE) - d->used_idx);
}

bool virtio_take(struct virtio_device *d, uint32_t *ret_id, uint32_t *ret_len)
{
	const struct vring_used *used = &d->ring->used;

	if (!virtio_used_ahead(d))
		return false;
	*ret_id = used->ring[d->used_idx % d->size].id;
	*ret_len = used->ring[d->used_idx % d->size].len;
	d->used_idx++;
	no_interrupts(d);
	return true;
}

void virtio_describe(struct line *l, const struct virtio_device *d)
{
	static const char *const names[] = {
		[VIRTIO_NET] = "net", [VIRTIO_BLK] = "blk",         [VIRTIO_CONSOLE] = "console",
		[VIRTIO_RNG] = "rng", [VIRTIO_BALLOON] = "balloon", [VIRTIO_VSOCK] = "vsock"
	};

	line_str(l, " device=");
	if (d->kind < sizeof(names) / sizeof(names[0]) && names[d->kind])
		line_str(l, names[d->kind]);
	else
		line_dec(l, "", d->kind);
	line_hex(l, d->pci ? " pci=" : " mmio=", d->at);
}
