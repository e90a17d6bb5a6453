/* SPDX-License-Identifier: Apache-2.0 */
#include "base/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

int new_file_open(struct new_file *f, const char *path, struct err *err)
{
	struct stat st;

	*f = (struct new_file){ .fd = -1 };
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "is a directory");
	if (snprintf(f->temporary, sizeof(f->temporary), "%s.XXXXXX", path) >=
	    (int)sizeof(f->temporary))
		return err_set(err, -ENAMETOOLONG, "too long a path");
	f->fd = mkostemp(f->temporary, O_CLOEXEC);
	if (f->fd < 0)
		return err_set(err, -errno, "%s", strerror(errno));
	f->path = path;
	return 0;
}

int new_file_commit(struct new_file *f, struct err *err)
{
	int rc = 0;

	if (fsync(f->fd) < 0 || rename(f->temporary, f->path) < 0)
		rc = err_set(err, -errno, "%s", strerror(errno));
	if (rc) {
		new_file_discard(f);
		return rc;
	}
	fd_close(&f->fd);
	f->path = NULL;
	return 0;
}

void new_file_discard(struct new_file *f)
{
	if (!f->path)
		return;
	unlink(f->temporary);
	fd_close(&f->fd);
	f->path = NULL;
}
