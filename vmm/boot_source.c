/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_source_open(const char *path, struct boot_source *ret, int *ret_fd, struct err *err)
{
	struct stat st;
	/* O_NONBLOCK: opening a FIFO would wait for its writer */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(err, -errno, "%s: cannot open", path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(err, -EINVAL, "%s: not a regular file", path);
	}
	*ret = (struct boot_source){ .fd = fd, .len_bytes = (uint64_t)st.st_size, .name = path };
	*ret_fd = fd;
	return 0;
}

int boot_source_read(const struct boot_source *src, uint64_t off, void *dst, uint64_t len_bytes)
{
	uint8_t *p = dst;

	if (off > src->len_bytes || len_bytes > src->len_bytes - off)
		return -ENODATA;
	if (src->data) {
		memcpy(dst, src->data + off, len_bytes);
		return 0;
	}
	while (len_bytes) {
		ssize_t n = pread(src->fd, p, len_bytes, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) /* cut short since its length was taken */
			return -ENODATA;
		p += n;
		off += (uint64_t)n;
		len_bytes -= (uint64_t)n;
	}
	return 0;
}

/* Straight into guest memory, without a copy in between. */
int boot_source_load(const struct boot_source *src, uint64_t off, struct gmem *mem, uint64_t gpa,
		     uint64_t len_bytes, struct err *err)
{
	void *p = len_bytes ? gmem_ptr(mem, gpa, len_bytes) : NULL;
	int rc;

	if (!len_bytes)
		return 0;
	if (!p)
		return err_set(err, -EFAULT, "%s: no memory at 0x%llx", src->name,
			       (unsigned long long)gpa);
	rc = boot_source_read(src, off, p, len_bytes);
	if (rc)
		return err_sys(err, rc, "%s: cannot read", src->name);
	gmem_mark_dirty(mem, gpa, len_bytes);
	return 0;
}
