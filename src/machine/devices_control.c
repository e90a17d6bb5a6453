/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "machine/devices.h"

/* What users ask of devices while the VM runs. */

/* What the entry is on this host. */
static const char *local_name(const struct device_slot *slot, const struct machine_device *dev,
			      unsigned int port)
{
	const char *pty = slot->kind == MACHINE_CONSOLE ? virtio_console_pty(slot->v, port) : NULL;

	return pty ? pty : dev->local;
}

int machine_device_info(struct machine *m, unsigned int index, struct machine_device_info *ret,
			void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&m->lock);
	if (m->devices && index < m->devices->nslots) {
		const struct device_slot *slot = &m->devices->slot[index];
		const struct machine_device *dev = &m->devices->config.dev[slot->first];

		*ret = (struct machine_device_info){ .kind = machine_device_kind_name(slot->kind),
						     .mmio = m->devices->config.mmio,
						     .slot = slot->slot };
		memcpy(ret->id, dev->id, sizeof(ret->id));
		snprintf(ret->local, sizeof(ret->local), "%s", local_name(slot, dev, 0));
		virtio_counters(slot->v, fn, opaque);
		rc = 0;
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_device_port(struct machine *m, unsigned int index, unsigned int port,
			struct machine_port_info *ret)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&m->lock);
	if (m->devices && index < m->devices->nslots &&
	    m->devices->slot[index].kind == MACHINE_CONSOLE && port < m->devices->slot[index].n) {
		const struct device_slot *slot = &m->devices->slot[index];
		const struct machine_device *dev = &m->devices->config.dev[slot->first + port];

		memcpy(ret->id, dev->id, sizeof(ret->id));
		memcpy(ret->name, dev->label, sizeof(ret->name));
		snprintf(ret->local, sizeof(ret->local), "%s", local_name(slot, dev, port));
		rc = 0;
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

void machine_resize_terminal(struct machine *m, uint16_t cols, uint16_t rows)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; m->devices && i < m->devices->nslots; i++) {
		const struct device_slot *slot = &m->devices->slot[i];

		if (slot->kind == MACHINE_CONSOLE &&
		    !strcmp(m->devices->config.dev[slot->first].local, "stdio"))
			virtio_console_resize(slot->v, cols, rows);
	}
	pthread_mutex_unlock(&m->lock);
}

static struct virtio *find_balloon(struct machine *m, struct err *err)
{
	struct virtio *v = device_set_find(m->devices, MACHINE_BALLOON);

	if (!v)
		err_set(err, -EOPNOTSUPP,
			"the VM has no balloon: it was started without --balloon");
	return v;
}

int machine_balloon_resize(struct machine *m, uint64_t bytes, struct err *err)
{
	struct virtio *v;
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = machine_guard_vcpus(m, STATE_BIT(MACHINE_RUNNING) | STATE_BIT(MACHINE_PAUSED),
				 "resize the balloon", err);
	v = rc ? NULL : find_balloon(m, err);
	if (v)
		rc = virtio_balloon_set_target(v, bytes / GMEM_PAGE_SIZE, err);
	else if (!rc)
		rc = -EOPNOTSUPP;
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_balloon_stats(struct machine *m, struct balloon_stats *ret, struct err *err)
{
	struct virtio *v;

	pthread_mutex_lock(&m->lock);
	v = find_balloon(m, err);
	if (v)
		virtio_balloon_get_stats(v, ret);
	pthread_mutex_unlock(&m->lock);
	return v ? 0 : -EOPNOTSUPP;
}
