/* SPDX-License-Identifier: Apache-2.0 */
#include "heap.h"

static bool before(struct heap_item a, struct heap_item b)
{
	return a.time_ns < b.time_ns || (!(b.time_ns < a.time_ns) && a.id < b.id);
}

void heap_push(struct heap *h, double time_ns, uint32_t id)
{
	struct heap_item it = { time_ns, id };
	uint32_t i = h->n++;

	while (i > 0 && before(it, h->items[(i - 1) / 2])) {
		h->items[i] = h->items[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h->items[i] = it;
}

bool heap_pop(struct heap *h, struct heap_item *ret)
{
	struct heap_item last;
	uint32_t i = 0;

	if (h->n == 0)
		return false;
	*ret = h->items[0];
	last = h->items[--h->n];
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && before(h->items[child + 1], h->items[child]))
			child++;
		if (before(last, h->items[child]))
			break;
		h->items[i] = h->items[child];
		i = child;
	}
	h->items[i] = last;
	return true;
}
