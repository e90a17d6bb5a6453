/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_DEVICES_H
#define MACHINE_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "devices/virtio.h"

/*
 * The devices of a VM, as somebody asks for them. A table without pointers, so that it can be copied. Devices take slots in the order of their kinds and, within a kind, in
 * the order in which they stand here: what the guest sees does not depend on the order of options.
 */
enum machine_device_kind {
	MACHINE_BLK,
	MACHINE_NET,
	MACHINE_CONSOLE, /* an entry is a port; all ports are one device */
	MACHINE_VSOCK,
	MACHINE_BALLOON,
	MACHINE_RNG,
	MACHINE_DEVICE_KINDS
};

#define MACHINE_MAX_DEVICES 40u /* entries: 31 slots on the PCI bus, and ports */
#define MACHINE_LOCAL_MAX 1023
#define MACHINE_LABEL_MAX 63

/* A field that its kind has no use for is zero. */
struct machine_device {
	enum machine_device_kind kind;
	char id[VIRTIO_ID_MAX + 1]; /* "": machine_devices_settle gives one */
	char local
		[MACHINE_LOCAL_MAX +
		 1]; /* what it is on this host: an image, a TAP interface, a socket's path, a tty spec */
	char label[MACHINE_LABEL_MAX +
		   1]; /* what the guest knows it by: a disk's serial number, a port's name */
	uint8_t mac[6];
	uint32_t nqueues; /* pairs of a network card; 0: the device's default */
	bool readonly, direct, shared;
	uint64_t cid;
	uint64_t balloon_bytes; /* of the balloon when the VM starts */
	struct rate_limit limit;
};

struct machine_devices {
	bool mmio; /* the transport: virtio-mmio, else PCI */
	unsigned int n;
	struct machine_device dev[MACHINE_MAX_DEVICES];
};

/* "blk": as virtio_face and the stream have it. */
const char *machine_device_kind_name(enum machine_device_kind kind);
/* "disk": the option of the command line, without its dashes. */
const char *machine_device_option(enum machine_device_kind kind);

/*
 * Puts the entries into the order of slots, gives an id to each that has none ("disk0") and checks all that can be checked without a host. -EINVAL with one line that
 * names the device; *ret_bad is its entry then.
 */
int machine_devices_settle(struct machine_devices *d, unsigned int *ret_bad, struct err *err);

/* A receiver's table is a map: of its entries only kind, id and local count, and each says what a device that comes with the VM is called here. */
int machine_devices_check_map(const struct machine_devices *map, struct err *err);
/*
 * Puts the map's names (NULL: none) into the devices that have come. What is not in it keeps the source's, but for consoles, which are each host's own and lead nowhere then: no
 * source names files that a receiver writes. -ENODEV for an entry without a device; with @only, -EACCES for a disk, interface or socket that the map does not name.
 */
int machine_devices_map(struct machine_devices *d, const struct machine_devices *map, bool only,
			struct err *err);

/* What a running machine's devices are and count; any thread. */
struct machine;
struct machine_device_info {
	const char *kind; /* "blk" */
	char id[VIRTIO_ID_MAX + 1];
	char local[MACHINE_LOCAL_MAX + 1];
	bool mmio;
	unsigned int slot;
};
/* Device @index, from 0 on, and its counters, @fn called with the machine locked. -ENOENT beyond the last. */
int machine_device_info(struct machine *m, unsigned int index, struct machine_device_info *ret,
			void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque);

/* A port of a console: the guest's name for it ("": a console) and where it leads, a pty by its path, else as it was asked for. */
struct machine_port_info {
	char id[VIRTIO_ID_MAX + 1];
	char name[MACHINE_LABEL_MAX + 1];
	char local[MACHINE_LOCAL_MAX + 1];
};
/* Port @port, from 0 on, of device @index. -ENOENT beyond the last, and for a device that is no console. */
int machine_device_port(struct machine *m, unsigned int index, unsigned int port,
			struct machine_port_info *ret);

/* The terminal that the program was started on has this size: what the guest sees on a virtio console there. */
void machine_resize_terminal(struct machine *m, uint16_t cols, uint16_t rows);

/* The balloon. -EOPNOTSUPP: there is none; -EINVAL: more than the guest has; -EBUSY where the state does not allow it. */
int machine_balloon_resize(struct machine *m, uint64_t bytes, struct err *err);
int machine_balloon_stats(struct machine *m, struct balloon_stats *ret, struct err *err);

#endif
