/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/num.h"
#include "pagemap.h"
#include "vmm/gmem.h"

#define CHUNK_PAGES 4096 /* entries of pagemap read at once: 32 KiB of stack */
#define PM_PRESENT (1ULL << 63)
#define PM_SWAP (1ULL << 62)

/* Pages with memory or swap behind them and not the shared zero page. */
static int scan(const struct gmem *m, uint64_t first, uint64_t n, struct bitmap *ret)
{
	static const struct pm_scan_arg populated = { .category_inverted = PAGE_IS_PFNZERO,
						      .category_mask = PAGE_IS_PFNZERO,
						      .category_anyof_mask =
							      PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
						      .return_mask =
							      PAGE_IS_PRESENT | PAGE_IS_SWAPPED };

	return pagemap_scan(m->pagemap_fd, m->base, first, n, &populated, ret);
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
