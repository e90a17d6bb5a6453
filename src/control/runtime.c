/* SPDX-License-Identifier: Apache-2.0 */
#include "control/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

static int format_dir(char *ret, size_t ret_bytes)
{
	const char *own = getenv("VMM_RUNTIME_DIR");
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (own && *own)
		n = snprintf(ret, ret_bytes, "%s", own);
	else if (xdg && *xdg)
		n = snprintf(ret, ret_bytes, "%s/vmm", xdg);
	else if (geteuid() == 0)
		n = snprintf(ret, ret_bytes, "/run/vmm");
	else
		n = snprintf(ret, ret_bytes, "/tmp/vmm-%u", (unsigned int)geteuid());
	return n < 0 || (size_t)n >= ret_bytes ? -ENAMETOOLONG : 0;
}

int control_runtime_dir(char *ret, unsigned int ret_bytes, struct err *err)
{
	struct stat st;
	char dir[512];

	if (format_dir(dir, sizeof(dir)) || strlen(dir) >= ret_bytes)
		return err_set(err, -ENAMETOOLONG, "the runtime directory's name is too long");
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "runtime directory %s", dir);
	/* In /tmp somebody else may have been first: lstat, so that his symbolic link is not followed. A link of our own, set by the environment, is fine. */
	if (lstat(dir, &st) < 0 ||
	    (S_ISLNK(st.st_mode) && st.st_uid == geteuid() && stat(dir, &st) < 0))
		return err_sys(err, -errno, "runtime directory %s", dir);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "runtime directory %s: not a directory", dir);
	if (st.st_uid != geteuid())
		return err_set(err, -EACCES, "runtime directory %s: belongs to user %u", dir,
			       (unsigned int)st.st_uid);
	if (st.st_mode & 0022)
		return err_set(err, -EACCES, "runtime directory %s: others may write to it", dir);
	snprintf(ret, ret_bytes, "%s", dir);
	return 0;
}

static bool name_ok(const char *name)
{
	static const char chars[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	return *name && *name != '.' && *name != '-' && strspn(name, chars) == strlen(name);
}

int control_socket_path(const char *name, char *ret, unsigned int ret_bytes, struct err *err)
{
	char dir[512], path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int rc = control_runtime_dir(dir, sizeof(dir), err);
	int n;

	if (rc)
		return rc;
	if (!name_ok(name))
		return err_set(err, -EINVAL,
			       "\"%s\" is not a VM's name: letters, digits and . _ - only", name);
	n = snprintf(path, sizeof(path), "%s/%s%s", dir, name, CONTROL_SOCKET_SUFFIX);
	if (n < 0 || (size_t)n >= sizeof(path) || (unsigned int)n >= ret_bytes)
		return err_set(err, -ENAMETOOLONG,
			       "%s/%s%s is longer than a socket address holds (%zu bytes)", dir,
			       name, CONTROL_SOCKET_SUFFIX, sizeof(path) - 1);
	snprintf(ret, ret_bytes, "%s", path);
	return 0;
}

int control_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, saved;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	saved = errno;
	close(fd);
	return -saved;
}

int control_runtime_lock(struct err *err)
{
	char dir[512];
	int rc = control_runtime_dir(dir, sizeof(dir), err);
	int fd;

	if (rc)
		return rc;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, -errno, "%s", dir);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EINTR)
			continue;
		rc = -errno;
		close(fd);
		return err_sys(err, rc, "locking %s", dir);
	}
	return fd;
}

bool control_remove_stale(const char *path)
{
	struct stat st;
	cleanup_fd int fd = -1;

	if (lstat(path, &st) < 0)
		return errno == ENOENT;
	/* connect refuses regular files with the same error as dead sockets: those are not ours to remove. */
	if (stat(path, &st) == 0 ? !S_ISSOCK(st.st_mode) : errno != ENOENT)
		return false;
	fd = control_connect(path);
	if (fd != -ECONNREFUSED && fd != -ENOENT)
		return false;
	return unlink(path) == 0 || errno == ENOENT;
}
