/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_WIRE_RECORD_H
#define MIGRATION_WIRE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "migration/wire/format.h"

/* Records <-> bytes (stream.md §1, §2). Pure: no descriptors, no clock, no guest memory. */

struct record_header {
	enum record_type type;
	uint32_t seq;
	uint32_t meta_len;
	uint64_t payload_len;
	uint32_t crc;
};

const char *record_name(
	uint32_t type); /* "PAGES"; "type 77" is the caller's business: returns "unknown" */

/* Header for @meta into @out (STREAM_HEADER_BYTES). */
void record_encode_header(uint8_t *out, enum record_type type, uint32_t seq, const void *meta,
			  uint32_t meta_len, uint64_t payload_len);
/* Everything that can be checked without the meta data: magic, type, flags, reserved, seq, limits. -EBADMSG with "record N (TYPE): reason". */
int record_decode_header(const uint8_t *in, uint32_t expected_seq, struct record_header *ret,
			 struct err *err);
/* The crc over header and meta data. */
int record_check_crc(const uint8_t *header, const struct record_header *h, const void *meta,
		     struct err *err);

/* Fixed-size records. One struct each, encode into a buf and decode from exactly meta_len bytes. */
struct rec_hello {
	uint32_t version_min, version_max;
	uint64_t features;
	uint32_t page_size, max_payload;
};
struct rec_config_ok {
	uint64_t restore_ns, npages;
};
struct rec_round_begin {
	uint32_t round, last;
};
struct rec_round_end {
	uint32_t round;
	uint64_t pages, zero_pages, bytes;
};
struct rec_round_ack {
	uint32_t round;
	uint64_t unproven_pages;
};
struct rec_end {
	uint64_t total_pages, total_zero_pages, total_records, pause_real_ns;
};
struct rec_ready {
	uint64_t receive_ns, restore_ns;
};
struct rec_started {
	uint64_t resume_ns;
};
struct rec_text {
	uint32_t code;
	char text[STREAM_MAX_TEXT + 1];
}; /* ERROR and CANCEL; control characters already replaced by '?' */

void rec_hello_encode(const struct rec_hello *r, struct buf *out);
void rec_config_ok_encode(const struct rec_config_ok *r, struct buf *out);
void rec_round_begin_encode(const struct rec_round_begin *r, struct buf *out);
void rec_round_end_encode(const struct rec_round_end *r, struct buf *out);
void rec_round_ack_encode(const struct rec_round_ack *r, struct buf *out);
void rec_end_encode(const struct rec_end *r, struct buf *out);
void rec_ready_encode(const struct rec_ready *r, struct buf *out);
void rec_started_encode(const struct rec_started *r, struct buf *out);
void rec_text_encode(uint32_t code, const char *text, struct buf *out);
int rec_hello_decode(const void *meta, uint32_t len, struct rec_hello *ret, struct err *err);
int rec_config_ok_decode(const void *meta, uint32_t len, struct rec_config_ok *ret,
			 struct err *err);
int rec_round_begin_decode(const void *meta, uint32_t len, struct rec_round_begin *ret,
			   struct err *err);
int rec_round_end_decode(const void *meta, uint32_t len, struct rec_round_end *ret,
			 struct err *err);
int rec_round_ack_decode(const void *meta, uint32_t len, struct rec_round_ack *ret,
			 struct err *err);
int rec_end_decode(const void *meta, uint32_t len, struct rec_end *ret, struct err *err);
int rec_ready_decode(const void *meta, uint32_t len, struct rec_ready *ret, struct err *err);
int rec_started_decode(const void *meta, uint32_t len, struct rec_started *ret, struct err *err);
int rec_text_decode(const void *meta, uint32_t len, struct rec_text *ret, struct err *err);

/* Which records may come next: the table of stream.md §3 as data. -EPROTO names record and state ("PAGES is not allowed between rounds"). */
enum stream_state {
	STREAM_START,
	STREAM_HELLO_DONE,
	STREAM_CONFIGURED,
	STREAM_IN_ROUND,
	STREAM_IN_LAST_ROUND,
	STREAM_LAST_ROUND_DONE,
	STREAM_IN_STATE,
	STREAM_ENDED,
	STREAM_COMMITTED,
	STREAM_OVER
};
/* Source's direction only (the destination's answers are each awaited at one place). @last: the ROUND_BEGIN's field; ignored for other types. */
int stream_next_state(enum stream_state *state, enum record_type type, bool last, struct err *err);

#endif
