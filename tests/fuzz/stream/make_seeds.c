/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stream_maker.h"

/* Writes the seeds of the stream's fuzzers: make_seeds tests/fuzz/stream/corpus (whose subdirectories are there). */
static int failed;

static void save(const char *dir, const char *name, const void *data, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		failed = 1;
	}
}

static void streams(const char *dir)
{
	struct stream_maker m = { 0 };

	maker_whole(&m);
	save(dir, "stream/whole", m.out.data, m.out.len_bytes);
	maker_fini(&m);

	m = (struct stream_maker){ 0 };
	maker_hello(&m, 0);
	maker_config(&m, MAKER_RAM_PAGES * (uint64_t)STREAM_PAGE_BYTES);
	maker_round_begin(&m, true);
	maker_zero(&m, 0, MAKER_RAM_PAGES);
	maker_round_end(&m);
	maker_state(&m);
	maker_end(&m);
	maker_commit(&m);
	save(dir, "stream/zero", m.out.data, m.out.len_bytes);
	maker_fini(&m);

	m = (struct stream_maker){ 0 };
	maker_hello(&m, STREAM_FEATURE_ZPAGES);
	maker_config(&m, MAKER_RAM_PAGES * (uint64_t)STREAM_PAGE_BYTES);
	maker_round_begin(&m, false);
	maker_zpages(&m, 3, 3);
	rec_text_encode(ECANCELED, "cancelled", &m.meta);
	maker_record(&m, REC_CANCEL, NULL, 0);
	save(dir, "stream/cancelled", m.out.data, m.out.len_bytes);
	maker_fini(&m);
}

static void lists(const char *dir)
{
	static struct pages_meta m;
	uint8_t out[6 + PAGES_META_MAX_BYTES] = { 0, 16 };
	const struct page_run zero[2] = { { 0, 100 }, { 1000, 1 } };

	m.nruns = 2;
	m.npages = 3;
	m.run[0] = (struct page_run){ 5, 2 };
	m.run[1] = (struct page_run){ 4000, 1 };
	for (uint32_t i = 0; i < 3; i++)
		m.length[i] = (uint16_t)(i == 2 ? STREAM_PAGE_BYTES : 10);
	le32_put(out + 2, 3 * STREAM_PAGE_BYTES);
	save(dir, "pages/pages", out, 6 + pages_encode(&m, out + 6));
	out[0] = 1;
	le32_put(out + 2, STREAM_PAGE_BYTES + 20);
	save(dir, "pages/zpages", out, 6 + zpages_encode(&m, out + 6));
	out[0] = 2;
	save(dir, "pages/zero", out, 6 + zero_encode(zero, 2, out + 6));
}

/* One seed for each decoder of fuzz_record, in the order of its switch. */
static void records(const char *dir)
{
	static const char *const names[] = { "hello",     "config_ok", "round_begin",
					     "round_end", "round_ack", "end",
					     "ready",     "started",   "text" };
	uint8_t header[1 + STREAM_HEADER_BYTES] = { 9 };
	struct buf b = { 0 };
	char path[64];

	for (uint8_t i = 0; i < 9; i++, buf_clear(&b)) {
		buf_u8(&b, i);
		switch (i) {
		case 0:
			rec_hello_encode(&(struct rec_hello){ 1, 1, 1, 4096, 1 << 20 }, &b);
			break;
		case 1:
			rec_config_ok_encode(&(struct rec_config_ok){ 1000, 64 }, &b);
			break;
		case 2:
			rec_round_begin_encode(&(struct rec_round_begin){ 1, 1 }, &b);
			break;
		case 3:
			rec_round_end_encode(&(struct rec_round_end){ 1, 2, 3, 4 }, &b);
			break;
		case 4:
			rec_round_ack_encode(&(struct rec_round_ack){ 1, 2 }, &b);
			break;
		case 5:
			rec_end_encode(&(struct rec_end){ 1, 2, 3, 4 }, &b);
			break;
		case 6:
			rec_ready_encode(&(struct rec_ready){ 1, 2 }, &b);
			break;
		case 7:
			rec_started_encode(&(struct rec_started){ 1 }, &b);
			break;
		default:
			rec_text_encode(ENOMEM,
					"Gr\xc3\xbc\xc3\x9f"
					"e",
					&b);
		}
		snprintf(path, sizeof(path), "record/%s", names[i]);
		save(dir, path, b.data, b.len_bytes);
	}
	buf_fini(&b);
	record_encode_header(header + 1, REC_PAGES, 0, NULL, 0, 4096);
	save(dir, "record/header", header, sizeof(header));
}

static void pages(const char *dir)
{
	struct compress_pool *pool = NULL;
	struct compress_job *job;
	uint8_t page[3][STREAM_PAGE_BYTES] = { 0 };
	const uint8_t *data;
	char name[32];

	for (uint32_t i = 0; i < STREAM_PAGE_BYTES; i++) {
		page[1][i] = (uint8_t)("stored and found "[i % 17]);
		page[2][i] = (uint8_t)(i * i >> 5 & 15);
	}
	if (compress_pool_create(1, 6, &pool, NULL)) {
		failed = 1;
		return;
	}
	job = compress_acquire(pool);
	for (job->npages = 0; job->npages < 3; job->npages++)
		job->page[job->npages] = page[job->npages];
	compress_submit(pool, job);
	job = compress_next(pool);
	data = job->data;
	for (uint32_t i = 0; i < 3; data += job->length[i++]) {
		snprintf(name, sizeof(name), "inflate/page%u", i);
		save(dir, name, data, job->length[i]);
	}
	compress_pool_destroy(pool);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s DIR\n", argv[0]);
		return 2;
	}
	streams(argv[1]);
	lists(argv[1]);
	records(argv[1]);
	pages(argv[1]);
	return failed;
}
