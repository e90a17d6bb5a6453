/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/bus.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

int bus_add(struct bus *b, uint64_t base, uint64_t len_bytes, const struct bus_ops *ops, void *dev,
	    struct err *err)
{
	unsigned int at = 0;

	if (!len_bytes || len_bytes - 1 > UINT64_MAX - base)
		return err_set(err, -EINVAL, "bus: empty or wrapping range at 0x%llx",
			       (unsigned long long)base);
	if (b->nranges == BUS_MAX_RANGES)
		return err_set(err, -ENOSPC, "bus: more than %d ranges", BUS_MAX_RANGES);
	while (at < b->nranges && b->range[at].base < base)
		at++;
	if ((at && base - b->range[at - 1].base < b->range[at - 1].len_bytes) ||
	    (at < b->nranges && b->range[at].base - base < len_bytes))
		return err_set(err, -EEXIST, "bus: range at 0x%llx overlaps another",
			       (unsigned long long)base);
	memmove(&b->range[at + 1], &b->range[at], (b->nranges - at) * sizeof(b->range[0]));
	b->range[at] = (struct bus_range){ base, len_bytes, ops, dev };
	b->nranges++;
	return 0;
}

/* The range that holds all @size_bytes at @addr, or NULL. */
static const struct bus_range *find(const struct bus *b, uint64_t addr, unsigned int size_bytes)
{
	unsigned int lo = 0, hi = b->nranges;
	const struct bus_range *r;

	while (lo < hi) { /* the last range with base <= addr is at lo - 1 */
		unsigned int mid = lo + (hi - lo) / 2;

		if (b->range[mid].base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	r = &b->range[lo - 1];
	if (addr - r->base >= r->len_bytes || size_bytes > r->len_bytes - (addr - r->base))
		return NULL;
	return r;
}

static bool size_ok(unsigned int size_bytes)
{
	return size_bytes == 1 || size_bytes == 2 || size_bytes == 4 || size_bytes == 8;
}

static uint64_t load(const void *p, unsigned int size_bytes)
{
	uint8_t bytes[8] = { 0 };

	memcpy(bytes, p, size_bytes);
	return le64_get(bytes);
}

static void store(void *p, unsigned int size_bytes, uint64_t value)
{
	uint8_t bytes[8];

	le64_put(bytes, value);
	memcpy(p, bytes, size_bytes);
}

static void access_one(const struct bus_range *r, uint64_t addr, bool is_write, void *data,
		       unsigned int size_bytes)
{
	if (is_write)
		r->ops->write(r->dev, addr - r->base, size_bytes, load(data, size_bytes));
	else
		store(data, size_bytes, r->ops->read(r->dev, addr - r->base, size_bytes));
}

void bus_access_string(struct bus *b, uint64_t addr, bool is_write, void *data,
		       unsigned int size_bytes, unsigned int count)
{
	const struct bus_range *r = size_ok(size_bytes) ? find(b, addr, size_bytes) : NULL;
	uint8_t *p = data;

	if (!r) {
		if (!is_write)
			memset(data, 0xff, (size_t)size_bytes * count);
		return;
	}
	if (is_write && size_bytes == 1 && count > 1 && r->ops->write_bytes) {
		r->ops->write_bytes(r->dev, addr - r->base, data, count);
		return;
	}
	for (unsigned int i = 0; i < count; i++, p += size_bytes)
		access_one(r, addr, is_write, p, size_bytes);
}

void bus_access(struct bus *b, uint64_t addr, bool is_write, void *data, unsigned int size_bytes)
{
	bus_access_string(b, addr, is_write, data, size_bytes, 1);
}
