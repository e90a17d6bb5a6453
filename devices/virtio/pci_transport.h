/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_PCI_TRANSPORT_H
#define DEVICES_VIRTIO_PCI_TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include <linux/virtio_pci.h>

#include "../pci/pci.h"
#include "core.h"

/* What the files of the PCI transport share: pci.c, pci_common.c (the common configuration structure) and pci_state.c. */

/* Offsets in the capability for configuration access (§4.1.4.9). */
#define WINDOW_DATA offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)
#define WINDOW_BYTES sizeof(struct virtio_pci_cfg_cap)

/* How a queue's notifications come: as exits, by an ioeventfd, or as exits because an ioeventfd could not be had. */
enum virtio_pci_notify { NOTIFY_EXIT, NOTIFY_EVENT, NOTIFY_REFUSED };

struct virtio_pci {
	struct virtio *v;
	struct dev_host host;
	struct pci_device *pci;
	/* Registers. A driver that has several vCPUs at them at once gets what it deserves; each access by itself is whole. */
	atomic_uint device_feature_select, driver_feature_select, queue_select;
	atomic_uint isr;
	atomic_uint config_vector, queue_vector[VIRTIO_MAX_QUEUES];
	/* How notifications come; innermost. */
	pthread_mutex_t notify_lock;
	uint64_t bar_gpa;
	enum virtio_pci_notify notify[VIRTIO_MAX_QUEUES];
	/* The configuration access capability as the driver sees it; never held over the access. */
	pthread_mutex_t window_lock;
	uint8_t window[WINDOW_BYTES];
};

/* As after a reset of the device. */
void virtio_pci_reset_registers(struct virtio_pci *t);
/* The common configuration structure (§4.1.4.3), VIRTIO_PCI_COMMON_BYTES of it; sizes 1, 2, 4, 8, within it. Registers answer to accesses of their own width (§4.1.3.1), 64-bit ones also by halves;
 * what is none reads as zero. vCPU threads; a write of the status may wait for the worker. */
#define VIRTIO_PCI_COMMON_BYTES 0x40u
uint64_t virtio_pci_common_read(struct virtio_pci *t, unsigned int offset, unsigned int size_bytes);
void virtio_pci_common_write(struct virtio_pci *t, unsigned int offset, unsigned int size_bytes,
			     uint64_t value);

#endif
