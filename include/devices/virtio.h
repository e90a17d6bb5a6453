/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_VIRTIO_H
#define DEVICES_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "base/state.h"
#include "devices/bus.h"
#include "devices/host.h"
#include "devices/pci.h"

/*
 * virtio 1.2 devices and their two transports, as the machine sees them. A device is made first, then a transport puts it in front of the guest; both are destroyed in the opposite
 * order, when no vCPU runs any more. Each device has a worker (io/worker.h) on which its queues are served.
 */
struct virtio;

#define VIRTIO_ID_MAX 31 /* characters of a device's id */
#define VIRTIO_CONFIG_MAX 64u /* bytes of device-specific configuration */
#define VIRTIO_MAX_QUEUES 32u

/* What the guest saw of a device and must see again on the other side of a migration (CONFIG section "device", docs/spec/state.md §4). */
struct virtio_face {
	const char *kind; /* "blk", "net", "console", "vsock", "balloon", "rng" */
	uint64_t features; /* offered */
	unsigned int nqueues;
	unsigned int queue_size; /* the largest that is offered */
	uint8_t config[VIRTIO_CONFIG_MAX];
	unsigned int config_bytes;
};

void virtio_destroy(struct virtio *v);
/* The device's face, for the stream. */
void virtio_get_face(struct virtio *v, struct virtio_face *ret);
/*
 * Stops serving the queues, once what was taken from them has been done and returned: when this succeeds the device writes no more guest memory, and its state can be captured.
 * vCPUs are paused. -ETIMEDOUT at the deadline (CLOCK_MONOTONIC), with the device and what it waits for; it goes on serving then.
 * Nested calls do not count: one resume ends it. A device is paused when it is made.
 */
int virtio_pause(struct virtio *v, uint64_t deadline_ns, struct err *err);
/* Serves the queues again, whatever came in meanwhile first. */
void virtio_resume(struct virtio *v);
/* Before the source hands the VM over: lets go of what only one host may have (a disk's lock); take gets it back or for the first time. On devices that own nothing both do nothing. The
 * device is paused. take: -EBUSY with the owner where it is known. */
int virtio_release(struct virtio *v, struct err *err);
int virtio_take(struct virtio *v, struct err *err);
/* The VM runs here now, having come from elsewhere (network: announce it, §5.1.6.5.4 and gratuitous ARP). */
void virtio_arrived(struct virtio *v);
/* Appends the device's sections: "virtio" and the device's own, instance @instance. Returns how many (at most 2). */
unsigned int virtio_state_entries(struct virtio *v, uint32_t instance, struct state_entry *entries);

/* Transports. MMIO (§4.2): VIRTIO_MMIO_BYTES at @gpa, edge interrupts on @gsi. PCI (§4.1): modern, a slot of @pci. */
#define VIRTIO_MMIO_BYTES 0x1000u
struct virtio_mmio;
int virtio_mmio_create(struct virtio *v, const struct dev_host *host, struct bus *mmio,
		       uint64_t gpa, unsigned int gsi, struct virtio_mmio **ret, struct err *err);
void virtio_mmio_destroy(struct virtio_mmio *t);
unsigned int virtio_mmio_state_entries(struct virtio_mmio *t, uint32_t instance,
				       struct state_entry *entries); /* at most 1 */
struct virtio_pci;
int virtio_pci_create(struct virtio *v, const struct dev_host *host, struct pci_host *pci,
		      unsigned int slot, struct virtio_pci **ret, struct err *err);
void virtio_pci_destroy(struct virtio_pci *t);
unsigned int virtio_pci_state_entries(struct virtio_pci *t, uint32_t instance,
				      struct state_entry *entries); /* at most 2 */

/* What devices count, for vm.counters: name ("requests", "bytes_read", "interrupts", "notifications") and value. Any thread. */
void virtio_counters(struct virtio *v, void (*fn)(void *opaque, const char *name, uint64_t value),
		     void *opaque);

/* ---- the devices; strings are copied. Each refuses with one line that begins with the option, as in "--disk PATH: ...". ---- */

struct virtio_common {
	const char *id; /* for messages, counters and mapping */
	struct dev_host host;
	/* Receiver: what the source's device looked like; the device offers exactly that or refuses (-EOPNOTSUPP, feature or size named). NULL: a fresh one. */
	const struct virtio_face *face;
};

/* Entropy (§5.4) from getrandom(2). */
int virtio_rng_create(const struct virtio_common *common, struct virtio **ret, struct err *err);

/* Limits of a token bucket: operations and bytes a second, 0: none. A second's worth may come at once. */
struct rate_limit {
	uint64_t ops_per_s;
	uint64_t bytes_per_s;
};

/* Block (§5.2). */
struct blk_config {
	const char *path; /* raw image or block device */
	bool readonly;
	bool direct; /* O_DIRECT */
	bool shared; /* no lock: several VMs may write */
	char serial[21]; /* §5.2.6: at most 20 characters; "": made from the id */
	unsigned int nqueues; /* 0: as many as vCPUs, at most 8 */
	struct rate_limit limit;
};
int virtio_blk_create(const struct virtio_common *common, const struct blk_config *config,
		      unsigned int ncpus, struct virtio **ret, struct err *err);

/* Network (§5.1) on a TAP interface that exists and that we may open. */
struct net_config {
	const char *tap;
	/* All zero: made from the host, the TAP's name and the id, locally administered. */
	uint8_t mac[6];
	unsigned int nqueue_pairs; /* 0: 1; more than 1 needs a multi-queue TAP */
	struct rate_limit limit; /* each direction */
};
int virtio_net_create(const struct virtio_common *common, const struct net_config *config,
		      struct virtio **ret, struct err *err);

/* Console (§5.3) with ports. Port 0 is a console. Back ends are tty specs (devices/device.h). */
#define VIRTIO_CONSOLE_MAX_PORTS 8u
struct console_port {
	const char *spec;
	const char *name; /* /dev/virtio-ports/NAME; NULL: a console */
};
struct console_config {
	unsigned int nports;
	struct console_port port[VIRTIO_CONSOLE_MAX_PORTS];
	/* Somebody at a port on the terminal typed the keys that end the program (tty_set_quit). The device's worker; NULL: they do nothing. */
	void (*quit)(void *opaque);
	void *quit_opaque;
};
int virtio_console_create(const struct virtio_common *common, const struct console_config *config,
			  struct virtio **ret, struct err *err);
/* Where a port on a pty leads, "/dev/pts/3"; NULL: elsewhere. Lives as long as the device. Any thread. */
const char *virtio_console_pty(const struct virtio *v, unsigned int port);
/* The terminal of port 0 has this size now. Also found on a pty, and asked for when it is the one that the program was started on. Any thread that may wait for the worker. */
void virtio_console_resize(struct virtio *v, uint16_t cols, uint16_t rows);

/* Stream sockets (§5.10) between the guest and unix sockets of the host: the guest's connection to port P of CID 2 is one to PATH_P; who connects to PATH and writes "CONNECT P" gets port P of the
 * guest. Connections do not move with a VM: its guest is told that they are gone. */
#define VSOCK_MIN_CID 3u
#define VSOCK_MAX_CID (UINT32_MAX - 1u)
struct vsock_config {
	uint64_t cid;
	const char *path;
};
int virtio_vsock_create(const struct virtio_common *common, const struct vsock_config *config,
			struct virtio **ret, struct err *err);

/* Memory balloon (§5.5) with statistics, free-page reporting and free-page hints. */
struct balloon_stats {
	uint64_t target_pages, actual_pages; /* of 4096 bytes */
	bool known; /* the guest has answered once; the next eight are its own words */
	uint64_t swap_in, swap_out, free_bytes, total_bytes, available_bytes, disk_caches_bytes;
	uint64_t major_faults, minor_faults;
	uint64_t reported_bytes; /* given back to the host by free-page reporting so far */
};
int virtio_balloon_create(const struct virtio_common *common, struct virtio **ret, struct err *err);
/* -EINVAL beyond guest memory. Any thread. */
int virtio_balloon_set_target(struct virtio *v, uint64_t pages, struct err *err);
/* How often the guest is asked for its statistics; 0: not at all. Any thread. */
#define VIRTIO_BALLOON_STATS_DEFAULT_S 10u
void virtio_balloon_set_stats_interval(struct virtio *v, unsigned int seconds);
void virtio_balloon_get_stats(struct virtio *v, struct balloon_stats *ret);
/*
 * Free-page hints (§5.5.6.4) for a migration, one at a time; any thread, never waits for the guest. They are what struct mig_free_ops (migration/host.h) wants.
 * begin: -ENOTSUP with the reason when the driver offers none, -ENOMEM. The guest is asked by ask, which has a new command id, so that it names pages that are free from then on. take
 * clears from @pages those of [first, first + n), RAM page numbers and multiples of 64, that it has named so far, and returns how many were set. After stop it names no more and
 * keeps what it named; end lets it use those pages again. The one on the destination calls end by itself when the VM has arrived.
 */
int virtio_balloon_hint_begin(struct virtio *v, struct err *err);
void virtio_balloon_hint_ask(struct virtio *v);
uint64_t virtio_balloon_hint_take(struct virtio *v, uint64_t first, uint64_t n,
				  struct bitmap *pages);
void virtio_balloon_hint_stop(struct virtio *v);
void virtio_balloon_hint_end(struct virtio *v);

#endif
