/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRACE_FORMAT_H
#define TRACE_FORMAT_H

#include <stdint.h>

#include "base/bitmap.h"
#include "base/buf.h"
#include "trace/trace.h"

/* The bytes of docs/spec/trace.md; pure. Private to src/trace. */
#define TRACE_MAGIC "VMMTRACE"
#define TRACE_VERSION 1u
#define TRACE_HEADER_BYTES 48u
#define TRACE_RECORD_BYTES 32u

enum trace_type { TRACE_INTERVAL = 1, TRACE_END = 2 };
enum trace_encoding { TRACE_RUNS, TRACE_BITMAP };

struct trace_record {
	uint32_t type;
	uint32_t encoding;
	uint64_t time_ns;
	uint64_t pages; /* END: how many intervals */
	uint32_t payload_bytes;
	uint32_t crc;
};

static inline uint64_t trace_bitmap_bytes(uint64_t npages)
{
	return bitmap_nwords(npages) * 8;
}

/* 0, or -EINVAL with the field named: what both sides hold a header against. */
int trace_header_check(const struct trace_header *h, struct err *err);
void trace_header_encode(const struct trace_header *h, struct buf *out);
/* The fixed part: into @ret all but the text, whose length is *ret_text_bytes. -EBADMSG. */
int trace_header_decode(const uint8_t fixed[TRACE_HEADER_BYTES], struct trace_header *ret,
			uint32_t *ret_text_bytes, struct err *err);
/* The text behind it: the checksum over both, and what the text may hold. */
int trace_header_text(const uint8_t fixed[TRACE_HEADER_BYTES], const uint8_t *text,
		      uint32_t text_bytes, struct trace_header *ret, struct err *err);

/* Header with its checksum, and @payload. */
void trace_record_encode(struct trace_record *r, const struct buf *payload, struct buf *out);
/* Types, encodings and lengths for RAM of @npages; -EBADMSG. */
int trace_record_decode(const uint8_t fixed[TRACE_RECORD_BYTES], uint64_t npages,
			struct trace_record *ret, struct err *err);
int trace_record_crc_check(const uint8_t fixed[TRACE_RECORD_BYTES], const void *payload,
			   const struct trace_record *r, struct err *err);

/* Appends the shorter encoding of @pages and says which it is. */
enum trace_encoding trace_payload_encode(const struct bitmap *pages, struct buf *out);
/* Overwrites @pages; -EBADMSG. */
int trace_payload_decode(const struct trace_record *r, const uint8_t *payload, struct bitmap *pages,
			 struct err *err);

#endif
