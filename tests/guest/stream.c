/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a CPU visits what it owns. A pass visits each page or key once, so that what
 * the last visit left follows from the place in the pass alone.
 */
#include "guest.h"

void stream_start_pass(struct stream *s)
{
	s->cursor = 0;
	s->slot = page_data_slot(s->pass);
	s->state = s->pass * 0x9e3779b97f4a7c15ull >> 20 & s->mask;
}

void stream_init(struct stream *s, uint64_t first, uint64_t count, bool shuffled)
{
	uint32_t bits = 0;

	while (1ull << bits < count)
		bits++;
	s->first = first;
	s->count = count;
	s->pass = 1;
	s->mask = (1ull << bits) - 1;
	s->shift = bits / 2 + 1;
	s->shuffled = shuffled;
	stream_start_pass(s);
}

bool stream_advance(struct stream *s, uint32_t n)
{
	s->cursor += n;
	if (s->cursor < s->count)
		return false;
	s->pass++;
	stream_start_pass(s);
	return true;
}
