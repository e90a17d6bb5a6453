/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_BACKEND_DISK_H
#define DEVICES_BACKEND_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

/*
 * A disk image on the host: a raw file or a block device, its lock, and requests to it through an io_uring. Messages begin with "--disk PATH: ".
 * disk_create and disk_destroy on any thread, all else on one: the worker that calls disk_start.
 */
struct disk;

struct disk_config {
	const char *path; /* copied */
	bool readonly;
	bool direct; /* past the page cache (O_DIRECT) */
	bool shared; /* no lock */
};

#define DISK_SECTOR_BYTES 512u

/* All powers of two, but for bytes and optimal_bytes. */
struct disk_geometry {
	uint64_t bytes; /* a multiple of DISK_SECTOR_BYTES, not 0 */
	uint32_t block_bytes; /* logical: what the medium addresses, 512 for a file */
	uint32_t physical_bytes; /* what it writes at once; not less */
	uint32_t optimal_bytes; /* best size of a request; 0: not known */
};

/*
 * @own: opens the image for what it will be used for and locks it: alone for writing, together with other readers for reading. Otherwise a disk that is to be written is only looked
 * at, without a lock, and disk_take does that later. -EBUSY: somebody else has it; -EINVAL: not a raw image; or what the host says.
 */
int disk_create(const struct disk_config *config, bool own, struct disk **ret, struct err *err);
/* After disk_stop, if there was a disk_start. NULL is allowed. */
void disk_destroy(struct disk *d);
const struct disk_geometry *disk_geometry(const struct disk *d);

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH, /* what was written and returned is on the medium */
	DISK_DISCARD, /* contents are of no interest any more; what the host cannot do is done, too */
	DISK_ZERO, /* reads as zeros afterwards, however the host does that */
};

/* A request: the caller's memory until it is done. */
struct disk_io {
	enum disk_op op;
	uint64_t
		offset; /* of all but FLUSH: multiples of DISK_SECTOR_BYTES within the image, not empty */
	uint64_t len_bytes;
	struct iovec *iov; /* READ and WRITE: len_bytes in @niov parts; changes while under way */
	unsigned int niov; /* at most 1024 (IOV_MAX); 0 without a vector */
	bool durable; /* WRITE, DISCARD, ZERO: done when it is on the medium */
	bool may_unmap; /* ZERO: the space may be given back */

	/* The disk's own. */
	unsigned int step;
	unsigned int tries;
	bool alone; /* no other request may be under way */
	uint64_t done_bytes;
	unsigned int cut; /* the part at which the rest begins, */
	struct iovec uncut; /* and what it was */
	struct disk_io *next;
};

/* @error: 0 or -errno. */
typedef void (*disk_done_fn)(void *opaque, struct disk_io *io, int error);

#define DISK_MAX_IO 256u

/* Prepares the calling thread to make requests. -EPERM, -ENOSYS: no io_uring. */
int disk_start(struct disk *d, disk_done_fn done, void *opaque, struct err *err);
/* Ends that, on the same thread: nothing is called back any more, and the image is closed when disk_destroy returns. Requests that are under way keep it open until they end. */
void disk_stop(struct disk *d);
/* An eventfd that is signalled when disk_run has something to do. Its edges count (EPOLLET): nobody reads it. */
int disk_fd(const struct disk *d);
/* Begins a request; at most DISK_MAX_IO at a time. It reaches the kernel with the next disk_run. On failure it was none: -EBADF when the image is not ours (disk_release). */
int disk_begin(struct disk *d, struct disk_io *io);
/* Hands over what was begun, and calls done() for what is finished. */
void disk_run(struct disk *d);
/* Waits until something finishes, or @deadline_ns (CLOCK_MONOTONIC), and calls done() for it. */
void disk_wait(struct disk *d, uint64_t deadline_ns);

/*
 * Lets go of an image that is written, no requests being under way: what another host would not see yet goes to the medium, lock and descriptor are given up. Requests fail until
 * disk_take, which opens and locks it (for the first time or again) and refuses one of another size. On failure both leave the disk as it was. Nothing to do is success.
 */
int disk_release(struct disk *d, struct err *err);
int disk_take(struct disk *d, struct err *err);

#endif
