/* SPDX-License-Identifier: Apache-2.0 */
/* What the PCI transport of a virtio device has to remember. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "pci_transport.h"

/* state.md, section "virtio-pci". */
struct virtio_pci_image {
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t queue_select;
	uint8_t isr;
	uint16_t config_vector;
	uint16_t queue_vectors[VIRTIO_MAX_QUEUES];
	uint8_t window_bar;
	uint32_t window_offset;
	uint32_t window_len;
	uint8_t window_data[4];
};

static const struct state_field virtio_pci_fields[] = {
	STATE_FIELD_U32(struct virtio_pci_image, device_feature_select),
	STATE_FIELD_U32(struct virtio_pci_image, driver_feature_select),
	STATE_FIELD_U16(struct virtio_pci_image, queue_select),
	STATE_FIELD_U8(struct virtio_pci_image, isr),
	STATE_FIELD_U16(struct virtio_pci_image, config_vector),
	STATE_FIELD_U16(struct virtio_pci_image, queue_vectors),
	STATE_FIELD_U8(struct virtio_pci_image, window_bar),
	STATE_FIELD_U32(struct virtio_pci_image, window_offset),
	STATE_FIELD_U32(struct virtio_pci_image, window_len),
	STATE_FIELD_U8(struct virtio_pci_image, window_data),
};

static int virtio_pci_capture(void *dev, void *image, struct err *err)
{
	struct virtio_pci *t = dev;
	struct virtio_pci_image *img = image;

	img->device_feature_select = atomic_load(&t->device_feature_select);
	img->driver_feature_select = atomic_load(&t->driver_feature_select);
	img->queue_select = (uint16_t)atomic_load(&t->queue_select);
	img->isr = (uint8_t)atomic_load(&t->isr);
	img->config_vector = (uint16_t)atomic_load(&t->config_vector);
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		img->queue_vectors[q] = (uint16_t)atomic_load(&t->queue_vector[q]);
	pthread_mutex_lock(&t->window_lock);
	img->window_bar = t->window[VIRTIO_PCI_CAP_BAR];
	img->window_offset = le32_get(t->window + VIRTIO_PCI_CAP_OFFSET);
	img->window_len = le32_get(t->window + VIRTIO_PCI_CAP_LENGTH);
	memcpy(img->window_data, t->window + WINDOW_DATA, sizeof(img->window_data));
	pthread_mutex_unlock(&t->window_lock);
	return 0;
}

/* Vectors below @limit, and none for queues from @nqueues on. */
static int check_vectors(const struct virtio_pci_image *img, unsigned int limit,
			 unsigned int nqueues, struct err *err)
{
	if (img->config_vector >= limit && img->config_vector != VIRTIO_MSI_NO_VECTOR)
		return err_set(err, -EBADMSG, "config_vector %u", img->config_vector);
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++) {
		if (img->queue_vectors[q] != VIRTIO_MSI_NO_VECTOR &&
		    (img->queue_vectors[q] >= limit || q >= nqueues))
			return err_set(err, -EBADMSG, "queue_vectors[%u] %u", q,
				       img->queue_vectors[q]);
	}
	return 0;
}

static int virtio_pci_check(const void *image, struct err *err)
{
	const struct virtio_pci_image *img = image;

	if (img->isr & ~(1u | VIRTIO_PCI_ISR_CONFIG))
		return err_set(err, -EBADMSG, "isr 0x%x", img->isr);
	return check_vectors(img, PCI_MAX_MSIX, VIRTIO_MAX_QUEUES, err);
}

static int virtio_pci_apply(void *dev, const void *image, struct err *err)
{
	struct virtio_pci *t = dev;
	const struct virtio_pci_image *img = image;
	int rc = check_vectors(img, pci_msix_count(t->pci), t->v->nqueues, err);

	if (rc)
		return rc;
	atomic_store(&t->device_feature_select, img->device_feature_select);
	atomic_store(&t->driver_feature_select, img->driver_feature_select);
	atomic_store(&t->queue_select, img->queue_select);
	atomic_store(&t->isr, img->isr);
	atomic_store(&t->config_vector, img->config_vector);
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		atomic_store(&t->queue_vector[q], img->queue_vectors[q]);
	pthread_mutex_lock(&t->window_lock);
	t->window[VIRTIO_PCI_CAP_BAR] = img->window_bar;
	le32_put(t->window + VIRTIO_PCI_CAP_OFFSET, img->window_offset);
	le32_put(t->window + VIRTIO_PCI_CAP_LENGTH, img->window_len);
	memcpy(t->window + WINDOW_DATA, img->window_data, sizeof(img->window_data));
	pthread_mutex_unlock(&t->window_lock);
	return 0;
}

static const struct state_desc transport_state = STATE_DESC_(
	"virtio-pci", struct virtio_pci_image, virtio_pci_fields, virtio_pci, virtio_pci_check);

unsigned int virtio_pci_state_entries(struct virtio_pci *t, uint32_t instance,
				      struct state_entry *entries)
{
	entries[0] = (struct state_entry){ &pci_device_state, instance, t->pci };
	entries[1] = (struct state_entry){ &transport_state, instance, t };
	return 2;
}
