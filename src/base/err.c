/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

__attribute__((format(printf, 3, 0))) static void set_text(struct err *e, int code, const char *fmt,
							   va_list ap)
{
	char text[sizeof(e->msg)]; /* an argument may point into the old message */

	vsnprintf(text, sizeof(text), fmt, ap);
	memcpy(e->msg, text, sizeof(text));
	e->code = code;
}

static void append(struct err *e, const char *text)
{
	size_t used = strlen(e->msg);
	size_t n = MIN(strlen(text), sizeof(e->msg) - 1 - used);

	memcpy(e->msg + used, text, n);
	e->msg[used + n] = '\0';
}

int(err_set)(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	set_text(e, code, fmt, ap);
	va_end(ap);
	return code;
}

int(err_sys)(struct err *e, int code, const char *fmt, ...)
{
	char text[64];
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	set_text(e, code, fmt, ap);
	va_end(ap);
	append(e, ": ");
	/* The GNU strerror_r: may return a static string instead of filling the buffer. */
	append(e, strerror_r(-code, text, sizeof(text)));
	return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;

	if (!e || !e->code)
		return 0;
	memcpy(old, e->msg, sizeof(old));
	old[sizeof(old) - 1] = '\0';
	va_start(ap, fmt);
	set_text(e, e->code, fmt, ap);
	va_end(ap);
	append(e, ": ");
	append(e, old);
	return e->code;
}
