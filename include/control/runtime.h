/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_RUNTIME_H
#define CONTROL_RUNTIME_H

#include <stdbool.h>

#include "base/err.h"

/* Where the VMs of one user find each other (docs/spec/control.md §1). Shared by the server and its clients; no threads, no HTTP. */

#define CONTROL_SOCKET_SUFFIX ".sock"

/* $VMM_RUNTIME_DIR, else $XDG_RUNTIME_DIR/vmm, else /run/vmm for root, else /tmp/vmm-UID; made with mode 0700 and refused when somebody else owns it or
 * may write to it. -ENAMETOOLONG, -EACCES, or mkdir's error. */
int control_runtime_dir(char *ret, unsigned int ret_bytes, struct err *err);

/* RUNTIME_DIR/NAME.sock. -EINVAL for a name that is none ([A-Za-z0-9._-], not starting with . or -), -ENAMETOOLONG where a socket address cannot hold it. */
int control_socket_path(const char *name, char *ret, unsigned int ret_bytes, struct err *err);

/* Connects: the descriptor, or -errno (-ECONNREFUSED: nobody listens; -ENOENT). */
int control_connect(const char *path);

/*
 * Starting servers and whoever clears away what a crashed one left take this lock, since between bind and listen a socket refuses connections like a stale
 * one. A descriptor to close, or -errno.
 */
int control_runtime_lock(struct err *err);

/* With the lock held: removes @path when it is a socket (or a symbolic link to one, or to nothing) that nobody listens on. True when nothing is left at @path. */
bool control_remove_stale(const char *path);

#endif
