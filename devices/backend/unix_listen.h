/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_BACKEND_UNIX_LISTEN_H
#define DEVICES_BACKEND_UNIX_LISTEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"

/* A listening stream socket at a path, mode 0600, non-blocking. */
struct unix_listener {
	int fd; /* -1 when closed */
	const char *path;
	dev_t dev; /* of the socket file, so that only our own is removed */
	ino_t ino;
};

/* @path stays the caller's and must outlive the listener. A socket file on which nobody answers is replaced; one that is in use, or a file of
 * another type, is left alone: -EADDRINUSE. -ENAMETOOLONG, or what the socket calls say. */
int unix_listen(const char *path, struct unix_listener *ret, struct err *err);
void unix_listener_close(struct unix_listener *l);

#endif
