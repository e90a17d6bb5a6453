/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A growing byte buffer; zero-initialised it is empty and valid. An allocation failure sets @failed, which sticks, and later
 * writes are dropped: a writer encodes a whole structure and checks once (buf_ok).
 */
struct buf {
	uint8_t *data;
	size_t len_bytes;
	size_t cap_bytes;
	bool failed;
};

void buf_fini(struct buf *b);
static inline void buf_clear(struct buf *b)
{
	b->len_bytes = 0;
	b->failed = false;
}
static inline bool buf_ok(const struct buf *b)
{
	return !b->failed;
}
/* Room for @len_bytes at the end, counted as written; NULL when memory ran out. */
uint8_t *buf_grow(struct buf *b, size_t len_bytes);
void buf_put(struct buf *b, const void *data, size_t len_bytes);
/* Text without its zero byte. */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* little-endian */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);

#endif
