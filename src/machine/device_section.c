/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "device_set.h"

/* The `device` sections of CONFIG (docs/spec/state.md §4): what the destination must build before memory moves. */

enum {
	FLAG_READONLY = 1,
	FLAG_DIRECT = 2,
	FLAG_SHARED = 4,
	FLAGS = 7,
};

/* Lists are texts, each with its zero byte: one for each entry of the device, that is one, or one for each port of a console. */
#define LIST_BYTES(text_max) (VIRTIO_CONSOLE_MAX_PORTS * ((text_max) + 1u))

struct device_section {
	uint8_t kind[16];
	uint8_t mmio;
	uint8_t flags;
	uint64_t features;
	uint32_t nqueues, queue_size;
	uint32_t config_bytes;
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint8_t mac[6];
	uint32_t asked_queues;
	uint64_t cid;
	uint64_t ops_per_s, bytes_per_s;
	uint32_t ids_bytes, labels_bytes, locals_bytes;
	uint8_t ids[LIST_BYTES(VIRTIO_ID_MAX)];
	uint8_t labels[LIST_BYTES(MACHINE_LABEL_MAX)];
	uint8_t locals[LIST_BYTES(MACHINE_LOCAL_MAX)];
};

static const struct state_field fields[] = {
	STATE_FIELD_U8(struct device_section, kind),
	STATE_FIELD_(struct device_section, mmio, STATE_U8, 1),
	STATE_FIELD_(struct device_section, flags, STATE_U8, 1),
	STATE_FIELD_(struct device_section, features, STATE_U64, 1),
	STATE_FIELD_(struct device_section, nqueues, STATE_U32, 1),
	STATE_FIELD_(struct device_section, queue_size, STATE_U32, 1),
	STATE_FIELD_VBYTES(struct device_section, config, config_bytes),
	STATE_FIELD_U8(struct device_section, mac),
	STATE_FIELD_(struct device_section, asked_queues, STATE_U32, 1),
	STATE_FIELD_(struct device_section, cid, STATE_U64, 1),
	STATE_FIELD_(struct device_section, ops_per_s, STATE_U64, 1),
	STATE_FIELD_(struct device_section, bytes_per_s, STATE_U64, 1),
	STATE_FIELD_VBYTES(struct device_section, ids, ids_bytes),
	STATE_FIELD_VBYTES(struct device_section, labels, labels_bytes),
	STATE_FIELD_VBYTES(struct device_section, locals, locals_bytes),
};

/* The kind that the section names; MACHINE_DEVICE_KINDS: none. */
static enum machine_device_kind kind_of(const struct device_section *d)
{
	unsigned int kind = 0;

	while (kind < MACHINE_DEVICE_KINDS &&
	       strncmp(machine_device_kind_name((enum machine_device_kind)kind),
		       (const char *)d->kind, sizeof(d->kind)) != 0)
		kind++;
	return (enum machine_device_kind)kind;
}

/* How many texts; -1 when the last one has no end, or one is longer than @max. */
static int count_list(const uint8_t *list, uint32_t len_bytes, size_t max)
{
	const uint8_t *p = list, *end = list + len_bytes;
	int n = 0;

	for (; p < end; n++) {
		const uint8_t *zero = memchr(p, 0, (size_t)(end - p));

		if (!zero || (size_t)(zero - p) > max)
			return -1;
		p = zero + 1;
	}
	return n;
}

static int check(const void *image, struct err *err)
{
	const struct device_section *d = image;
	enum machine_device_kind kind = kind_of(d);
	int max = kind == MACHINE_CONSOLE ? (int)VIRTIO_CONSOLE_MAX_PORTS : 1;
	int n = count_list(d->ids, d->ids_bytes, VIRTIO_ID_MAX);

	if (kind == MACHINE_DEVICE_KINDS)
		return err_set(err, -EOPNOTSUPP, "kind: this vmm has no such device");
	if (d->mmio > 1)
		return err_set(err, -EBADMSG, "mmio %u", d->mmio);
	if (d->flags & ~(unsigned int)FLAGS)
		return err_set(err, -EBADMSG, "flags %#x", d->flags);
	if (!d->nqueues || d->nqueues > VIRTIO_MAX_QUEUES)
		return err_set(err, -EBADMSG, "nqueues %u, expected 1 to %u", d->nqueues,
			       VIRTIO_MAX_QUEUES);
	if (d->queue_size < 2 || d->queue_size > 32768 || (d->queue_size & (d->queue_size - 1)))
		return err_set(err, -EBADMSG, "queue_size %u", d->queue_size);
	if (n < 1 || n > max)
		return err_set(err, -EBADMSG, "ids: expected 1 to %d", max);
	if (count_list(d->labels, d->labels_bytes, MACHINE_LABEL_MAX) != n ||
	    count_list(d->locals, d->locals_bytes, MACHINE_LOCAL_MAX) != n)
		return err_set(err, -EBADMSG, "labels, locals: not as many as ids");
	return 0;
}

const struct state_desc machine_device_section_desc = {
	.name = "device",
	.version = 1,
	.min_version = 1,
	.image_size = sizeof(struct device_section),
	.fields = fields,
	.nfields = ARRAY_LEN(fields),
	.check = check,
};

static void put_text(uint8_t *list, uint32_t *len_bytes, const char *text)
{
	size_t n = strlen(text) + 1;

	memcpy(list + *len_bytes, text, n);
	*len_bytes += (uint32_t)n;
}

static void fill(const struct device_set *s, const struct device_slot *slot,
		 struct device_section *d)
{
	const struct machine_device *dev = &s->config.dev[slot->first];
	struct virtio_face face;

	memset(d, 0, sizeof(*d));
	virtio_get_face(slot->v, &face);
	memcpy(d->kind, face.kind, MIN(strlen(face.kind), sizeof(d->kind)));
	d->mmio = s->config.mmio;
	d->flags = (uint8_t)((dev->readonly ? FLAG_READONLY : 0) | (dev->direct ? FLAG_DIRECT : 0) |
			     (dev->shared ? FLAG_SHARED : 0));
	d->features = face.features;
	d->nqueues = face.nqueues;
	d->queue_size = face.queue_size;
	d->config_bytes = face.config_bytes;
	memcpy(d->config, face.config, sizeof(d->config));
	memcpy(d->mac, dev->mac, sizeof(d->mac));
	d->asked_queues = dev->nqueues;
	d->cid = dev->cid;
	d->ops_per_s = dev->limit.ops_per_s;
	d->bytes_per_s = dev->limit.bytes_per_s;
	for (unsigned int i = 0; i < slot->n; i++) {
		put_text(d->ids, &d->ids_bytes, dev[i].id);
		put_text(d->labels, &d->labels_bytes, dev[i].label);
		put_text(d->locals, &d->locals_bytes, dev[i].local);
	}
}

int device_sections_encode(struct device_set *s, struct buf *out, struct err *err)
{
	struct device_section image;
	int rc = 0;

	for (unsigned int i = 0; s && !rc && i < s->nslots; i++) {
		fill(s, &s->slot[i], &image);
		rc = state_encode(&machine_device_section_desc, s->slot[i].slot, &image, out, err);
	}
	return rc;
}

/* The next text of a list that check() has counted. */
static void take_text(const uint8_t **list, char *ret)
{
	size_t n = strlen((const char *)*list) + 1;

	memcpy(ret, *list, n);
	*list += n;
}

static void take_face(const struct device_section *d, enum machine_device_kind kind,
		      struct virtio_face *ret)
{
	*ret = (struct virtio_face){
		.kind = machine_device_kind_name(kind),
		.features = d->features,
		.nqueues = d->nqueues,
		.queue_size = d->queue_size,
		.config_bytes = d->config_bytes,
	};
	memcpy(ret->config, d->config, sizeof(ret->config));
}

static int take_entries(const struct device_section *d, enum machine_device_kind kind,
			struct machine_devices *ret, struct err *err)
{
	const uint8_t *ids = d->ids, *labels = d->labels, *locals = d->locals;

	while (ids < d->ids + d->ids_bytes) {
		struct machine_device *dev = &ret->dev[ret->n];

		if (ret->n == MACHINE_MAX_DEVICES)
			return err_set(err, -EBADMSG, "section device: too many devices");
		*dev = (struct machine_device){
			.kind = kind,
			.nqueues = d->asked_queues,
			.readonly = d->flags & FLAG_READONLY,
			.direct = d->flags & FLAG_DIRECT,
			.shared = d->flags & FLAG_SHARED,
			.cid = d->cid,
			.limit = { .ops_per_s = d->ops_per_s, .bytes_per_s = d->bytes_per_s },
		};
		memcpy(dev->mac, d->mac, sizeof(dev->mac));
		take_text(&ids, dev->id);
		take_text(&labels, dev->label);
		take_text(&locals, dev->local);
		ret->n++;
	}
	return 0;
}

/* Slots follow from the order of the devices: a source that has them elsewhere is another machine. */
static int take_slot(const struct device_section *d, uint32_t slot, struct device_sections *ret,
		     struct err *err)
{
	enum machine_device_kind kind = kind_of(d);
	const struct machine_devices *c = &ret->devices;

	if (ret->nslots && (c->mmio != (d->mmio == 1) || kind < c->dev[c->n - 1].kind ||
			    (kind == MACHINE_CONSOLE && kind == c->dev[c->n - 1].kind)))
		return err_set(err, -EBADMSG, "section device.%u: transport or order", slot);
	ret->devices.mmio = d->mmio;
	if (ret->nslots == PCI_SLOTS || slot != ret->nslots + (d->mmio ? 0 : 1))
		return err_set(err, -EOPNOTSUPP, "section device.%u: expected slot %u", slot,
			       ret->nslots + (d->mmio ? 0 : 1));
	take_face(d, kind, &ret->face[ret->nslots++]);
	return take_entries(d, kind, &ret->devices, err);
}

int device_sections_decode(struct reader *in, struct device_sections *ret, struct err *err)
{
	unsigned int bad;

	memset(ret, 0, sizeof(*ret));
	for (;;) {
		struct reader peek = *in;
		struct state_section section;
		struct device_section image;
		int rc = state_next_section(&peek, &section, err);

		if (rc == -ENODATA ||
		    (!rc && strcmp(section.name, machine_device_section_desc.name) != 0))
			break;
		if (!rc)
			rc = state_decode(&machine_device_section_desc, &section, &image, err);
		if (!rc)
			rc = take_slot(&image, section.instance, ret, err);
		if (rc)
			return rc;
		*in = peek;
	}
	if (!machine_devices_settle(&ret->devices, &bad, err))
		return 0;
	err_prefix(err, "section device");
	return -EBADMSG;
}
