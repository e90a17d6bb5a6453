/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <unistd.h>

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd); /* not retried: Linux frees the descriptor even on EINTR */
	*fd = -1;
	errno = saved;
}

int fd_write_all(int fd, const void *data, size_t len_bytes)
{
	const uint8_t *p = data;

	while (len_bytes) {
		ssize_t n = write(fd, p, len_bytes);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int fd_read_all(int fd, void *data, size_t len_bytes)
{
	uint8_t *p = data;

	while (len_bytes) {
		ssize_t n = read(fd, p, len_bytes);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!n)
			return -ENODATA;
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}
