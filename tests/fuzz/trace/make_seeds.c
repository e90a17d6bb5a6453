/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/err.h"
#include "trace/trace.h"

/* Writes the seeds of the trace reader's fuzzer: make_seeds tests/fuzz/trace/corpus/trace (which is there). */
static int save(const char *dir, const char *name, uint64_t npages, unsigned int nintervals,
		uint64_t step, struct err *err)
{
	struct trace_header h = { .page_bytes = 4096,
				  .npages = npages,
				  .interval_ns = 100000000,
				  .text = "kernel=6.12\ndirty_backend=ring\n" };
	struct trace_writer *w = NULL;
	struct bitmap pages;
	char path[512];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	rc = bitmap_init(&pages, npages);
	if (!rc)
		rc = trace_writer_create(path, &h, &w, err);
	for (unsigned int i = 0; !rc && i < nintervals; i++) {
		bitmap_zero(&pages);
		for (uint64_t page = i; step && page < npages; page += step)
			bitmap_set_range(&pages, page, 1 + i % 2);
		rc = trace_writer_interval(w, (i + 1) * h.interval_ns, &pages, err);
	}
	if (!rc)
		rc = trace_writer_finish(w, err);
	trace_writer_destroy(w);
	bitmap_fini(&pages);
	return rc;
}

int main(int argc, char **argv)
{
	struct err err = { 0 };

	if (argc != 2) {
		fprintf(stderr, "usage: make_seeds DIRECTORY\n");
		return 2;
	}
	if (save(argv[1], "empty", 1, 0, 0, &err) || save(argv[1], "quiet", 64, 2, 0, &err) ||
	    save(argv[1], "runs", 1000, 3, 300, &err) || save(argv[1], "bitmap", 130, 2, 3, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	return 0;
}
