/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/wire/pages.h"

#include <errno.h>

#define RUN_BYTES 12u

static uint8_t *put_runs(uint8_t *p, const struct page_run *run, uint32_t nruns)
{
	for (uint32_t i = 0; i < nruns; i++, p += RUN_BYTES) {
		le64_put(p, run[i].first_page);
		le32_put(p + 8, run[i].count);
	}
	return p;
}

static uint8_t *put_head(uint8_t *p, const struct pages_meta *m)
{
	le32_put(p, m->nruns);
	le32_put(p + 4, m->npages);
	return put_runs(p + 8, m->run, m->nruns);
}

uint32_t pages_encode(const struct pages_meta *m, uint8_t *out)
{
	uint8_t *p = put_head(out, m);

	for (uint32_t i = 0; i < m->npages; i++, p += 4)
		le32_put(p, m->crc[i]);
	return (uint32_t)(p - out);
}

uint32_t zpages_encode(const struct pages_meta *m, uint8_t *out)
{
	uint8_t *p = put_head(out, m);

	for (uint32_t i = 0; i < m->npages; i++, p += 2)
		le16_put(p, m->length[i]);
	le32_put(p, m->payload_crc);
	return (uint32_t)(p + 4 - out);
}

/*
 * One run against its predecessor and the size of RAM. *next is the first page a run may start with, and moves on. No sum can overflow: first_page is
 * below ram_pages before the count is looked at.
 */
static int check_run(struct page_run run, uint32_t index, uint64_t ram_pages, uint64_t *next,
		     struct err *err)
{
	if (!run.count)
		return err_set(err, -EBADMSG, "run %u is empty", index);
	if (run.first_page >= ram_pages || run.count > ram_pages - run.first_page)
		return err_set(err, -EBADMSG, "run %u: %u pages at %llu, but memory has %llu",
			       index, run.count, (unsigned long long)run.first_page,
			       (unsigned long long)ram_pages);
	if (run.first_page < *next)
		return err_set(err, -EBADMSG, "run %u starts at page %llu, below the run before it",
			       index, (unsigned long long)run.first_page);
	*next = run.first_page + run.count;
	return 0;
}

static struct page_run get_run(struct reader *r)
{
	struct page_run run;

	run.first_page = reader_u64(r);
	run.count = reader_u32(r);
	return run;
}

/* The part PAGES and ZPAGES share: counts and runs. The caller has checked that @r holds them all (@tail_bytes a page and @fixed_bytes follow). */
static int decode_head(struct reader *r, uint32_t len, uint32_t tail_bytes, uint32_t fixed_bytes,
		       uint64_t ram_pages, struct pages_meta *ret, struct err *err)
{
	uint32_t nruns = reader_u32(r), npages = reader_u32(r);
	uint64_t next = 0, total = 0;
	int rc;

	if (r->failed)
		return err_set(err, -EBADMSG, "%u bytes of meta data are too few", len);
	if (!nruns || nruns > npages || npages > STREAM_MAX_PAGES)
		return err_set(err, -EBADMSG,
			       "%u runs of %u pages, expected 1 <= runs <= pages <= %u", nruns,
			       npages, STREAM_MAX_PAGES);
	/* Both counts are at most 256 now: the sum is far from overflow. */
	if (len != 8 + nruns * RUN_BYTES + npages * tail_bytes + fixed_bytes)
		return err_set(err, -EBADMSG,
			       "%u bytes of meta data do not fit %u runs of %u pages", len, nruns,
			       npages);
	for (uint32_t i = 0; i < nruns; i++) {
		ret->run[i] = get_run(r);
		rc = check_run(ret->run[i], i, ram_pages, &next, err);
		if (rc)
			return rc;
		total += ret->run[i].count;
	}
	if (total != npages)
		return err_set(err, -EBADMSG, "the runs add up to %llu pages, not %u",
			       (unsigned long long)total, npages);
	ret->nruns = nruns;
	ret->npages = npages;
	return 0;
}

int pages_decode(const void *meta, uint32_t len, uint64_t payload_len, uint64_t ram_pages,
		 struct pages_meta *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	int rc = decode_head(&r, len, 4, 0, ram_pages, ret, err);

	if (rc)
		return rc;
	if (payload_len != (uint64_t)ret->npages * STREAM_PAGE_BYTES)
		return err_set(err, -EBADMSG, "%llu bytes of payload for %u pages",
			       (unsigned long long)payload_len, ret->npages);
	for (uint32_t i = 0; i < ret->npages; i++)
		ret->crc[i] = reader_u32(&r);
	return 0;
}

int zpages_decode(const void *meta, uint32_t len, uint64_t payload_len, uint64_t ram_pages,
		  struct pages_meta *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	uint64_t total = 0;
	int rc = decode_head(&r, len, 2, 4, ram_pages, ret, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < ret->npages; i++) {
		ret->length[i] = reader_u16(&r);
		if (!ret->length[i] || ret->length[i] > STREAM_PAGE_BYTES)
			return err_set(err, -EBADMSG,
				       "compressed page %u of the record has %u bytes", i,
				       ret->length[i]);
		total += ret->length[i];
	}
	if (total != payload_len)
		return err_set(err, -EBADMSG, "%llu bytes of payload, but its pages have %llu",
			       (unsigned long long)payload_len, (unsigned long long)total);
	ret->payload_crc = reader_u32(&r);
	return 0;
}

uint32_t zero_encode(const struct page_run *runs, uint32_t nruns, uint8_t *out)
{
	le32_put(out, nruns);
	le32_put(out + 4, 0);
	return (uint32_t)(put_runs(out + 8, runs, nruns) - out);
}

int zero_decode(const void *meta, uint32_t len, uint64_t ram_pages,
		void (*fn)(void *opaque, uint64_t first, uint32_t count), void *opaque,
		struct err *err)
{
	struct reader r = reader_over(meta, len), runs;
	uint32_t nruns = reader_u32(&r), reserved = reader_u32(&r);
	uint64_t next = 0;
	int rc;

	if (r.failed)
		return err_set(err, -EBADMSG, "%u bytes of meta data are too few", len);
	if (!nruns || nruns > STREAM_MAX_ZERO_RUNS || reserved)
		return err_set(err, -EBADMSG, "%u runs (1 to %u), reserved field 0x%x", nruns,
			       STREAM_MAX_ZERO_RUNS, reserved);
	if (len != 8 + nruns * RUN_BYTES)
		return err_set(err, -EBADMSG, "%u bytes of meta data do not fit %u runs", len,
			       nruns);
	runs = r;
	for (uint32_t i = 0; i < nruns; i++) {
		rc = check_run(get_run(&r), i, ram_pages, &next, err);
		if (rc)
			return rc;
	}
	for (uint32_t i = 0; i < nruns; i++) {
		struct page_run run = get_run(&runs);

		fn(opaque, run.first_page, run.count);
	}
	return 0;
}
