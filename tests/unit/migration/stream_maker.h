/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_MIGRATION_STREAM_MAKER_H
#define TESTS_UNIT_MIGRATION_STREAM_MAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "migration/compress/compress.h"
#include "migration/wire/pages.h"
#include "migration/wire/record.h"

/* Builds a source's direction record by record, right unless a test asks otherwise. Counts what END and ROUND_END say. */
struct stream_maker {
	struct buf out;
	struct buf meta; /* of the record that is being built */
	uint32_t seq;
	uint32_t round;
	uint64_t round_start; /* offset of ROUND_BEGIN */
	uint64_t round_pages, round_zero, pages, zero_pages;
};

#define MAKER_RAM_PAGES 64u

void maker_fini(struct stream_maker *m);
/* A record with @m->meta (then cleared) and the payload. */
void maker_record(struct stream_maker *m, enum record_type type, const void *payload,
		  uint64_t payload_len);
void maker_hello(struct stream_maker *m, uint64_t features);
void maker_config(struct stream_maker *m, uint64_t ram_bytes);
void maker_round_begin(struct stream_maker *m, bool last);
void maker_round_end(struct stream_maker *m);
/* @n pages from @first, each filled with a byte of its own; @torn: the crc of the first does not match. */
void maker_pages(struct stream_maker *m, uint64_t first, uint32_t n, bool torn);
void maker_zero(struct stream_maker *m, uint64_t first, uint32_t n);
/* Compressible pages, but each fourth is stored. */
void maker_zpages(struct stream_maker *m, uint64_t first, uint32_t n);
void maker_state(struct stream_maker *m);
void maker_end(struct stream_maker *m);
void maker_commit(struct stream_maker *m);
/* A whole migration of two live rounds and a last one, with all kinds of records. */
void maker_whole(struct stream_maker *m);

#endif
