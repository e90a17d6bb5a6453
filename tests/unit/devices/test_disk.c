/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "devices/backend/disk.h"

#define IMAGE_BYTES (8u << 20)
#define MAX_BYTES (2u << 20)
#define WAIT_NS (20 * NS_PER_S)

struct fixture {
	char dir[64];
	char file[96]; /* made, and removed again */
	char path[96]; /* of the disk */
	struct disk *d;
	uint8_t *memory; /* MAX_BYTES, aligned to a page */
	unsigned int ndone;
	struct disk_io *last;
	int error;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	*state = f;
	strcpy(f->dir, "/tmp/test-disk-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->file, sizeof(f->file), "%s/image", f->dir);
	strcpy(f->path, f->file);
	fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, IMAGE_BYTES))
		return -1;
	close(fd);
	f->memory = aligned_alloc(4096, MAX_BYTES);
	return f->memory ? 0 : -1;
}

static void close_disk(struct fixture *f)
{
	if (f->d)
		disk_stop(f->d);
	disk_destroy(f->d);
	f->d = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_disk(f);
	disk_destroy(NULL);
	unlink(f->file);
	rmdir(f->dir);
	free(f->memory);
	free(f);
	return 0;
}

static void on_done(void *opaque, struct disk_io *io, int error)
{
	struct fixture *f = opaque;

	f->ndone++;
	f->last = io;
	f->error = error;
}

static void open_disk(struct fixture *f, struct disk_config config)
{
	struct err err = { 0 };

	config.path = f->path;
	assert_int_equal(disk_create(&config, true, &f->d, &err), 0);
	assert_int_equal(disk_start(f->d, on_done, f, &err), 0);
}

static void wait_for(struct fixture *f, unsigned int n)
{
	uint64_t deadline_ns = clock_mono_ns() + WAIT_NS;

	disk_run(f->d);
	while (f->ndone < n) {
		assert_true(clock_mono_ns() < deadline_ns);
		disk_wait(f->d, deadline_ns);
	}
	assert_int_equal(f->ndone, n);
}

/* One request from beginning to end: its error. */
static int request(struct fixture *f, struct disk_io *io)
{
	f->ndone = 0;
	assert_int_equal(disk_begin(f->d, io), 0);
	wait_for(f, 1);
	assert_ptr_equal(f->last, io);
	return f->error;
}

static int simple(struct fixture *f, enum disk_op op, uint64_t offset, uint64_t len_bytes,
		  void *data)
{
	struct iovec part = { data, len_bytes };
	struct disk_io io = { .op = op, .offset = offset, .len_bytes = len_bytes };

	if (data) {
		io.iov = &part;
		io.niov = 1;
	}
	return request(f, &io);
}

static void fill(uint8_t *p, size_t len_bytes, unsigned int seed)
{
	for (size_t i = 0; i < len_bytes; i++)
		p[i] = (uint8_t)((i * 7 + i / 512 + seed) | 1); /* never zero */
}

/* What the image really holds. */
static void in_image(struct fixture *f, uint64_t offset, size_t len_bytes, uint8_t *ret)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, ret, len_bytes, (off_t)offset), len_bytes);
	close(fd);
}

static void expect_image(struct fixture *f, uint64_t offset, const uint8_t *data, size_t len_bytes)
{
	uint8_t *got = malloc(len_bytes);

	in_image(f, offset, len_bytes, got);
	assert_memory_equal(got, data, len_bytes);
	free(got);
}

static void expect_zeros(struct fixture *f, uint64_t offset, size_t len_bytes)
{
	uint8_t *zeros = calloc(1, len_bytes);

	expect_image(f, offset, zeros, len_bytes);
	free(zeros);
}

static void expect_refused(struct fixture *f, const char *path, int code, const char *text)
{
	const struct disk_config config = { .path = path };
	struct disk *d = NULL;
	struct err err = { 0 };

	assert_int_equal(disk_create(&config, true, &d, &err), code);
	assert_null(d);
	assert_memory_equal(err.msg, "--disk ", 7);
	assert_non_null(strstr(err.msg, path));
	if (!strstr(err.msg, text))
		fail_msg("'%s' lacks '%s'", err.msg, text);
}

static void refuses_what_is_no_raw_image(void **state)
{
	struct fixture *f = *state;
	char other[128];

	expect_refused(f, f->dir, -EINVAL, "neither a file nor a block device");
	expect_refused(f, "/dev/full", -EINVAL, "neither a file nor a block device");
	snprintf(other, sizeof(other), "%s/missing", f->dir);
	expect_refused(f, other, -ENOENT, "No such file");
	assert_int_equal(mkfifo(other, 0600), 0);
	expect_refused(f, other, -EINVAL, "neither a file nor a block device");
	unlink(other);
	assert_int_equal(truncate(f->path, 0), 0);
	expect_refused(f, f->path, -EINVAL, "is 0 bytes long");
	assert_int_equal(truncate(f->path, 1000), 0);
	expect_refused(f, f->path, -EINVAL,
		       "is 1000 bytes long; a raw image has a multiple of 512");
}

static void does_every_operation(struct fixture *f)
{
	uint8_t *a = f->memory, *b = f->memory + MAX_BYTES / 2;
	struct iovec parts[3] = { { a, 4096 }, { a + 8192, 8192 }, { a + 4096, 4096 } };
	struct disk_io io = { .op = DISK_WRITE,
			      .offset = 65536,
			      .len_bytes = 16384,
			      .iov = parts,
			      .niov = 3,
			      .durable = true };

	assert_int_equal(disk_geometry(f->d)->bytes, IMAGE_BYTES);
	assert_int_equal(disk_geometry(f->d)->block_bytes, 512);
	fill(a, 16384, 1);
	assert_int_equal(request(f, &io), 0);
	assert_int_equal(parts[1].iov_len, 8192); /* as it was */
	expect_image(f, 65536, a, 4096);
	expect_image(f, 65536 + 4096, a + 8192, 8192);
	expect_image(f, 65536 + 12288, a + 4096, 4096);

	assert_int_equal(simple(f, DISK_READ, 65536, 8192, b), 0);
	assert_memory_equal(b, a, 4096);
	assert_memory_equal(b + 4096, a + 8192, 4096);
	assert_int_equal(simple(f, DISK_FLUSH, 0, 0, NULL), 0);

	fill(a, MAX_BYTES / 2, 2);
	assert_int_equal(simple(f, DISK_WRITE, 1 << 20, MAX_BYTES / 2, a), 0);
	assert_int_equal(simple(f, DISK_ZERO, (1 << 20) + 4096, 8192, NULL), 0);
	expect_image(f, 1 << 20, a, 4096);
	expect_zeros(f, (1 << 20) + 4096, 8192);
	expect_image(f, (1 << 20) + 12288, a + 12288, 4096);
	io = (struct disk_io){ .op = DISK_ZERO,
			       .offset = (1 << 20) + 65536 + 512,
			       .len_bytes = 1024,
			       .may_unmap = true,
			       .durable = true };
	assert_int_equal(request(f, &io), 0);
	expect_image(f, (1 << 20) + 65536, a + 65536, 512);
	expect_zeros(f, (1 << 20) + 65536 + 512, 1024);
	expect_image(f, (1 << 20) + 65536 + 1536, a + 65536 + 1536, 512);
	assert_int_equal(simple(f, DISK_DISCARD, (1 << 20) + 131072, 131072, NULL), 0);
	expect_image(f, (1 << 20) + 131072 - 512, a + 131072 - 512, 512);
	expect_image(f, (1 << 20) + 262144, a + 262144, 512);
}

static void works_through_the_page_cache(void **state)
{
	struct fixture *f = *state;

	open_disk(f, (struct disk_config){ 0 });
	does_every_operation(f);
}

static bool has_direct(const struct fixture *f)
{
	int fd = open(f->path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void works_past_the_page_cache(void **state)
{
	struct fixture *f = *state;

	if (!has_direct(f)) {
		print_message("skip: /tmp has no O_DIRECT\n");
		skip();
	}
	open_disk(f, (struct disk_config){ .direct = true });
	does_every_operation(f);
}

/* Many at a time, every other one aligned for nothing: neighbours in one block keep what is theirs. */
static void direct_takes_any_alignment(void **state)
{
	enum { N = 200, PIECE = 512 };
	struct fixture *f = *state;
	static struct disk_io io[N];
	static struct iovec part[N];
	uint8_t *want;

	if (!has_direct(f)) {
		print_message("skip: /tmp has no O_DIRECT\n");
		skip();
	}
	open_disk(f, (struct disk_config){ .direct = true });
	fill(f->memory, MAX_BYTES, 3);
	want = malloc(N * PIECE);
	for (unsigned int i = 0; i < N; i++) {
		uint8_t *data = f->memory + i * 4096u + (i % 3 == 0 ? 2 : 0);

		part[i] = (struct iovec){ data, PIECE };
		memcpy(want + i * PIECE, data, PIECE);
		io[i] = (struct disk_io){ .op = DISK_WRITE,
					  .offset = i * PIECE,
					  .len_bytes = PIECE,
					  .iov = &part[i],
					  .niov = 1 };
		assert_int_equal(disk_begin(f->d, &io[i]), 0);
	}
	wait_for(f, N);
	expect_image(f, 0, want, N * PIECE);
	memset(f->memory, 0, MAX_BYTES);
	assert_int_equal(simple(f, DISK_READ, 0, N * PIECE, f->memory + 6), 0);
	assert_memory_equal(f->memory + 6, want, N * PIECE);
	free(want);
}

static void takes_many_at_once(void **state)
{
	struct fixture *f = *state;
	static struct disk_io io[DISK_MAX_IO];
	static struct iovec part[DISK_MAX_IO];

	open_disk(f, (struct disk_config){ 0 });
	fill(f->memory, DISK_MAX_IO * 4096u, 4);
	for (unsigned int i = 0; i < DISK_MAX_IO; i++) {
		part[i] = (struct iovec){ f->memory + i * 4096u, 4096 };
		io[i] = (struct disk_io){ .op = DISK_WRITE,
					  .offset = i * 8192ull,
					  .len_bytes = 4096,
					  .iov = &part[i],
					  .niov = 1 };
		assert_int_equal(disk_begin(f->d, &io[i]), 0);
	}
	wait_for(f, DISK_MAX_IO);
	for (unsigned int i = 0; i < DISK_MAX_IO; i++) {
		expect_image(f, i * 8192ull, f->memory + i * 4096u, 4096);
		expect_zeros(f, i * 8192ull + 4096, i + 1 < DISK_MAX_IO ? 4096 : 512);
	}
}

static void an_image_that_was_cut_is_an_error(void **state)
{
	struct fixture *f = *state;

	open_disk(f, (struct disk_config){ 0 });
	assert_int_equal(truncate(f->path, 4096 + 100), 0);
	assert_int_equal(simple(f, DISK_READ, 0, 4096, f->memory), 0);
	assert_int_equal(simple(f, DISK_READ, 4096, 4096, f->memory), -EIO); /* begins in it */
	assert_int_equal(simple(f, DISK_READ, 1 << 20, 4096, f->memory), -EIO);
	assert_int_equal(simple(f, DISK_READ, 0, 4096, f->memory), 0);
}

static void no_more_room_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){ 1 << 20, old.rlim_max };
	open_disk(f, (struct disk_config){ 0 });
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	fill(f->memory, 16384, 5);
	assert_int_equal(simple(f, DISK_WRITE, 2 << 20, 4096, f->memory), -EFBIG);
	/* The first half fits: it is written, and the request is an error all the same. */
	assert_int_equal(simple(f, DISK_WRITE, (1 << 20) - 8192, 16384, f->memory), -EFBIG);
	assert_int_equal(simple(f, DISK_WRITE, 0, 4096, f->memory), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	expect_image(f, (1 << 20) - 8192, f->memory, 8192);
	assert_int_equal(simple(f, DISK_WRITE, 2 << 20, 4096, f->memory), 0);
}

static int try_open(struct fixture *f, struct disk_config config, struct disk **ret,
		    struct err *err)
{
	*err = (struct err){ 0 };
	config.path = f->path;
	return disk_create(&config, true, ret, err);
}

static void one_writes_or_many_read(void **state)
{
	struct fixture *f = *state;
	struct disk *a = NULL, *b = NULL, *c = NULL;
	struct err err;

	assert_int_equal(try_open(f, (struct disk_config){ 0 }, &a, &err), 0);
	assert_int_equal(try_open(f, (struct disk_config){ 0 }, &b, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "another process has it open for writing"));
	assert_int_equal(try_open(f, (struct disk_config){ .readonly = true }, &b, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "another process has it open for writing"));
	assert_int_equal(try_open(f, (struct disk_config){ .shared = true }, &b, &err), 0);
	disk_destroy(b);
	disk_destroy(a);
	assert_int_equal(try_open(f, (struct disk_config){ .readonly = true }, &a, &err), 0);
	assert_int_equal(try_open(f, (struct disk_config){ .readonly = true }, &b, &err), 0);
	assert_int_equal(try_open(f, (struct disk_config){ 0 }, &c, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "another process has it open"));
	assert_null(strstr(err.msg, "writing"));
	disk_destroy(a);
	disk_destroy(b);
	assert_int_equal(try_open(f, (struct disk_config){ 0 }, &c, &err), 0);
	disk_destroy(c);
}

/* In another process: takes the image, says so, and holds it until it is told to go. Its exit status, or -1. */
static pid_t holder(struct fixture *f, bool posix_lock, int pipes[2])
{
	int up[2], down[2];
	pid_t pid;
	char c = 0;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		struct disk *d = NULL;
		struct err err;
		bool ok;

		close(down[1]);
		if (posix_lock)
			ok = fcntl(open(f->path, O_RDWR), F_SETLK, &lock) == 0;
		else
			ok = try_open(f, (struct disk_config){ 0 }, &d, &err) == 0;
		if (!ok || write(up[1], "y", 1) != 1)
			_exit(1);
		_exit(read(down[0], &c, 1) == 0 ? 0 : 1);
	}
	close(up[1]);
	close(down[0]);
	assert_int_equal(read(up[0], &c, 1), 1);
	pipes[0] = up[0];
	pipes[1] = down[1];
	return pid;
}

static void let_go(pid_t pid, int pipes[2])
{
	int status = -1;

	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void other_processes_are_kept_out(void **state)
{
	struct fixture *f = *state;
	struct disk *d = NULL;
	struct err err;
	char text[64];
	int pipes[2];
	pid_t pid;

	pid = holder(f, false, pipes);
	assert_int_equal(try_open(f, (struct disk_config){ 0 }, &d, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "another process has it open for writing"));
	let_go(pid, pipes);
	assert_int_equal(try_open(f, (struct disk_config){ 0 }, &d, &err), 0);
	disk_destroy(d);

	pid = holder(f, true, pipes);
	assert_int_equal(try_open(f, (struct disk_config){ 0 }, &d, &err), -EBUSY);
	snprintf(text, sizeof(text), "process %d has it open for writing", (int)pid);
	assert_non_null(strstr(err.msg, text));
	let_go(pid, pipes);
}

static void the_lock_is_given_and_taken_back(void **state)
{
	struct fixture *f = *state;
	struct disk_config config = { .path = f->path };
	struct disk *there = NULL;
	struct disk_io io = { .op = DISK_FLUSH };
	struct err err = { 0 };

	open_disk(f, config);
	fill(f->memory, 4096, 6);
	assert_int_equal(simple(f, DISK_WRITE, 4096, 4096, f->memory), 0);
	/* The receiver looks at it while it is the source's. */
	assert_int_equal(disk_create(&config, false, &there, &err), 0);
	assert_int_equal(disk_geometry(there)->bytes, IMAGE_BYTES);
	assert_int_equal(disk_take(there, &err), -EBUSY);
	assert_int_equal(disk_release(f->d, &err), 0);
	assert_int_equal(disk_release(f->d, &err), 0);
	assert_int_equal(disk_begin(f->d, &io), -EBADF);
	assert_int_equal(disk_take(there, &err), 0);
	assert_int_equal(disk_take(there, &err), 0);
	assert_int_equal(disk_take(f->d, &err), -EBUSY);
	disk_destroy(there);
	/* It failed there: the source goes on. */
	assert_int_equal(disk_take(f->d, &err), 0);
	assert_int_equal(simple(f, DISK_READ, 4096, 4096, f->memory + 4096), 0);
	assert_memory_equal(f->memory, f->memory + 4096, 4096);
	assert_int_equal(simple(f, DISK_WRITE, 0, 4096, f->memory), 0);
}

static void takes_only_what_it_saw(void **state)
{
	struct fixture *f = *state;
	const struct disk_config config = { .path = f->path };
	struct err err = { 0 };

	assert_int_equal(disk_create(&config, false, &f->d, &err), 0);
	assert_int_equal(truncate(f->path, IMAGE_BYTES / 2), 0);
	assert_int_equal(disk_take(f->d, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "is 4194304 bytes long, was 8388608"));
	unlink(f->path);
	assert_int_equal(disk_take(f->d, &err), -ENOENT);
}

static void looks_for_permission_ahead(void **state)
{
	struct fixture *f = *state;
	const struct disk_config config = { .path = f->path };
	struct err err = { 0 };
	int status = -1;
	pid_t pid;

	assert_int_equal(chmod(f->path, 0444), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct disk *d = NULL;

		if (geteuid() == 0 && setresuid(65534, 65534, 65534))
			_exit(2);
		_exit(disk_create(&config, false, &d, &err) == -EACCES &&
				      strstr(err.msg, "cannot be written") ?
			      0 :
			      1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void readers_keep_what_they_have(void **state)
{
	struct fixture *f = *state;
	struct disk_config config = { .path = f->path, .readonly = true };
	struct disk *there = NULL;
	struct err err = { 0 };

	open_disk(f, config);
	assert_int_equal(disk_create(&config, false, &there, &err), 0);
	assert_int_equal(disk_release(f->d, &err), 0);
	assert_int_equal(simple(f, DISK_READ, 0, 512, f->memory), 0);
	assert_int_equal(simple(f, DISK_WRITE, 0, 512, f->memory), -EBADF); /* by the host itself */
	assert_int_equal(disk_take(there, &err), 0);
	disk_destroy(there);
}

/* A loop device over @path; NULL where that is not allowed. */
static int loop_over(const char *path, char *ret, size_t ret_len)
{
	struct loop_config config = { .block_size = 4096 };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int fd = -1;

	if (control >= 0)
		close(control);
	if (n < 0)
		return -1;
	snprintf(ret, ret_len, "/dev/loop%d", n);
	fd = open(ret, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	config.fd = (unsigned int)open(path, O_RDWR | O_CLOEXEC);
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	if (ioctl(fd, LOOP_CONFIGURE, &config))
		fd_close(&fd);
	close((int)config.fd);
	return fd;
}

static void works_on_a_block_device(void **state)
{
	struct fixture *f = *state;
	struct disk *other = NULL;
	struct err err;
	char loop[64];
	int fd = loop_over(f->path, loop, sizeof(loop));

	if (fd < 0) {
		print_message("skip: no loop devices\n");
		skip();
	}
	snprintf(f->path, sizeof(f->path), "%s", loop);
	for (int direct = 0; direct <= 1; direct++) {
		open_disk(f, (struct disk_config){ .direct = direct });
		close(fd); /* the device lives as long as somebody has it open */
		fd = open(loop, O_RDONLY | O_CLOEXEC);
		assert_int_equal(disk_geometry(f->d)->bytes, IMAGE_BYTES);
		assert_int_equal(disk_geometry(f->d)->block_bytes, 4096);
		fill(f->memory, 65536, 7);
		assert_int_equal(simple(f, DISK_WRITE, 0, 65536, f->memory), 0);
		assert_int_equal(simple(f, DISK_ZERO, 4096, 8192, NULL), 0);
		assert_int_equal(simple(f, DISK_ZERO, 20480 + 512, 512, NULL),
				 0); /* half a block */
		assert_int_equal(simple(f, DISK_DISCARD, 32768, 4096, NULL), 0);
		assert_int_equal(simple(f, DISK_DISCARD, 32768 + 512, 512, NULL), 0);
		assert_int_equal(simple(f, DISK_WRITE, 512, 512, f->memory + 1), 0);
		assert_int_equal(simple(f, DISK_FLUSH, 0, 0, NULL), 0);
		expect_image(f, 0, f->memory, 512);
		expect_image(f, 512, f->memory + 1, 512);
		expect_image(f, 1024, f->memory + 1024, 3072);
		expect_zeros(f, 4096, 8192);
		expect_image(f, 20480, f->memory + 20480, 512);
		expect_zeros(f, 20480 + 512, 512);
		expect_image(f, 20480 + 1024, f->memory + 20480 + 1024, 1024);
		assert_int_equal(try_open(f, (struct disk_config){ 0 }, &other, &err), -EBUSY);
		assert_int_equal(disk_release(f->d, &err), 0);
		assert_int_equal(try_open(f, (struct disk_config){ 0 }, &other, &err), 0);
		assert_int_equal(disk_take(f->d, &err), -EBUSY);
		disk_destroy(other);
		assert_int_equal(disk_take(f->d, &err), 0);
		close_disk(f);
	}
	close(fd);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refuses_what_is_no_raw_image), TEST(works_through_the_page_cache),
		TEST(works_past_the_page_cache),    TEST(direct_takes_any_alignment),
		TEST(takes_many_at_once),           TEST(an_image_that_was_cut_is_an_error),
		TEST(no_more_room_is_an_error),     TEST(one_writes_or_many_read),
		TEST(other_processes_are_kept_out), TEST(the_lock_is_given_and_taken_back),
		TEST(takes_only_what_it_saw),       TEST(looks_for_permission_ahead),
		TEST(readers_keep_what_they_have),  TEST(works_on_a_block_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
