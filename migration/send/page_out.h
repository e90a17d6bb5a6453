/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_SEND_PAGE_OUT_H
#define MIGRATION_SEND_PAGE_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "migration/record_io.h"
#include "migration/send/pace.h"
#include "migration/wire/pages.h"

struct gmem;
struct zpage_out;

/*
 * Page numbers in, PAGES and ZERO records out. Two frames take turns: while the kernel still takes the bytes of one, the checksums of the next are computed.
 * The page data goes from guest memory to the socket; nothing is copied here. The caller has rearmed a page before it hands it over.
 */

/* Pages a raw frame holds: small enough that what the checksum pulled into the cache is still there when the kernel copies it. */
#define PAGE_OUT_FRAME_PAGES 128u

/*
 * How many pages later a page is looked at: handing it over only asks for it. The first look at a page meets the memory's latency, and hardware prefetchers stop
 * at page ends; so the checks for zero and the checksums run on what is in the cache by then.
 */
#define PAGE_OUT_LEAD 2u

struct page_out_counts {
	uint64_t pages, zero_pages, zpages, bytes, saved_bytes;
	uint64_t compress_ns; /* CPU time of the workers */
	uint64_t paced_ns; /* waited for the bandwidth limit */
};

struct page_frame {
	uint8_t header[STREAM_HEADER_BYTES];
	uint8_t meta[PAGES_META_MAX_BYTES];
	struct pages_meta pages;
	struct iovec iov[STREAM_MAX_PAGES + 1]; /* [0]: header and meta data */
	unsigned int niov;
};

struct page_out {
	struct record_writer *w;
	const struct gmem *mem;
	struct pace pace;
	struct zpage_out *z; /* NULL: compression is off or the destination does not know it */
	uint32_t frame_pages;
	unsigned int cur; /* the frame that is being filled; the other may be under way */
	struct page_frame frame[2];
	uint64_t soon
		[PAGE_OUT_LEAD]; /* handed over, not looked at; the nsoon-th page lies at nsoon % PAGE_OUT_LEAD */
	uint64_t nsoon; /* since the last flush */
	uint32_t nzero;
	struct page_run zero[STREAM_MAX_ZERO_RUNS];
	uint8_t zero_meta[8 + 12 * STREAM_MAX_ZERO_RUNS];
	struct page_out_counts counts; /* since page_out_reset_counts */
};

/* @max_payload: the destination's limit from HELLO. @z: borrowed, may be NULL. -ENOMEM. */
int page_out_create(struct record_writer *w, const struct gmem *mem, uint64_t max_bandwidth,
		    uint32_t max_payload, struct zpage_out *z, struct page_out **ret,
		    struct err *err);
void page_out_destroy(struct page_out *o);
/* Zero pages join the run of zero pages. */
int page_out_page(struct page_out *o, uint64_t page, struct err *err);
/* Pages known to be zero without a look. */
int page_out_zero(struct page_out *o, uint64_t first, uint64_t count, struct err *err);
/* For zpage_out: wait for what is under way, then for the bandwidth limit, then start @iov. */
int page_out_begin(struct page_out *o, const struct iovec *iov, unsigned int niov, uint64_t bytes,
		   struct err *err);
/* Everything handed over so far is with the transport, whole, when this returns. */
int page_out_flush(struct page_out *o, struct err *err);
/* Like record_write, paced and counted, behind all pages. */
int page_out_record(struct page_out *o, enum record_type type, struct err *err);
void page_out_reset_counts(struct page_out *o);

#endif
