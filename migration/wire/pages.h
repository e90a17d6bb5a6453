/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_WIRE_PAGES_H
#define MIGRATION_WIRE_PAGES_H

#include "migration/wire/record.h"

/* Meta data of the records that name pages (stream.md §2.4 to §2.6). Pure. */
struct page_run {
	uint64_t first_page;
	uint32_t count;
};

/* A decoded list, arrays of fixed capacity so that decoding allocates nothing. */
struct pages_meta {
	uint32_t nruns;
	uint32_t npages;
	struct page_run run[STREAM_MAX_PAGES];
	uint32_t crc[STREAM_MAX_PAGES]; /* PAGES: per page */
	uint16_t length[STREAM_MAX_PAGES]; /* ZPAGES: per page */
	uint32_t payload_crc; /* ZPAGES */
};

#define PAGES_META_MAX_BYTES (8u + STREAM_MAX_PAGES * (12u + 4u))

/* Encoders write into @out (PAGES_META_MAX_BYTES at least) and return the length. */
uint32_t pages_encode(const struct pages_meta *m, uint8_t *out);
uint32_t zpages_encode(const struct pages_meta *m, uint8_t *out);
/* @npages: RAM size. Every rule of §2.4/§2.6 is checked; -EBADMSG. */
int pages_decode(const void *meta, uint32_t len, uint64_t payload_len, uint64_t ram_pages,
		 struct pages_meta *ret, struct err *err);
int zpages_decode(const void *meta, uint32_t len, uint64_t payload_len, uint64_t ram_pages,
		  struct pages_meta *ret, struct err *err);

uint32_t zero_encode(const struct page_run *runs, uint32_t nruns,
		     uint8_t *out); /* 8 + 12 * nruns bytes */
/* Checks the whole list, then calls @fn for each run. */
int zero_decode(const void *meta, uint32_t len, uint64_t ram_pages,
		void (*fn)(void *opaque, uint64_t first, uint32_t count), void *opaque,
		struct err *err);

#endif
