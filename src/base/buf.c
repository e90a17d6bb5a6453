/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define BUF_MIN_BYTES 256

void buf_fini(struct buf *b)
{
	if (!b)
		return;
	free(b->data);
	*b = (struct buf){ 0 };
}

static bool reserve(struct buf *b, size_t need_bytes)
{
	size_t cap_bytes = b->cap_bytes ? b->cap_bytes : BUF_MIN_BYTES;
	uint8_t *data;

	if (need_bytes <= b->cap_bytes)
		return true;
	while (cap_bytes < need_bytes) {
		if (__builtin_mul_overflow(cap_bytes, (size_t)2, &cap_bytes))
			return false;
	}
	data = realloc(b->data, cap_bytes);
	if (!data)
		return false;
	b->data = data;
	b->cap_bytes = cap_bytes;
	return true;
}

uint8_t *buf_grow(struct buf *b, size_t len_bytes)
{
	size_t need_bytes;
	uint8_t *p;

	/* A byte is reserved even for an empty write: NULL means failure alone. */
	if (b->failed || __builtin_add_overflow(b->len_bytes, len_bytes, &need_bytes) ||
	    !reserve(b, need_bytes ? need_bytes : 1)) {
		b->failed = true;
		return NULL;
	}
	p = b->data + b->len_bytes;
	b->len_bytes = need_bytes;
	return p;
}

void buf_put(struct buf *b, const void *data, size_t len_bytes)
{
	uint8_t *p;

	if (!len_bytes)
		return;
	p = buf_grow(b, len_bytes);
	if (p)
		memcpy(p, data, len_bytes);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	p = (char *)buf_grow(b, n < 0 ? 0 : (size_t)n + 1);
	if (!p || n < 0) {
		b->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len_bytes--; /* the zero byte */
}

void buf_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, sizeof(v));
}

void buf_u16(struct buf *b, uint16_t v)
{
	uint8_t *p = buf_grow(b, sizeof(v));

	if (p)
		le16_put(p, v);
}

void buf_u32(struct buf *b, uint32_t v)
{
	uint8_t *p = buf_grow(b, sizeof(v));

	if (p)
		le32_put(p, v);
}

void buf_u64(struct buf *b, uint64_t v)
{
	uint8_t *p = buf_grow(b, sizeof(v));

	if (p)
		le64_put(p, v);
}
