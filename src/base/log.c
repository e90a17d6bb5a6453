/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"

#define LOG_LINE_BYTES 512

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error";
	case LOG_WARN:
		return "warning";
	case LOG_INFO:
		return "info";
	}
	return "info";
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_BYTES];
	va_list ap;
	size_t len;
	int n;

	n = snprintf(line, sizeof(line), "vmm: %s: ", level_name(level));
	len = (size_t)n;
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len = MIN(len + (size_t)n, sizeof(line) - 1);
	/* Text may come from a peer: one event stays one line and cannot drive the terminal. */
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c < ' ' || c == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	/* One write, so that lines of several threads do not mix. Nobody is left to be told when stderr is gone. */
	n = (int)write(STDERR_FILENO, line, len);
	(void)n;
}

int log_limit_ok(struct log_limit *limit)
{
	uint64_t now_ns = clock_mono_ns();

	if (now_ns - limit->window_start_ns >= NS_PER_S) {
		limit->window_start_ns = now_ns;
		limit->used = 0;
	}
	if (limit->used >= limit->burst)
		return 0;
	limit->used++;
	return 1;
}
