/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_PAGEMAP_H
#define VMM_PAGEMAP_H

#include "base/bitmap.h"
#include "base/compat_mm.h"

/* The pages [first, first + n) of a mapping at @base, through the PAGEMAP_SCAN of @pagemap_fd. @what holds flags and categories (pagemap.rst); the rest of it is
 * filled in here. Sets the bit of each page that matches in @ret, where that is not NULL. 0 or -errno: -ENOTTY or -EINVAL before Linux 6.7, -EPERM for pages that
 * PM_SCAN_CHECK_WPASYNC does not let pass. */
int pagemap_scan(int pagemap_fd, const uint8_t *base, uint64_t first, uint64_t n,
		 const struct pm_scan_arg *what, struct bitmap *ret);

#endif
