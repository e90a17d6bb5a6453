/* SPDX-License-Identifier: Apache-2.0 */
#include "report_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int report_file_open(struct report_file *f, const char *path, struct err *err)
{
	mode_t mask;
	int rc;

	*f = (struct report_file){ 0 };
	if (!path)
		return 0;
	rc = new_file_open(&f->file, path, err);
	if (rc) {
		err_prefix(err, "--report %s", path);
		return rc;
	}
	/* An ordinary file, as open would make one. */
	mask = umask(0);
	umask(mask);
	(void)fchmod(f->file.fd, 0666 & ~mask);
	return 0;
}

int report_file_write(struct report_file *f, const json_t *report, struct err *err)
{
	const char *path = f->file.path;
	cleanup_free char *text = NULL;
	int rc = 0;

	if (!path)
		return 0;
	text = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	if (!text)
		rc = -ENOMEM;
	if (!rc)
		rc = fd_write_all(f->file.fd, text, strlen(text));
	if (!rc)
		rc = fd_write_all(f->file.fd, "\n", 1);
	if (rc) {
		err_sys(err, rc, "--report %s", path);
		report_file_discard(f);
		return rc;
	}
	rc = new_file_commit(&f->file, err);
	if (rc)
		err_prefix(err, "--report %s", path);
	return rc;
}

void report_file_discard(struct report_file *f)
{
	new_file_discard(&f->file);
}
