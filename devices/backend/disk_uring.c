/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to an image as one or several operations of an io_uring, one of them at a time: short transfers go on where they stopped, what a file system cannot do is done in another way.
 *
 * O_DIRECT wants alignment that a guest need not keep. What does not fit goes through the page cache, as it would without O_DIRECT, but alone: two views of one block, one of them a
 * cached page that holds its neighbours too, must not be written at the same time. Linux guests send nothing of the kind while they work.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "disk_internal.h"

#define MAX_TRIES 16u /* of an operation that was interrupted or found no memory */
#define MAX_SUBMITS 16u

enum step {
	STEP_READ,
	STEP_WRITE,
	STEP_SYNC,
	STEP_PUNCH, /* give the space back; reads as zeros */
	STEP_ZERO_RANGE, /* keep the space */
	STEP_WRITE_ZEROS,
};
enum { AGAIN = 1 };

/* Registered files. */
enum { FILE_MAIN, FILE_BUFFERED };

int disk_start(struct disk *d, disk_done_fn done, void *opaque, struct err *err)
{
	/* Completions wait until this thread asks for them (Linux 6.1), or at least do not interrupt it (5.19). */
	static const unsigned int flags[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int rc;

	d->zeros = mmap(NULL, DISK_ZEROS_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (d->zeros == MAP_FAILED) {
		d->zeros = NULL;
		return err_set(err, -ENOMEM, "--disk %s: out of memory", d->path);
	}
	for (unsigned int i = 0; i < DISK_ZEROS_PARTS; i++)
		d->zeros_iov[i] = (struct iovec){ d->zeros, DISK_ZEROS_BYTES };
	rc = uring_init(&d->ring, DISK_MAX_IO, flags, ARRAY_LEN(flags), err);
	if (rc) {
		err_prefix(err, "--disk %s", d->path);
		return rc;
	}
	d->done = done;
	d->opaque = opaque;
	d->waiting_end = &d->waiting;
	d->started = true;
	/* Not the ring's own descriptor: with DEFER_TASKRUN it becomes readable only when completions are asked for. */
	d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->event_fd < 0)
		return err_sys(err, -errno, "--disk %s: eventfd", d->path);
	rc = io_uring_register_eventfd(&d->ring, d->event_fd);
	if (rc)
		return err_sys(err, rc, "--disk %s: io_uring", d->path);
	return d->fd >= 0 ? disk_register(d, err) : 0;
}

void disk_stop(struct disk *d)
{
	if (d->started) {
		/* The kernel takes a ring apart some time after it was closed: without this it would hold a block device until then. Only the ring's own thread may ask, and it would
		 * wait for requests that are under way. */
		if (d->nactive == 0)
			disk_unregister(d);
		io_uring_queue_exit(&d->ring);
	}
	fd_close(&d->event_fd);
	if (d->zeros)
		munmap(d->zeros, DISK_ZEROS_BYTES);
	d->started = false;
	d->zeros = NULL;
}

int disk_register(struct disk *d, struct err *err)
{
	const int files[] = { [FILE_MAIN] = d->fd, [FILE_BUFFERED] = d->buffered_fd };
	int rc;

	if (!d->started)
		return 0;
	d->no_punch = d->no_zero_range = false;
	rc = io_uring_register_files(&d->ring, files, ARRAY_LEN(files));
	return rc ? err_sys(err, rc, "--disk %s: io_uring", d->path) : 0;
}

void disk_unregister(struct disk *d)
{
	if (d->started)
		io_uring_unregister_files(&d->ring);
}

int disk_fd(const struct disk *d)
{
	return d->event_fd;
}

/* Lets the vector begin where the last transfer stopped; uncut puts it back. */
static void cut(struct disk_io *io)
{
	uint64_t skip = io->done_bytes;
	struct iovec *part = io->iov;

	while (skip >= part->iov_len)
		skip -= (part++)->iov_len;
	io->cut = (unsigned int)(part - io->iov);
	io->uncut = *part;
	part->iov_base = (uint8_t *)part->iov_base + skip;
	part->iov_len -= skip;
}

static void uncut(struct disk_io *io)
{
	if (io->step == STEP_READ || io->step == STEP_WRITE)
		io->iov[io->cut] = io->uncut;
}

static void prepare_zeros(struct disk *d, struct io_uring_sqe *sqe, int file,
			  const struct disk_io *io, int rw_flags)
{
	uint64_t at = io->offset + io->done_bytes;
	uint64_t left = io->len_bytes - io->done_bytes;

	if (left < DISK_ZEROS_BYTES)
		io_uring_prep_write(sqe, file, d->zeros, (unsigned int)left, at);
	else
		io_uring_prep_writev(sqe, file, d->zeros_iov,
				     (unsigned int)MIN(left / DISK_ZEROS_BYTES, DISK_ZEROS_PARTS),
				     at);
	sqe->rw_flags = rw_flags;
}

/* One operation for the ring, which takes it with the next submission. */
static int prepare(struct disk *d, struct disk_io *io)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&d->ring);
	int file = io->alone ? FILE_BUFFERED : FILE_MAIN;
	/* Alone it must leave nothing in the page cache that would overwrite a neighbour later. */
	int rw_flags = io->durable || io->alone ? RWF_DSYNC : 0;

	if (!sqe)
		return -EBUSY;
	switch ((enum step)io->step) {
	case STEP_READ:
		cut(io);
		io_uring_prep_readv(sqe, file, io->iov + io->cut, io->niov - io->cut,
				    io->offset + io->done_bytes);
		break;
	case STEP_WRITE:
		cut(io);
		io_uring_prep_writev2(sqe, file, io->iov + io->cut, io->niov - io->cut,
				      io->offset + io->done_bytes, rw_flags);
		break;
	case STEP_SYNC:
		io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
		break;
	case STEP_PUNCH:
		io_uring_prep_fallocate(sqe, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)io->offset, (off_t)io->len_bytes);
		break;
	case STEP_ZERO_RANGE:
		io_uring_prep_fallocate(sqe, file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					(off_t)io->offset, (off_t)io->len_bytes);
		break;
	case STEP_WRITE_ZEROS:
		prepare_zeros(d, sqe, file, io, rw_flags);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, io);
	return 0;
}

/* Steps that the file system has refused already are not tried again. */
static enum step allowed_step(const struct disk *d, const struct disk_io *io, enum step step)
{
	if (step == STEP_PUNCH && d->no_punch && io->op == DISK_ZERO)
		step = STEP_ZERO_RANGE;
	if (step == STEP_ZERO_RANGE && d->no_zero_range)
		step = STEP_WRITE_ZEROS;
	return step;
}

static enum step first_step(const struct disk *d, const struct disk_io *io)
{
	switch (io->op) {
	case DISK_READ:
		return STEP_READ;
	case DISK_WRITE:
		return STEP_WRITE;
	case DISK_FLUSH:
		return STEP_SYNC;
	case DISK_DISCARD:
		return STEP_PUNCH;
	case DISK_ZERO:
		break;
	}
	return allowed_step(d, io, io->may_unmap ? STEP_PUNCH : STEP_ZERO_RANGE);
}

static bool aligned(uint64_t v, uint32_t to)
{
	return (v & (to - 1)) == 0;
}

static bool fits_direct(const struct disk *d, const struct disk_io *io)
{
	if (io->op == DISK_FLUSH)
		return true;
	if (!aligned(io->offset | io->len_bytes, d->offset_align))
		return false;
	for (unsigned int i = 0; i < io->niov; i++) {
		if (!aligned((uintptr_t)io->iov[i].iov_base, d->memory_align) ||
		    !aligned(io->iov[i].iov_len, d->offset_align))
			return false;
	}
	return true;
}

static int start(struct disk *d, struct disk_io *io)
{
	int rc = prepare(d, io);

	if (rc)
		return rc;
	d->nactive++;
	d->alone = io->alone;
	return 0;
}

static bool must_wait(const struct disk *d, const struct disk_io *io)
{
	return d->alone || (io->alone && d->nactive);
}

int disk_begin(struct disk *d, struct disk_io *io)
{
	if (!d->started || d->fd < 0)
		return -EBADF;
	io->step = first_step(d, io);
	io->tries = 0;
	io->done_bytes = 0;
	io->alone = d->direct && !fits_direct(d, io);
	io->next = NULL;
	/* In order, so that one that wants to be alone gets its turn. */
	if (!d->waiting && !must_wait(d, io))
		return start(d, io);
	*d->waiting_end = io;
	d->waiting_end = &io->next;
	return 0;
}

static bool is_unsupported(int res)
{
	/* EINVAL: a block device whose blocks are larger than the range. */
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -ENODEV || res == -EINVAL;
}

/* Of a step that gives back or zeroes space. */
static int after_fallocate(struct disk *d, struct disk_io *io, int res)
{
	if (res == 0) {
		io->step = STEP_SYNC;
		return io->durable ? AGAIN : 0;
	}
	if (!is_unsupported(res))
		return res;
	if (io->op == DISK_DISCARD)
		return 0;
	if (res != -EINVAL && io->step == STEP_PUNCH)
		d->no_punch = true;
	else if (res != -EINVAL)
		d->no_zero_range = true;
	io->step = allowed_step(d, io, io->step == STEP_PUNCH ? STEP_ZERO_RANGE : STEP_WRITE_ZEROS);
	return AGAIN;
}

/* What the completion of one operation means for its request: 0 or -errno, it is done, or AGAIN. */
static int after(struct disk *d, struct disk_io *io, int res)
{
	if (res == -EINTR || res == -EAGAIN)
		return ++io->tries < MAX_TRIES ? AGAIN : -EIO;
	switch ((enum step)io->step) {
	case STEP_READ:
	case STEP_WRITE:
	case STEP_WRITE_ZEROS:
		if (res <= 0)
			return res ? res : -EIO; /* the image ends here: somebody has cut it */
		io->done_bytes += (unsigned int)res;
		io->tries = 0;
		return io->done_bytes < io->len_bytes ? AGAIN : 0;
	case STEP_PUNCH:
	case STEP_ZERO_RANGE:
		return after_fallocate(d, io, res);
	case STEP_SYNC:
		break;
	}
	return res;
}

static void complete(struct disk *d, struct disk_io *io, int res)
{
	int rc;

	uncut(io);
	rc = after(d, io, res);
	if (rc == AGAIN) {
		rc = prepare(d, io);
		if (!rc)
			return;
	}
	d->nactive--;
	if (io->alone)
		d->alone = false;
	d->done(d->opaque, io, rc);
}

/* Those whose turn has come. */
static void start_waiting(struct disk *d)
{
	while (d->waiting && !must_wait(d, d->waiting)) {
		struct disk_io *io = d->waiting;
		int rc;

		d->waiting = io->next;
		if (!d->waiting)
			d->waiting_end = &d->waiting;
		rc = start(d, io);
		if (rc)
			d->done(d->opaque, io, rc);
	}
}

/* False: there were none. */
static bool take_completions(struct disk *d)
{
	struct io_uring_cqe *cqe;
	bool any = false;

	while (io_uring_peek_cqe(&d->ring, &cqe) == 0) {
		struct disk_io *io = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&d->ring, cqe);
		complete(d, io, res);
		any = true;
	}
	start_waiting(d);
	return any;
}

/* What finishes within its submission may bring further steps. A kernel without memory is asked again, in the end with the next request. */
static void submit_all(struct disk *d)
{
	unsigned int tries = 0;

	while (io_uring_sq_ready(&d->ring) && tries < MAX_SUBMITS) {
		int rc = io_uring_submit(&d->ring);

		if (rc < 0) {
			tries++;
			if (rc != -EINTR)
				usleep(1000);
		}
		take_completions(d);
	}
}

void disk_run(struct disk *d)
{
	/* Signals are for what finishes while this thread is elsewhere: off while it looks itself, and after they are on again it looks once more. */
	do {
		io_uring_cq_eventfd_toggle(&d->ring, false);
		take_completions(d);
		submit_all(d);
		io_uring_cq_eventfd_toggle(&d->ring, true);
		/* The kernel posts first and looks at the switch then. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (take_completions(d));
}

void disk_wait(struct disk *d, uint64_t deadline_ns)
{
	uint64_t now_ns = clock_mono_ns();
	uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(left_ns / NS_PER_S),
		.tv_nsec = (long long)(left_ns % NS_PER_S),
	};
	struct io_uring_cqe *cqe = NULL;

	io_uring_submit_and_wait_timeout(&d->ring, &cqe, 1, &ts, NULL);
	disk_run(d);
}
