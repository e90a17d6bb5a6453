/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_RECORD_IO_H
#define MIGRATION_RECORD_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"
#include "migration/transport.h"
#include "migration/wire/record.h"

/*
 * Whole records over a transport. The reader takes what follows a payload along in the same call (the next header and its meta data, as a rule), so that a steady
 * stream costs one receive a record; what it took of a payload that way, at most RECORD_LOOKAHEAD bytes, is copied.
 */
#define RECORD_LOOKAHEAD 4096u

struct record_reader {
	struct transport *t;
	uint32_t seq;
	uint64_t bytes; /* taken from the transport and consumed */
	struct buf meta;
	size_t look_pos, look_len;
	uint8_t look[RECORD_LOOKAHEAD];
};

void record_reader_init(struct record_reader *r, struct transport *t);
void record_reader_fini(struct record_reader *r);

/* True when record_read has something to begin with at once, taken along earlier or with the transport. */
bool record_readable(const struct record_reader *r);
/* The next record's header and meta data, every check of stream.md §1 done. *ret_meta is valid until the next call. @timeout_ns as in transport_recv. */
int record_read(struct record_reader *r, uint64_t timeout_ns, struct record_header *ret,
		const uint8_t **ret_meta, struct err *err);
/* The payload of the record just read, into @iov (whose sizes add up to payload_len). May modify @iov. */
int record_read_payload(struct record_reader *r, struct iovec *iov, unsigned int niov,
			struct err *err);

struct record_writer {
	struct transport *t;
	uint32_t seq;
	uint8_t header[STREAM_HEADER_BYTES];
	struct buf meta;
};

void record_writer_init(struct record_writer *w, struct transport *t);
void record_writer_fini(struct record_writer *w);
/* Encode a fixed record into w->meta (cleared by the caller) and send it whole. */
int record_write(struct record_writer *w, enum record_type type, struct err *err);
/* The peer is told why, as far as it still listens; errors are ignored. */
void record_write_text(struct record_writer *w, enum record_type type, int code, const char *text);

/* Expect one record of @type. An ERROR or CANCEL of the peer becomes this side's error: "destination: <text>". @peer_role: "source" or "destination". */
int record_expect(struct record_reader *r, enum record_type type, const char *peer_role,
		  uint64_t timeout_ns, struct record_header *ret, const uint8_t **ret_meta,
		  struct err *err);
/* For a record that is ERROR or CANCEL: fill @err from it. */
int record_peer_error(const struct record_header *h, const uint8_t *meta, const char *peer_role,
		      struct err *err);

#endif
