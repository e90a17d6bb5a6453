/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/num.h"
#include "devices/device.h"
#include "io/loop.h"
#include "unix_listen.h"

enum tty_kind { TTY_NULL, TTY_STDIO, TTY_FILE, TTY_UNIX, TTY_PTY };

#define REPLAY_BYTES (64u << 10)
#define INPUT_BYTES 256u
/* What a pipe takes without blocking once poll says POLLOUT (pipe(7), PIPE_BUF). */
#define WRITE_BYTES 4096u
/* A reader that is behind gets this long; then output is dropped without further waits until it reads again. */
#define STALL_MS 100
#define WRITE_TRIES 64
#define KEY_ESCAPE 0x01 /* Ctrl-A */

struct tty {
	enum tty_kind kind;
	struct loop *loop;
	struct tty_input input;
	void (*quit)(void *opaque);
	void *quit_opaque;

	/* Loop thread only. */
	int in_fd; /* -1: no input */
	int ready_fd; /* any thread -> loop: try again what `held` holds */
	uint8_t held[TTY_HELD_BYTES]; /* read and not taken yet */
	size_t held_bytes;
	bool full; /* `held` is: in_fd is not read */
	bool escape_seen;
	bool raw;
	struct termios saved;
	struct unix_listener listener;
	char *path;
	char pts_path[64];
	uint16_t cols, rows; /* the pty's, as last seen; 0: nobody gave it a size */
	int pts_fd; /* keeps the pty from hanging up while nobody has it open */

	pthread_mutex_t lock; /* what follows: written from vCPU threads */
	int out_fd; /* unix: the client, also in_fd */
	bool out_may_block; /* a blocking descriptor that is shared with others */
	bool stalled;
	uint8_t *replay; /* unix: a ring of the last REPLAY_BYTES */
	uint64_t replay_total;
};

static bool spec_path(const char *spec, const char *scheme, const char **ret_path)
{
	size_t len = strlen(scheme);

	if (strncmp(spec, scheme, len))
		return false;
	*ret_path = spec + len;
	return true;
}

static int parse_spec(const char *spec, enum tty_kind *ret_kind, const char **ret_path,
		      struct err *err)
{
	const char *path = NULL;

	if (!strcmp(spec, "null"))
		*ret_kind = TTY_NULL;
	else if (!strcmp(spec, "stdio"))
		*ret_kind = TTY_STDIO;
	else if (!strcmp(spec, "pty"))
		*ret_kind = TTY_PTY;
	else if (spec_path(spec, "file:", &path))
		*ret_kind = TTY_FILE;
	else if (spec_path(spec, "unix:", &path))
		*ret_kind = TTY_UNIX;
	else
		return err_set(err, -EINVAL,
			       "console \"%s\": not stdio, file:PATH, unix:PATH, pty or null",
			       spec);
	if (path && !*path)
		return err_set(err, -EINVAL, "console \"%s\": no path", spec);
	*ret_path = path;
	return 0;
}

int tty_check_spec(const char *spec, struct err *err)
{
	enum tty_kind kind;
	const char *path;

	return parse_spec(spec, &kind, &path, err);
}

/* Output */

static bool wait_writable(struct tty *t)
{
	struct pollfd p = { .fd = t->out_fd, .events = POLLOUT };

	return poll(&p, 1, t->stalled ? 0 : STALL_MS) > 0 && (p.revents & POLLOUT);
}

static ssize_t write_some(const struct tty *t, const uint8_t *data, size_t len_bytes)
{
	if (t->kind == TTY_UNIX)
		return send(t->out_fd, data, len_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	return write(t->out_fd, data, len_bytes);
}

/* Lock held. What the other end does not take in time is dropped: the guest must not hang on its console's reader. */
static void put(struct tty *t, const uint8_t *data, size_t len_bytes)
{
	for (int tries = 0; len_bytes && t->out_fd >= 0 && tries < WRITE_TRIES; tries++) {
		ssize_t n;

		if (t->out_may_block && !wait_writable(t)) {
			t->stalled = true;
			return;
		}
		n = write_some(t, data, MIN(len_bytes, WRITE_BYTES));
		if (n > 0) {
			t->stalled = false;
			tries = 0;
			data += n;
			len_bytes -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (wait_writable(t))
				continue;
			t->stalled = true;
			return;
		} else if (n < 0 && errno != EINTR) {
			return; /* gone; the loop notices a socket's end, others may come back */
		}
	}
}

static void remember(struct tty *t, const uint8_t *data, size_t len_bytes)
{
	if (len_bytes > REPLAY_BYTES) {
		t->replay_total += len_bytes - REPLAY_BYTES;
		data += len_bytes - REPLAY_BYTES;
		len_bytes = REPLAY_BYTES;
	}
	while (len_bytes) {
		size_t at = t->replay_total % REPLAY_BYTES;
		size_t n = MIN(len_bytes, REPLAY_BYTES - at);

		memcpy(t->replay + at, data, n);
		t->replay_total += n;
		data += n;
		len_bytes -= n;
	}
}

static void replay(struct tty *t)
{
	size_t at = t->replay_total % REPLAY_BYTES;

	if (t->replay_total > REPLAY_BYTES)
		put(t, t->replay + at, REPLAY_BYTES - at);
	put(t, t->replay, t->replay_total < REPLAY_BYTES ? (size_t)t->replay_total : at);
}

void tty_write(struct tty *t, const uint8_t *data, size_t len_bytes)
{
	pthread_mutex_lock(&t->lock);
	if (t->replay)
		remember(t, data, len_bytes);
	put(t, data, len_bytes);
	pthread_mutex_unlock(&t->lock);
}

/* Input */

/* What is not taken is held, behind what is held already. Only a terminal delivers more than there is room for. */
static void deliver(struct tty *t, const uint8_t *data, size_t len_bytes)
{
	size_t n = 0;

	if (!len_bytes || !t->input.bytes)
		return;
	if (!t->held_bytes)
		n = t->input.bytes(t->input.opaque, data, len_bytes);
	data += n;
	n = MIN(len_bytes - n, sizeof(t->held) - t->held_bytes);
	memcpy(t->held + t->held_bytes, data, n);
	t->held_bytes += n;
}

/* On a terminal Ctrl-A X quits and Ctrl-A Ctrl-A is one Ctrl-A; Ctrl-A ahead of another key is dropped. */
static void deliver_keys(struct tty *t, const uint8_t *keys, size_t len_bytes)
{
	uint8_t out[INPUT_BYTES];
	size_t n = 0;

	for (size_t i = 0; i < len_bytes; i++) {
		uint8_t key = keys[i];

		if (!t->escape_seen && key == KEY_ESCAPE) {
			t->escape_seen = true;
			continue;
		}
		if (t->escape_seen && (key == 'x' || key == 'X')) {
			t->escape_seen = false;
			if (t->quit)
				t->quit(t->quit_opaque);
			continue;
		}
		t->escape_seen = false;
		out[n++] = key;
	}
	deliver(t, out, n);
}

/* Whose terminal is resized hears of it by a signal, but the other end of a pty is not told. */
static void follow_size(struct tty *t)
{
	struct winsize w;

	if (!t->input.resized || ioctl(t->in_fd, TIOCGWINSZ, &w) < 0 || !w.ws_col || !w.ws_row ||
	    (w.ws_col == t->cols && w.ws_row == t->rows))
		return;
	t->cols = w.ws_col;
	t->rows = w.ws_row;
	t->input.resized(t->input.opaque, w.ws_col, w.ws_row);
}

static int watch_listener(struct tty *t);

static void input_ended(struct tty *t)
{
	loop_del(t->loop, t->in_fd);
	t->full = false;
	if (t->kind == TTY_UNIX) {
		pthread_mutex_lock(&t->lock);
		fd_close(&t->out_fd);
		pthread_mutex_unlock(&t->lock);
	}
	t->in_fd = -1;
	if (t->kind == TTY_UNIX)
		watch_listener(t);
}

static void on_input(void *opaque, int fd, uint32_t events);

/* The client has no more to say but may go on listening (socat with its input at an end): wait for its hang-up alone, which epoll always reports. */
static void input_half_closed(struct tty *t)
{
	loop_del(t->loop, t->in_fd);
	if (loop_add(t->loop, t->in_fd, 0, on_input, t))
		input_ended(t);
}

/* No more is read until there is room. A client's hang-up is still heard, and frees the console for the next: a guest that does not read must not keep it. */
static void stop_reading(struct tty *t)
{
	loop_del(t->loop, t->in_fd);
	t->full = true;
	if (t->kind == TTY_UNIX && loop_add(t->loop, t->in_fd, 0, on_input, t))
		input_ended(t);
}

static void read_again(struct tty *t)
{
	loop_del(t->loop, t->in_fd);
	t->full = false;
	if (loop_add(t->loop, t->in_fd, EPOLLIN, on_input, t))
		input_ended(t);
}

static void on_ready(void *opaque, int fd, uint32_t events)
{
	struct tty *t = opaque;
	eventfd_t count;
	size_t n;

	(void)eventfd_read(fd, &count);
	if (!t->held_bytes)
		return;
	n = t->input.bytes(t->input.opaque, t->held, t->held_bytes);
	t->held_bytes -= n;
	memmove(t->held, t->held + n, t->held_bytes);
	if (t->full && n)
		read_again(t);
}

void tty_input_ready(struct tty *t)
{
	if (t->ready_fd >= 0)
		(void)eventfd_write(t->ready_fd, 1);
}

static void on_input(void *opaque, int fd, uint32_t events)
{
	struct tty *t = opaque;
	bool terminal = t->kind == TTY_STDIO && t->raw;
	uint8_t data[INPUT_BYTES];
	size_t room = terminal ? sizeof(data) : MIN(sizeof(data), sizeof(t->held) - t->held_bytes);
	ssize_t n;

	if (t->full) { /* nothing but a hang-up is watched for */
		input_ended(t);
		return;
	}
	if (t->kind == TTY_PTY)
		follow_size(t);
	n = read(fd, data, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0 && t->kind == TTY_UNIX && !(events & (EPOLLHUP | EPOLLERR)))
		input_half_closed(t);
	else if (n <= 0)
		input_ended(t);
	else if (terminal)
		deliver_keys(t, data, (size_t)n);
	else
		deliver(t, data, (size_t)n);
	if (n > 0 && !terminal && t->held_bytes == sizeof(t->held))
		stop_reading(t);
}

/* One client at a time: others wait in the backlog until it leaves. */
static void on_connect(void *opaque, int fd, uint32_t events)
{
	struct tty *t = opaque;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client < 0)
		return;
	if (loop_add(t->loop, client, EPOLLIN, on_input, t)) {
		fd_close(&client);
		return;
	}
	loop_del(t->loop, fd);
	t->in_fd = client;
	pthread_mutex_lock(&t->lock);
	t->out_fd = client;
	t->stalled = false;
	replay(t);
	pthread_mutex_unlock(&t->lock);
	if (t->held_bytes == sizeof(t->held)) /* by the client before */
		stop_reading(t);
}

static int watch_listener(struct tty *t)
{
	return loop_add(t->loop, t->listener.fd, EPOLLIN, on_connect, t);
}

/* The kinds */

static int open_file(struct tty *t, struct err *err)
{
	/* Appended, so that a VM that comes back to this host goes on with the log it had. */
	t->out_fd = open(t->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			 0600);
	return t->out_fd < 0 ? err_sys(err, -errno, "%s", t->path) : 0;
}

static int open_unix(struct tty *t, struct err *err)
{
	int rc;

	t->replay = malloc(REPLAY_BYTES);
	if (!t->replay)
		return err_set(err, -ENOMEM, "out of memory");
	rc = unix_listen(t->path, &t->listener, err);
	if (rc)
		return rc;
	rc = watch_listener(t);
	return rc ? err_sys(err, rc, "%s", t->path) : 0;
}

static int open_pty_pair(struct tty *t)
{
	struct termios tio;

	t->out_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (t->out_fd < 0 || grantpt(t->out_fd) || unlockpt(t->out_fd) ||
	    ptsname_r(t->out_fd, t->pts_path, sizeof(t->pts_path)))
		return -errno;
	t->pts_fd = open(t->pts_path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->pts_fd < 0 || tcgetattr(t->pts_fd, &tio))
		return -errno;
	cfmakeraw(&tio); /* no echo of what the guest prints as input */
	return tcsetattr(t->pts_fd, TCSANOW, &tio) ? -errno : 0;
}

static int open_pty(struct tty *t, struct err *err)
{
	int rc = open_pty_pair(t);

	if (!rc)
		rc = loop_add(t->loop, t->out_fd, EPOLLIN, on_input, t);
	if (rc)
		return err_sys(err, rc, "pty");
	t->in_fd = t->out_fd;
	return 0;
}

/* O_NONBLOCK belongs to the open file, which the shell shares: it is set on a file of our own, where stdout can be opened anew. */
static int open_stdout(struct tty *t)
{
	struct stat st;

	if (!fstat(STDOUT_FILENO, &st) && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
		t->out_fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (t->out_fd >= 0)
		return 0;
	t->out_may_block = true;
	t->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	return t->out_fd < 0 ? -errno : 0;
}

static void make_raw(struct tty *t)
{
	struct termios tio;

	if (tcgetattr(STDIN_FILENO, &t->saved))
		return;
	tio = t->saved;
	cfmakeraw(&tio);
	tio.c_oflag |= OPOST; /* our own lines end in \n alone */
	t->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &tio);
}

static int open_stdio(struct tty *t, struct err *err)
{
	int rc = open_stdout(t);

	if (rc)
		return err_sys(err, rc, "standard output");
	/* Touching the terminal from the background would stop the process (termios(3), SIGTTIN and SIGTTOU). */
	if (isatty(STDIN_FILENO)) {
		if (tcgetpgrp(STDIN_FILENO) != getpgrp())
			return 0;
		make_raw(t);
	}
	rc = loop_add(t->loop, STDIN_FILENO, EPOLLIN, on_input, t);
	if (!rc)
		t->in_fd = STDIN_FILENO;
	else if (rc != -EPERM && rc != -EBADF) /* files, /dev/null, closed: no input */
		return err_sys(err, rc, "standard input");
	return 0;
}

static int open_kind(struct tty *t, struct err *err)
{
	switch (t->kind) {
	case TTY_STDIO:
		return open_stdio(t, err);
	case TTY_FILE:
		return open_file(t, err);
	case TTY_UNIX:
		return open_unix(t, err);
	case TTY_PTY:
		return open_pty(t, err);
	case TTY_NULL:
		break;
	}
	return 0;
}

static int watch_ready(struct tty *t, struct err *err)
{
	int rc;

	t->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = t->ready_fd < 0 ? -errno : loop_add(t->loop, t->ready_fd, EPOLLIN, on_ready, t);
	return rc ? err_sys(err, rc, "eventfd") : 0;
}

int tty_create(const char *spec, struct loop *loop, const struct tty_input *input, struct tty **ret,
	       struct err *err)
{
	enum tty_kind kind = TTY_NULL;
	const char *path = NULL;
	struct tty *t;
	int rc;

	rc = parse_spec(spec, &kind, &path, err);
	if (rc)
		return rc;
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(err, -ENOMEM, "console: out of memory");
	pthread_mutex_init(&t->lock, NULL);
	t->kind = kind;
	t->loop = loop;
	t->input = *input;
	t->in_fd = t->out_fd = t->pts_fd = t->listener.fd = t->ready_fd = -1;
	if (path)
		t->path = strdup(path);
	if (path && !t->path)
		rc = err_set(err, -ENOMEM, "out of memory");
	else
		rc = open_kind(t, err);
	if (!rc && kind != TTY_NULL && kind != TTY_FILE)
		rc = watch_ready(t, err);
	if (rc) {
		err_prefix(err, "console");
		tty_destroy(t);
		return rc;
	}
	*ret = t;
	return 0;
}

void tty_destroy(struct tty *t)
{
	if (!t)
		return;
	if (t->in_fd >= 0)
		loop_del(t->loop, t->in_fd);
	else if (t->listener.fd >= 0)
		loop_del(t->loop, t->listener.fd);
	if (t->ready_fd >= 0)
		loop_del(t->loop, t->ready_fd);
	fd_close(&t->ready_fd);
	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	unix_listener_close(&t->listener);
	fd_close(&t->out_fd);
	fd_close(&t->pts_fd);
	pthread_mutex_destroy(&t->lock);
	free(t->replay);
	free(t->path);
	free(t);
}

const char *tty_path(const struct tty *t)
{
	return t->kind == TTY_PTY ? t->pts_path : NULL;
}

void tty_set_quit(struct tty *t, void (*fn)(void *opaque), void *opaque)
{
	t->quit = fn;
	t->quit_opaque = opaque;
}
