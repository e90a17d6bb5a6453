/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "migration/wire/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t ram_pages, next;
};

static void see(void *opaque, uint64_t first, uint32_t count)
{
	struct seen *s = opaque;

	if (!count || first < s->next || first >= s->ram_pages || count > s->ram_pages - first)
		abort();
	s->next = first + count;
}

static void check_list(const struct pages_meta *m, uint64_t ram_pages)
{
	struct seen s = { .ram_pages = ram_pages };
	uint64_t total = 0;

	if (m->nruns > STREAM_MAX_PAGES || m->npages > STREAM_MAX_PAGES)
		abort();
	for (uint32_t i = 0; i < m->nruns; i++) {
		see(&s, m->run[i].first_page, m->run[i].count);
		total += m->run[i].count;
	}
	if (total != m->npages)
		abort();
}

/* Input: a byte of kind, log2 of the RAM's pages, u32 payload length, the meta data. What is accepted must keep the rules and encode to the same bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pages_meta m;
	static uint8_t again[PAGES_META_MAX_BYTES];
	const uint8_t *meta = data + 6;
	struct seen s;
	uint64_t ram_pages, payload_len;
	uint32_t len, n = 0;

	if (size < 6 || size > 70000)
		return 0;
	ram_pages = 1ull << (data[1] % 33);
	payload_len = le32_get(data + 2);
	len = (uint32_t)size - 6;
	s = (struct seen){ .ram_pages = ram_pages };
	switch (data[0] % 3) {
	case 0:
		if (pages_decode(meta, len, payload_len, ram_pages, &m, NULL))
			return 0;
		n = pages_encode(&m, again);
		break;
	case 1:
		if (zpages_decode(meta, len, payload_len, ram_pages, &m, NULL))
			return 0;
		n = zpages_encode(&m, again);
		break;
	default:
		zero_decode(meta, len, ram_pages, see, &s, NULL);
		return 0;
	}
	check_list(&m, ram_pages);
	if (n != len || memcmp(again, meta, n) != 0)
		abort();
	return 0;
}
