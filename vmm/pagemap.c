/* SPDX-License-Identifier: Apache-2.0 */
#include "pagemap.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/gmem.h"

#define SCAN_REGIONS 512

int pagemap_scan(int pagemap_fd, const uint8_t *base_page, uint64_t first, uint64_t n,
		 const struct pm_scan_arg *what, struct bitmap *ret)
{
	struct page_region found[SCAN_REGIONS];
	uint64_t base = (uint64_t)(uintptr_t)base_page;
	uint64_t end = base + ((first + n) << GMEM_PAGE_SHIFT);
	struct pm_scan_arg arg = *what;

	arg.size = sizeof(arg);
	arg.start = base + (first << GMEM_PAGE_SHIFT);
	arg.end = end;
	/* Results are asked for even when nobody wants them: without a vector the kernel protects entries that match nothing, empty ones too. */
	arg.vec = (uint64_t)(uintptr_t)found;
	arg.vec_len = SCAN_REGIONS;
	while (arg.start < end) {
		int nfound = ioctl(pagemap_fd, PAGEMAP_SCAN, &arg);

		if (nfound < 0 && errno == EINTR)
			continue;
		if (nfound < 0)
			return -errno;
		for (int i = 0; ret && i < nfound; i++)
			bitmap_set_range(ret, (found[i].start - base) >> GMEM_PAGE_SHIFT,
					 (found[i].end - found[i].start) >> GMEM_PAGE_SHIFT);
		/* Each call gets ahead, or the kernel is not the one described. */
		if (arg.walk_end <= arg.start)
			return -EIO;
		arg.start = arg.walk_end;
	}
	return 0;
}
