/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_RECEIVE_PLACE_H
#define MIGRATION_RECEIVE_PLACE_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/bitmap.h"
#include "base/err.h"
#include "migration/migration.h"
#include "migration/record_io.h"
#include "migration/wire/pages.h"

struct gmem;
struct inflater;

/* Pages from records into guest memory. */
struct place {
	struct gmem *mem;
	struct bitmap
		placed; /* pages that hold data: a page that was never placed is zero already */
	struct bitmap unproven; /* arrived with a checksum that does not match (stream.md §2.4) */
	bool last_round; /* the source's vCPUs are stopped: a mismatch is an error */
	struct mig_receive_report *report;
	struct pages_meta meta;
	struct iovec iov[STREAM_MAX_PAGES];
	struct inflater *inflater; /* first ZPAGES makes it */
	uint8_t *payload; /* ZPAGES: STREAM_MAX_PAYLOAD bytes */
};

int place_init(struct place *p, struct gmem *mem, struct mig_receive_report *report,
	       struct err *err);
void place_fini(struct place *p);
int place_pages(struct place *p, struct record_reader *in, const struct record_header *h,
		const uint8_t *meta, struct err *err);
int place_zero(struct place *p, const struct record_header *h, const uint8_t *meta,
	       struct err *err);
int place_zpages(struct place *p, struct record_reader *in, const struct record_header *h,
		 const uint8_t *meta, struct err *err);
/* -EBADMSG that names the first page which never arrived whole. */
int place_all_proven(const struct place *p, struct err *err);

#endif
