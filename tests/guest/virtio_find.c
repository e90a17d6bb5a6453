/* SPDX-License-Identifier: Apache-2.0 */
/* Which virtio devices there are: PCI's by their configuration space (virtio 1.2 §4.1), others by where the machine has them (§4.2). */
#include "layout.h"
#include "virtio.h"

/* PCI 3.0 §6.1 */
#define PCI_SLOT_BYTES 0x8000u
#define PCI_SLOTS 32u
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 2
#define PCI_COMMAND_MASTER 4
#define PCI_BAR 0x10
#define PCI_CAPABILITIES 0x34
#define PCI_CAP_VENDOR 0x09
#define CAPABILITIES_MAX 48u
#define VENDOR_VIRTIO 0x1af4
#define DEVICE_MODERN 0x1040 /* plus the type */

/* §4.1.4 */
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_DEVICE 4

#define MMIO_MAGIC 0x74726976
#define MMIO_MODERN 2

static uint64_t bar_address(uint64_t at, uint8_t bar)
{
	uint32_t low;

	if (bar > 5)
		return 0;
	low = mmio_read32(at + PCI_BAR + 4u * bar);
	if (low & 1)
		return 0;
	if ((low & 6) == 4 && bar < 5)
		return (low & ~15u) | (uint64_t)mmio_read32(at + PCI_BAR + 4u * bar + 4) << 32;
	return low & ~15u;
}

static void read_capability(struct virtio_device *d, uint64_t cap)
{
	uint64_t bar = bar_address(d->at, mmio_read8(cap + 4));
	uint64_t where = bar ? bar + mmio_read32(cap + 8) : 0;

	/* Only what ring 3 sees: below 4 GiB. */
	if (where >> 32)
		return;
	switch (mmio_read8(cap + 3)) {
	case CAP_COMMON:
		d->common = where;
		break;
	case CAP_NOTIFY:
		d->notify = where;
		d->notify_multiplier = mmio_read32(cap + 16);
		break;
	case CAP_DEVICE:
		d->config = where;
		break;
	default:
		break;
	}
}

static bool find_pci(uint64_t at, struct virtio_device *ret)
{
	uint32_t id = mmio_read32(at);
	uint8_t cap;

	if ((id & 0xffff) != VENDOR_VIRTIO || id >> 16 <= DEVICE_MODERN)
		return false;
	*ret = (struct virtio_device){ .pci = true, .at = at, .kind = (id >> 16) - DEVICE_MODERN };
	mmio_write16(at + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	cap = mmio_read8(at + PCI_CAPABILITIES) & 0xfc;
	for (uint32_t i = 0; cap && i < CAPABILITIES_MAX; i++) {
		if (mmio_read8(at + cap) == PCI_CAP_VENDOR)
			read_capability(ret, at + cap);
		cap = mmio_read8(at + cap + 1) & 0xfc;
	}
	return ret->common && ret->notify;
}

static bool find_mmio(uint64_t at, struct virtio_device *ret)
{
	if (mmio_read32(at) != MMIO_MAGIC || mmio_read32(at + 4) != MMIO_MODERN)
		return false;
	*ret = (struct virtio_device){ .at = at, .kind = mmio_read32(at + 8) };
	return ret->kind != 0;
}

uint32_t virtio_find(struct virtio_device *found, uint32_t max)
{
	static const struct virtio_slots slots[] = { VIRTIO_MMIO_SLOTS };
	uint32_t n = 0;

	/* Without a bus all bits are ones, and then there is no host bridge in slot 0. */
	if (mmio_read32(VIRTIO_ECAM_PA) != UINT32_MAX)
		for (uint32_t slot = 1; slot < PCI_SLOTS && n < max; slot++)
			n += find_pci(VIRTIO_ECAM_PA + slot * PCI_SLOT_BYTES, &found[n]);
	for (uint32_t kind = 0; kind < sizeof(slots) / sizeof(slots[0]); kind++)
		for (uint32_t slot = 0; slot < slots[kind].count && n < max; slot++)
			n += find_mmio(slots[kind].base + slot * slots[kind].step, &found[n]);
	return n;
}
