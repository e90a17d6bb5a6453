/* SPDX-License-Identifier: Apache-2.0 */
#include "report_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int report_file_open(struct report_file *f, const char *path, struct err *err)
{
	struct stat st;
	mode_t mask;

	*f = (struct report_file){ .fd = -1 };
	if (!path)
		return 0;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "--report %s: is a directory", path);
	if (snprintf(f->temporary, sizeof(f->temporary), "%s.XXXXXX", path) >=
	    (int)sizeof(f->temporary))
		return err_set(err, -ENAMETOOLONG, "--report %s: too long", path);
	f->fd = mkostemp(f->temporary, O_CLOEXEC);
	if (f->fd < 0)
		return err_sys(err, -errno, "--report %s", path);
	/* mkostemp makes it 0600; it becomes an ordinary file, as open would make one. */
	mask = umask(0);
	umask(mask);
	(void)fchmod(f->fd, 0666 & ~mask);
	f->path = path;
	return 0;
}

int report_file_write(struct report_file *f, const json_t *report, struct err *err)
{
	cleanup_free char *text = NULL;
	int rc = 0;

	if (!f->path)
		return 0;
	text = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	if (!text)
		rc = -ENOMEM;
	if (!rc)
		rc = fd_write_all(f->fd, text, strlen(text));
	if (!rc)
		rc = fd_write_all(f->fd, "\n", 1);
	if (!rc && (fsync(f->fd) < 0 || rename(f->temporary, f->path) < 0))
		rc = -errno;
	if (rc) {
		err_sys(err, rc, "--report %s", f->path);
		report_file_discard(f);
		return rc;
	}
	fd_close(&f->fd);
	f->path = NULL;
	return 0;
}

void report_file_discard(struct report_file *f)
{
	if (!f->path)
		return;
	unlink(f->temporary);
	fd_close(&f->fd);
	f->path = NULL;
}
