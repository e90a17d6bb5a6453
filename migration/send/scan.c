/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/send/scan.h"

#include <stdint.h>

#include "migration/wire/format.h"

/* 32-byte vectors: two SSE2 or NEON registers on the baseline CPU, one AVX2 register where the compiler may use it. */
typedef uint64_t vec __attribute__((vector_size(32), may_alias));

bool scan_page_is_zero(const void *page)
{
	const vec *v = page;
	const vec *end = v + STREAM_PAGE_BYTES / sizeof(vec);

	/* A page that is not zero shows it in its first word, nearly always: no block is read for it. */
	if (*(const volatile uint64_t *)page)
		return false;
	for (; v < end; v += 8) {
		vec sum = (v[0] | v[1] | v[2] | v[3]) | (v[4] | v[5] | v[6] | v[7]);

		if (sum[0] | sum[1] | sum[2] | sum[3])
			return false;
	}
	return true;
}
