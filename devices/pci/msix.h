/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_PCI_MSIX_H
#define DEVICES_PCI_MSIX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "devices/host.h"
#include "pci.h"

/*
 * MSI-X (PCI Local Bus 3.0 §6.8.2) of one function: the table, the pending bits and the eventfds behind them. The host holds a vector's message exactly while it may be sent. Any thread; the lock
 * is the innermost of the bus's and held over the host's calls for a message.
 */
#define MSIX_TABLE_OFFSET 0u /* in BAR 1 */
#define MSIX_PBA_OFFSET 2048u
#define MSIX_BAR_BYTES 4096u
#define MSIX_ENTRY_WORDS 4u /* address low and high, data, vector control */
#define MSIX_CONTROL_WRITABLE (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)

_Static_assert(PCI_MAX_MSIX *MSIX_ENTRY_WORDS * 4 <= MSIX_PBA_OFFSET && PCI_MAX_MSIX <= 64,
	       "the table ends ahead of the pending bits, and those are one word");

struct msix_vector {
	uint32_t word[MSIX_ENTRY_WORDS];
	int eventfd;
	unsigned int route; /* the host's number of it */
	bool live; /* the host has its message */
};

struct msix {
	pthread_mutex_t lock; /* everything below that changes */
	const struct dev_host *host;
	uint32_t devid;
	unsigned int nvectors; /* 0: the function has no MSI-X */
	bool enabled;
	bool masked; /* the function is */
	bool master; /* it may write to memory at all: messages are writes */
	uint64_t pending;
	struct msix_vector vector[PCI_MAX_MSIX];
};

/* Opens @nvectors (1 .. PCI_MAX_MSIX) vectors of @host, which is borrowed. Masked, as after a reset. On failure nothing is left. */
int msix_init(struct msix *m, const struct dev_host *host, unsigned int nvectors, uint32_t devid,
	      struct err *err);
void msix_fini(struct msix *m);
/* The message control register's bits and the command register's bus master. */
void msix_set_control(struct msix *m, uint16_t control, bool master);
/* Accesses to BAR 1: aligned words and double words (§6.8.2), others read as zero and write nothing. */
uint64_t msix_read(struct msix *m, uint64_t offset, unsigned int size_bytes);
void msix_write(struct msix *m, uint64_t offset, unsigned int size_bytes, uint64_t value);
/* See pci_msix_send. */
void msix_send(struct msix *m, unsigned int vector);

/* Table, as the guest reads it, and pending bits out and in; @table has nvectors * PCI_MSIX_ENTRY_SIZE bytes. Loading sends nothing: the host may not know all messages before the whole state is loaded. An error
 * is the host's, who refused a message. */
void msix_save(struct msix *m, uint8_t *table, uint64_t *ret_pending);
int msix_load(struct msix *m, uint16_t control, bool master, const uint8_t *table, uint64_t pending,
	      struct err *err);
/* False for what a table entry never reads as. */
bool msix_entry_ok(const uint8_t *entry);

#endif
