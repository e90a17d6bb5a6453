/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "base/bytes.h"

void pci_config_init(struct pci_config *c, const struct pci_device_config *config)
{
	*c = (struct pci_config){ .caps_end = PCI_STD_HEADER_SIZEOF };
	le16_put(c->bytes + PCI_VENDOR_ID, config->vendor);
	le16_put(c->bytes + PCI_DEVICE_ID, config->device);
	le32_put(c->bytes + PCI_CLASS_REVISION, config->class_code << 8 | config->revision);
	le16_put(c->bytes + PCI_SUBSYSTEM_VENDOR_ID, config->subsystem_vendor);
	le16_put(c->bytes + PCI_SUBSYSTEM_ID, config->subsystem);
}

/* Address bits below the size are zero and stay so: that is how the guest finds the size (§6.2.5.1). */
void pci_config_add_bar(struct pci_config *c, unsigned int bar, uint32_t len_bytes, uint32_t gpa)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * bar;

	c->bar_bytes[bar] = len_bytes;
	le32_put(c->bytes + at, gpa);
	le32_put(c->writable + at, ~(len_bytes - 1));
	le16_put(c->writable + PCI_COMMAND, PCI_COMMAND_WRITABLE);
}

int pci_config_add_capability(struct pci_config *c, uint8_t id, const void *body, size_t len_bytes,
			      bool intercept)
{
	unsigned int at = c->caps_end;
	unsigned int len = (unsigned int)len_bytes;

	if (len_bytes < 2 || len_bytes > PCI_CONFIG_BYTES - at)
		return -ENOSPC;
	memcpy(c->bytes + at, body, len_bytes);
	c->bytes[at + PCI_CAP_LIST_ID] = id;
	c->bytes[at + PCI_CAP_LIST_NEXT] = 0;
	c->bytes[c->last_cap ? c->last_cap + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST] = (uint8_t)at;
	c->bytes[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	if (intercept)
		memset(c->owner + at + 2, (int)at, len - 2);
	c->last_cap = at;
	c->caps_end = (at + len + 3) & ~3u; /* capabilities are aligned to four bytes (§6.7) */
	return (int)at;
}

void pci_config_read(const struct pci_config *c, unsigned int offset, unsigned int len_bytes,
		     uint8_t *bytes)
{
	memcpy(bytes, c->bytes + offset, len_bytes);
}

void pci_config_write(struct pci_config *c, unsigned int offset, unsigned int len_bytes,
		      const uint8_t *bytes)
{
	for (unsigned int i = 0; i < len_bytes; i++) {
		uint8_t mask = c->writable[offset + i];
		uint8_t *b = &c->bytes[offset + i];

		*b = (uint8_t)((*b & ~mask) | (bytes[i] & mask));
	}
}

uint64_t pci_config_bar_gpa(const struct pci_config *c, unsigned int bar,
			    const struct pci_layout *layout)
{
	uint64_t len_bytes = c->bar_bytes[bar];
	uint64_t gpa = le32_get(c->bytes + PCI_BASE_ADDRESS_0 + 4 * bar);

	if (!len_bytes || !(le16_get(c->bytes + PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return 0;
	if (gpa < layout->window_gpa || len_bytes > layout->window_bytes ||
	    gpa - layout->window_gpa > layout->window_bytes - len_bytes)
		return 0;
	return gpa;
}
