/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "migration/compress/compress.h"
#include "migration/receive/place.h"
#include "vmm/gmem.h"

/* Compressed pages: the payload lands in a buffer first, and its checksum must hold before anything is inflated. */
static int prepare(struct place *p, struct err *err)
{
	if (!p->payload)
		p->payload = malloc(STREAM_MAX_PAYLOAD);
	if (!p->payload)
		return err_set(err, -ENOMEM, "no memory for compressed pages");
	return p->inflater ? 0 : inflater_create(&p->inflater, err);
}

static int place_page(struct place *p, uint64_t page, const uint8_t *data, uint16_t len_bytes,
		      struct err *err)
{
	int rc = 0;

	if (len_bytes == STREAM_PAGE_BYTES)
		memcpy(gmem_page(p->mem, page), data, STREAM_PAGE_BYTES);
	else
		rc = inflater_page(p->inflater, data, len_bytes, gmem_page(p->mem, page), err);
	if (rc)
		err_prefix(err, "page %llu", (unsigned long long)page);
	return rc;
}

int place_zpages(struct place *p, struct record_reader *in, const struct record_header *h,
		 const uint8_t *meta, struct err *err)
{
	const struct pages_meta *m = &p->meta;
	struct iovec iov = { .iov_len = h->payload_len };
	const uint8_t *data;
	uint32_t k = 0;
	int rc;

	rc = zpages_decode(meta, h->meta_len, h->payload_len, p->mem->npages, &p->meta, err);
	if (!rc)
		rc = prepare(p, err);
	if (rc)
		return rc;
	iov.iov_base = p->payload;
	rc = record_read_payload(in, &iov, 1, err);
	if (!rc && crc32c(0, p->payload, h->payload_len) != m->payload_crc)
		rc = err_set(err, -EBADMSG,
			     "record %u: the checksum of the compressed pages does not match",
			     h->seq);
	data = p->payload;
	for (uint32_t i = 0; !rc && i < m->nruns; i++) {
		bitmap_set_range(&p->placed, m->run[i].first_page, m->run[i].count);
		bitmap_clear_range(&p->unproven, m->run[i].first_page, m->run[i].count);
		for (uint32_t j = 0; !rc && j < m->run[i].count; j++) {
			rc = place_page(p, m->run[i].first_page + j, data, m->length[k], err);
			p->report->zpages += m->length[k] < STREAM_PAGE_BYTES;
			data += m->length[k++];
		}
	}
	p->report->pages += m->npages;
	return rc;
}
