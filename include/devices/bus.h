/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Address ranges and callbacks; one bus for port I/O, one for MMIO. Ranges are added before the vCPUs run and never change after; accesses
 * come from any vCPU thread at once, so each device takes its own lock. An access that crosses a range's end or hits nothing reads as ones and
 * writes to nowhere.
 */
struct bus_ops {
	uint64_t (*read)(void *dev, uint64_t offset, unsigned int size_bytes); /* size 1, 2, 4, 8 */
	void (*write)(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value);
	/* Optional: @count bytes written to one port by one string instruction (rep outsb). NULL: write() for each. */
	void (*write_bytes)(void *dev, uint64_t offset, const uint8_t *data, unsigned int count);
};

#define BUS_MAX_RANGES 64
struct bus_range {
	uint64_t base;
	uint64_t len_bytes;
	const struct bus_ops *ops;
	void *dev;
};
struct bus {
	unsigned int nranges;
	struct bus_range range[BUS_MAX_RANGES]; /* sorted by base, disjoint */
};

/* -EEXIST when it overlaps, -ENOSPC, -EINVAL for an empty or wrapping range. */
int bus_add(struct bus *b, uint64_t base, uint64_t len_bytes, const struct bus_ops *ops, void *dev,
	    struct err *err);
void bus_access(struct bus *b, uint64_t addr, bool is_write, void *data, unsigned int size_bytes);
/* @count accesses of @size_bytes each to one address, data packed (KVM_EXIT_IO's shape). */
void bus_access_string(struct bus *b, uint64_t addr, bool is_write, void *data,
		       unsigned int size_bytes, unsigned int count);

#endif
