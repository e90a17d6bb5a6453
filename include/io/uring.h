/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IO_URING_H
#define IO_URING_H

#include <liburing.h>

#include "base/err.h"

/* An io_uring of @entries. Kernels know more and more flags of io_uring_setup(2): each of @flags is tried in turn until the kernel takes one. -EPERM and -ENOSYS say where to look. */
int uring_init(struct io_uring *ring, unsigned int entries, const unsigned int *flags,
	       unsigned int nflags, struct err *err);

#endif
