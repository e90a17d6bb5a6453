/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_DEVICES_VIRTIO_DRIVER_H
#define TESTS_UNIT_DEVICES_VIRTIO_DRIVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/core.h"

/*
 * A virtio driver for tests: guest memory, a machine around the device (struct dev_host), and the guest's side of split rings, with which a test behaves or breaks the rules. It speaks to
 * the device through core.h, as a transport does; a transport's own test takes the memory and the rings and programs the registers itself.
 * One thread; the device works on its own. Waiting is bounded: after DRIVER_WAIT_MS a wait says false.
 */
#define DRIVER_WAIT_MS 5000
#define DRIVER_RAM_BYTES (4u << 20)
#define DRIVER_RAM_GPA 0x100000u
#define DRIVER_FAR_GPA 0x100000000ull /* a second region of DRIVER_FAR_BYTES */
#define DRIVER_FAR_BYTES (256u << 10)

struct driver_queue {
	uint16_t size;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	uint16_t avail_idx; /* entries offered */
	uint16_t told_idx; /* of them those the device was last notified of */
	uint16_t used_idx; /* entries taken from the used ring */
	uint16_t free_head, nfree;
	uint16_t chain_len[VIRTQ_MAX_SIZE]; /* by head */
};

/* What the device did with the machine around it. */
struct driver_msi {
	bool open, set;
	int eventfd;
	struct irq_msi message;
};
struct driver_notify {
	uint64_t gpa, value;
	unsigned int len_bytes;
	bool match;
	int eventfd;
};
#define DRIVER_MAX_MSI 64u
#define DRIVER_MAX_NOTIFY 64u

struct driver {
	struct gmem *mem;
	struct dev_host host; /* for struct virtio_common */
	struct virtio *v;
	uint64_t features; /* negotiated */
	uint64_t next_gpa; /* of driver_alloc */
	struct driver_queue queue[VIRTIO_MAX_QUEUES];
	/* Interrupts, when the driver is attached in place of a transport. */
	atomic_uint interrupts[VIRTIO_MAX_QUEUES], config_interrupts;
	/* The machine. */
	int line_fd; /* line_open's eventfd, or -1 */
	unsigned int line_gsi;
	struct driver_msi msi[DRIVER_MAX_MSI];
	struct driver_notify notify[DRIVER_MAX_NOTIFY];
	unsigned int nnotify;
};

/* A part of a request; @write: for the device to write. */
struct driver_part {
	uint64_t gpa;
	uint32_t len_bytes;
	bool write;
};

/* Memory and machine. 0 or -errno. */
int driver_init(struct driver *d);
/* Not the device: destroy that first. */
void driver_fini(struct driver *d);

/* Takes the device's interrupts, in place of a transport. */
void driver_attach(struct driver *d, struct virtio *v);
/* The whole initialisation of §3.1.1 with the features that both sides know, all queues at the largest size that is at most @max_size, and virtio_resume. False: the device refused. A second
 * start is a reset and a new beginning. */
bool driver_start(struct driver *d, uint64_t features, uint16_t max_size);
/* Its part of the rings' memory, for tests that program the registers themselves. @size a power of two. */
void driver_place_queue(struct driver *d, unsigned int queue, uint16_t size);

/* Zeroed guest memory, aligned to 4096 bytes when it is as long and to 16 else; aborts when there is no more. */
uint64_t driver_alloc(struct driver *d, uint32_t len_bytes);
/* Aborts outside of guest memory. */
void *driver_ptr(struct driver *d, uint64_t gpa, uint64_t len_bytes);

/* Offers a request: a chain of descriptors, or one that points to an indirect table. Returns the head. Aborts when the ring is full. */
uint16_t driver_add(struct driver *d, unsigned int queue, const struct driver_part *parts,
		    unsigned int nparts);
uint16_t driver_add_indirect(struct driver *d, unsigned int queue, const struct driver_part *parts,
			     unsigned int nparts);
/* Notifies the device if it asked for that (§2.7.13.4.1); true: did. */
bool driver_kick(struct driver *d, unsigned int queue);
/* Waits for the next used entry, takes it and frees its descriptors. */
bool driver_wait_used(struct driver *d, unsigned int queue, uint16_t *ret_head,
		      uint32_t *ret_written);
/* How many used entries there are to take now. */
unsigned int driver_used(struct driver *d, unsigned int queue);
/* Waits until all of @n entries are used, or the device needs a reset. False: neither, or more of them were used. */
bool driver_settle(struct driver *d, unsigned int queue, unsigned int n);
/* driver_add, driver_kick and driver_wait_used for one request; false: no answer, or one of another head. */
bool driver_do(struct driver *d, unsigned int queue, const struct driver_part *parts,
	       unsigned int nparts, uint32_t *ret_written);
/* Waits until the device has these status bits. */
bool driver_wait_status(struct driver *d, uint8_t bits);
/* Waits until *counter is at least @n (interrupts). */
bool driver_wait_count(atomic_uint *counter, unsigned int n);
/* Interrupts when the device passes the entry that is used next, or none (§2.7.7.1, §2.7.10). */
void driver_want_interrupts(struct driver *d, unsigned int queue, bool on);

/* For those who break the rules: a descriptor as it is, a head into the next available entry, the index as it is. */
void driver_raw_desc(struct driver *d, uint64_t table_gpa, uint16_t index, uint64_t gpa,
		     uint32_t len_bytes, uint16_t flags, uint16_t next);
void driver_raw_offer(struct driver *d, unsigned int queue, uint16_t head);
void driver_raw_avail_idx(struct driver *d, unsigned int queue, uint16_t idx);

/* The device is paused, saved, restored from that, saved again and resumed: whether both states are the same. */
bool driver_move(struct driver *d);

#endif
