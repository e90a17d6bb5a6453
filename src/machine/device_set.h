/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_DEVICE_SET_H
#define MACHINE_DEVICE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/state.h"
#include "devices/virtio.h"
#include "machine/devices.h"

/*
 * The virtio devices of a VM and what puts them in front of the guest, as one thing that pauses, lets go and is taken back as a whole. One thread at a time, the machine's lock or
 * its only thread; counters: any thread while the set lives. NULL is a set without devices, to all but create.
 */
struct vm;
struct bus;

#define DEVICE_SET_MAX_STATE (PCI_SLOTS * 4u) /* sections */

struct device_slot {
	enum machine_device_kind kind;
	unsigned int slot; /* of the bus, or of virtio-mmio; instance of its sections */
	unsigned int first, n; /* its entries in config: one, or a console's ports */
	struct virtio *v;
	struct virtio_pci *pci; /* one of these two */
	struct virtio_mmio *mmio;
	bool released; /* what one host alone may have is not ours: before the VM has come, and once it was handed over */
};

struct device_set {
	struct machine_devices config;
	struct dev_host host;
	struct pci_host *pci; /* NULL with virtio-mmio */
	unsigned int nslots;
	struct device_slot slot[PCI_SLOTS];
};

struct device_set_env {
	struct vm *vm;
	struct bus *mmio;
	unsigned int ncpus;
	/* Of a console on the terminal (struct console_config). */
	void (*quit)(void *opaque);
	void *quit_opaque;
};

/* dev_host.c: over a struct vm. */
extern const struct dev_host_ops machine_dev_host_ops;

/* device_create.c: one device from its entries, @n of them (a console's ports). */
int device_create(const struct machine_device *dev, unsigned int n,
		  const struct virtio_common *common, const struct device_set_env *env,
		  struct virtio **ret, struct err *err);

/* Before vCPUs run; devices are paused then. @config is settled. @faces: of devices that come from a source, one a slot: the set is then released. NULL: fresh ones. */
int device_set_create(const struct machine_devices *config, const struct virtio_face *faces,
		      const struct device_set_env *env, struct device_set **ret, struct err *err);
/* vCPU threads have ended, the VM is still there. */
void device_set_destroy(struct device_set *s);

/* What the guest's firmware tells of: whether there is a PCI bus, and which slots of virtio-mmio are taken. */
bool device_set_has_pci(const struct device_set *s);
uint32_t device_set_mmio_slots(const struct device_set *s);

/* vCPUs are paused. All or none: when one does not stop by the deadline, all that did go on. */
int device_set_pause(struct device_set *s, uint64_t deadline_ns, struct err *err);
void device_set_resume(struct device_set *s);
/* All or none too, as far as the host lets us; what is so already is left alone. After either has failed, take before the VM runs again. Devices are paused. */
int device_set_release(struct device_set *s, struct err *err);
int device_set_take(struct device_set *s, struct err *err);
void device_set_arrived(struct device_set *s);

/* At most DEVICE_SET_MAX_STATE; returns how many. */
unsigned int device_set_state_entries(struct device_set *s, struct state_entry *entries);

/* The first device of a kind; NULL: none. */
struct virtio *device_set_find(struct device_set *s, enum machine_device_kind kind);

/*
 * device_section.c: CONFIG's "device" sections (docs/spec/state.md §4).
 */
struct device_sections {
	struct machine_devices devices;
	unsigned int nslots;
	struct virtio_face face[PCI_SLOTS];
};
int device_sections_encode(struct device_set *s, struct buf *out, struct err *err);
/* Takes the sections of that name from the front of @in, if there are any; -EBADMSG, -EOPNOTSUPP. */
int device_sections_decode(struct reader *in, struct device_sections *ret, struct err *err);
extern const struct state_desc machine_device_section_desc;

#endif
