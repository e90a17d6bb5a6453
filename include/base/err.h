/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

/*
 * An error an operator may read: a negative errno and one line of text in a buffer the caller owns.
 * Every function that takes one accepts NULL. The text is written by the layer that knows the cause;
 * each layer above may put its own context in front of it, once.
 */
struct err {
	int code; /* negative errno; 0 while no error was set */
	char msg[256];
};

/* Set the message and return @code (a negative errno), so that `return err_set(e, -EINVAL, ...)` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set, with ": " and the text of the errno behind the message. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put "context: " in front of the message; returns the code that is stored (0 when @e is NULL or clear). */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* The analyzer reads one file at a time and would follow paths on which err_set(e, -EINVAL, ...) returns 0. */
#define err_set(e, code, ...) (err_set(e, code, __VA_ARGS__), (code))
#define err_sys(e, code, ...) (err_sys(e, code, __VA_ARGS__), (code))
#endif

#endif
