/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_SEND_SCAN_H
#define MIGRATION_SEND_SCAN_H

#include <stdbool.h>

/* True when all 4096 bytes at @page (page-aligned) are zero. Leaves at the first 256-byte block that is not; memory that a guest writes meanwhile is fine. */
bool scan_page_is_zero(const void *page);

#endif
