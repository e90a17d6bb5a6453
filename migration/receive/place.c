/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/receive/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "migration/compress/compress.h"
#include "vmm/gmem.h"

int place_init(struct place *p, struct gmem *mem, struct mig_receive_report *report,
	       struct err *err)
{
	p->mem = mem;
	p->report = report;
	if (bitmap_init(&p->placed, mem->npages) || bitmap_init(&p->unproven, mem->npages))
		return err_set(err, -ENOMEM, "no memory for the page bitmaps");
	return 0;
}

void place_fini(struct place *p)
{
	bitmap_fini(&p->placed);
	bitmap_fini(&p->unproven);
	free(p->payload);
	inflater_destroy(p->inflater);
}

static int check_page(struct place *p, uint64_t page, uint32_t crc, struct err *err)
{
	if (crc32c(0, gmem_page(p->mem, page), STREAM_PAGE_BYTES) == crc) {
		bitmap_clear(&p->unproven, page);
		return 0;
	}
	if (p->last_round)
		return err_set(
			err, -EBADMSG,
			"page %llu is damaged: its checksum does not match and the source's vCPUs are stopped",
			(unsigned long long)page);
	bitmap_set(&p->unproven, page);
	p->report->unproven_seen++;
	return 0;
}

int place_pages(struct place *p, struct record_reader *in, const struct record_header *h,
		const uint8_t *meta, struct err *err)
{
	const struct pages_meta *m = &p->meta;
	uint32_t k = 0;
	int rc;

	rc = pages_decode(meta, h->meta_len, h->payload_len, p->mem->npages, &p->meta, err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < m->nruns; i++)
		p->iov[i] =
			(struct iovec){ .iov_base = gmem_page(p->mem, m->run[i].first_page),
					.iov_len = (size_t)m->run[i].count * STREAM_PAGE_BYTES };
	rc = record_read_payload(in, p->iov, m->nruns, err);
	for (uint32_t i = 0; !rc && i < m->nruns; i++) {
		bitmap_set_range(&p->placed, m->run[i].first_page, m->run[i].count);
		for (uint32_t j = 0; !rc && j < m->run[i].count; j++)
			rc = check_page(p, m->run[i].first_page + j, m->crc[k++], err);
	}
	p->report->pages += m->npages;
	return rc;
}

static void zero_run(void *opaque, uint64_t first, uint32_t count)
{
	struct place *p = opaque;
	uint64_t end = first + count, at, n;

	p->report->zero_pages += count;
	for (uint64_t pos = first; bitmap_next_run(&p->placed, pos, end, &at, &n); pos = at + n)
		memset(gmem_page(p->mem, at), 0, n * STREAM_PAGE_BYTES);
	bitmap_clear_range(&p->placed, first, count);
	bitmap_clear_range(&p->unproven, first, count);
}

int place_zero(struct place *p, const struct record_header *h, const uint8_t *meta, struct err *err)
{
	return zero_decode(meta, h->meta_len, p->mem->npages, zero_run, p, err);
}

int place_all_proven(const struct place *p, struct err *err)
{
	uint64_t first, count;

	if (!bitmap_next_run(&p->unproven, 0, p->unproven.nbits, &first, &count))
		return 0;
	return err_set(err, -EBADMSG, "page %llu never arrived whole (%llu such pages)",
		       (unsigned long long)first, (unsigned long long)bitmap_count(&p->unproven));
}
