/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static inline uint64_t align_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

/* Rounds up to a power of two @to; false when the sum leaves 64 bits. */
static inline bool align_up(uint64_t v, uint64_t to, uint64_t *ret)
{
	if (__builtin_add_overflow(v, to - 1, ret))
		return false;
	*ret = align_down(*ret, to);
	return true;
}

/*
 * Parsers of option values. All take the whole string (trailing text is an error), return 0, -EINVAL or -ERANGE and write *ret only on success.
 * size: bytes, suffix K M G T (powers of 1024, optional "iB"/"B"). duration: ns, suffix ns us ms s m (none: seconds is NOT assumed, -EINVAL unless the value is 0).
 * rate: bytes per second: K M G powers of 1000 with "B/s", "KB/s", "MB/s", "GB/s", "MiB/s", ... or "Mbit/s", "Gbit/s"; a bare number is bytes per second.
 */
int num_parse_u64(const char *s, uint64_t *ret);
int num_parse_size(const char *s, uint64_t *ret_bytes);
int num_parse_duration(const char *s, uint64_t *ret_ns);
int num_parse_rate(const char *s, uint64_t *ret_bytes_per_s);

#endif
