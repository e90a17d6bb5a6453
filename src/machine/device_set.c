/* SPDX-License-Identifier: Apache-2.0 */
#include "device_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "vmm/arch.h"
#include "vmm/vm.h"

static int create_transport(struct device_set *s, struct device_slot *slot, struct bus *mmio,
			    struct err *err)
{
	const struct arch_platform *p = &arch_platform;

	if (s->pci)
		return virtio_pci_create(slot->v, &s->host, s->pci, slot->slot, &slot->pci, err);
	return virtio_mmio_create(slot->v, &s->host, mmio,
				  p->virtio_base + (uint64_t)slot->slot * VIRTIO_MMIO_BYTES,
				  p->virtio_gsi + slot->slot, &slot->mmio, err);
}

static int create_slot(struct device_set *s, struct device_slot *slot,
		       const struct virtio_face *face, const struct device_set_env *env,
		       struct err *err)
{
	const struct virtio_common common = { .id = s->config.dev[slot->first].id,
					      .host = s->host,
					      .face = face };
	int rc = device_create(&s->config.dev[slot->first], slot->n, &common, env, &slot->v, err);

	/* Whoever waits for a VM did not name its devices: the id says which. */
	if (rc && face)
		err_prefix(err, "device \"%s\"", s->config.dev[slot->first].id);
	return rc ? rc : create_transport(s, slot, env->mmio, err);
}

/* Entries to slots, in their order; slot 0 of the bus is its host bridge. */
static int give_slots(struct device_set *s, bool came, struct err *err)
{
	const struct machine_devices *c = &s->config;
	unsigned int first = c->mmio ? 0 : 1;
	unsigned int max = c->mmio ? MIN(arch_platform.virtio_slots, PCI_SLOTS) : PCI_SLOTS - 1;

	for (unsigned int i = 0; i < c->n; i++) {
		struct device_slot *last = s->nslots ? &s->slot[s->nslots - 1] : NULL;

		if (last && last->kind == MACHINE_CONSOLE && c->dev[i].kind == MACHINE_CONSOLE) {
			last->n++;
			continue;
		}
		if (s->nslots == max)
			return err_set(err, -EINVAL,
				       "--transport %s: at most %u devices, %s is one more",
				       c->mmio ? "mmio" : "pci", max, c->dev[i].id);
		s->slot[s->nslots] = (struct device_slot){
			.kind = c->dev[i].kind,
			.slot = first + s->nslots,
			.first = i,
			.n = 1,
			.released = came,
		};
		s->nslots++;
	}
	return 0;
}

static int create_pci(struct device_set *s, struct bus *mmio, struct err *err)
{
	const struct pci_layout layout = {
		.ecam_gpa = arch_platform.pci_ecam_base,
		.window_gpa = arch_platform.pci_window_base,
		.window_bytes = arch_platform.pci_window_bytes,
	};

	return pci_host_create(&layout, &s->host, mmio, &s->pci, err);
}

int device_set_create(const struct machine_devices *config, const struct virtio_face *faces,
		      const struct device_set_env *env, struct device_set **ret, struct err *err)
{
	struct device_set *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(err, -ENOMEM, "no memory for devices");
	s->config.mmio = config->mmio;
	s->config.n = config->n;
	memcpy(s->config.dev, config->dev, config->n * sizeof(config->dev[0]));
	s->host = (struct dev_host){ .ops = &machine_dev_host_ops,
				     .opaque = env->vm,
				     .mem = vm_mem(env->vm) };
	rc = give_slots(s, faces != NULL, err);
	if (!rc && !config->mmio)
		rc = create_pci(s, env->mmio, err);
	for (unsigned int i = 0; !rc && i < s->nslots; i++)
		rc = create_slot(s, &s->slot[i], faces ? &faces[i] : NULL, env, err);
	if (rc) {
		device_set_destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void device_set_destroy(struct device_set *s)
{
	if (!s)
		return;
	for (unsigned int i = s->nslots; i-- > 0;) {
		virtio_pci_destroy(s->slot[i].pci);
		virtio_mmio_destroy(s->slot[i].mmio);
		virtio_destroy(s->slot[i].v);
	}
	pci_host_destroy(s->pci);
	free(s);
}

bool device_set_has_pci(const struct device_set *s)
{
	return s && s->pci;
}

uint32_t device_set_mmio_slots(const struct device_set *s)
{
	return s && !s->pci ? (uint32_t)((1ULL << s->nslots) - 1) : 0;
}

int device_set_pause(struct device_set *s, uint64_t deadline_ns, struct err *err)
{
	for (unsigned int i = 0; s && i < s->nslots; i++) {
		int rc = virtio_pause(s->slot[i].v, deadline_ns, err);

		if (!rc)
			continue;
		while (i-- > 0)
			virtio_resume(s->slot[i].v);
		return rc;
	}
	return 0;
}

void device_set_resume(struct device_set *s)
{
	for (unsigned int i = 0; s && i < s->nslots; i++)
		virtio_resume(s->slot[i].v);
}

int device_set_take(struct device_set *s, struct err *err)
{
	bool was[PCI_SLOTS] = { false };
	int rc = 0;

	for (unsigned int i = 0; s && !rc && i < s->nslots; i++) {
		was[i] = s->slot[i].released;
		if (was[i])
			rc = virtio_take(s->slot[i].v, err);
		s->slot[i].released = was[i] && rc;
	}
	/* Half of a VM's disks would be in the way of whoever can have all of them. */
	for (unsigned int i = 0; rc && i < s->nslots; i++)
		if (was[i] && !s->slot[i].released)
			s->slot[i].released = !virtio_release(s->slot[i].v, NULL);
	return rc;
}

int device_set_release(struct device_set *s, struct err *err)
{
	bool was[PCI_SLOTS] = { false };
	int rc = 0;

	for (unsigned int i = 0; s && !rc && i < s->nslots; i++) {
		was[i] = s->slot[i].released;
		if (!was[i])
			rc = virtio_release(s->slot[i].v, err);
		s->slot[i].released = was[i] || !rc;
	}
	/* What cannot be had back now is asked for again before the VM runs. */
	for (unsigned int i = 0; rc && i < s->nslots; i++)
		if (!was[i] && s->slot[i].released)
			s->slot[i].released = virtio_take(s->slot[i].v, NULL) != 0;
	return rc;
}

void device_set_arrived(struct device_set *s)
{
	for (unsigned int i = 0; s && i < s->nslots; i++)
		virtio_arrived(s->slot[i].v);
}

unsigned int device_set_state_entries(struct device_set *s, struct state_entry *entries)
{
	unsigned int n = 0;

	for (unsigned int i = 0; s && i < s->nslots; i++) {
		struct device_slot *slot = &s->slot[i];

		/* The transport first: where its registers are and where interrupts go is settled when the device comes to life. */
		if (slot->pci)
			n += virtio_pci_state_entries(slot->pci, slot->slot, &entries[n]);
		else
			n += virtio_mmio_state_entries(slot->mmio, slot->slot, &entries[n]);
		n += virtio_state_entries(slot->v, slot->slot, &entries[n]);
	}
	return n;
}

struct virtio *device_set_find(struct device_set *s, enum machine_device_kind kind)
{
	for (unsigned int i = 0; s && i < s->nslots; i++)
		if (s->slot[i].kind == kind)
			return s->slot[i].v;
	return NULL;
}
