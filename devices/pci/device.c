/* SPDX-License-Identifier: Apache-2.0 */
/* A function on the bus: its creation, what its registers do, its state. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "base/bytes.h"
#include "base/num.h"
#include "host.h"

#define BAR_MSIX 1u

static uint16_t command_of(const struct pci_device *d)
{
	return le16_get(d->config.bytes + PCI_COMMAND);
}

static bool is_master(const struct pci_device *d)
{
	return command_of(d) & PCI_COMMAND_MASTER;
}

/* Of a function with MSI-X: that capability is its first. */
#define MSIX_CAP PCI_STD_HEADER_SIZEOF
#define MSIX_CONTROL (MSIX_CAP + PCI_MSIX_FLAGS)

static uint16_t msix_control_of(const struct pci_device *d)
{
	return d->msix.nvectors ? le16_get(d->config.bytes + MSIX_CONTROL) : 0;
}

void pci_device_place_bars(struct pci_device *d)
{
	uint64_t was = d->bar_gpa[0];

	for (unsigned int i = 0; i < PCI_NBARS; i++)
		d->bar_gpa[i] = pci_config_bar_gpa(&d->config, i, &d->host->layout);
	if (d->bar_gpa[0] != was)
		d->ops.bar_moved(d->dev, d->bar_gpa[0]);
}

void pci_device_follow(struct pci_device *d)
{
	pci_device_place_bars(d);
	msix_set_control(&d->msix, msix_control_of(d), is_master(d));
}

static int check_config(const struct pci_host *p, const struct pci_device_config *c,
			struct err *err)
{
	if (!c->slot || c->slot >= PCI_SLOTS)
		return err_set(err, -EINVAL, "PCI: slot %u, slots are 1 to %u", c->slot,
			       PCI_SLOTS - 1);
	if (p->slot[c->slot])
		return err_set(err, -EBUSY, "PCI: slot %u is taken", c->slot);
	if (c->bar_bytes < PCI_BAR_MIN_BYTES || (c->bar_bytes & (c->bar_bytes - 1)) ||
	    !c->nvectors || c->nvectors > PCI_MAX_MSIX)
		return err_set(err, -EINVAL, "PCI: a device with %u bytes and %u vectors",
			       c->bar_bytes, c->nvectors);
	return 0;
}

/* Addresses are the machine's to give, for there is no firmware; each BAR is aligned to its size. */
static int add_bar(struct pci_device *d, unsigned int bar, uint32_t len_bytes, struct err *err)
{
	struct pci_host *p = d->host;
	uint64_t window_end = p->layout.window_gpa + p->layout.window_bytes;
	uint64_t gpa;

	if (!align_up(p->next_bar, len_bytes, &gpa) || gpa > window_end ||
	    len_bytes > window_end - gpa)
		return err_set(err, -ENOSPC, "PCI: no room for the memory of slot %u", d->slot);
	pci_config_add_bar(&d->config, bar, len_bytes, (uint32_t)gpa);
	p->next_bar = gpa + len_bytes;
	return 0;
}

static void add_msix_capability(struct pci_device *d)
{
	uint8_t body[PCI_CAP_MSIX_SIZEOF] = { 0 };

	le16_put(body + PCI_MSIX_FLAGS, (uint16_t)(d->msix.nvectors - 1));
	le32_put(body + PCI_MSIX_TABLE, MSIX_TABLE_OFFSET | BAR_MSIX);
	le32_put(body + PCI_MSIX_PBA, MSIX_PBA_OFFSET | BAR_MSIX);
	(void)pci_config_add_capability(&d->config, PCI_CAP_ID_MSIX, body, sizeof(body), false);
	le16_put(d->config.writable + MSIX_CONTROL, MSIX_CONTROL_WRITABLE);
}

static int init_device(struct pci_device *d, const struct pci_device_config *config,
		       struct err *err)
{
	const uint32_t devid = d->slot << 3; /* the requester id of function 0 on bus 0 */
	int rc;

	pci_config_init(&d->config, config);
	rc = add_bar(d, 0, config->bar_bytes, err);
	if (!rc)
		rc = add_bar(d, BAR_MSIX, MSIX_BAR_BYTES, err);
	if (!rc)
		rc = msix_init(&d->msix, d->host->dev_host, config->nvectors, devid, err);
	if (!rc)
		add_msix_capability(d);
	return rc;
}

int pci_device_create(struct pci_host *host, const struct pci_device_config *config,
		      const struct pci_device_ops *ops, void *dev, struct pci_device **ret,
		      struct err *err)
{
	struct pci_device *d;
	int rc = check_config(host, config, err);

	if (rc)
		return rc;
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(err, -ENOMEM, "PCI: out of memory");
	d->host = host;
	d->slot = config->slot;
	d->ops = *ops;
	d->dev = dev;
	rc = init_device(d, config, err);
	if (rc) {
		free(d);
		return rc;
	}
	host->slot[d->slot] = d;
	*ret = d;
	return 0;
}

void pci_device_destroy(struct pci_device *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->host->lock);
	d->host->slot[d->slot] = NULL;
	if (d->bar_gpa[0])
		d->ops.bar_moved(d->dev, 0);
	pthread_mutex_unlock(&d->host->lock);
	msix_fini(&d->msix);
	free(d);
}

int pci_add_capability(struct pci_device *d, uint8_t id, const void *body, size_t len_bytes,
		       bool intercept)
{
	return pci_config_add_capability(&d->config, id, body, len_bytes, intercept);
}

void pci_msix_send(struct pci_device *d, unsigned int vector)
{
	msix_send(&d->msix, vector);
}

unsigned int pci_msix_count(const struct pci_device *d)
{
	return d->msix.nvectors;
}

/* state.md, section "pci". */
struct pci_image {
	uint16_t command;
	uint32_t bar[PCI_NBARS];
	uint16_t msix_control;
	uint64_t pending;
	uint32_t table_len;
	uint8_t table[PCI_MAX_MSIX * PCI_MSIX_ENTRY_SIZE];
};

static const struct state_field pci_fields[] = {
	STATE_FIELD_U16(struct pci_image, command),
	STATE_FIELD_U32(struct pci_image, bar),
	STATE_FIELD_U16(struct pci_image, msix_control),
	STATE_FIELD_U64(struct pci_image, pending),
	STATE_FIELD_VBYTES(struct pci_image, table, table_len),
};

static int pci_capture(void *dev, void *image, struct err *err)
{
	struct pci_device *d = dev;
	struct pci_image *img = image;

	pthread_mutex_lock(&d->host->lock);
	img->command = command_of(d);
	for (unsigned int i = 0; i < PCI_NBARS; i++)
		img->bar[i] = le32_get(d->config.bytes + PCI_BASE_ADDRESS_0 + 4 * i);
	img->msix_control = msix_control_of(d) & MSIX_CONTROL_WRITABLE;
	img->table_len = d->msix.nvectors * PCI_MSIX_ENTRY_SIZE;
	msix_save(&d->msix, img->table, &img->pending);
	pthread_mutex_unlock(&d->host->lock);
	return 0;
}

static int check_table(const struct pci_image *img, struct err *err)
{
	unsigned int n = img->table_len / PCI_MSIX_ENTRY_SIZE;

	if (!n || img->table_len % PCI_MSIX_ENTRY_SIZE)
		return err_set(err, -EBADMSG, "table of %u bytes", img->table_len);
	for (unsigned int i = 0; i < n; i++) {
		if (!msix_entry_ok(img->table + PCI_MSIX_ENTRY_SIZE * i))
			return err_set(err, -EBADMSG, "table entry %u", i);
	}
	if (n < 64 && img->pending >> n)
		return err_set(err, -EBADMSG, "pending 0x%llx with %u vectors",
			       (unsigned long long)img->pending, n);
	return 0;
}

static int pci_check(const void *image, struct err *err)
{
	const struct pci_image *img = image;

	if (img->command & ~PCI_COMMAND_WRITABLE)
		return err_set(err, -EBADMSG, "command 0x%x", img->command);
	for (unsigned int i = 0; i < PCI_NBARS; i++) {
		if (img->bar[i] % PCI_BAR_MIN_BYTES)
			return err_set(err, -EBADMSG, "bar %u 0x%x", i, img->bar[i]);
	}
	if (img->msix_control & ~MSIX_CONTROL_WRITABLE)
		return err_set(err, -EBADMSG, "msix_control 0x%x", img->msix_control);
	if (img->pending && !(img->msix_control & PCI_MSIX_FLAGS_ENABLE))
		return err_set(err, -EBADMSG, "pending interrupts with MSI-X off");
	return check_table(img, err);
}

/* What only this device knows of itself. */
static int check_fit(const struct pci_device *d, const struct pci_image *img, struct err *err)
{
	for (unsigned int i = 0; i < PCI_NBARS; i++) {
		if (img->bar[i] % d->config.bar_bytes[i])
			return err_set(err, -EBADMSG, "bar %u 0x%x, of 0x%x bytes here", i,
				       img->bar[i], d->config.bar_bytes[i]);
	}
	if (img->table_len != d->msix.nvectors * PCI_MSIX_ENTRY_SIZE)
		return err_set(err, -EBADMSG, "table of %u bytes, the device here has %u",
			       img->table_len, d->msix.nvectors * PCI_MSIX_ENTRY_SIZE);
	return 0;
}

static int pci_apply(void *dev, const void *image, struct err *err)
{
	struct pci_device *d = dev;
	const struct pci_image *img = image;
	uint8_t *bytes = d->config.bytes;
	int rc = check_fit(d, img, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&d->host->lock);
	le16_put(bytes + PCI_COMMAND, img->command);
	for (unsigned int i = 0; i < PCI_NBARS; i++)
		le32_put(bytes + PCI_BASE_ADDRESS_0 + 4 * i, img->bar[i]);
	le16_put(bytes + MSIX_CONTROL, (uint16_t)(img->msix_control | (d->msix.nvectors - 1)));
	pci_device_place_bars(d);
	rc = msix_load(&d->msix, img->msix_control, is_master(d), img->table, img->pending, err);
	pthread_mutex_unlock(&d->host->lock);
	return rc;
}

const struct state_desc pci_device_state =
	STATE_DESC_("pci", struct pci_image, pci_fields, pci, pci_check);
