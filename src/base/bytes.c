/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

const uint8_t *reader_bytes(struct reader *r, size_t len_bytes)
{
	const uint8_t *p = r->pos;

	if (r->failed || len_bytes > reader_left(r)) {
		r->failed = true;
		return NULL;
	}
	r->pos += len_bytes;
	return p;
}

uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 1);

	return p ? *p : 0;
}

uint16_t reader_u16(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 2);

	return p ? le16_get(p) : 0;
}

uint32_t reader_u32(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 4);

	return p ? le32_get(p) : 0;
}

uint64_t reader_u64(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 8);

	return p ? le64_get(p) : 0;
}
