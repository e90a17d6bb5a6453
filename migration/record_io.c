/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/record_io.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

void record_reader_init(struct record_reader *r, struct transport *t)
{
	memset(r, 0, sizeof(*r));
	r->t = t;
}

void record_reader_fini(struct record_reader *r)
{
	buf_fini(&r->meta);
}

/* Take @len bytes out of the look-ahead, as far as it has them. */
static size_t look_take(struct record_reader *r, void *dst, size_t len)
{
	size_t n = MIN(len, r->look_len - r->look_pos);

	memcpy(dst, r->look + r->look_pos, n);
	r->look_pos += n;
	return n;
}

/* Fill @dst, first from the look-ahead, then from the transport with a new look-ahead behind it. */
static int read_bytes(struct record_reader *r, void *dst, size_t len, uint64_t timeout_ns,
		      struct err *err)
{
	size_t have = look_take(r, dst, len);
	struct iovec iov = { .iov_base = (uint8_t *)dst + have, .iov_len = len - have };
	size_t extra = 0;
	int rc;

	r->bytes += len;
	if (have == len)
		return 0;
	rc = transport_recv(r->t, &iov, 1, r->look, sizeof(r->look), &extra, timeout_ns, err);
	r->look_pos = 0;
	r->look_len = rc ? 0 : extra;
	return rc;
}

bool record_readable(const struct record_reader *r)
{
	return r->look_pos < r->look_len || transport_readable(r->t);
}

int record_read(struct record_reader *r, uint64_t timeout_ns, struct record_header *ret,
		const uint8_t **ret_meta, struct err *err)
{
	uint8_t header[STREAM_HEADER_BYTES];
	uint8_t *meta;
	int rc;

	rc = read_bytes(r, header, sizeof(header), timeout_ns, err);
	if (rc)
		return rc;
	rc = record_decode_header(header, r->seq, ret, err);
	if (rc)
		return rc;
	buf_clear(&r->meta);
	meta = buf_grow(&r->meta, ret->meta_len + 1u); /* never NULL for an empty one */
	if (!meta)
		return err_set(err, -ENOMEM, "record %u: no memory for %u bytes of meta data",
			       ret->seq, ret->meta_len);
	rc = read_bytes(r, meta, ret->meta_len, r->t->stall_ns, err);
	if (rc)
		return rc;
	rc = record_check_crc(header, ret, meta, err);
	if (rc)
		return rc;
	r->seq++;
	*ret_meta = meta;
	return 0;
}

int record_read_payload(struct record_reader *r, struct iovec *iov, unsigned int niov,
			struct err *err)
{
	unsigned int i = 0;
	size_t extra = 0;
	int rc;

	for (; i < niov && r->look_pos < r->look_len; i++) {
		size_t n = look_take(r, iov[i].iov_base, iov[i].iov_len);

		r->bytes += n;
		if (n < iov[i].iov_len) {
			iov[i].iov_base = (uint8_t *)iov[i].iov_base + n;
			iov[i].iov_len -= n;
			break;
		}
	}
	if (i == niov)
		return 0;
	for (unsigned int k = i; k < niov; k++)
		r->bytes += iov[k].iov_len;
	rc = transport_recv(r->t, iov + i, niov - i, r->look, sizeof(r->look), &extra,
			    r->t->stall_ns, err);
	r->look_pos = 0;
	r->look_len = rc ? 0 : extra;
	return rc;
}

void record_writer_init(struct record_writer *w, struct transport *t)
{
	memset(w, 0, sizeof(*w));
	w->t = t;
}

void record_writer_fini(struct record_writer *w)
{
	buf_fini(&w->meta);
}

int record_write(struct record_writer *w, enum record_type type, struct err *err)
{
	struct iovec iov[2] = {
		{ .iov_base = w->header, .iov_len = sizeof(w->header) },
		{ .iov_base = w->meta.data, .iov_len = w->meta.len_bytes },
	};
	int rc;

	if (!buf_ok(&w->meta))
		return err_set(err, -ENOMEM, "no memory to encode %s", record_name(type));
	record_encode_header(w->header, type, w->seq, w->meta.data, (uint32_t)w->meta.len_bytes, 0);
	rc = transport_send_begin(w->t, iov, iov[1].iov_len ? 2 : 1, err);
	if (!rc)
		rc = transport_send_wait(w->t, err);
	if (!rc)
		w->seq++;
	return rc;
}

void record_write_text(struct record_writer *w, enum record_type type, int code, const char *text)
{
	/* A frame may be under way: the text goes behind it, or nowhere when it cannot be completed or one before it was not. */
	if (w->t->send_failed || transport_send_wait(w->t, NULL))
		return;
	buf_clear(&w->meta);
	rec_text_encode((uint32_t)(code < 0 ? -code : code), text, &w->meta);
	(void)record_write(w, type, NULL);
}

int record_peer_error(const struct record_header *h, const uint8_t *meta, const char *peer_role,
		      struct err *err)
{
	struct rec_text text;
	int rc = rec_text_decode(meta, h->meta_len, &text, err);

	if (rc)
		return rc;
	if (h->type == REC_CANCEL)
		return err_set(err, -ECANCELED, "%s cancelled: %s", peer_role, text.text);
	return err_set(err, -EREMOTEIO, "%s: %s", peer_role, text.text);
}

int record_expect(struct record_reader *r, enum record_type type, const char *peer_role,
		  uint64_t timeout_ns, struct record_header *ret, const uint8_t **ret_meta,
		  struct err *err)
{
	int rc = record_read(r, timeout_ns, ret, ret_meta, err);

	if (rc)
		return rc;
	if (ret->type == type)
		return 0;
	if (ret->type == REC_ERROR || ret->type == REC_CANCEL)
		return record_peer_error(ret, *ret_meta, peer_role, err);
	return err_set(err, -EPROTO, "record %u: %s sent %s where %s was expected", ret->seq,
		       peer_role, record_name(ret->type), record_name(type));
}
