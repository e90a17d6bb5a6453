/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "disk_internal.h"

#define FILE_PHYSICAL_BYTES \
	4096u /* file systems allocate no less, and the page cache is made of these */
#define MAX_BLOCK_BYTES 65536u
#define UNCLAIM_TRIES 1000u
#define UNCLAIM_STEP_US 200u

static int open_path(const struct disk *d, bool for_use, bool direct, struct err *err)
{
	bool write = for_use && !d->readonly;
	int flags = O_CLOEXEC | (write ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0);
	int fd;

	/* On a block device: nobody else in the kernel has it, as a mounted file system does (open(2)). Once is enough. */
	if (d->block_device && write && !d->shared && direct == d->direct)
		flags |= O_EXCL;
	fd = open(d->path, flags);
	if (fd >= 0)
		return fd;
	if (errno == EINVAL && direct)
		return err_set(err, -EINVAL, "--disk %s: direct: the file system has no O_DIRECT",
			       d->path);
	if (errno == EBUSY)
		return err_set(err, -EBUSY,
			       "--disk %s: the device is in use, mounted or by another process",
			       d->path);
	return err_sys(err, -errno, "--disk %s", d->path);
}

/* Before it is opened: opening a FIFO waits, opening a terminal or a tape does worse. */
static int check_kind(struct disk *d, struct err *err)
{
	struct stat st;

	if (stat(d->path, &st))
		return err_sys(err, -errno, "--disk %s", d->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -EINVAL, "--disk %s: neither a file nor a block device",
			       d->path);
	d->block_device = S_ISBLK(st.st_mode);
	return 0;
}

static bool is_block_size(unsigned int v)
{
	return v >= DISK_SECTOR_BYTES && v <= MAX_BLOCK_BYTES && (v & (v - 1)) == 0;
}

static int measure_device(int fd, struct disk_geometry *g)
{
	unsigned int physical = 0, optimal = 0;
	int logical = 0;

	if (ioctl(fd, BLKGETSIZE64, &g->bytes) || ioctl(fd, BLKSSZGET, &logical))
		return -errno;
	/* These two are advice: a device without is one that knows no better. */
	if (ioctl(fd, BLKPBSZGET, &physical) == 0 && is_block_size(physical))
		g->physical_bytes = physical;
	if (ioctl(fd, BLKIOOPT, &optimal) == 0)
		g->optimal_bytes = optimal;
	if (is_block_size((unsigned int)logical))
		g->block_bytes = (unsigned int)logical;
	g->physical_bytes = MAX(g->physical_bytes, g->block_bytes);
	return 0;
}

static int measure(const struct disk *d, int fd, struct disk_geometry *ret, struct err *err)
{
	struct disk_geometry g = { .block_bytes = DISK_SECTOR_BYTES,
				   .physical_bytes = FILE_PHYSICAL_BYTES };
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) || S_ISBLK(st.st_mode) != d->block_device)
		return err_set(err, -EINVAL, "--disk %s: has become something else", d->path);
	if (d->block_device)
		rc = measure_device(fd, &g);
	else
		g.bytes = (uint64_t)st.st_size;
	if (rc)
		return err_sys(err, rc, "--disk %s: its size", d->path);
	if (g.bytes == 0 || g.bytes % DISK_SECTOR_BYTES)
		return err_set(err, -EINVAL,
			       "--disk %s: is %" PRIu64
			       " bytes long; a raw image has a multiple of %u, and not none",
			       d->path, g.bytes, DISK_SECTOR_BYTES);
	*ret = g;
	return 0;
}

/* What O_DIRECT wants of addresses, offsets and lengths (statx(2), STATX_DIOALIGN: Linux 6.1). Where nobody tells: what is enough everywhere. */
static void measure_direct(struct disk *d, int fd, const struct disk_geometry *g)
{
	struct statx stx = { 0 };

	d->memory_align = d->offset_align = MAX(4096u, g->block_bytes);
	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN) && is_block_size(stx.stx_dio_offset_align)) {
		d->memory_align = MAX(1u, stx.stx_dio_mem_align);
		d->offset_align = stx.stx_dio_offset_align;
	}
}

/*
 * Whether another host may look at the image past this one's page cache. A device may stand on a shared medium, and what is not known to be local may be a network's. The others are
 * mounted by one kernel at a time: who opens the file next finds what we wrote wherever it is.
 */
static bool reached_from_elsewhere(const struct disk *d, int fd)
{
	static const uint32_t local[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
					  F2FS_SUPER_MAGIC, TMPFS_MAGIC,     RAMFS_MAGIC };
	struct statfs st;

	if (d->block_device || fstatfs(fd, &st))
		return true;
	for (unsigned int i = 0; i < ARRAY_LEN(local); i++) {
		if ((uint32_t)st.f_type == local[i])
			return false;
	}
	return true;
}

static int open_buffered(const struct disk *d, int fd, int *ret_fd, struct err *err)
{
	struct stat a, b;
	int other = open_path(d, true, false, err);

	if (other < 0)
		return other;
	if (fstat(fd, &a) || fstat(other, &b) || a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
		fd_close(&other);
		return err_set(err, -EBUSY, "--disk %s: is being replaced", d->path);
	}
	*ret_fd = other;
	return 0;
}

/* The lock first: once it is held nobody else changes the image's size. */
static int open_image(struct disk *d, struct err *err)
{
	struct disk_geometry g = { 0 };
	int fd = open_path(d, true, d->direct, err);
	int buffered_fd = -1;
	int rc;

	if (fd < 0)
		return fd;
	rc = disk_lock(d, fd, err);
	if (!rc)
		rc = measure(d, fd, &g, err);
	if (!rc && d->geometry.bytes && g.bytes != d->geometry.bytes)
		rc = err_set(err, -EINVAL, "--disk %s: is %" PRIu64 " bytes long, was %" PRIu64,
			     d->path, g.bytes, d->geometry.bytes);
	if (!rc && d->direct)
		rc = open_buffered(d, fd, &buffered_fd, err);
	if (rc) {
		fd_close(&fd);
		return rc;
	}
	measure_direct(d, fd, &g);
	d->elsewhere = reached_from_elsewhere(d, fd);
	d->geometry = g;
	d->fd = fd;
	d->buffered_fd = buffered_fd;
	return 0;
}

/* For one that will be ours later: what would fail then and can be known now. */
static int look_at_image(struct disk *d, struct err *err)
{
	int fd = open_path(d, false, d->direct, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = measure(d, fd, &d->geometry, err);
	fd_close(&fd);
	if (!rc && faccessat(AT_FDCWD, d->path, W_OK, AT_EACCESS))
		rc = err_sys(err, -errno, "--disk %s: cannot be written", d->path);
	return rc;
}

int disk_create(const struct disk_config *config, bool own, struct disk **ret, struct err *err)
{
	struct disk *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(err, -ENOMEM, "--disk %s: out of memory", config->path);
	d->fd = d->buffered_fd = d->event_fd = -1;
	d->readonly = config->readonly;
	d->direct = config->direct;
	d->shared = config->shared;
	d->path = strdup(config->path);
	if (d->path)
		rc = check_kind(d, err);
	else
		rc = err_set(err, -ENOMEM, "--disk %s: out of memory", config->path);
	if (!rc)
		rc = own || d->readonly ? open_image(d, err) : look_at_image(d, err);
	if (rc) {
		disk_destroy(d);
		return rc;
	}
	*ret = d;
	return 0;
}

/*
 * The kernel's own reference of the last requests to an open file goes away some moments after they were answered, and with it the claim that O_EXCL made. Who is told that the device is free now
 * must find it so; somebody else's claim is not waited for for long. What a thread of the kernel has done for a request may be the last to hold it, and then leaves it to this thread to let go, when
 * it next asks for what waits for it.
 */
static void await_unclaimed(struct disk *d)
{
	for (unsigned int i = 0; i < UNCLAIM_TRIES; i++) {
		int fd;

		if (d->started)
			io_uring_get_events(&d->ring);
		fd = open(d->path, O_RDONLY | O_CLOEXEC | O_EXCL);
		if (fd < 0 && errno == EBUSY) {
			usleep(UNCLAIM_STEP_US);
			continue;
		}
		fd_close(&fd);
		return;
	}
}

static void close_image(struct disk *d)
{
	bool claimed = d->fd >= 0 && d->block_device && !d->readonly && !d->shared;

	/* At once, whoever else may still hold the open file for a moment. */
	if (d->fd >= 0 && !d->shared)
		disk_unlock(d->fd);
	fd_close(&d->buffered_fd);
	fd_close(&d->fd);
	if (claimed)
		await_unclaimed(d);
}

void disk_destroy(struct disk *d)
{
	if (!d)
		return;
	close_image(d);
	free(d->path);
	free(d);
}

const struct disk_geometry *disk_geometry(const struct disk *d)
{
	return &d->geometry;
}

int disk_release(struct disk *d, struct err *err)
{
	if (d->fd < 0 || d->readonly)
		return 0;
	if (d->elsewhere && fdatasync(d->fd))
		return err_sys(err, -errno, "--disk %s: writing out what is cached", d->path);
	disk_unregister(d);
	close_image(d);
	return 0;
}

int disk_take(struct disk *d, struct err *err)
{
	int rc;

	if (d->fd >= 0)
		return 0;
	rc = check_kind(d, err);
	if (!rc)
		rc = open_image(d, err);
	if (rc)
		return rc;
	/* What this host's page cache knows of the image may be older than what its last owner wrote. Advice: where it is not heeded there is no cache to drop. */
	if (d->elsewhere)
		posix_fadvise(d->fd, 0, 0, POSIX_FADV_DONTNEED);
	rc = disk_register(d, err);
	if (rc)
		close_image(d);
	return rc;
}
