/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: configuration accesses (ECAM) and accesses to memory BARs, each to the function that it means. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "base/bytes.h"
#include "base/num.h"

#define ECAM_FUNCTION_BYTES 4096u
#define ECAM_SLOT_BYTES (8 * ECAM_FUNCTION_BYTES)

#define WINDOW_ALIGN 0x10000u

#define CLASS_HOST_BRIDGE 0x060000u

/* A piece of a configuration access: bytes of one owner (struct pci_config). */
struct piece {
	unsigned int offset, len_bytes, owner;
};

/* The next piece of [offset, end). */
static struct piece next_piece(const struct pci_config *c, unsigned int offset, unsigned int end)
{
	struct piece p = { .offset = offset, .owner = c->owner[offset] };

	while (offset < end && c->owner[offset] == p.owner)
		offset++;
	p.len_bytes = offset - p.offset;
	return p;
}

/*
 * The function and register that [offset, offset + size_bytes) of the ECAM area means; NULL where nothing answers: no device, another function than 0, across the end of
 * a configuration space. *ret_len: how many bytes lie in the first 256; a function without PCI Express has none beyond.
 */
static struct pci_device *find_register(struct pci_host *p, uint64_t offset,
					unsigned int size_bytes, unsigned int *ret_reg,
					unsigned int *ret_len)
{
	unsigned int in_slot = (unsigned int)(offset % ECAM_SLOT_BYTES);

	if (offset >= PCI_ECAM_BYTES || in_slot + size_bytes > ECAM_FUNCTION_BYTES)
		return NULL;
	*ret_reg = in_slot;
	*ret_len = in_slot < PCI_CONFIG_BYTES ? MIN(size_bytes, PCI_CONFIG_BYTES - in_slot) : 0;
	return p->slot[offset / ECAM_SLOT_BYTES];
}

/* Reads of the device's own bytes come first: they are made without the lock and may take their time. */
static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned int size_bytes)
{
	struct pci_host *p = opaque;
	uint8_t bytes[8] = { 0 };
	unsigned int reg, len;
	struct pci_device *d = find_register(p, offset, size_bytes, &reg, &len);

	if (!d) {
		memset(bytes, 0xff, size_bytes);
		return le64_get(bytes);
	}
	pthread_mutex_lock(&p->lock);
	pci_config_read(&d->config, reg, len, bytes);
	pthread_mutex_unlock(&p->lock);
	for (unsigned int at = reg; at < reg + len;) {
		struct piece piece = next_piece(&d->config, at, reg + len);

		if (piece.owner && d->ops.cap_read)
			d->ops.cap_read(d->dev, piece.owner, piece.offset - piece.owner,
					piece.len_bytes, bytes + (piece.offset - reg));
		at += piece.len_bytes;
	}
	return le64_get(bytes);
}

static void ecam_write(void *opaque, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct pci_host *p = opaque;
	uint8_t bytes[8];
	unsigned int reg, len;
	struct pci_device *d = find_register(p, offset, size_bytes, &reg, &len);

	if (!d)
		return;
	le64_put(bytes, value);
	pthread_mutex_lock(&p->lock);
	pci_config_write(&d->config, reg, len, bytes);
	pci_device_follow(d);
	pthread_mutex_unlock(&p->lock);
	for (unsigned int at = reg; at < reg + len;) {
		struct piece piece = next_piece(&d->config, at, reg + len);

		if (piece.owner && d->ops.cap_write)
			d->ops.cap_write(d->dev, piece.owner, piece.offset - piece.owner,
					 piece.len_bytes, bytes + (piece.offset - reg));
		at += piece.len_bytes;
	}
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

/* The BAR that holds all of [gpa, gpa + size_bytes). Where several do, the lowest slot's answers: what else could be done about it is the guest's to do. */
static struct pci_device *find_bar(struct pci_host *p, uint64_t gpa, unsigned int size_bytes,
				   unsigned int *ret_bar, uint64_t *ret_offset)
{
	struct pci_device *found = NULL;

	pthread_mutex_lock(&p->lock);
	for (unsigned int i = 0; i < PCI_SLOTS * PCI_NBARS && !found; i++) {
		struct pci_device *d = p->slot[i / PCI_NBARS];
		unsigned int bar = i % PCI_NBARS;

		if (!d || !d->bar_gpa[bar] || gpa < d->bar_gpa[bar] ||
		    gpa - d->bar_gpa[bar] > d->config.bar_bytes[bar] - size_bytes)
			continue;
		*ret_bar = bar;
		*ret_offset = gpa - d->bar_gpa[bar];
		found = d;
	}
	pthread_mutex_unlock(&p->lock);
	return found;
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned int size_bytes)
{
	struct pci_host *p = opaque;
	unsigned int bar;
	uint64_t at;
	struct pci_device *d = find_bar(p, p->layout.window_gpa + offset, size_bytes, &bar, &at);

	if (!d)
		return UINT64_MAX;
	if (bar)
		return msix_read(&d->msix, at, size_bytes);
	return d->ops.bar.read(d->dev, at, size_bytes);
}

static void window_write(void *opaque, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct pci_host *p = opaque;
	unsigned int bar;
	uint64_t at;
	struct pci_device *d = find_bar(p, p->layout.window_gpa + offset, size_bytes, &bar, &at);

	if (!d)
		return;
	if (bar)
		msix_write(&d->msix, at, size_bytes, value);
	else
		d->ops.bar.write(d->dev, at, size_bytes, value);
}

static const struct bus_ops window_ops = { .read = window_read, .write = window_write };

static int check_layout(const struct pci_layout *l, struct err *err)
{
	const uint64_t limit = 1ull << 32;

	if (l->ecam_gpa % PCI_ECAM_BYTES)
		return err_set(err, -EINVAL, "PCI: configuration space at 0x%llx is not aligned",
			       (unsigned long long)l->ecam_gpa);
	if (!l->window_gpa || !l->window_bytes || l->window_gpa % WINDOW_ALIGN ||
	    l->window_bytes % WINDOW_ALIGN || l->window_gpa >= limit ||
	    l->window_bytes > limit - l->window_gpa)
		return err_set(err, -EINVAL, "PCI: window of 0x%llx bytes at 0x%llx is not usable",
			       (unsigned long long)l->window_bytes,
			       (unsigned long long)l->window_gpa);
	return 0;
}

/* Slot 0, as the generic host bridge of pci.ids; all of it is read-only. */
static void init_bridge(struct pci_host *p)
{
	static const struct pci_device_config config = { .vendor = 0x1b36,
							 .device = 0x0008,
							 .class_code = CLASS_HOST_BRIDGE };

	p->bridge.host = p;
	pci_config_init(&p->bridge.config, &config);
	p->slot[0] = &p->bridge;
}

int pci_host_create(const struct pci_layout *layout, const struct dev_host *host, struct bus *mmio,
		    struct pci_host **ret, struct err *err)
{
	struct pci_host *p;
	int rc = check_layout(layout, err);

	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, -ENOMEM, "PCI: out of memory");
	pthread_mutex_init(&p->lock, NULL);
	p->layout = *layout;
	p->dev_host = host;
	p->next_bar = layout->window_gpa;
	init_bridge(p);
	rc = bus_add(mmio, layout->ecam_gpa, PCI_ECAM_BYTES, &ecam_ops, p, err);
	if (!rc)
		rc = bus_add(mmio, layout->window_gpa, layout->window_bytes, &window_ops, p, err);
	if (rc) {
		pci_host_destroy(p);
		return rc;
	}
	*ret = p;
	return 0;
}

void pci_host_destroy(struct pci_host *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}
