/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_BOOT_H
#define GUEST_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#define CMDLINE_BYTES 2048u
#define RAM_RANGES_MAX 64u

struct ram_range {
	uint64_t start, end;
};

/* What the loader says. */
struct boot_info {
	char cmdline[CMDLINE_BYTES];
	struct ram_range ram[RAM_RANGES_MAX]; /* none is empty */
	uint32_t ram_count;
};

/*
 * The architecture's: reads all of it; false after printing what is wrong. Writes no memory but its
 * own.
 */
bool boot_read_info(struct boot_info *ret);

#endif
