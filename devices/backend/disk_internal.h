/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_BACKEND_DISK_INTERNAL_H
#define DEVICES_BACKEND_DISK_INTERNAL_H

#include "disk.h"
#include "io/uring.h"

#define DISK_ZEROS_BYTES 65536u
#define DISK_ZEROS_PARTS 64u

/* disk.c: the image; disk_lock.c: whose it is; disk_uring.c: requests. */
struct disk {
	char *path;
	bool readonly, direct, shared;
	bool block_device;
	bool elsewhere; /* others may reach the image past this host's page cache */
	struct disk_geometry geometry; /* bytes 0: not measured yet */
	uint32_t memory_align, offset_align; /* O_DIRECT; powers of two */
	int fd; /* -1: not ours */
	int buffered_fd; /* direct: the same without O_DIRECT */

	/* disk_uring.c's, after disk_start. */
	bool started;
	struct io_uring ring;
	int event_fd;
	disk_done_fn done;
	void *opaque;
	unsigned int nactive; /* handed to the ring and not done */
	bool alone; /* the one that is active wanted no other */
	struct disk_io *waiting, **waiting_end; /* until it may be active */
	bool no_punch, no_zero_range; /* the file system has said so */
	void *zeros; /* read-only */
	struct iovec zeros_iov[DISK_ZEROS_PARTS]; /* as often as one write takes */
};

/* The lock of an open file description (fcntl(2), F_OFD_SETLK) on the whole image; it goes with the last descriptor. -EBUSY with the owner as far as the kernel tells. */
int disk_lock(const struct disk *d, int fd, struct err *err);
void disk_unlock(int fd);

/* The ring's view of fd and buffered_fd. */
int disk_register(struct disk *d, struct err *err);
void disk_unregister(struct disk *d);

#endif
