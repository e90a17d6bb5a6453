/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

/* One line per event on stderr, `vmm: level: text` with key=value pairs in the text. Only src/ may log (libraries return errors);
 * text that a guest can trigger goes through log_limit. Guest memory contents are never logged. */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO };

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Token bucket for guest-triggered lines: true while fewer than @burst lines were let through in the current second. */
struct log_limit {
	uint64_t window_start_ns;
	unsigned int used;
	unsigned int burst;
};
int log_limit_ok(struct log_limit *limit);

#endif
