/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/crc32c.h"
#include "migration/check/check.h"

/* Where the runs of a list begin and end, for people. */
static void describe_runs(struct stream_check *c, const char *more)
{
	const struct pages_meta *m = &c->list;
	const struct page_run *last = &m->run[m->nruns - 1];

	snprintf(c->detail, sizeof(c->detail), "pages=%u runs=%u first=%llu last=%llu%s", m->npages,
		 m->nruns, (unsigned long long)m->run[0].first_page,
		 (unsigned long long)(last->first_page + last->count - 1), more);
}

static int check_page(struct stream_check *c, uint64_t page, uint32_t index, uint64_t *torn,
		      struct err *err)
{
	uint32_t crc = crc32c(0, c->payload + (size_t)index * STREAM_PAGE_BYTES, STREAM_PAGE_BYTES);

	if (crc == c->list.crc[index]) {
		bitmap_clear(&c->unproven, page);
		return 0;
	}
	if (c->last_round)
		return err_set(err, -EBADMSG,
			       "page %llu: crc is 0x%08x, computed 0x%08x, in the last round",
			       (unsigned long long)page, c->list.crc[index], crc);
	bitmap_set(&c->unproven, page);
	++*torn;
	return 0;
}

int check_pages(struct stream_check *c, struct err *err)
{
	const struct pages_meta *m = &c->list;
	uint64_t torn = 0;
	uint32_t index = 0;
	char more[48] = "";
	int rc =
		pages_decode(c->meta, c->h.meta_len, c->h.payload_len, c->ram_pages, &c->list, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < m->nruns; i++) {
		bitmap_set_range(&c->named, m->run[i].first_page, m->run[i].count);
		for (uint32_t k = 0; k < m->run[i].count; k++) {
			rc = check_page(c, m->run[i].first_page + k, index++, &torn, err);
			if (rc)
				return rc;
		}
	}
	c->torn += torn;
	c->round_pages += m->npages;
	if (torn)
		snprintf(more, sizeof(more), " unproven=%llu", (unsigned long long)torn);
	describe_runs(c, more);
	return 0;
}

int check_zpages(struct stream_check *c, struct err *err)
{
	const struct pages_meta *m = &c->list;
	uint8_t page[STREAM_PAGE_BYTES];
	const uint8_t *data = c->payload;
	uint32_t nstored = 0, crc;
	char more[48];
	int rc;

	if (!(c->features & STREAM_FEATURE_ZPAGES))
		return err_set(err, -EPROTO, "the source's HELLO does not offer compressed pages");
	rc = zpages_decode(c->meta, c->h.meta_len, c->h.payload_len, c->ram_pages, &c->list, err);
	if (rc)
		return rc;
	crc = crc32c(0, c->payload, (size_t)c->h.payload_len);
	if (crc != m->payload_crc)
		return err_set(err, -EBADMSG, "crc of the payload is 0x%08x, computed 0x%08x",
			       m->payload_crc, crc);
	for (uint32_t i = 0; i < m->npages; i++) {
		if (m->length[i] == STREAM_PAGE_BYTES)
			nstored++;
		else
			rc = inflater_page(c->inflater, data, m->length[i], page, err);
		if (rc)
			return err_prefix(err, "compressed page %u of the record", i);
		data += m->length[i];
	}
	for (uint32_t i = 0; i < m->nruns; i++) {
		bitmap_set_range(&c->named, m->run[i].first_page, m->run[i].count);
		bitmap_clear_range(&c->unproven, m->run[i].first_page, m->run[i].count);
	}
	c->round_pages += m->npages;
	c->zpages += m->npages;
	c->stored += nstored;
	c->zpages_bytes += c->h.payload_len;
	snprintf(more, sizeof(more), " bytes=%llu stored=%u", (unsigned long long)c->h.payload_len,
		 nstored);
	describe_runs(c, more);
	return 0;
}

static void zero_run(void *opaque, uint64_t first, uint32_t count)
{
	struct stream_check *c = opaque;

	bitmap_set_range(&c->named, first, count);
	bitmap_clear_range(&c->unproven, first, count);
	c->round_zero += count;
}

int check_zero(struct stream_check *c, struct err *err)
{
	uint64_t before = c->round_zero;
	int rc = zero_decode(c->meta, c->h.meta_len, c->ram_pages, zero_run, c, err);

	if (rc)
		return rc;
	snprintf(c->detail, sizeof(c->detail), "pages=%llu runs=%u",
		 (unsigned long long)(c->round_zero - before), le32_get(c->meta));
	return 0;
}
