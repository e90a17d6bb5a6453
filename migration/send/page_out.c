/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/send/page_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/num.h"
#include "migration/send/scan.h"
#include "migration/send/zpage_out.h"
#include "vmm/gmem.h"

int page_out_create(struct record_writer *w, const struct gmem *mem, uint64_t max_bandwidth,
		    uint32_t max_payload, struct zpage_out *z, struct page_out **ret,
		    struct err *err)
{
	struct page_out *o = calloc(1, sizeof(*o));

	if (!o)
		return err_set(err, -ENOMEM, "no memory for the page buffers");
	o->w = w;
	o->mem = mem;
	o->z = z;
	o->frame_pages = MIN(PAGE_OUT_FRAME_PAGES, max_payload / STREAM_PAGE_BYTES);
	pace_init(&o->pace, max_bandwidth, clock_mono_ns());
	*ret = o;
	return 0;
}

void page_out_destroy(struct page_out *o)
{
	free(o);
}

void page_out_reset_counts(struct page_out *o)
{
	memset(&o->counts, 0, sizeof(o->counts));
	if (o->z)
		zpage_out_round_begins(o->z, o);
}

int page_out_begin(struct page_out *o, const struct iovec *iov, unsigned int niov, uint64_t bytes,
		   struct err *err)
{
	struct transport *t = o->w->t;
	uint64_t delay_ns;
	int rc;

	rc = transport_send_wait(t, err);
	if (rc)
		return rc;
	delay_ns = pace_delay(&o->pace, bytes, clock_mono_ns());
	if (delay_ns) {
		o->counts.paced_ns += delay_ns;
		rc = pace_wait(delay_ns, t->cancel_fd, err);
		if (rc)
			return rc;
	}
	o->counts.bytes += bytes;
	return transport_send_begin(t, iov, niov, err);
}

static int send_frame(struct page_out *o, struct err *err)
{
	struct page_frame *f = &o->frame[o->cur];
	uint32_t meta_len;
	uint64_t payload_len = (uint64_t)f->pages.npages * STREAM_PAGE_BYTES;
	int rc;

	if (!f->pages.npages)
		return 0;
	meta_len = pages_encode(&f->pages, f->meta);
	/* Header and meta data lie one behind the other: one vector entry for both. */
	_Static_assert(offsetof(struct page_frame, meta) ==
			       offsetof(struct page_frame, header) + STREAM_HEADER_BYTES,
		       "header and meta are adjacent");
	record_encode_header(f->header, REC_PAGES, o->w->seq++, f->meta, meta_len, payload_len);
	f->iov[0] =
		(struct iovec){ .iov_base = f->header, .iov_len = STREAM_HEADER_BYTES + meta_len };
	rc = page_out_begin(o, f->iov, f->niov, STREAM_HEADER_BYTES + meta_len + payload_len, err);
	if (rc)
		return rc;
	o->counts.pages += f->pages.npages;
	o->cur ^= 1;
	f = &o->frame[o->cur];
	f->pages.npages = 0;
	f->pages.nruns = 0;
	return 0;
}

static int send_zero(struct page_out *o, struct err *err)
{
	uint32_t meta_len;
	struct iovec iov[2];
	int rc;

	if (!o->nzero)
		return 0;
	meta_len = zero_encode(o->zero, o->nzero, o->zero_meta);
	o->nzero = 0;
	/* The writer's header is free: no record of its own is under way while pages are handed over. */
	rc = transport_send_wait(o->w->t, err);
	if (rc)
		return rc;
	record_encode_header(o->w->header, REC_ZERO, o->w->seq++, o->zero_meta, meta_len, 0);
	iov[0] = (struct iovec){ .iov_base = o->w->header, .iov_len = STREAM_HEADER_BYTES };
	iov[1] = (struct iovec){ .iov_base = o->zero_meta, .iov_len = meta_len };
	rc = page_out_begin(o, iov, 2, STREAM_HEADER_BYTES + meta_len, err);
	if (rc)
		return rc;
	return transport_send_wait(o->w->t, err);
}

static int add_zero(struct page_out *o, uint64_t first, uint64_t count, struct err *err)
{
	struct page_run *last = o->nzero ? &o->zero[o->nzero - 1] : NULL;

	o->counts.zero_pages += count;
	if (last && last->first_page + last->count == first && last->count <= UINT32_MAX - count) {
		last->count += (uint32_t)count;
		return 0;
	}
	while (count) {
		uint32_t n = (uint32_t)MIN(count, (uint64_t)UINT32_MAX);

		if (o->nzero == STREAM_MAX_ZERO_RUNS) {
			int rc = send_zero(o, err);

			if (rc)
				return rc;
		}
		o->zero[o->nzero++] = (struct page_run){ .first_page = first, .count = n };
		first += n;
		count -= n;
	}
	return 0;
}

static int take_page(struct page_out *o, uint64_t page, struct err *err)
{
	struct page_frame *f = &o->frame[o->cur];
	uint8_t *data = gmem_page(o->mem, page);
	struct page_run *run;
	int rc;

	if (scan_page_is_zero(data))
		return add_zero(o, page, 1, err);
	if (o->z && zpage_out_active(o->z))
		return zpage_out_page(o->z, o, page, err);
	run = f->pages.nruns ? &f->pages.run[f->pages.nruns - 1] : NULL;
	if (run && run->first_page + run->count == page) {
		run->count++;
		f->iov[f->niov - 1].iov_len += STREAM_PAGE_BYTES;
	} else {
		if (!f->pages.nruns)
			f->niov = 1;
		f->pages.run[f->pages.nruns++] =
			(struct page_run){ .first_page = page, .count = 1 };
		f->iov[f->niov++] =
			(struct iovec){ .iov_base = data, .iov_len = STREAM_PAGE_BYTES };
	}
	f->pages.crc[f->pages.npages++] = crc32c(0, data, STREAM_PAGE_BYTES);
	if (f->pages.npages < o->frame_pages)
		return 0;
	rc = send_frame(o, err);
	if (!rc && o->z)
		zpage_out_stretch(o->z, o);
	return rc;
}

static void prefetch_page(const uint8_t *page)
{
	for (unsigned int i = 0; i < STREAM_PAGE_BYTES; i += 64)
		__builtin_prefetch(page + i);
}

int page_out_page(struct page_out *o, uint64_t page, struct err *err)
{
	uint64_t *slot = &o->soon[o->nsoon % PAGE_OUT_LEAD];
	uint64_t due = *slot;

	prefetch_page(gmem_page(o->mem, page));
	*slot = page;
	return ++o->nsoon > PAGE_OUT_LEAD ? take_page(o, due, err) : 0;
}

/* The pages that still wait behind their prefetch. */
static int take_waiting(struct page_out *o, struct err *err)
{
	uint64_t n = o->nsoon;
	int rc = 0;

	o->nsoon = 0;
	for (uint64_t i = n - MIN(n, (uint64_t)PAGE_OUT_LEAD); !rc && i < n; i++)
		rc = take_page(o, o->soon[i % PAGE_OUT_LEAD], err);
	return rc;
}

int page_out_zero(struct page_out *o, uint64_t first, uint64_t count, struct err *err)
{
	/* Runs of zero pages ascend: those among the pages before come first. */
	int rc = take_waiting(o, err);

	return rc ? rc : add_zero(o, first, count, err);
}

int page_out_flush(struct page_out *o, struct err *err)
{
	int rc = take_waiting(o, err);

	if (!rc)
		rc = send_frame(o, err);
	if (!rc && o->z)
		rc = zpage_out_drain(o->z, o, err);
	if (!rc)
		rc = send_zero(o, err);
	if (!rc)
		rc = transport_send_wait(o->w->t, err);
	return rc;
}

int page_out_record(struct page_out *o, enum record_type type, struct err *err)
{
	int rc = page_out_flush(o, err);

	if (rc)
		return rc;
	o->counts.bytes += STREAM_HEADER_BYTES + o->w->meta.len_bytes;
	return record_write(o->w, type, err);
}
