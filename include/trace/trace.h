/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bitmap.h"
#include "base/err.h"

/*
 * Access traces (docs/spec/trace.md): which pages were written in which interval. No KVM, no threads; one thread at a time uses a reader or a writer.
 */
#define TRACE_MAX_TEXT 4096u
#define TRACE_MAX_PAGES (1ULL << 32)

struct trace_header {
	uint32_t page_bytes;
	uint64_t npages;
	uint64_t interval_ns; /* asked for */
	char text[TRACE_MAX_TEXT + 1]; /* lines "key=value\n" */
};

struct trace_interval {
	uint64_t end_ns; /* since the recording began; it starts where the one before ended */
	uint64_t pages; /* written in it: the bits set in its bitmap */
};

/* The value of @key in @h's text, cut to @ret_bytes. -ENOENT. */
int trace_text_get(const struct trace_header *h, const char *key, char *ret, size_t ret_bytes);

/*
 * Reader. The file may be hostile: it is checked against every rule of trace.md, and memory is reserved for what is there, not for what it claims.
 * @ret_h (may be NULL) is filled in by open. -EBADMSG with the place named for a file that breaks a rule.
 */
struct trace_reader;
/* As read(2): bytes got, 0 at the end, or -errno. */
typedef ssize_t trace_read_fn(void *opaque, void *to, size_t len_bytes);

int trace_reader_open(const char *path, struct trace_header *ret_h, struct trace_reader **ret,
		      struct err *err);
/* From anywhere else; @opaque stays the caller's and lives as long as the reader. */
int trace_reader_create(trace_read_fn *read, void *opaque, struct trace_header *ret_h,
			struct trace_reader **ret, struct err *err);
const struct trace_header *trace_reader_header(const struct trace_reader *r);
/*
 * The next interval: 1 with *ret and @pages (bitmap_init with the header's npages; overwritten), 0 at the proper end of the trace. -ENODATA: the file ends
 * without END, and what came before is good; -EBADMSG, read errors: the reader is of no further use. @pages is then undefined.
 */
int trace_reader_next(struct trace_reader *r, struct bitmap *pages, struct trace_interval *ret,
		      struct err *err);
void trace_reader_destroy(struct trace_reader *r);

/*
 * Writer. The file appears whole, under @path and mode 0600, when finish succeeds; until then, and if it never does, what stood there before stays.
 */
struct trace_writer;
/* -EINVAL for a header that trace.md does not allow. */
int trace_writer_create(const char *path, const struct trace_header *h, struct trace_writer **ret,
			struct err *err);
/* @end_ns must grow; @pages has the header's npages bits. */
int trace_writer_interval(struct trace_writer *w, uint64_t end_ns, const struct bitmap *pages,
			  struct err *err);
/* END, and the file gets its name. Only destroy may follow. */
int trace_writer_finish(struct trace_writer *w, struct err *err);
/* Without finish: no file. NULL is fine. */
void trace_writer_destroy(struct trace_writer *w);

#endif
