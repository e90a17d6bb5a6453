/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_SOURCE_H
#define VMM_BOOT_SOURCE_H

#include <stdint.h>

#include "base/err.h"
#include "vmm/gmem.h"

/* The bytes of a kernel or initrd, for the loaders of every architecture: in memory, or of a file read with pread. */
struct boot_source {
	const uint8_t *data; /* NULL: fd */
	int fd;
	uint64_t len_bytes;
	const char *name; /* for messages */
};

/* A regular file; *ret_fd is the caller's to close and must outlive *ret. -errno with the path. */
int boot_source_open(const char *path, struct boot_source *ret, int *ret_fd, struct err *err);

/* Exactly [off, off + len) into @dst: 0, -ENODATA when the image ends before, -errno. */
int boot_source_read(const struct boot_source *src, uint64_t off, void *dst, uint64_t len_bytes);

/* The same into guest memory at @gpa, which must be RAM: -EFAULT, or as boot_source_read, with the source named. */
int boot_source_load(const struct boot_source *src, uint64_t off, struct gmem *mem, uint64_t gpa,
		     uint64_t len_bytes, struct err *err);

#endif
