/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/num.h"
#include "format.h"

/* So much is reserved and read at a time, whatever a length claims. */
#define READ_STEP_BYTES (64u << 10)

struct trace_reader {
	trace_read_fn *read;
	void *opaque;
	int fd; /* of trace_reader_open; -1: none */
	struct trace_header h;
	struct buf payload;
	uint64_t nintervals;
	uint64_t time_ns; /* of the last */
	bool ended;
};

static ssize_t read_fd(void *opaque, void *to, size_t len_bytes)
{
	const struct trace_reader *r = opaque;
	ssize_t n;

	do
		n = read(r->fd, to, len_bytes);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Up to @len_bytes, fewer at the end only; or -errno. */
static ssize_t read_some(struct trace_reader *r, void *to, size_t len_bytes)
{
	size_t got = 0;

	while (got < len_bytes) {
		ssize_t n = r->read(r->opaque, (uint8_t *)to + got, len_bytes - got);

		if (n < 0)
			return n;
		if (!n)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int read_exactly(struct trace_reader *r, void *to, size_t len_bytes, const char *what,
			struct err *err)
{
	ssize_t n = read_some(r, to, len_bytes);

	if (n < 0)
		return err_sys(err, (int)n, "trace: %s", what);
	if ((size_t)n < len_bytes)
		return err_set(err, -ENODATA, "trace: it ends within %s", what);
	return 0;
}

static int read_header(struct trace_reader *r, struct err *err)
{
	uint8_t fixed[TRACE_HEADER_BYTES], text[TRACE_MAX_TEXT];
	uint32_t text_bytes;
	int rc = read_exactly(r, fixed, sizeof(fixed), "its header", err);

	if (!rc)
		rc = trace_header_decode(fixed, &r->h, &text_bytes, err);
	if (!rc)
		rc = read_exactly(r, text, text_bytes, "its header", err);
	if (!rc)
		rc = trace_header_text(fixed, text, text_bytes, &r->h, err);
	/* The header is all or nothing: a cut one is as bad as a wrong one. */
	if (rc == -ENODATA)
		rc = err_set(err, -EBADMSG, "not a trace: it ends within its header");
	return rc;
}

int trace_reader_create(trace_read_fn *read, void *opaque, struct trace_header *ret_h,
			struct trace_reader **ret, struct err *err)
{
	struct trace_reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_set(err, -ENOMEM, "trace: out of memory");
	r->fd = -1;
	r->read = read;
	r->opaque = opaque;
	rc = read_header(r, err);
	if (rc) {
		trace_reader_destroy(r);
		return rc;
	}
	if (ret_h)
		*ret_h = r->h;
	*ret = r;
	return 0;
}

int trace_reader_open(const char *path, struct trace_header *ret_h, struct trace_reader **ret,
		      struct err *err)
{
	struct trace_reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_set(err, -ENOMEM, "trace: out of memory");
	r->read = read_fd;
	r->opaque = r;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0) {
		rc = err_sys(err, -errno, "%s", path);
	} else {
		rc = read_header(r, err);
		if (rc)
			err_prefix(err, "%s", path);
	}
	if (rc) {
		trace_reader_destroy(r);
		return rc;
	}
	if (ret_h)
		*ret_h = r->h;
	*ret = r;
	return 0;
}

const struct trace_header *trace_reader_header(const struct trace_reader *r)
{
	return &r->h;
}

static int read_payload(struct trace_reader *r, uint32_t len_bytes, struct err *err)
{
	buf_clear(&r->payload);
	while (len_bytes) {
		uint32_t step = MIN(len_bytes, READ_STEP_BYTES);
		uint8_t *to = buf_grow(&r->payload, step);
		int rc;

		if (!to)
			return err_set(err, -ENOMEM, "trace: out of memory");
		rc = read_exactly(r, to, step, "a record", err);
		if (rc)
			return rc;
		len_bytes -= step;
	}
	return 0;
}

static int check_end(struct trace_reader *r, const struct trace_record *rec, struct err *err)
{
	uint8_t more;
	ssize_t n;

	if (rec->pages != r->nintervals || rec->time_ns != r->time_ns)
		return err_set(err, -EBADMSG,
			       "END counts %llu intervals up to %llu ns, found %llu up to %llu",
			       (unsigned long long)rec->pages, (unsigned long long)rec->time_ns,
			       (unsigned long long)r->nintervals, (unsigned long long)r->time_ns);
	n = read_some(r, &more, 1);
	if (n < 0)
		return err_sys(err, (int)n, "reading it");
	if (n)
		return err_set(err, -EBADMSG, "bytes behind END");
	r->ended = true;
	return 0;
}

static int take_record(struct trace_reader *r, const uint8_t *fixed, const struct trace_record *rec,
		       struct bitmap *pages, struct err *err)
{
	int rc = trace_record_crc_check(fixed, r->payload.data, rec, err);

	if (rc)
		return rc;
	if (rec->type == TRACE_END)
		return check_end(r, rec, err);
	if (rec->time_ns <= r->time_ns)
		return err_set(err, -EBADMSG, "its time %llu ns is not behind %llu ns",
			       (unsigned long long)rec->time_ns, (unsigned long long)r->time_ns);
	return trace_payload_decode(rec, r->payload.data, pages, err);
}

int trace_reader_next(struct trace_reader *r, struct bitmap *pages, struct trace_interval *ret,
		      struct err *err)
{
	uint8_t fixed[TRACE_RECORD_BYTES];
	struct trace_record rec;
	int rc;

	if (r->ended)
		return 0;
	if (pages->nbits != r->h.npages)
		return err_set(err, -EINVAL, "trace: a bitmap of another size");
	rc = read_exactly(r, fixed, sizeof(fixed), "its records, without END", err);
	if (rc)
		return rc;
	rc = trace_record_decode(fixed, r->h.npages, &rec, err);
	if (!rc)
		rc = read_payload(r, rec.payload_bytes, err);
	if (!rc)
		rc = take_record(r, fixed, &rec, pages, err);
	if (rc == -EBADMSG)
		err_prefix(err, "trace: record %llu", (unsigned long long)r->nintervals + 1);
	if (rc || r->ended)
		return rc;
	r->nintervals++;
	r->time_ns = rec.time_ns;
	*ret = (struct trace_interval){ .end_ns = rec.time_ns, .pages = rec.pages };
	return 1;
}

void trace_reader_destroy(struct trace_reader *r)
{
	if (!r)
		return;
	fd_close(&r->fd);
	buf_fini(&r->payload);
	free(r);
}
