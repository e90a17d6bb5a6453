/* SPDX-License-Identifier: Apache-2.0 */
/* The common configuration structure of virtio over PCI (virtio 1.2 §4.1.4.3): the registers of device and queues. */
#include "pci_transport.h"

void virtio_pci_reset_registers(struct virtio_pci *t)
{
	atomic_store(&t->device_feature_select, 0);
	atomic_store(&t->driver_feature_select, 0);
	atomic_store(&t->queue_select, 0);
	atomic_store(&t->config_vector, VIRTIO_MSI_NO_VECTOR);
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		atomic_store(&t->queue_vector[q], VIRTIO_MSI_NO_VECTOR);
	atomic_store(&t->isr, 0);
}

/* A vector that the device does not have reads back as none, which tells the driver (§4.1.5.1.2.1). */
static unsigned int usable_vector(const struct virtio_pci *t, uint32_t value)
{
	return value < pci_msix_count(t->pci) ? value : VIRTIO_MSI_NO_VECTOR;
}

/* The address that the 32-bit register at @offset holds a half of; NULL: none. The high half is the one with bit 2. */
static uint64_t *address_at(struct virtio_queue_regs *regs, unsigned int offset)
{
	switch (offset & ~4u) {
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return &regs->desc_gpa;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return &regs->avail_gpa;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return &regs->used_gpa;
	default:
		return NULL;
	}
}

static uint32_t read_queue(struct virtio_pci *t, unsigned int offset)
{
	unsigned int queue = atomic_load(&t->queue_select);
	struct virtio_queue_regs regs;
	uint64_t *address;
	uint16_t max;

	if (!virtio_get_queue(t->v, queue, &regs, &max))
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return regs.size ? regs.size : max;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return atomic_load(&t->queue_vector[queue]);
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return regs.enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return queue;
	default:
		address = address_at(&regs, offset);
		return address ? virtio_half(*address, offset / 4 & 1) : 0;
	}
}

static void write_queue(struct virtio_pci *t, unsigned int offset, uint32_t value)
{
	unsigned int queue = atomic_load(&t->queue_select);
	struct virtio_queue_regs regs;
	uint64_t *address;
	uint16_t max;

	if (!virtio_get_queue(t->v, queue, &regs, &max))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		regs.size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		atomic_store(&t->queue_vector[queue], usable_vector(t, value));
		return;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value != 1) /* only a reset disables (§4.1.4.3.2) */
			return;
		regs.enabled = true;
		break;
	default:
		address = address_at(&regs, offset);
		if (!address)
			return;
		*address = virtio_with_half(*address, offset / 4 & 1, value);
	}
	virtio_set_queue(t->v, queue, &regs);
}

static unsigned int width_at(unsigned int offset)
{
	if (offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_CFGGENERATION)
		return 1;
	return offset >= VIRTIO_PCI_COMMON_MSIX && offset < VIRTIO_PCI_COMMON_Q_DESCLO ? 2 : 4;
}

static uint32_t read_register(struct virtio_pci *t, unsigned int offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return atomic_load(&t->device_feature_select);
	case VIRTIO_PCI_COMMON_DF:
		return virtio_half(virtio_get_features(t->v),
				   atomic_load(&t->device_feature_select));
	case VIRTIO_PCI_COMMON_GFSELECT:
		return atomic_load(&t->driver_feature_select);
	case VIRTIO_PCI_COMMON_GF:
		return virtio_half(virtio_get_driver_features(t->v),
				   atomic_load(&t->driver_feature_select));
	case VIRTIO_PCI_COMMON_MSIX:
		return atomic_load(&t->config_vector);
	case VIRTIO_PCI_COMMON_NUMQ:
		return t->v->nqueues;
	case VIRTIO_PCI_COMMON_STATUS:
		return virtio_get_status(t->v);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return (uint8_t)virtio_config_read(t->v, 0, NULL, 0);
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return atomic_load(&t->queue_select);
	default:
		return read_queue(t, offset);
	}
}

/* A reset has happened when the write returns; the driver reads 0 then (§4.1.4.3.1). */
static void write_status(struct virtio_pci *t, uint8_t status)
{
	virtio_set_status(t->v, status);
	if (!status)
		virtio_pci_reset_registers(t);
}

static void write_register(struct virtio_pci *t, unsigned int offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		atomic_store(&t->device_feature_select, value);
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		atomic_store(&t->driver_feature_select, value);
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_set_driver_features(
			t->v, virtio_with_half(virtio_get_driver_features(t->v),
					       atomic_load(&t->driver_feature_select), value));
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		atomic_store(&t->config_vector, usable_vector(t, value));
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		write_status(t, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		atomic_store(&t->queue_select, (uint16_t)value);
		break;
	default:
		write_queue(t, offset, value);
		break;
	}
}

uint64_t virtio_pci_common_read(struct virtio_pci *t, unsigned int offset, unsigned int size_bytes)
{
	if (size_bytes == 8)
		return virtio_pci_common_read(t, offset, 4) |
		       virtio_pci_common_read(t, offset + 4, 4) << 32;
	return width_at(offset) == size_bytes ? read_register(t, offset) : 0;
}

void virtio_pci_common_write(struct virtio_pci *t, unsigned int offset, unsigned int size_bytes,
			     uint64_t value)
{
	if (size_bytes == 8) {
		virtio_pci_common_write(t, offset, 4, (uint32_t)value);
		virtio_pci_common_write(t, offset + 4, 4, value >> 32);
	} else if (width_at(offset) == size_bytes) {
		write_register(t, offset, (uint32_t)value);
	}
}
