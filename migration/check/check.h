/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_CHECK_CHECK_H
#define MIGRATION_CHECK_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "migration/compress/compress.h"
#include "migration/wire/pages.h"
#include "migration/wire/record.h"

/*
 * A recorded stream held against stream.md (§5), with no VM: every rule that needs no answer of the destination. Page contents are looked at and forgotten.
 * Private to migration/check; mig_stream_check is the way in from elsewhere.
 */
struct stream_check {
	/* Set by the caller. */
	FILE *in;
	uint64_t max_ram_pages; /* larger machines are refused */
	void (*line)(void *opaque, const char *text);
	void *opaque;
	bool dump;

	/* The record that is being looked at. */
	struct record_header h;
	uint8_t header[STREAM_HEADER_BYTES];
	uint8_t *meta, *payload; /* STREAM_MAX_META, STREAM_MAX_PAYLOAD */
	uint64_t offset; /* of the record in the file */
	char detail[1024]; /* what dump says of it */

	/* What the stream said so far. */
	uint32_t seq;
	enum stream_state state;
	uint64_t features;
	uint64_t ram_pages; /* 0 before CONFIG */
	struct bitmap named, unproven;
	uint32_t round;
	bool last_round;
	uint64_t round_pages, round_zero, round_bytes;
	uint64_t pages, zero_pages, zpages, stored, torn;
	uint64_t bytes, zpages_bytes;
	uint32_t sections;
	struct pages_meta list;
	struct inflater *inflater;
};

/* 0 when the stream is whole and right; -EBADMSG, -EPROTO, -EOPNOTSUPP (version), -ENODATA (it ends early), -EFBIG, -ENOMEM, -EIO. */
int stream_check_run(struct stream_check *c, struct err *err);

/* Records with page data (check/pages.c). */
int check_pages(struct stream_check *c, struct err *err);
int check_zpages(struct stream_check *c, struct err *err);
int check_zero(struct stream_check *c, struct err *err);

#endif
