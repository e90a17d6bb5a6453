/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "devices/device.h"
#include "io/loop.h"

#define REPLAY_BYTES (64u << 10)

struct fixture {
	char dir[64];
	char path[128];
	char spec[160];
	struct loop *loop;
	struct tty_input input;
	struct tty *t;
	char got[20000];
	size_t ngot, want;
	bool limited;
	size_t room; /* of a guest that takes only so much, while limited */
	unsigned int quits;
	unsigned int resizes;
	uint16_t cols, rows;
};

static size_t on_bytes(void *opaque, const uint8_t *data, size_t len_bytes)
{
	struct fixture *f = opaque;

	if (f->limited) {
		len_bytes = len_bytes < f->room ? len_bytes : f->room;
		f->room -= len_bytes;
	}
	assert_true(f->ngot + len_bytes <= sizeof(f->got));
	memcpy(f->got + f->ngot, data, len_bytes);
	f->ngot += len_bytes;
	if (f->ngot >= f->want && !f->limited)
		loop_stop(f->loop);
	return len_bytes;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || loop_create(&f->loop, NULL))
		return -1;
	strcpy(f->dir, "/tmp/test-tty-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/console", f->dir);
	f->input = (struct tty_input){ .bytes = on_bytes, .opaque = f };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tty_destroy(f->t);
	tty_destroy(NULL);
	loop_destroy(f->loop);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static int create(struct fixture *f, const char *scheme, struct err *err)
{
	snprintf(f->spec, sizeof(f->spec), "%s%s", scheme, *scheme ? f->path : "");
	return tty_create(f->spec, f->loop, &f->input, &f->t, err);
}

static void say(struct fixture *f, const char *text)
{
	tty_write(f->t, (const uint8_t *)text, strlen(text));
}

/* Runs the loop until @n more bytes came in. */
static void expect_input(struct fixture *f, const char *text)
{
	f->ngot = 0;
	f->want = strlen(text);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->ngot, f->want);
	assert_memory_equal(f->got, text, f->want);
}

static void stop_now(void *opaque, int fd, uint32_t events)
{
	loop_stop(opaque);
}

/* Runs the loop until nothing but a watch that is always ready is left: each turn takes one event of every ready descriptor. */
static void settle(struct fixture *f)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(loop_add(f->loop, p[1], 4 /* EPOLLOUT */, stop_now, f->loop), 0);
		assert_int_equal(loop_run(f->loop), 0);
		loop_del(f->loop, p[1]);
	}
	close(p[0]);
	close(p[1]);
}

static void specs(void **state)
{
	static const char *const good[] = { "stdio", "null", "pty", "file:/x", "unix:/x" };
	static const char *const bad[] = { "",       "file:",      "unix:", "tty",
					   "stdio ", "/dev/ttyS0", "ptyx" };
	struct err err;

	for (size_t i = 0; i < 5; i++)
		assert_int_equal(tty_check_spec(good[i], NULL), 0);
	for (size_t i = 0; i < 7; i++) {
		err = (struct err){ 0 };
		assert_int_equal(tty_check_spec(bad[i], &err), -EINVAL);
		assert_true(strlen(err.msg) > 0);
	}
}

static void null_drops(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(tty_create("null", f->loop, &f->input, &f->t, NULL), 0);
	say(f, "x");
	assert_null(tty_path(f->t));
}

static void file_is_appended(void **state)
{
	struct fixture *f = *state;
	char text[32] = "";
	struct stat st;
	int fd;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(create(f, "file:", NULL), 0);
		say(f, i ? "two\n" : "one\n");
		tty_destroy(f->t);
		f->t = NULL;
	}
	fd = open(f->path, O_RDONLY);
	assert_int_equal(read(fd, text, sizeof(text)), 8);
	assert_string_equal(text, "one\ntwo\n");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
}

static void file_that_cannot_be(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	assert_int_equal(tty_create("file:/nonexistent/x", f->loop, &f->input, &f->t, &err),
			 -ENOENT);
	assert_string_equal(err.msg, "console: /nonexistent/x: No such file or directory");
	assert_null(f->t);
}

static int client(const struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void expect_output(int fd, const char *text)
{
	char got[256] = "";

	assert_int_equal(fd_read_all(fd, got, strlen(text)), 0);
	assert_string_equal(got, text);
}

static void unix_both_ways(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	assert_int_equal(create(f, "unix:", NULL), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	say(f, "before ");
	fd = client(f);
	assert_int_equal(write(fd, "in", 2), 2);
	expect_input(f, "in");
	say(f, "after");
	expect_output(fd, "before after"); /* replayed, then live */
	assert_int_equal(write(fd, "\x01x", 2), 2);
	expect_input(f, "\x01x"); /* no keys of our own outside a terminal */
	close(fd);

	/* The next client, with the last one gone. */
	fd = client(f);
	assert_int_equal(write(fd, "2", 1), 1);
	expect_input(f, "2");
	expect_output(fd, "before after");
	tty_destroy(f->t);
	f->t = NULL;
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(fd_read_all(fd, &(char){ 0 }, 1), -ENODATA);
	close(fd);
}

static void unix_second_client_waits(void **state)
{
	struct fixture *f = *state;
	int first, second;

	assert_int_equal(create(f, "unix:", NULL), 0);
	first = client(f);
	second = client(f);
	assert_int_equal(write(second, "second", 6), 6);
	assert_int_equal(write(first, "first", 5), 5);
	expect_input(f, "first");
	settle(f);
	assert_int_equal(f->ngot, 5);
	close(first);
	expect_input(f, "second");
	close(second);
}

static void unix_half_closed_client_listens_on(void **state)
{
	struct fixture *f = *state;
	int fd, next;

	assert_int_equal(create(f, "unix:", NULL), 0);
	fd = client(f);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	settle(f);
	say(f, "still here");
	expect_output(fd, "still here");
	close(fd);
	next = client(f);
	assert_int_equal(write(next, "n", 1), 1);
	expect_input(f, "n"); /* its hang-up was seen */
	close(next);
}

static void unix_replays_the_last_64k(void **state)
{
	struct fixture *f = *state;
	const size_t total = 3 * REPLAY_BYTES + 777;
	uint8_t *sent = malloc(total), *got = malloc(REPLAY_BYTES);
	int fd;

	assert_int_equal(create(f, "unix:", NULL), 0);
	for (size_t i = 0; i < total; i++)
		sent[i] = (uint8_t)(i * 2654435761u >> 24);
	for (size_t at = 0, n = 1; at < total; at += n, n = n * 3 % 5000 + 1)
		tty_write(f->t, sent + at, n < total - at ? n : total - at);
	fd = client(f);
	settle(f);
	assert_int_equal(fd_read_all(fd, got, REPLAY_BYTES), 0);
	assert_memory_equal(got, sent + total - REPLAY_BYTES, REPLAY_BYTES);
	close(fd);
	settle(f);
	tty_write(f->t, sent, total); /* in one piece */
	fd = client(f);
	settle(f);
	assert_int_equal(fd_read_all(fd, got, REPLAY_BYTES), 0);
	assert_memory_equal(got, sent + total - REPLAY_BYTES, REPLAY_BYTES);
	close(fd);
	free(sent);
	free(got);
}

/* A client that never reads: the writer gets through all the same. */
static void unix_reader_that_hangs(void **state)
{
	struct fixture *f = *state;
	uint8_t data[4096];
	int fd;

	memset(data, 'x', sizeof(data));
	assert_int_equal(create(f, "unix:", NULL), 0);
	fd = client(f);
	settle(f);
	for (int i = 0; i < 1000; i++)
		tty_write(f->t, data, sizeof(data));
	close(fd);
	settle(f);
	tty_write(f->t, data, sizeof(data)); /* nobody there */
}

#define PATIENCE_MS 30000

/* A guest that takes its input slowly loses none of it, and what it has not taken stays with the client. */
static void input_waits_for_the_guest(struct fixture *f, int fd)
{
	static char text[16000];
	/* What stays behind fits into what the console holds, so that all can be sent, however late a pty's bytes arrive. */
	const size_t most = sizeof(text) - TTY_HELD_BYTES + 100;
	size_t sent = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i * 31 % 26);
	f->limited = true;
	f->room = 10;
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (sent < sizeof(text)) {
		ssize_t n = write(fd, text + sent, sizeof(text) - sent);

		if (n > 0)
			sent += (size_t)n;
		settle(f);
		f->room = f->ngot < most ? 777 : 0;
		tty_input_ready(f->t);
		settle(f);
	}
	assert_true(f->ngot < sizeof(text));
	while (f->ngot < sizeof(text)) {
		size_t before = f->ngot;

		f->room = 500;
		tty_input_ready(f->t);
		/* What is written into a pty reaches its other end through a kernel thread, which a busy machine lets wait. */
		for (int ms = 0; ms < PATIENCE_MS && f->ngot == before; ms++) {
			settle(f);
			if (f->ngot == before)
				usleep(1000);
		}
		assert_true(f->ngot > before);
	}
	assert_int_equal(f->ngot, sizeof(text));
	assert_memory_equal(f->got, text, sizeof(text));
}

static void unix_input_waits_for_the_guest(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(create(f, "unix:", NULL), 0);
	fd = client(f);
	settle(f);
	input_waits_for_the_guest(f, fd);
	close(fd);
}

static void pty_input_waits_for_the_guest(void **state)
{
	struct fixture *f = *state;
	int slave;

	assert_int_equal(tty_create("pty", f->loop, &f->input, &f->t, NULL), 0);
	slave = open(tty_path(f->t), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	input_waits_for_the_guest(f, slave);
	close(slave);
}

/* A client that filled the console up and left frees it for the next, though the guest never reads. */
static void unix_client_of_a_deaf_guest_leaves(void **state)
{
	static const char text[TTY_HELD_BYTES + 1000];
	struct fixture *f = *state;
	char c = 0;
	int fd;

	assert_int_equal(create(f, "unix:", NULL), 0);
	f->limited = true;
	fd = client(f);
	settle(f);
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	for (int i = 0; i < 10; i++)
		settle(f);
	close(fd);
	settle(f);
	fd = client(f);
	settle(f);
	say(f, "!");
	assert_int_equal(read(fd, &c, 1), 1);
	assert_int_equal(c, '!');
	assert_int_equal(f->ngot, 0);
	close(fd);
}

static void unix_path_in_use(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	struct tty *second = NULL;
	struct stat st;
	int fd;

	assert_int_equal(create(f, "unix:", NULL), 0);
	assert_int_equal(tty_create(f->spec, f->loop, &f->input, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, f->path));
	fd = client(f); /* still ours */
	close(fd);
	tty_destroy(f->t);
	f->t = NULL;

	/* A regular file is left alone. */
	fd = open(f->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(create(f, "unix:", &err), -EADDRINUSE);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void unix_stale_file_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(create(f, "unix:", NULL), 0);
	fd = client(f);
	assert_int_equal(write(fd, "x", 1), 1);
	expect_input(f, "x");
	close(fd);
}

/* The file at the path is another's by now: destroy leaves it. */
static void unix_removes_only_its_own_file(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(create(f, "unix:", NULL), 0);
	assert_int_equal(unlink(f->path), 0);
	fd = open(f->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	tty_destroy(f->t);
	f->t = NULL;
	assert_int_equal(access(f->path, F_OK), 0);
}

static void unix_path_too_long(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	char spec[300];

	snprintf(spec, sizeof(spec), "unix:/%0200d", 0);
	assert_int_equal(tty_create(spec, f->loop, &f->input, &f->t, &err), -ENAMETOOLONG);
}

static void pty_both_ways(void **state)
{
	struct fixture *f = *state;
	struct termios tio;
	int fd;

	assert_int_equal(tty_create("pty", f->loop, &f->input, &f->t, NULL), 0);
	assert_non_null(tty_path(f->t));
	fd = open(tty_path(f->t), O_RDWR | O_NOCTTY);
	assert_true(fd >= 0);
	assert_int_equal(tcgetattr(fd, &tio), 0);
	assert_int_equal(tio.c_lflag & (ECHO | ICANON | ISIG), 0);
	say(f, "hello\n");
	expect_output(fd, "hello\n");
	assert_int_equal(write(fd, "a\rb", 3), 3);
	expect_input(f, "a\rb");
	close(fd);
	settle(f); /* no hang-up storm, and it can be opened again */
	fd = open(tty_path(f->t), O_RDWR | O_NOCTTY);
	say(f, "again");
	expect_output(fd, "again");
	close(fd);
}

static void on_resized(void *opaque, uint16_t cols, uint16_t rows)
{
	struct fixture *f = opaque;

	f->resizes++;
	f->cols = cols;
	f->rows = rows;
}

static void pty_tells_its_size(void **state)
{
	struct fixture *f = *state;
	struct winsize size = { .ws_col = 100, .ws_row = 40 };
	int fd;

	f->input.resized = on_resized;
	assert_int_equal(tty_create("pty", f->loop, &f->input, &f->t, NULL), 0);
	fd = open(tty_path(f->t), O_RDWR | O_NOCTTY);
	assert_int_equal(write(fd, "a", 1), 1);
	expect_input(f, "a");
	assert_int_equal(f->resizes, 0); /* nobody gave it one */
	assert_int_equal(ioctl(fd, TIOCSWINSZ, &size), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(write(fd, "b", 1), 1);
		expect_input(f, "b");
		assert_int_equal(f->resizes, 1);
		assert_int_equal(f->cols, 100);
		assert_int_equal(f->rows, 40);
	}
	size.ws_row = 24;
	assert_int_equal(ioctl(fd, TIOCSWINSZ, &size), 0);
	assert_int_equal(write(fd, "c", 1), 1);
	expect_input(f, "c");
	assert_int_equal(f->resizes, 2);
	assert_int_equal(f->rows, 24);
	close(fd);
}

static void on_quit(void *opaque)
{
	struct fixture *f = opaque;

	f->quits++;
}

/* Stdin and stdout as two pipes. */
static void stdio_over_pipes(void **state)
{
	struct fixture *f = *state;
	int saved_in = dup(0), saved_out = dup(1);
	int in[2], out[2], flags;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	fflush(stdout);
	dup2(in[0], 0);
	dup2(out[1], 1);
	assert_int_equal(tty_create("stdio", f->loop, &f->input, &f->t, NULL), 0);
	say(f, "hello");
	flags = fcntl(1, F_GETFL);
	dup2(saved_out, 1);
	expect_output(out[0], "hello");
	assert_false(flags & O_NONBLOCK); /* the shell's open file stays as it was */
	tty_set_quit(f->t, on_quit, f);
	assert_int_equal(write(in[1], "\x01x\n", 3), 3);
	expect_input(f, "\x01x\n"); /* no terminal: no keys of our own */
	assert_int_equal(f->quits, 0);
	close(in[1]);
	settle(f); /* the end of the input is no storm either */
	tty_destroy(f->t);
	f->t = NULL;
	dup2(saved_in, 0);
	close(saved_in);
	close(saved_out);
	close(in[0]);
	close(out[0]);
	close(out[1]);
}

struct terminal {
	struct loop *loop;
	struct tty *t;
};

static size_t echo_back(void *opaque, const uint8_t *data, size_t len_bytes)
{
	struct terminal *term = opaque;

	tty_write(term->t, (const uint8_t *)"<", 1);
	tty_write(term->t, data, len_bytes);
	tty_write(term->t, (const uint8_t *)">", 1);
	return len_bytes;
}

static void stop_loop(void *opaque)
{
	struct terminal *term = opaque;

	loop_stop(term->loop);
}

/* The child's part: a console on a terminal of its own until Ctrl-A X; what ends it otherwise is the exit status. */
static int terminal_session(void)
{
	struct terminal term = { 0 };
	const struct tty_input input = { .bytes = echo_back, .opaque = &term };
	struct termios before, during, after;

	if (tcgetattr(0, &before) || loop_create(&term.loop, NULL) ||
	    tty_create("stdio", term.loop, &input, &term.t, NULL))
		return 1;
	tty_set_quit(term.t, stop_loop, &term);
	if (tcgetattr(0, &during) || (during.c_lflag & (ICANON | ECHO | ISIG)) ||
	    !(during.c_oflag & OPOST))
		return 2;
	tty_write(term.t, (const uint8_t *)"ready", 5);
	if (loop_run(term.loop))
		return 3;
	tty_destroy(term.t);
	loop_destroy(term.loop);
	if (tcgetattr(0, &after) || after.c_lflag != before.c_lflag ||
	    after.c_iflag != before.c_iflag || after.c_oflag != before.c_oflag)
		return 4;
	return 0;
}

static void stdio_on_a_terminal(void **state)
{
	int fd, status;
	pid_t pid;

	fflush(stdout);
	pid = forkpty(&fd, NULL, NULL, NULL);
	assert_true(pid >= 0);
	if (!pid)
		_exit(terminal_session());
	expect_output(fd, "ready");
	assert_int_equal(write(fd, "\x03", 1), 1); /* Ctrl-C is the guest's */
	expect_output(fd, "<\x03>");
	assert_int_equal(write(fd, "a\x01\x01", 3), 3);
	expect_output(fd, "<a\x01>");
	assert_int_equal(write(fd, "\x01q.", 3), 3);
	expect_output(fd, "<q.>");
	assert_int_equal(write(fd, "\x01x", 2), 2);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(specs),
		TEST(null_drops),
		TEST(file_is_appended),
		TEST(file_that_cannot_be),
		TEST(unix_both_ways),
		TEST(unix_second_client_waits),
		TEST(unix_half_closed_client_listens_on),
		TEST(unix_replays_the_last_64k),
		TEST(unix_reader_that_hangs),
		TEST(unix_input_waits_for_the_guest),
		TEST(pty_input_waits_for_the_guest),
		TEST(unix_client_of_a_deaf_guest_leaves),
		TEST(unix_path_in_use),
		TEST(unix_stale_file_is_replaced),
		TEST(unix_removes_only_its_own_file),
		TEST(unix_path_too_long),
		TEST(pty_both_ways),
		TEST(pty_tells_its_size),
		TEST(stdio_over_pipes),
		cmocka_unit_test(stdio_on_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
