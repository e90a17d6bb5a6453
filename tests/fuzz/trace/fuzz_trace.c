/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a trace, through the reader that files go through: it ends, keeps its promises about what it delivers, and says why it stops. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "trace/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

/* Larger RAM is allowed, but its bitmap would be the fuzzer's memory, not the reader's. */
#define MAX_PAGES (1u << 22)

static ssize_t read_memory(void *opaque, void *to, size_t len_bytes)
{
	struct reader *r = opaque;
	size_t n = MIN(len_bytes, reader_left(r));

	memcpy(to, r->pos, n);
	r->pos += n;
	return (ssize_t)n;
}

static void check_text(const struct trace_header *h)
{
	char value[16] = "unset";

	if (strnlen(h->text, sizeof(h->text)) > TRACE_MAX_TEXT)
		__builtin_trap();
	if (trace_text_get(h, "kernel", value, sizeof(value)) == 0 &&
	    !memchr(value, '\0', sizeof(value)))
		__builtin_trap();
}

static void read_all(struct trace_reader *r, struct bitmap *pages)
{
	struct trace_interval interval;
	struct err err = { 0 };
	uint64_t last_ns = 0;
	int rc;

	while ((rc = trace_reader_next(r, pages, &interval, &err)) == 1) {
		if (interval.end_ns <= last_ns || interval.pages != bitmap_count(pages) ||
		    interval.pages > pages->nbits)
			__builtin_trap();
		last_ns = interval.end_ns;
	}
	if (rc && (rc != err.code || !err.msg[0] || !memchr(err.msg, '\0', sizeof(err.msg))))
		__builtin_trap();
	if (rc == 0 && trace_reader_next(r, pages, &interval, &err) != 0)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);
	struct trace_header h;
	struct trace_reader *r = NULL;
	struct bitmap pages = { 0 };
	struct err err = { 0 };
	int rc = trace_reader_create(read_memory, &in, &h, &r, &err);

	if (rc) {
		if (r || rc != err.code || !err.msg[0])
			__builtin_trap();
		return 0;
	}
	check_text(&h);
	if (h.npages <= MAX_PAGES && bitmap_init(&pages, h.npages) == 0)
		read_all(r, &pages);
	bitmap_fini(&pages);
	trace_reader_destroy(r);
	return 0;
}
