/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_PCI_HOST_H
#define DEVICES_PCI_HOST_H

#include <pthread.h>

#include "config.h"
#include "msix.h"
#include "pci.h"

/*
 * The bus and what stands on it. The bus's lock guards the configuration spaces, BAR addresses included; it is held over bar_moved and taken ahead of a function's MSI-X lock. A device's own
 * accesses (its BAR, its capabilities) are called without it: they may wait for the device's worker.
 */
struct pci_device {
	struct pci_host *host;
	unsigned int slot;
	struct pci_device_ops ops;
	void *dev;
	struct pci_config config;
	uint64_t bar_gpa[PCI_NBARS]; /* 0: decoded nowhere */
	struct msix msix;
};

struct pci_host {
	pthread_mutex_t lock;
	struct pci_layout layout;
	const struct dev_host *dev_host;
	uint64_t next_bar; /* in the window, for the next device's */
	struct pci_device bridge;
	struct pci_device *slot[PCI_SLOTS]; /* fixed once the guest runs */
};

/* Does what the registers of the configuration space say now: where BARs answer, whether messages are sent. Bus's lock held. */
void pci_device_follow(struct pci_device *d);
/* The decoding half of it: BARs alone. */
void pci_device_place_bars(struct pci_device *d);

#endif
