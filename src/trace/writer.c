/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/new_file.h"
#include "format.h"

struct trace_writer {
	struct new_file file;
	char *path;
	uint64_t npages;
	uint64_t nintervals;
	uint64_t time_ns;
	struct buf payload;
	struct buf out;
};

/* What is in ->out goes to the file. */
static int flush(struct trace_writer *w, struct err *err)
{
	int rc;

	if (!buf_ok(&w->out) || !buf_ok(&w->payload))
		return err_set(err, -ENOMEM, "trace: out of memory");
	rc = fd_write_all(w->file.fd, w->out.data, w->out.len_bytes);
	buf_clear(&w->out);
	return rc ? err_sys(err, rc, "%s", w->path) : 0;
}

int trace_writer_create(const char *path, const struct trace_header *h, struct trace_writer **ret,
			struct err *err)
{
	struct trace_writer *w;
	int rc = trace_header_check(h, err);

	if (rc)
		return rc;
	w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(err, -ENOMEM, "trace: out of memory");
	w->npages = h->npages;
	w->path = strdup(path);
	if (!w->path) {
		rc = err_set(err, -ENOMEM, "trace: out of memory");
	} else {
		rc = new_file_open(&w->file, w->path, err);
		if (rc)
			err_prefix(err, "%s", w->path);
	}
	if (!rc) {
		trace_header_encode(h, &w->out);
		rc = flush(w, err);
	}
	if (rc) {
		trace_writer_destroy(w);
		return rc;
	}
	*ret = w;
	return 0;
}

static int put(struct trace_writer *w, struct trace_record *rec, struct err *err)
{
	trace_record_encode(rec, &w->payload, &w->out);
	return flush(w, err);
}

int trace_writer_interval(struct trace_writer *w, uint64_t end_ns, const struct bitmap *pages,
			  struct err *err)
{
	struct trace_record rec = { .type = TRACE_INTERVAL, .time_ns = end_ns };
	int rc;

	if (pages->nbits != w->npages || end_ns <= w->time_ns)
		return err_set(err, -EINVAL, "trace: an interval that does not fit in");
	buf_clear(&w->payload);
	rec.encoding = trace_payload_encode(pages, &w->payload);
	rec.pages = bitmap_count(pages);
	rc = put(w, &rec, err);
	if (rc)
		return rc;
	w->time_ns = end_ns;
	w->nintervals++;
	return 0;
}

int trace_writer_finish(struct trace_writer *w, struct err *err)
{
	struct trace_record rec = { .type = TRACE_END,
				    .time_ns = w->time_ns,
				    .pages = w->nintervals };
	int rc;

	buf_clear(&w->payload);
	rc = put(w, &rec, err);
	if (rc)
		return rc;
	rc = new_file_commit(&w->file, err);
	if (rc)
		err_prefix(err, "%s", w->path);
	return rc;
}

void trace_writer_destroy(struct trace_writer *w)
{
	if (!w)
		return;
	new_file_discard(&w->file);
	free(w->path);
	buf_fini(&w->payload);
	buf_fini(&w->out);
	free(w);
}
