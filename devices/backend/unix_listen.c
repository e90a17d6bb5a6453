/* SPDX-License-Identifier: Apache-2.0 */
#include "unix_listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

static int new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A socket file whose owner is gone. Anything that does not refuse is somebody's: EAGAIN is a full backlog. */
static bool is_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	bool refused;
	int fd;

	if (lstat(addr->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = new_socket();
	if (fd < 0)
		return false;
	refused =
		connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) && errno == ECONNREFUSED;
	fd_close(&fd);
	return refused;
}

static int bind_path(int fd, const struct sockaddr_un *addr)
{
	const struct sockaddr *sa = (const struct sockaddr *)addr;

	/* The file's mode is the socket's at the time of bind: no moment at which others may connect. */
	if (fchmod(fd, 0600))
		return -errno;
	if (!bind(fd, sa, sizeof(*addr)))
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (!is_stale(addr))
		return -EADDRINUSE;
	if (unlink(addr->sun_path) || bind(fd, sa, sizeof(*addr)))
		return -errno;
	return 0;
}

int unix_listen(const char *path, struct unix_listener *ret, struct err *err)
{
	struct unix_listener l = { .fd = -1, .path = path };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG, "%s: longer than the %zu bytes of a socket path",
			       path, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	l.fd = new_socket();
	if (l.fd < 0)
		return err_sys(err, -errno, "%s", path);
	rc = bind_path(l.fd, &addr);
	if (rc) {
		fd_close(&l.fd);
		return err_sys(err, rc, "%s", path);
	}
	if (!lstat(path, &st)) {
		l.dev = st.st_dev;
		l.ino = st.st_ino;
	}
	if (listen(l.fd, 1)) {
		rc = err_sys(err, -errno, "%s", path);
		unix_listener_close(&l);
		return rc;
	}
	*ret = l;
	return 0;
}

void unix_listener_close(struct unix_listener *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	if (!lstat(l->path, &st) && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	fd_close(&l->fd);
}
