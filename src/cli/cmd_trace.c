/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "trace/trace.h"

struct totals {
	uint64_t intervals, pages;
	struct bitmap all;
};

static int read_trace(struct trace_reader *r, struct bitmap *pages, struct totals *t, bool dump,
		      struct err *err)
{
	struct trace_interval i;
	int rc;

	while ((rc = trace_reader_next(r, pages, &i, err)) == 1) {
		if (dump)
			printf("INTERVAL %" PRIu64 " end_ns=%" PRIu64 " pages=%" PRIu64 "\n",
			       t->intervals + 1, i.end_ns, i.pages);
		bitmap_or(&t->all, pages);
		t->pages += i.pages;
		t->intervals++;
	}
	return rc;
}

static int check_trace(const char *path, bool dump, struct err *err)
{
	struct trace_reader *r = NULL;
	struct trace_header h;
	struct bitmap pages = { 0 };
	struct totals t = { 0 };
	int rc = trace_reader_open(path, &h, &r, err);

	if (rc)
		return rc;
	if (dump)
		printf("HEADER pages=%" PRIu64 " page_bytes=%u interval_ns=%" PRIu64 "\n%s",
		       h.npages, h.page_bytes, h.interval_ns, h.text);
	if (bitmap_init(&pages, h.npages) || bitmap_init(&t.all, h.npages))
		rc = err_set(err, -ENOMEM, "%s: no memory for bitmaps of its %" PRIu64 " pages",
			     path, h.npages);
	if (!rc) {
		rc = read_trace(r, &pages, &t, dump, err);
		if (rc)
			err_prefix(err, "%s", path);
	}
	if (!rc)
		printf("%" PRIu64 " intervals, %" PRIu64 " pages dirtied, %" PRIu64
		       " different ones of %" PRIu64 "\n",
		       t.intervals, t.pages, bitmap_count(&t.all), h.npages);
	trace_reader_destroy(r);
	bitmap_fini(&pages);
	bitmap_fini(&t.all);
	return rc;
}

int cmd_trace(int argc, char **argv)
{
	struct err err = { 0 };
	bool dump;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts("usage: vmm trace verify|dump FILE\n\n  verify   check an access trace of `vmm dirtyrate --trace`, print a summary\n  dump     print a line an interval");
		return EXIT_OK;
	}
	dump = argc > 1 && !strcmp(argv[1], "dump");
	if (argc != 3 || (!dump && strcmp(argv[1], "verify") != 0)) {
		fprintf(stderr, "vmm trace: expected verify FILE or dump FILE\n");
		return EXIT_USAGE;
	}
	if (!check_trace(argv[2], dump, &err))
		return EXIT_OK;
	fprintf(stderr, "vmm trace: %s\n", err.msg);
	return EXIT_FAILED;
}
