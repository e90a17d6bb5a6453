/* SPDX-License-Identifier: Apache-2.0 */
#include "bind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "control/runtime.h"

/* Connections that wait to be accepted; the server takes them in at once unless it has reached its limit. */
#define BACKLOG 16

static int absolute_path(const char *path, char *ret, size_t ret_bytes, struct err *err)
{
	char cwd[512] = "";
	int n;

	if (*path != '/' && !getcwd(cwd, sizeof(cwd)))
		return err_sys(err, -errno, "%s", path);
	n = snprintf(ret, ret_bytes, "%s%s%s", cwd, *cwd ? "/" : "", path);
	if (n < 0 || (size_t)n >= ret_bytes ||
	    (size_t)n >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(err, -ENAMETOOLONG, "%s: longer than a socket address holds", path);
	return 0;
}

/* Room at @path for a socket of our own, the runtime lock held. */
static int clear_path(const char *path, const char *taken, struct err *err)
{
	struct stat st;
	cleanup_fd int fd = -1;

	if (control_remove_stale(path))
		return 0;
	fd = control_connect(path);
	/* -EAGAIN: somebody listens, and his backlog is full. */
	if (fd >= 0 || fd == -EAGAIN)
		return err_set(err, -EADDRINUSE, "%s", taken);
	if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "%s exists and is not a socket", path);
	return err_sys(err, fd, "%s", path);
}

static int listen_on(int fd, const char *path, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int rc;

	memcpy(addr.sun_path, path, strlen(path) + 1); /* absolute_path saw to its length */
	/* bind gives the file the mode of the descriptor: it is never open to others, not even for a moment (unix(7), net/unix/af_unix.c). */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, -errno, "control socket %s", path);
	if (listen(fd, BACKLOG) == 0)
		return 0;
	rc = err_sys(err, -errno, "control socket %s", path);
	unlink(path);
	return rc;
}

static int listen_at(const char *path, int *ret_fd, struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return err_sys(err, -errno, "control socket");
	rc = listen_on(fd, path, err);
	if (rc)
		close(fd);
	else
		*ret_fd = fd;
	return rc;
}

int bound_socket_init(struct bound_socket *s, const char *name, const char *api_path,
		      struct err *err)
{
	struct bound_socket b = { .fd = -1 };
	char own[512], taken[640];
	cleanup_fd int lock = -1;
	int rc = control_socket_path(name, own, sizeof(own), err);

	if (!rc)
		rc = absolute_path(api_path ? api_path : own, b.path, sizeof(b.path), err);
	if (rc)
		return rc;
	lock = control_runtime_lock(err);
	if (lock < 0)
		return lock;
	snprintf(taken, sizeof(taken), "a VM named %s is running", name);
	rc = clear_path(own, taken, err);
	if (!rc && strcmp(own, b.path) != 0) {
		snprintf(b.link, sizeof(b.link), "%s", own);
		snprintf(taken, sizeof(taken), "%s: somebody listens there", b.path);
		rc = clear_path(b.path, taken, err);
	}
	if (!rc)
		rc = listen_at(b.path, &b.fd, err);
	if (rc)
		return rc;
	if (*b.link && symlink(b.path, b.link) < 0) {
		rc = err_sys(err, -errno, "%s", b.link);
		*b.link = '\0';
		bound_socket_fini(&b);
		return rc;
	}
	*s = b;
	return 0;
}

void bound_socket_unlink(struct bound_socket *s)
{
	if (*s->link)
		unlink(s->link);
	if (*s->path)
		unlink(s->path);
	*s->link = *s->path = '\0';
}

void bound_socket_fini(struct bound_socket *s)
{
	bound_socket_unlink(s);
	fd_close(&s->fd);
}
