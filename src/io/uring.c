/* SPDX-License-Identifier: Apache-2.0 */
#include "io/uring.h"

#include <errno.h>

int uring_init(struct io_uring *ring, unsigned int entries, const unsigned int *flags,
	       unsigned int nflags, struct err *err)
{
	int rc = -EINVAL;

	for (unsigned int i = 0; rc == -EINVAL && i < nflags; i++)
		rc = io_uring_queue_init(entries, ring, flags[i]);
	if (rc == -EPERM || rc == -ENOSYS)
		return err_set(err, rc,
			       "io_uring is not allowed here (see the sysctl "
			       "kernel.io_uring_disabled and the container's seccomp profile)");
	if (rc)
		return err_sys(err, rc, "io_uring");
	return 0;
}
