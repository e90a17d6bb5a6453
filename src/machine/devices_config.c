/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "devices/device.h"
#include "machine/devices.h"
#include "machine/machine.h"

static const struct {
	const char *kind, *option;
	const char *id; /* ids are made from */
	bool single; /* a VM has at most one */
	bool local; /* it is something on this host */
} kinds[MACHINE_DEVICE_KINDS] = {
	[MACHINE_BLK] = { "blk", "disk", "disk", .local = true },
	[MACHINE_NET] = { "net", "net", "net", .local = true },
	[MACHINE_CONSOLE] = { "console", "virtio-console", "console", .local = true },
	[MACHINE_VSOCK] = { "vsock", "vsock", "vsock", .single = true, .local = true },
	[MACHINE_BALLOON] = { "balloon", "balloon", "balloon", .single = true },
	[MACHINE_RNG] = { "rng", "rng", "rng", .single = true },
};

const char *machine_device_kind_name(enum machine_device_kind kind)
{
	return kinds[kind].kind;
}

const char *machine_device_option(enum machine_device_kind kind)
{
	return kinds[kind].option;
}

/* By kind; stable. */
static void sort(struct machine_devices *d)
{
	for (unsigned int i = 1; i < d->n; i++) {
		for (unsigned int j = i; j > 0 && d->dev[j].kind < d->dev[j - 1].kind; j--) {
			struct machine_device swap = d->dev[j];

			d->dev[j] = d->dev[j - 1];
			d->dev[j - 1] = swap;
		}
	}
}

static const struct machine_device *find(const struct machine_devices *d, const char *id,
					 unsigned int before)
{
	for (unsigned int i = 0; i < before; i++)
		if (!strcmp(d->dev[i].id, id))
			return &d->dev[i];
	return NULL;
}

/* "disk0", or the first such id that is free. */
static void give_ids(struct machine_devices *d)
{
	for (unsigned int i = 0; i < d->n; i++) {
		char id[sizeof(d->dev[i].id)] = "";

		if (d->dev[i].id[0])
			continue;
		for (unsigned int number = 0; number <= d->n; number++) {
			snprintf(id, sizeof(id), "%s%u", kinds[d->dev[i].kind].id, number);
			if (!find(d, id, d->n))
				break;
		}
		memcpy(d->dev[i].id, id, sizeof(id));
	}
}

static bool is_id(const char *id)
{
	return machine_name_is_valid(id) && strlen(id) <= VIRTIO_ID_MAX;
}

static int check_kind(const struct machine_device *dev, struct err *err)
{
	const char *option = kinds[dev->kind].option;
	int rc;

	switch (dev->kind) {
	case MACHINE_BLK:
		if (strlen(dev->label) > 20)
			return err_set(
				err, -EINVAL,
				"--%s: %s: serial: expected at most 20 characters, got \"%s\"",
				option, dev->id, dev->label);
		return 0;
	case MACHINE_NET:
		if (dev->mac[0] & 1)
			return err_set(
				err, -EINVAL,
				"--%s: %s: mac: expected the address of one card, got a group's",
				option, dev->id);
		return 0;
	case MACHINE_CONSOLE:
		rc = tty_check_spec(dev->local, err);
		if (rc)
			err_prefix(err, "--%s: %s", option, dev->id);
		return rc;
	case MACHINE_VSOCK:
		if (dev->cid < VSOCK_MIN_CID || dev->cid > VSOCK_MAX_CID)
			return err_set(err, -EINVAL, "--%s: %s: cid: expected %u to %u, got %llu",
				       option, dev->id, VSOCK_MIN_CID, VSOCK_MAX_CID,
				       (unsigned long long)dev->cid);
		return 0;
	case MACHINE_BALLOON:
	case MACHINE_RNG:
	case MACHINE_DEVICE_KINDS:
		break;
	}
	return 0;
}

static int check_one(const struct machine_devices *d, unsigned int i, struct err *err)
{
	const struct machine_device *dev = &d->dev[i];
	const char *option = kinds[dev->kind].option;

	if (!is_id(dev->id))
		return err_set(
			err, -EINVAL,
			"--%s: id: expected 1 to %d letters, digits, '.', '_' or '-', not starting with '.' or '-'",
			option, VIRTIO_ID_MAX);
	if (find(d, dev->id, i))
		return err_set(err, -EINVAL, "--%s: id: \"%s\" is another device's already", option,
			       dev->id);
	if (kinds[dev->kind].single && i > 0 && d->dev[i - 1].kind == dev->kind)
		return err_set(err, -EINVAL, "--%s: %s: a VM has one at most", option, dev->id);
	if (kinds[dev->kind].local && !dev->local[0])
		return err_set(err, -EINVAL, "--%s: %s: the name on this host is missing", option,
			       dev->id);
	if (!machine_text_is_plain(dev->local) || !machine_text_is_plain(dev->label))
		return err_set(err, -EINVAL, "--%s: %s: control characters in a name", option,
			       dev->id);
	return check_kind(dev, err);
}

int machine_devices_settle(struct machine_devices *d, unsigned int *ret_bad, struct err *err)
{
	unsigned int nports = 0;

	sort(d);
	give_ids(d);
	for (unsigned int i = 0; i < d->n; i++) {
		int rc = check_one(d, i, err);

		if (!rc && d->dev[i].kind == MACHINE_CONSOLE && ++nports > VIRTIO_CONSOLE_MAX_PORTS)
			rc = err_set(err, -EINVAL, "--%s: %s: a VM has at most %u ports",
				     kinds[MACHINE_CONSOLE].option, d->dev[i].id,
				     VIRTIO_CONSOLE_MAX_PORTS);
		if (rc) {
			*ret_bad = i;
			return rc;
		}
	}
	return 0;
}

int machine_devices_check_map(const struct machine_devices *map, struct err *err)
{
	for (unsigned int i = 0; i < map->n; i++) {
		const struct machine_device *dev = &map->dev[i];
		const char *option = kinds[dev->kind].option;

		if (find(map, dev->id, i))
			return err_set(err, -EINVAL, "--%s: id: \"%s\" stands twice", option,
				       dev->id);
		if (!dev->local[0] || !machine_text_is_plain(dev->local))
			return err_set(err, -EINVAL, "--%s: %s: no name on this host", option,
				       dev->id);
		if (dev->kind == MACHINE_CONSOLE) {
			int rc = check_kind(dev, err);

			if (rc)
				return rc;
		}
	}
	return 0;
}

static int no_such_device(const struct machine_devices *d, const struct machine_device *wanted,
			  struct err *err)
{
	char have[160] = "none";
	size_t used = 0;

	for (unsigned int i = 0; i < d->n && used < sizeof(have); i++)
		if (d->dev[i].kind == wanted->kind)
			used += (size_t)snprintf(have + used, sizeof(have) - used, "%s\"%s\"",
						 used ? ", " : "", d->dev[i].id);
	return err_set(err, -ENODEV,
		       "--%s: id: the VM has no such device \"%s\"; of this kind it has %s",
		       kinds[wanted->kind].option, wanted->id, have);
}

/* The entry of the device that @dev names; d->n: none. */
static unsigned int find_same(const struct machine_devices *d, const struct machine_device *dev)
{
	unsigned int i = 0;

	while (i < d->n && (d->dev[i].kind != dev->kind || strcmp(d->dev[i].id, dev->id) != 0))
		i++;
	return i;
}

static int check_mapped(const struct machine_devices *d, const struct machine_devices *map,
			struct err *err)
{
	for (unsigned int i = 0; i < d->n; i++) {
		const struct machine_device *dev = &d->dev[i];

		if (kinds[dev->kind].local && dev->kind != MACHINE_CONSOLE &&
		    (!map || find_same(map, dev) == map->n))
			return err_set(
				err, -EACCES,
				"--mapped-only: the VM's \"%s\" has no name here; the source calls it %s",
				dev->id, dev->local);
	}
	return 0;
}

int machine_devices_map(struct machine_devices *d, const struct machine_devices *map, bool only,
			struct err *err)
{
	unsigned int n = map ? map->n : 0;
	int rc = only ? check_mapped(d, map, err) : 0;

	for (unsigned int i = 0; !rc && i < n; i++)
		if (find_same(d, &map->dev[i]) == d->n)
			rc = no_such_device(d, &map->dev[i], err);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < d->n; i++)
		if (d->dev[i].kind == MACHINE_CONSOLE)
			strcpy(d->dev[i].local, "null");
	for (unsigned int i = 0; i < n; i++)
		memcpy(d->dev[find_same(d, &map->dev[i])].local, map->dev[i].local,
		       sizeof(map->dev[i].local));
	return 0;
}
