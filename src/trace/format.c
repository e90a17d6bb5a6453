/* SPDX-License-Identifier: Apache-2.0 */
#include "format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/num.h"

#define MIN_PAGE_BYTES 4096u
#define MAX_PAGE_BYTES 65536u
#define HEADER_CRC_AT 44u
#define RECORD_CRC_AT 28u
/* 2^32 pages fit into five groups of seven bits. */
#define MAX_NUMBER_BYTES 5u

static bool text_ok(const char *text, size_t len_bytes)
{
	bool key = false,
	     value = false; /* of the line so far: a key that is not empty, and its = */

	for (size_t i = 0; i < len_bytes; i++) {
		if (text[i] == '\n') {
			if (!value)
				return false;
			key = value = false;
		} else if (text[i] < ' ' || text[i] > '~') {
			return false;
		} else if (text[i] == '=') {
			if (!key)
				return false;
			value = true;
		} else {
			key = true;
		}
	}
	return !len_bytes || text[len_bytes - 1] == '\n';
}

int trace_header_check(const struct trace_header *h, struct err *err)
{
	size_t len = strnlen(h->text, sizeof(h->text));

	if (h->page_bytes < MIN_PAGE_BYTES || h->page_bytes > MAX_PAGE_BYTES ||
	    (h->page_bytes & (h->page_bytes - 1)))
		return err_set(err, -EINVAL, "trace: pages of %u bytes", h->page_bytes);
	if (!h->npages || h->npages > TRACE_MAX_PAGES)
		return err_set(err, -EINVAL, "trace: %llu pages: 1 to 2^32 are possible",
			       (unsigned long long)h->npages);
	if (!h->interval_ns)
		return err_set(err, -EINVAL, "trace: an interval of 0");
	if (len > TRACE_MAX_TEXT || !text_ok(h->text, len))
		return err_set(err, -EINVAL,
			       "trace: its text is not made of lines key=value in ASCII");
	return 0;
}

void trace_header_encode(const struct trace_header *h, struct buf *out)
{
	size_t start = out->len_bytes, text_bytes = strlen(h->text);
	uint32_t crc;

	buf_put(out, TRACE_MAGIC, sizeof(TRACE_MAGIC) - 1);
	buf_u16(out, TRACE_VERSION);
	buf_u16(out, 0);
	buf_u32(out, h->page_bytes);
	buf_u64(out, h->npages);
	buf_u64(out, h->interval_ns);
	buf_u64(out, h->npages * h->page_bytes);
	buf_u32(out, (uint32_t)text_bytes);
	if (!buf_ok(out))
		return;
	crc = crc32c(crc32c(0, out->data + start, HEADER_CRC_AT), h->text, text_bytes);
	buf_u32(out, crc);
	buf_put(out, h->text, text_bytes);
}

int trace_header_decode(const uint8_t fixed[TRACE_HEADER_BYTES], struct trace_header *ret,
			uint32_t *ret_text_bytes, struct err *err)
{
	struct trace_header h = { 0 };
	uint32_t text_bytes = le32_get(fixed + 40);
	struct err why = { 0 };

	if (memcmp(fixed, TRACE_MAGIC, sizeof(TRACE_MAGIC) - 1) != 0)
		return err_set(err, -EBADMSG, "not a trace: it does not start with " TRACE_MAGIC);
	if (le16_get(fixed + 8) != TRACE_VERSION || le16_get(fixed + 10) != 0)
		return err_set(err, -EBADMSG,
			       "trace of version %u, flags 0x%x; known is version %u",
			       le16_get(fixed + 8), le16_get(fixed + 10), TRACE_VERSION);
	h.page_bytes = le32_get(fixed + 12);
	h.npages = le64_get(fixed + 16);
	h.interval_ns = le64_get(fixed + 24);
	if (trace_header_check(&h, &why))
		return err_set(err, -EBADMSG, "%s", why.msg);
	if (le64_get(fixed + 32) != h.npages * h.page_bytes)
		return err_set(err, -EBADMSG, "trace: RAM of %llu bytes is not %llu pages of %u",
			       (unsigned long long)le64_get(fixed + 32),
			       (unsigned long long)h.npages, h.page_bytes);
	if (text_bytes > TRACE_MAX_TEXT)
		return err_set(err, -EBADMSG, "trace: %u bytes of text, at most %u", text_bytes,
			       TRACE_MAX_TEXT);
	*ret = h;
	*ret_text_bytes = text_bytes;
	return 0;
}

int trace_header_text(const uint8_t fixed[TRACE_HEADER_BYTES], const uint8_t *text,
		      uint32_t text_bytes, struct trace_header *ret, struct err *err)
{
	if (crc32c(crc32c(0, fixed, HEADER_CRC_AT), text, text_bytes) !=
	    le32_get(fixed + HEADER_CRC_AT))
		return err_set(err, -EBADMSG, "trace: wrong checksum of the header");
	memcpy(ret->text, text, text_bytes);
	ret->text[text_bytes] = '\0';
	if (!text_ok(ret->text, text_bytes))
		return err_set(err, -EBADMSG,
			       "trace: its text is not made of lines key=value in ASCII");
	return 0;
}

void trace_record_encode(struct trace_record *r, const struct buf *payload, struct buf *out)
{
	size_t start = out->len_bytes;

	buf_u32(out, r->type);
	buf_u32(out, r->encoding);
	buf_u64(out, r->time_ns);
	buf_u64(out, r->pages);
	buf_u32(out, (uint32_t)payload->len_bytes);
	if (!buf_ok(out))
		return;
	r->payload_bytes = (uint32_t)payload->len_bytes;
	r->crc = crc32c(crc32c(0, out->data + start, RECORD_CRC_AT), payload->data,
			payload->len_bytes);
	buf_u32(out, r->crc);
	buf_put(out, payload->data, payload->len_bytes);
}

int trace_record_decode(const uint8_t fixed[TRACE_RECORD_BYTES], uint64_t npages,
			struct trace_record *ret, struct err *err)
{
	struct trace_record r = {
		.type = le32_get(fixed),
		.encoding = le32_get(fixed + 4),
		.time_ns = le64_get(fixed + 8),
		.pages = le64_get(fixed + 16),
		.payload_bytes = le32_get(fixed + 24),
		.crc = le32_get(fixed + RECORD_CRC_AT),
	};

	if (r.type != TRACE_INTERVAL && r.type != TRACE_END)
		return err_set(err, -EBADMSG, "unknown record type %u", r.type);
	if (r.encoding != TRACE_RUNS && (r.encoding != TRACE_BITMAP || r.type == TRACE_END))
		return err_set(err, -EBADMSG, "unknown encoding %u", r.encoding);
	if (r.type == TRACE_INTERVAL && r.pages > npages)
		return err_set(err, -EBADMSG, "%llu pages written of %llu",
			       (unsigned long long)r.pages, (unsigned long long)npages);
	if (r.payload_bytes > (r.type == TRACE_END ? 0 : trace_bitmap_bytes(npages)))
		return err_set(err, -EBADMSG, "a payload of %u bytes is too long", r.payload_bytes);
	*ret = r;
	return 0;
}

int trace_record_crc_check(const uint8_t fixed[TRACE_RECORD_BYTES], const void *payload,
			   const struct trace_record *r, struct err *err)
{
	if (crc32c(crc32c(0, fixed, RECORD_CRC_AT), payload, r->payload_bytes) != r->crc)
		return err_set(err, -EBADMSG, "wrong checksum");
	return 0;
}

static void put_number(struct buf *out, uint64_t v)
{
	while (v > 0x7f) {
		buf_u8(out, (uint8_t)(v | 0x80));
		v >>= 7;
	}
	buf_u8(out, (uint8_t)v);
}

/* The shortest form alone is good, so that a set of pages has one encoding. */
static uint64_t get_number(struct reader *in)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < MAX_NUMBER_BYTES; i++) {
		uint8_t byte = reader_u8(in);

		v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			if (i && !byte)
				break;
			return v;
		}
	}
	in->failed = true;
	return 0;
}

static void put_bitmap(const struct bitmap *pages, struct buf *out)
{
	uint64_t nwords = bitmap_nwords(pages->nbits);

	for (uint64_t i = 0; i < nwords; i++)
		buf_u64(out, pages->words[i]);
}

enum trace_encoding trace_payload_encode(const struct bitmap *pages, struct buf *out)
{
	size_t start = out->len_bytes;
	uint64_t at = 0, first, n;

	while (bitmap_next_run(pages, at, pages->nbits, &first, &n)) {
		put_number(out, first - at);
		put_number(out, n);
		at = first + n;
		if (out->len_bytes - start > trace_bitmap_bytes(pages->nbits)) {
			out->len_bytes = start;
			put_bitmap(pages, out);
			return TRACE_BITMAP;
		}
	}
	return TRACE_RUNS;
}

static int decode_runs(const struct trace_record *r, const uint8_t *payload, struct bitmap *pages,
		       struct err *err)
{
	struct reader in = reader_over(payload, r->payload_bytes);
	uint64_t at = 0, found = 0;

	bitmap_zero(pages);
	while (reader_left(&in)) {
		uint64_t gap = get_number(&in), n = get_number(&in);

		if (in.failed || !n || (at && !gap) || gap > pages->nbits - at ||
		    n > pages->nbits - at - gap)
			return err_set(err, -EBADMSG, "a run that cannot be, behind page %llu",
				       (unsigned long long)at);
		bitmap_set_range(pages, at + gap, n);
		at += gap + n;
		found += n;
	}
	if (found != r->pages)
		return err_set(err, -EBADMSG, "%llu pages announced, %llu found",
			       (unsigned long long)r->pages, (unsigned long long)found);
	return 0;
}

static int decode_bitmap(const struct trace_record *r, const uint8_t *payload, struct bitmap *pages,
			 struct err *err)
{
	uint64_t nwords = bitmap_nwords(pages->nbits), found;

	if (r->payload_bytes != nwords * 8)
		return err_set(err, -EBADMSG, "a bitmap of %u bytes, %llu are needed",
			       r->payload_bytes, (unsigned long long)nwords * 8);
	for (uint64_t i = 0; i < nwords; i++)
		pages->words[i] = le64_get(payload + i * 8);
	if (pages->nbits % 64 && pages->words[nwords - 1] >> (pages->nbits % 64)) {
		bitmap_zero(pages);
		return err_set(err, -EBADMSG, "a page behind the end of the RAM");
	}
	found = bitmap_count(pages);
	if (found != r->pages)
		return err_set(err, -EBADMSG, "%llu pages announced, %llu found",
			       (unsigned long long)r->pages, (unsigned long long)found);
	return 0;
}

int trace_payload_decode(const struct trace_record *r, const uint8_t *payload, struct bitmap *pages,
			 struct err *err)
{
	return r->encoding == TRACE_BITMAP ? decode_bitmap(r, payload, pages, err) :
					     decode_runs(r, payload, pages, err);
}

int trace_text_get(const struct trace_header *h, const char *key, char *ret, size_t ret_bytes)
{
	size_t key_bytes = strlen(key);

	for (const char *line = h->text; *line; line++) {
		const char *end = strchr(line, '\n');

		if (!end)
			break;
		if (!strncmp(line, key, key_bytes) && line[key_bytes] == '=') {
			line += key_bytes + 1;
			snprintf(ret, ret_bytes, "%.*s", (int)(end - line), line);
			return 0;
		}
		line = end;
	}
	return -ENOENT;
}
