/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio 1.2 driver without interrupts: finds devices on PCI and MMIO, negotiates, and drives one
 * split queue by polling. Names follow the specification; "§" is its numbering.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "guest.h"

#define VIRTIO_QUEUE_MAX 256u
#define VIRTIO_DEVICES_MAX 32u

/* §5: types of devices. */
enum virtio_kind {
	VIRTIO_NET = 1,
	VIRTIO_BLK = 2,
	VIRTIO_CONSOLE = 3,
	VIRTIO_RNG = 4,
	VIRTIO_BALLOON = 5,
	VIRTIO_VSOCK = 19,
};

/* §2.1 */
enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
};

/* §6 */
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

/* §2.7.5 */
struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4

struct vring_avail {
	uint16_t flags, idx;
	uint16_t ring[VIRTIO_QUEUE_MAX + 1]; /* and used_event behind the last */
};

struct vring_used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[VIRTIO_QUEUE_MAX + 1]; /* and avail_event behind the last */
};

/* A queue of the driver's; three whole pages, since addresses are physical ones. */
struct vring {
	struct vring_desc desc[VIRTIO_QUEUE_MAX];
	struct vring_avail avail __attribute__((aligned(PAGE_BYTES)));
	struct vring_used used __attribute__((aligned(PAGE_BYTES)));
};

struct virtio_device {
	bool pci; /* else MMIO */
	uint32_t kind;
	uint64_t at; /* of the configuration space on PCI, of the registers on MMIO */
	/* PCI: where BARs are, §4.1.4. */
	uint64_t common, notify, config;
	uint32_t notify_multiplier;
	/* Set up by virtio_start. */
	uint64_t features;
	uint64_t doorbell;
	uint16_t queue;
	uint16_t size;
	struct vring *ring;
	uint16_t avail_idx; /* filled in; visible after virtio_publish */
	uint16_t used_idx; /* taken */
	uint64_t kicks;
};

/* Where a machine has its MMIO devices, one every `step` bytes. */
struct virtio_slots {
	uint64_t base;
	uint32_t step, count;
};
#define VIRTIO_SLOTS(base, step, count) \
	{                               \
		base, step, count       \
	}

/* ---- virtio_find.c ---- */
/* All devices with a driver's part to play, at most VIRTIO_DEVICES_MAX: PCI's, and then those on MMIO. */
uint32_t virtio_find(struct virtio_device *found, uint32_t max);

/* ---- virtio.c ---- */
uint8_t virtio_status(const struct virtio_device *d);
/* False when the device does not come to rest in 10 s. */
bool virtio_reset(struct virtio_device *d);
/* Up to FEATURES_OK with those of `wanted` that are offered, and VERSION_1. */
bool virtio_negotiate(struct virtio_device *d, uint64_t wanted);
/* Hands the device a queue at these addresses; the size is the device's, at most VIRTIO_QUEUE_MAX. 0: there is no such queue. */
struct virtio_rings {
	uint64_t desc, avail, used;
};
uint16_t virtio_set_queue(struct virtio_device *d, uint16_t queue, const struct virtio_rings *at);
bool virtio_queue_enabled(const struct virtio_device *d, uint16_t queue);
void virtio_driver_ok(struct virtio_device *d);
/* All of it, with one empty queue in `ring`. */
bool virtio_start(struct virtio_device *d, uint64_t wanted, uint16_t queue, struct vring *ring);
uint64_t virtio_config64(const struct virtio_device *d, uint32_t offset);
static inline bool virtio_has(const struct virtio_device *d, uint32_t feature)
{
	return d->features >> feature & 1;
}
/* Makes a chain available, to be seen by the device with virtio_publish, which also notifies it unless it said that it looks by itself. */
void virtio_offer(struct virtio_device *d, uint16_t head);
void virtio_publish(struct virtio_device *d);
/* The same, notifying whatever the device said. */
void virtio_kick(struct virtio_device *d);
/* Takes the next used element; false when there is none. */
bool virtio_take(struct virtio_device *d, uint32_t *ret_id, uint32_t *ret_len);
/* How far the device's index is beyond what was taken; more than the queue's size is the device's fault. */
uint16_t virtio_used_ahead(const struct virtio_device *d);
/* Where something with names of device and transport is said: " blk pci 0x..." behind what is there. */
void virtio_describe(struct line *l, const struct virtio_device *d);

/* ---- blk.c ---- */
#endif
