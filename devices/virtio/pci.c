/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modern virtio over PCI (virtio 1.2 §4.1). BAR 0 has the structures, one page of it all; vector v of MSI-X in BAR 1 is what the driver makes it. No INTx: a driver without MSI-X polls.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "base/bytes.h"
#include "base/num.h"
#include "pci_transport.h"

#define VENDOR_ID 0x1af4u
#define DEVICE_ID_BASE 0x1040u /* plus the virtio device's (§4.1.2) */
#define REVISION 1u

/* BAR 0. */
#define COMMON_OFFSET 0x000u
#define ISR_OFFSET 0x100u
#define DEVICE_OFFSET 0x200u
#define NOTIFY_OFFSET 0x400u
#define NOTIFY_STEP 4u /* queue q is notified at q * NOTIFY_STEP (§4.1.4.4) */
#define NOTIFY_BYTES (VIRTIO_MAX_QUEUES * NOTIFY_STEP)
#define BAR_BYTES 0x1000u

_Static_assert(DEVICE_OFFSET + VIRTIO_CONFIG_MAX <= NOTIFY_OFFSET &&
		       NOTIFY_OFFSET + NOTIFY_BYTES <= BAR_BYTES &&
		       VIRTIO_MAX_QUEUES + 1 <= PCI_MAX_MSIX,
	       "structures do not overlap, and there is a vector for each queue");

/* With MSI-X the driver does not look at the ISR status; it is kept for one that polls. */
static void interrupt(void *transport, int queue)
{
	struct virtio_pci *t = transport;
	unsigned int bit = queue < 0 ? VIRTIO_PCI_ISR_CONFIG : 1;
	unsigned int vector = atomic_load(queue < 0 ? &t->config_vector : &t->queue_vector[queue]);

	if (!(atomic_load(&t->isr) & bit))
		atomic_fetch_or(&t->isr, bit);
	if (vector != VIRTIO_MSI_NO_VECTOR)
		pci_msix_send(t->pci, vector);
}

static const struct virtio_transport_ops transport_ops = { .interrupt = interrupt };

/* The ioeventfd of queue @queue, of any size: what is written says nothing that its address does not, and KVM need not decode the instruction. */
static int set_event(struct virtio_pci *t, unsigned int queue, bool on)
{
	const struct dev_host_ops *ops = t->host.ops;
	uint64_t gpa = t->bar_gpa + NOTIFY_OFFSET + (uint64_t)queue * NOTIFY_STEP;
	int fd = t->v->queue[queue].kick_fd;

	if (on)
		return ops->notify_add(t->host.opaque, gpa, 0, false, 0, fd, NULL);
	ops->notify_del(t->host.opaque, gpa, 0, false, 0, fd);
	return 0;
}

/*
 * A notification that came as an exit is the last of its queue that does, until the BAR moves. Not earlier, since an ioeventfd may cost KVM a grace period: that is not spent on queues
 * that nobody uses, and not while a VM that has moved waits to run. Where another BAR has the address the exits stay.
 */
static void notified(struct virtio_pci *t, unsigned int queue)
{
	if (queue >= t->v->nqueues)
		return;
	virtio_kick(t->v, queue);
	pthread_mutex_lock(&t->notify_lock);
	if (t->bar_gpa && t->notify[queue] == NOTIFY_EXIT)
		t->notify[queue] = set_event(t, queue, true) ? NOTIFY_REFUSED : NOTIFY_EVENT;
	pthread_mutex_unlock(&t->notify_lock);
}

static void bar_moved(void *dev, uint64_t gpa)
{
	struct virtio_pci *t = dev;

	pthread_mutex_lock(&t->notify_lock);
	for (unsigned int q = 0; q < t->v->nqueues; q++) {
		if (t->notify[q] == NOTIFY_EVENT)
			set_event(t, q, false);
		t->notify[q] = NOTIFY_EXIT;
	}
	t->bar_gpa = gpa;
	pthread_mutex_unlock(&t->notify_lock);
}

/* True when [offset, offset + size) of BAR 0 lies in the structure of @bytes at @at. */
static bool lies_in(uint64_t offset, unsigned int size_bytes, unsigned int at, unsigned int bytes)
{
	return offset >= at && offset - at <= bytes - size_bytes;
}

static uint64_t bar_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	struct virtio_pci *t = dev;
	unsigned int at = (unsigned int)offset;
	uint8_t bytes[8] = { 0 };

	if (lies_in(offset, size_bytes, COMMON_OFFSET, VIRTIO_PCI_COMMON_BYTES))
		return virtio_pci_common_read(t, at - COMMON_OFFSET, size_bytes);
	if (offset == ISR_OFFSET)
		return atomic_exchange(&t->isr, 0);
	if (lies_in(offset, size_bytes, DEVICE_OFFSET, VIRTIO_CONFIG_MAX))
		virtio_config_read(t->v, at - DEVICE_OFFSET, bytes, size_bytes);
	return le64_get(bytes);
}

static void bar_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct virtio_pci *t = dev;
	unsigned int at = (unsigned int)offset;
	uint8_t bytes[8];

	if (lies_in(offset, size_bytes, COMMON_OFFSET, VIRTIO_PCI_COMMON_BYTES)) {
		virtio_pci_common_write(t, at - COMMON_OFFSET, size_bytes, value);
	} else if (lies_in(offset, size_bytes, DEVICE_OFFSET, VIRTIO_CONFIG_MAX)) {
		le64_put(bytes, value);
		virtio_config_write(t->v, at - DEVICE_OFFSET, bytes, size_bytes);
	} else if (lies_in(offset, 1, NOTIFY_OFFSET, NOTIFY_BYTES) && at % NOTIFY_STEP == 0) {
		notified(t, (at - NOTIFY_OFFSET) / NOTIFY_STEP);
	}
}

/* Bytes of the capability that the driver may write: where, how much, and what. */
static bool window_writable(unsigned int offset)
{
	return offset == VIRTIO_PCI_CAP_BAR || offset >= VIRTIO_PCI_CAP_OFFSET;
}

static bool window_runs(unsigned int offset, unsigned int len_bytes)
{
	return offset + len_bytes > WINDOW_DATA;
}

/* What the window is set to, if that is an access that a driver may make (§4.1.4.9.2). Lock held. */
static bool window_target(const struct virtio_pci *t, unsigned int *ret_offset,
			  unsigned int *ret_len)
{
	uint32_t offset = le32_get(t->window + VIRTIO_PCI_CAP_OFFSET);
	uint32_t len = le32_get(t->window + VIRTIO_PCI_CAP_LENGTH);

	if (t->window[VIRTIO_PCI_CAP_BAR] != 0 || (len != 1 && len != 2 && len != 4) ||
	    offset % len || offset > BAR_BYTES - len)
		return false;
	*ret_offset = offset;
	*ret_len = len;
	return true;
}

static void window_read(void *dev, unsigned int cap, unsigned int offset, unsigned int len_bytes,
			uint8_t *bytes)
{
	struct virtio_pci *t = dev;
	unsigned int at, len;
	uint8_t data[8];
	bool run;

	pthread_mutex_lock(&t->window_lock);
	run = window_runs(offset, len_bytes) && window_target(t, &at, &len);
	pthread_mutex_unlock(&t->window_lock);
	if (run)
		le64_put(data, bar_read(t, at, len));
	pthread_mutex_lock(&t->window_lock);
	if (run)
		memcpy(t->window + WINDOW_DATA, data, len);
	memcpy(bytes, t->window + offset, len_bytes);
	pthread_mutex_unlock(&t->window_lock);
}

static void window_write(void *dev, unsigned int cap, unsigned int offset, unsigned int len_bytes,
			 const uint8_t *bytes)
{
	struct virtio_pci *t = dev;
	unsigned int at, len;
	uint8_t data[8] = { 0 };
	bool run;

	pthread_mutex_lock(&t->window_lock);
	for (unsigned int i = offset; i < offset + len_bytes; i++) {
		if (window_writable(i))
			t->window[i] = bytes[i - offset];
	}
	run = window_runs(offset, len_bytes) && window_target(t, &at, &len);
	if (run)
		memcpy(data, t->window + WINDOW_DATA, len);
	pthread_mutex_unlock(&t->window_lock);
	if (run)
		bar_write(t, at, len, le64_get(data));
}

static const struct pci_device_ops device_ops = {
	.bar = { .read = bar_read, .write = bar_write },
	.bar_moved = bar_moved,
	.cap_read = window_read,
	.cap_write = window_write,
};

/* @len_bytes: of the capability, of which the first are struct virtio_pci_cap's; the rest is zero but for @last. */
static int add_capability(struct virtio_pci *t, uint8_t type, unsigned int len_bytes,
			  uint32_t offset, uint32_t structure_bytes, uint32_t last)
{
	uint8_t body[WINDOW_BYTES] = { 0 };
	int at;

	body[VIRTIO_PCI_CAP_LEN] = (uint8_t)len_bytes;
	body[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	le32_put(body + VIRTIO_PCI_CAP_OFFSET, offset);
	le32_put(body + VIRTIO_PCI_CAP_LENGTH, structure_bytes);
	le32_put(body + VIRTIO_PCI_NOTIFY_CAP_MULT, last);
	if (type == VIRTIO_PCI_CAP_PCI_CFG)
		memcpy(t->window, body, len_bytes);
	at = pci_add_capability(t->pci, PCI_CAP_ID_VNDR, body, len_bytes,
				type == VIRTIO_PCI_CAP_PCI_CFG);
	return MIN(at, 0);
}

static int add_capabilities(struct virtio_pci *t)
{
	const unsigned int plain = sizeof(struct virtio_pci_cap);
	int rc = add_capability(t, VIRTIO_PCI_CAP_COMMON_CFG, plain, COMMON_OFFSET,
				VIRTIO_PCI_COMMON_BYTES, 0);

	if (!rc)
		rc = add_capability(t, VIRTIO_PCI_CAP_NOTIFY_CFG,
				    sizeof(struct virtio_pci_notify_cap), NOTIFY_OFFSET,
				    t->v->nqueues * NOTIFY_STEP, NOTIFY_STEP);
	if (!rc)
		rc = add_capability(t, VIRTIO_PCI_CAP_ISR_CFG, plain, ISR_OFFSET, 1, 0);
	if (!rc && t->v->config_bytes)
		rc = add_capability(t, VIRTIO_PCI_CAP_DEVICE_CFG, plain, DEVICE_OFFSET,
				    t->v->config_bytes, 0);
	if (!rc)
		rc = add_capability(t, VIRTIO_PCI_CAP_PCI_CFG, WINDOW_BYTES, 0, 0, 0);
	return rc;
}

static int create_function(struct virtio_pci *t, struct pci_host *pci, unsigned int slot,
			   struct err *err)
{
	const uint16_t device = (uint16_t)(DEVICE_ID_BASE + t->v->type->device_id);
	const struct pci_device_config config = {
		.slot = slot,
		.vendor = VENDOR_ID,
		.device = device,
		.subsystem_vendor = VENDOR_ID,
		.subsystem = device,
		.revision = REVISION,
		.class_code = t->v->type->pci_class,
		.bar_bytes = BAR_BYTES,
		.nvectors = t->v->nqueues + 1,
	};
	int rc = pci_device_create(pci, &config, &device_ops, t, &t->pci, err);

	if (rc)
		return rc;
	rc = add_capabilities(t);
	return rc ? err_set(err, rc, "PCI: no room for virtio's capabilities") : 0;
}

int virtio_pci_create(struct virtio *v, const struct dev_host *host, struct pci_host *pci,
		      unsigned int slot, struct virtio_pci **ret, struct err *err)
{
	struct virtio_pci *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(err, -ENOMEM, "virtio: out of memory");
	pthread_mutex_init(&t->window_lock, NULL);
	pthread_mutex_init(&t->notify_lock, NULL);
	t->v = v;
	t->host = *host;
	virtio_pci_reset_registers(t);
	rc = create_function(t, pci, slot, err);
	if (rc) {
		err_prefix(err, "device %s", v->id);
		virtio_pci_destroy(t);
		return rc;
	}
	virtio_set_transport(v, &transport_ops, t);
	*ret = t;
	return 0;
}

void virtio_pci_destroy(struct virtio_pci *t)
{
	if (!t)
		return;
	virtio_set_transport(t->v, NULL, NULL);
	pci_device_destroy(t->pci);
	pthread_mutex_destroy(&t->notify_lock);
	pthread_mutex_destroy(&t->window_lock);
	free(t);
}
