/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_maker.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

void maker_fini(struct stream_maker *m)
{
	buf_fini(&m->out);
	buf_fini(&m->meta);
}

void maker_record(struct stream_maker *m, enum record_type type, const void *payload,
		  uint64_t payload_len)
{
	uint8_t header[STREAM_HEADER_BYTES];

	record_encode_header(header, type, m->seq++, m->meta.data, (uint32_t)m->meta.len_bytes,
			     payload_len);
	buf_put(&m->out, header, sizeof(header));
	buf_put(&m->out, m->meta.data, m->meta.len_bytes);
	buf_put(&m->out, payload, (size_t)payload_len);
	buf_clear(&m->meta);
}

void maker_hello(struct stream_maker *m, uint64_t features)
{
	const struct rec_hello hello = { 1, 1, features, STREAM_PAGE_BYTES, STREAM_MAX_PAYLOAD };

	rec_hello_encode(&hello, &m->meta);
	maker_record(m, REC_HELLO, NULL, 0);
}

static void put_section(struct buf *b, const char *name, const void *data, uint32_t len)
{
	buf_u8(b, (uint8_t)strlen(name));
	buf_put(b, name, strlen(name));
	buf_u32(b, 0);
	buf_u16(b, 1);
	buf_u32(b, len);
	buf_put(b, data, len);
}

void maker_config(struct stream_maker *m, uint64_t ram_bytes)
{
	uint8_t machine[24] = { 0 };

	le64_put(machine, ram_bytes);
	put_section(&m->meta, "machine", machine, sizeof(machine));
	put_section(&m->meta, "cpuid", "0123456789", 10);
	maker_record(m, REC_CONFIG, NULL, 0);
}

void maker_round_begin(struct stream_maker *m, bool last)
{
	const struct rec_round_begin begin = { ++m->round, last };

	m->round_start = m->out.len_bytes;
	m->round_pages = m->round_zero = 0;
	rec_round_begin_encode(&begin, &m->meta);
	maker_record(m, REC_ROUND_BEGIN, NULL, 0);
}

void maker_round_end(struct stream_maker *m)
{
	const struct rec_round_end end = {
		.round = m->round,
		.pages = m->round_pages,
		.zero_pages = m->round_zero,
		.bytes = m->out.len_bytes - m->round_start,
	};

	m->pages += m->round_pages;
	m->zero_pages += m->round_zero;
	rec_round_end_encode(&end, &m->meta);
	maker_record(m, REC_ROUND_END, NULL, 0);
}

static void fill(uint8_t *page, uint64_t number)
{
	memset(page, (int)(number % 251 + 1), STREAM_PAGE_BYTES);
	le64_put(page, number);
}

void maker_pages(struct stream_maker *m, uint64_t first, uint32_t n, bool torn)
{
	uint8_t *data = malloc((size_t)n * STREAM_PAGE_BYTES);
	struct pages_meta *list = calloc(1, sizeof(*list));
	uint8_t meta[PAGES_META_MAX_BYTES];

	list->nruns = 1;
	list->npages = n;
	list->run[0] = (struct page_run){ first, n };
	for (uint32_t i = 0; i < n; i++) {
		fill(data + (size_t)i * STREAM_PAGE_BYTES, first + i);
		list->crc[i] = crc32c(0, data + (size_t)i * STREAM_PAGE_BYTES, STREAM_PAGE_BYTES);
	}
	list->crc[0] ^= torn;
	buf_put(&m->meta, meta, pages_encode(list, meta));
	maker_record(m, REC_PAGES, data, (uint64_t)n * STREAM_PAGE_BYTES);
	m->round_pages += n;
	free(list);
	free(data);
}

void maker_zero(struct stream_maker *m, uint64_t first, uint32_t n)
{
	const struct page_run run = { first, n };
	uint8_t meta[8 + 12];

	buf_put(&m->meta, meta, zero_encode(&run, 1, meta));
	maker_record(m, REC_ZERO, NULL, 0);
	m->round_zero += n;
}

void maker_zpages(struct stream_maker *m, uint64_t first, uint32_t n)
{
	uint8_t *data = malloc((size_t)n * STREAM_PAGE_BYTES);
	struct pages_meta *list = calloc(1, sizeof(*list));
	uint8_t meta[PAGES_META_MAX_BYTES];
	struct compress_pool *pool = NULL;
	struct compress_job *job;
	uint64_t x = 88172645463325252u;

	if (compress_pool_create(1, 1, &pool, NULL))
		abort();
	job = compress_acquire(pool);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *page = data + (size_t)i * STREAM_PAGE_BYTES;

		fill(page, first + i);
		for (size_t k = 0; i % 4 == 3 && k < STREAM_PAGE_BYTES; k += 8) {
			x ^= x << 13; /* xorshift: nothing deflates it */
			x ^= x >> 7;
			x ^= x << 17;
			le64_put(page + k, x);
		}
		job->page[job->npages++] = page;
	}
	compress_submit(pool, job);
	job = compress_next(pool);
	list->nruns = 1;
	list->npages = n;
	list->run[0] = (struct page_run){ first, n };
	memcpy(list->length, job->length, n * sizeof(job->length[0]));
	list->payload_crc = job->data_crc;
	buf_put(&m->meta, meta, zpages_encode(list, meta));
	maker_record(m, REC_ZPAGES, job->data, job->data_bytes);
	m->round_pages += n;
	compress_release(pool, job);
	compress_pool_destroy(pool);
	free(list);
	free(data);
}

void maker_state(struct stream_maker *m)
{
	put_section(&m->meta, "vcpu.regs", "abcdefgh", 8);
	put_section(&m->meta, "serial", "ij", 2);
	maker_record(m, REC_STATE, NULL, 0);
}

void maker_end(struct stream_maker *m)
{
	const struct rec_end end = { m->pages, m->zero_pages, m->seq, 1234567890123456789u };

	rec_end_encode(&end, &m->meta);
	maker_record(m, REC_END, NULL, 0);
}

void maker_commit(struct stream_maker *m)
{
	maker_record(m, REC_COMMIT, NULL, 0);
}

void maker_whole(struct stream_maker *m)
{
	maker_hello(m, STREAM_FEATURE_ZPAGES);
	maker_config(m, MAKER_RAM_PAGES * (uint64_t)STREAM_PAGE_BYTES);
	maker_round_begin(m, false);
	maker_pages(m, 0, 4, true);
	maker_zero(m, 4, 40);
	maker_zpages(m, 44, 8);
	maker_round_end(m);
	maker_round_begin(m, false);
	maker_pages(m, 0, 2, false);
	maker_round_end(m);
	maker_round_begin(m, true);
	maker_pages(m, 1, 1, false);
	maker_round_end(m);
	maker_state(m);
	maker_end(m);
	maker_commit(m);
}
