/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/wire/record.h"

#include <errno.h>

#include "base/crc32c.h"
#include "migration/wire/text.h"

/* Name and limits of each type: the table of stream.md §2. */
static const struct {
	const char *name;
	uint32_t max_meta;
	uint32_t max_payload;
} record_types[REC_TYPE_COUNT] = {
	[REC_HELLO] = { "HELLO", 64, 0 },
	[REC_CONFIG] = { "CONFIG", STREAM_MAX_META, 0 },
	[REC_CONFIG_OK] = { "CONFIG_OK", 64, 0 },
	[REC_ROUND_BEGIN] = { "ROUND_BEGIN", 64, 0 },
	[REC_PAGES] = { "PAGES", 8192, STREAM_MAX_PAYLOAD },
	[REC_ZERO] = { "ZERO", 65536, 0 },
	[REC_ZPAGES] = { "ZPAGES", 8192, STREAM_MAX_PAYLOAD },
	[REC_ROUND_END] = { "ROUND_END", 64, 0 },
	[REC_ROUND_ACK] = { "ROUND_ACK", 64, 0 },
	[REC_STATE] = { "STATE", STREAM_MAX_META, 0 },
	[REC_END] = { "END", 64, 0 },
	[REC_READY] = { "READY", 64, 0 },
	[REC_COMMIT] = { "COMMIT", 0, 0 },
	[REC_STARTED] = { "STARTED", 64, 0 },
	[REC_ERROR] = { "ERROR", 1024, 0 },
	[REC_CANCEL] = { "CANCEL", 1024, 0 },
};

const char *record_name(uint32_t type)
{
	return type < REC_TYPE_COUNT && record_types[type].name ? record_types[type].name :
								  "unknown";
}

void record_encode_header(uint8_t *out, enum record_type type, uint32_t seq, const void *meta,
			  uint32_t meta_len, uint64_t payload_len)
{
	uint32_t crc;

	le32_put(out, STREAM_MAGIC);
	le16_put(out + 4, (uint16_t)type);
	le16_put(out + 6, 0);
	le32_put(out + 8, seq);
	le32_put(out + 12, meta_len);
	le64_put(out + 16, payload_len);
	le32_put(out + 24, 0);
	crc = crc32c(0, out, STREAM_HEADER_BYTES - 4);
	if (meta_len)
		crc = crc32c(crc, meta, meta_len);
	le32_put(out + 28, crc);
}

int record_decode_header(const uint8_t *in, uint32_t expected_seq, struct record_header *ret,
			 struct err *err)
{
	uint32_t magic = le32_get(in);
	uint16_t type = le16_get(in + 4);
	uint16_t flags = le16_get(in + 6);
	uint32_t seq = le32_get(in + 8);
	uint32_t meta_len = le32_get(in + 12);
	uint64_t payload_len = le64_get(in + 16);
	uint32_t reserved = le32_get(in + 24);
	const char *name;

	if (magic != STREAM_MAGIC)
		return err_set(err, -EBADMSG, "record %u: magic is 0x%08x, expected 0x%08x",
			       expected_seq, magic, STREAM_MAGIC);
	if (type >= REC_TYPE_COUNT || !record_types[type].name)
		return err_set(err, -EBADMSG, "record %u: unknown type %u", expected_seq, type);
	name = record_types[type].name;
	if (flags)
		return err_set(err, -EBADMSG, "record %u (%s): unknown flags 0x%x", expected_seq,
			       name, flags);
	if (reserved)
		return err_set(err, -EBADMSG, "record %u (%s): reserved field is 0x%x",
			       expected_seq, name, reserved);
	if (seq != expected_seq)
		return err_set(err, -EBADMSG, "record %u (%s): sequence number is %u", expected_seq,
			       name, seq);
	if (meta_len > record_types[type].max_meta)
		return err_set(err, -EBADMSG, "record %u (%s): %u bytes of meta data, limit %u",
			       expected_seq, name, meta_len, record_types[type].max_meta);
	if (payload_len > record_types[type].max_payload)
		return err_set(err, -EBADMSG, "record %u (%s): %llu bytes of payload, limit %u",
			       expected_seq, name, (unsigned long long)payload_len,
			       record_types[type].max_payload);
	*ret = (struct record_header){
		.type = (enum record_type)type,
		.seq = seq,
		.meta_len = meta_len,
		.payload_len = payload_len,
		.crc = le32_get(in + 28),
	};
	return 0;
}

int record_check_crc(const uint8_t *header, const struct record_header *h, const void *meta,
		     struct err *err)
{
	uint32_t crc = crc32c(0, header, STREAM_HEADER_BYTES - 4);

	if (h->meta_len)
		crc = crc32c(crc, meta, h->meta_len);
	if (crc != h->crc)
		return err_set(err, -EBADMSG, "record %u (%s): crc is 0x%08x, computed 0x%08x",
			       h->seq, record_name(h->type), h->crc, crc);
	return 0;
}

/* The fixed-size records: a decoder reads all fields, then asks here whether the length was theirs exactly. */
static int check_length(const struct reader *r, uint32_t len, struct err *err)
{
	if (r->failed)
		return err_set(err, -EBADMSG, "%u bytes of meta data are too few", len);
	if (reader_left(r))
		return err_set(err, -EBADMSG, "%zu bytes of meta data too many", reader_left(r));
	return 0;
}

void rec_hello_encode(const struct rec_hello *r, struct buf *out)
{
	buf_u32(out, r->version_min);
	buf_u32(out, r->version_max);
	buf_u64(out, r->features);
	buf_u32(out, r->page_size);
	buf_u32(out, r->max_payload);
}

int rec_hello_decode(const void *meta, uint32_t len, struct rec_hello *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_hello h;

	h.version_min = reader_u32(&r);
	h.version_max = reader_u32(&r);
	h.features = reader_u64(&r);
	h.page_size = reader_u32(&r);
	h.max_payload = reader_u32(&r);
	/* Bytes behind these are a later version's: HELLO is the one record that is read before the version is known. */
	if (r.failed)
		return err_set(err, -EBADMSG, "%u bytes of meta data are too few", len);
	if (h.version_min < 1 || h.version_min > h.version_max)
		return err_set(err, -EBADMSG, "versions %u to %u are no range", h.version_min,
			       h.version_max);
	if (h.page_size != STREAM_PAGE_BYTES)
		return err_set(err, -EBADMSG, "page size is %u, expected %u", h.page_size,
			       STREAM_PAGE_BYTES);
	if (h.max_payload < STREAM_MIN_MAX_PAYLOAD || h.max_payload % STREAM_PAGE_BYTES)
		return err_set(err, -EBADMSG,
			       "payload limit %u is below %u or no multiple of the page size",
			       h.max_payload, STREAM_MIN_MAX_PAYLOAD);
	*ret = h;
	return 0;
}

void rec_config_ok_encode(const struct rec_config_ok *r, struct buf *out)
{
	buf_u64(out, r->restore_ns);
	buf_u64(out, r->npages);
}

int rec_config_ok_decode(const void *meta, uint32_t len, struct rec_config_ok *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_config_ok c;
	int rc;

	c.restore_ns = reader_u64(&r);
	c.npages = reader_u64(&r);
	rc = check_length(&r, len, err);
	if (rc)
		return rc;
	if (!c.npages || c.npages > STREAM_MAX_RAM_PAGES)
		return err_set(err, -EBADMSG, "%llu pages of memory, expected 1 to %llu",
			       (unsigned long long)c.npages,
			       (unsigned long long)STREAM_MAX_RAM_PAGES);
	*ret = c;
	return 0;
}

void rec_round_begin_encode(const struct rec_round_begin *r, struct buf *out)
{
	buf_u32(out, r->round);
	buf_u32(out, r->last);
}

int rec_round_begin_decode(const void *meta, uint32_t len, struct rec_round_begin *ret,
			   struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_round_begin b;
	int rc;

	b.round = reader_u32(&r);
	b.last = reader_u32(&r);
	rc = check_length(&r, len, err);
	if (rc)
		return rc;
	if (!b.round)
		return err_set(err, -EBADMSG, "round 0: rounds count from 1");
	if (b.last > 1)
		return err_set(err, -EBADMSG, "round %u: last is %u, expected 0 or 1", b.round,
			       b.last);
	*ret = b;
	return 0;
}

void rec_round_end_encode(const struct rec_round_end *r, struct buf *out)
{
	buf_u32(out, r->round);
	buf_u32(out, 0);
	buf_u64(out, r->pages);
	buf_u64(out, r->zero_pages);
	buf_u64(out, r->bytes);
}

int rec_round_end_decode(const void *meta, uint32_t len, struct rec_round_end *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_round_end e;
	uint32_t reserved;
	int rc;

	e.round = reader_u32(&r);
	reserved = reader_u32(&r);
	e.pages = reader_u64(&r);
	e.zero_pages = reader_u64(&r);
	e.bytes = reader_u64(&r);
	rc = check_length(&r, len, err);
	if (rc)
		return rc;
	if (!e.round || reserved)
		return err_set(err, -EBADMSG, "round %u, reserved field 0x%x", e.round, reserved);
	*ret = e;
	return 0;
}

void rec_round_ack_encode(const struct rec_round_ack *r, struct buf *out)
{
	buf_u32(out, r->round);
	buf_u32(out, 0);
	buf_u64(out, r->unproven_pages);
}

int rec_round_ack_decode(const void *meta, uint32_t len, struct rec_round_ack *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_round_ack a;
	uint32_t reserved;
	int rc;

	a.round = reader_u32(&r);
	reserved = reader_u32(&r);
	a.unproven_pages = reader_u64(&r);
	rc = check_length(&r, len, err);
	if (rc)
		return rc;
	if (!a.round || reserved)
		return err_set(err, -EBADMSG, "round %u, reserved field 0x%x", a.round, reserved);
	*ret = a;
	return 0;
}

void rec_end_encode(const struct rec_end *r, struct buf *out)
{
	buf_u64(out, r->total_pages);
	buf_u64(out, r->total_zero_pages);
	buf_u64(out, r->total_records);
	buf_u64(out, r->pause_real_ns);
}

int rec_end_decode(const void *meta, uint32_t len, struct rec_end *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_end e;
	int rc;

	e.total_pages = reader_u64(&r);
	e.total_zero_pages = reader_u64(&r);
	e.total_records = reader_u64(&r);
	e.pause_real_ns = reader_u64(&r);
	rc = check_length(&r, len, err);
	if (rc)
		return rc;
	*ret = e;
	return 0;
}

void rec_ready_encode(const struct rec_ready *r, struct buf *out)
{
	buf_u64(out, r->receive_ns);
	buf_u64(out, r->restore_ns);
}

int rec_ready_decode(const void *meta, uint32_t len, struct rec_ready *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_ready d;
	int rc;

	d.receive_ns = reader_u64(&r);
	d.restore_ns = reader_u64(&r);
	rc = check_length(&r, len, err);
	if (rc)
		return rc;
	*ret = d;
	return 0;
}

void rec_started_encode(const struct rec_started *r, struct buf *out)
{
	buf_u64(out, r->resume_ns);
}

int rec_started_decode(const void *meta, uint32_t len, struct rec_started *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	struct rec_started s;
	int rc;

	s.resume_ns = reader_u64(&r);
	rc = check_length(&r, len, err);
	if (rc)
		return rc;
	*ret = s;
	return 0;
}

void rec_text_encode(uint32_t code, const char *text, struct buf *out)
{
	char clean[STREAM_MAX_TEXT + 1];
	size_t n = text_clean(text, strlen(text), clean, sizeof(clean));

	buf_u32(out, code);
	buf_put(out, clean, n);
}

int rec_text_decode(const void *meta, uint32_t len, struct rec_text *ret, struct err *err)
{
	struct reader r = reader_over(meta, len);
	uint32_t code = reader_u32(&r);

	if (r.failed)
		return err_set(err, -EBADMSG, "%u bytes of meta data are too few", len);
	if (!code || code > STREAM_MAX_ERRNO)
		return err_set(err, -EBADMSG, "error code %u, expected 1 to %u", code,
			       STREAM_MAX_ERRNO);
	ret->code = code;
	text_clean(r.pos, reader_left(&r), ret->text, sizeof(ret->text));
	return 0;
}
