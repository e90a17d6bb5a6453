/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "migration/compress/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Into memory of exactly one page; and an inflater that has met anything still works. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A page of zeros, by zlib at level 9. */
	static const uint8_t zeros[] = {
		0xed, 0xc1, 0x01, 0x0d, 0x00, 0x00, 0x00, 0xc2, 0xa0, 0xf7,
		0x4f, 0x6d, 0x0f, 0x07, 0x14, 0x00, 0x00, 0x00, 0xf0, 0x6e
	};
	static struct inflater *f;
	uint8_t *page;

	if (size > STREAM_PAGE_BYTES)
		return 0;
	if (!f && inflater_create(&f, NULL))
		abort();
	page = malloc(STREAM_PAGE_BYTES);
	inflater_page(f, data, (uint32_t)size, page, NULL);
	if (inflater_page(f, zeros, sizeof(zeros), page, NULL) || page[0] || page[4095])
		abort();
	free(page);
	return 0;
}
