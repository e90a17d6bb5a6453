/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/compat_mm.h"
#include "base/num.h"
#include "vmm/gmem.h"

#define SCAN_REGIONS 512
#define CHUNK_PAGES 4096 /* entries of pagemap read at once: 32 KiB of stack */
#define PM_PRESENT (1ULL << 63)
#define PM_SWAP (1ULL << 62)

/* Runs of pages with memory or swap behind them and not the shared zero page. */
static int scan(const struct gmem *m, uint64_t first, uint64_t n, struct bitmap *ret)
{
	struct page_region found[SCAN_REGIONS];
	uint64_t base = (uint64_t)(uintptr_t)m->base;
	uint64_t end = base + ((first + n) << GMEM_PAGE_SHIFT);
	struct pm_scan_arg arg = { .size = sizeof(arg),
				   .start = base + (first << GMEM_PAGE_SHIFT),
				   .end = end,
				   .vec = (uint64_t)(uintptr_t)found,
				   .vec_len = SCAN_REGIONS,
				   .category_inverted = PAGE_IS_PFNZERO,
				   .category_mask = PAGE_IS_PFNZERO,
				   .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
				   .return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED };

	while (arg.start < end) {
		int nfound = ioctl(m->pagemap_fd, PAGEMAP_SCAN, &arg);

		if (nfound < 0 && errno == EINTR)
			continue;
		if (nfound < 0)
			return -errno;
		for (int i = 0; i < nfound; i++)
			bitmap_set_range(ret, (found[i].start - base) >> GMEM_PAGE_SHIFT,
					 (found[i].end - found[i].start) >> GMEM_PAGE_SHIFT);
		/* Each call gets ahead, or the kernel is not the one described. */
		if (arg.walk_end <= arg.start)
			return -EIO;
		arg.start = arg.walk_end;
	}
	return 0;
}

static int read_pagemap(const struct gmem *m, uint64_t first, uint64_t n, struct bitmap *ret)
{
	uint64_t entry[CHUNK_PAGES];
	uint64_t base_page = (uint64_t)(uintptr_t)m->base >> GMEM_PAGE_SHIFT;

	for (uint64_t p = first; p < first + n;) {
		size_t want = MIN(first + n - p, CHUNK_PAGES) * sizeof(entry[0]);
		ssize_t got = pread(m->pagemap_fd, entry, want,
				    (off_t)((base_page + p) * sizeof(entry[0])));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < (ssize_t)sizeof(entry[0]))
			return got < 0 ? -errno : -EIO;
		for (size_t i = 0; i < (size_t)got / sizeof(entry[0]); i++, p++) {
			if (entry[i] & (PM_PRESENT | PM_SWAP))
				bitmap_set(ret, p);
		}
	}
	return 0;
}

int gmem_populated(const struct gmem *m, uint64_t first, uint64_t n, struct bitmap *ret)
{
	int r;

	if (m->pagemap_fd < 0)
		return -ENOENT;
	if (first > m->npages || n > m->npages - first)
		return -EINVAL;
	bitmap_clear_range(ret, first, n);
	r = scan(m, first, n, ret);
	if (r != -ENOTTY && r != -EINVAL)
		return r;
	bitmap_clear_range(ret, first, n);
	return read_pagemap(m, first, n, ret);
}
