/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "disk_internal.h"

static int busy(const struct disk *d, int fd, struct flock *lock, struct err *err)
{
	char who[48] = "another process";
	const char *what = d->readonly ? "has it open for writing" : "has it open";

	/* Tells the first lock in the way; its owner only if that is a process and not an open file. */
	if (fcntl(fd, F_OFD_GETLK, lock) == 0 && lock->l_type != F_UNLCK) {
		if (lock->l_pid > 0)
			snprintf(who, sizeof(who), "process %d", (int)lock->l_pid);
		if (lock->l_type == F_WRLCK)
			what = "has it open for writing";
	}
	return err_set(err, -EBUSY, "--disk %s: %s %s", d->path, who, what);
}

int disk_lock(const struct disk *d, int fd, struct err *err)
{
	struct flock lock = { .l_type = d->readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (d->shared || fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return busy(d, fd, &lock, err);
	return err_sys(err, -errno, "--disk %s: cannot lock it (shared does without)", d->path);
}

void disk_unlock(int fd)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(fd, F_OFD_SETLK, &lock);
}
