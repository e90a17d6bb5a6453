/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>

/* Close and set to -1; a negative fd is left alone. Keeps errno. */
void fd_close(int *fd);

/* The whole of @len bytes or an error; EINTR is retried. 0 or -errno (fd_read_all: -ENODATA at an early end of file). */
int fd_write_all(int fd, const void *data, size_t len_bytes);
int fd_read_all(int fd, void *data, size_t len_bytes);

#endif
