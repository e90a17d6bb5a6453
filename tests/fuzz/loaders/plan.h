/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_LOADERS_PLAN_H
#define TESTS_FUZZ_LOADERS_PLAN_H

#include <stdlib.h>

#include "tests/unit/x86/images.h"

/* Any bytes as a kernel: a plan is sound or there is none, an error has a text with the name in front, and an initrd is placed beside the kernel. */
static inline void fuzz_plan(const uint8_t *data, size_t len_bytes)
{
	static const uint64_t ram[] = { 2u << 20, TEST_RAM_END, 3ull << 30 };
	struct boot_source src = {
		.data = data, .fd = -1, .len_bytes = len_bytes, .name = "image"
	};

	for (size_t i = 0; i < sizeof(ram) / sizeof(ram[0]); i++) {
		struct boot_plan p = { 0 };
		struct err err = { 0 };
		uint64_t gpa;

		if (boot_plan_image(&src, ram[i], &p, &err)) {
			if (!err.code || strncmp(err.msg, "image: ", 7) || p.nsegments)
				abort();
			continue;
		}
		if (!plan_is_sound(&p, len_bytes, ram[i]))
			abort();
		if (boot_place_initrd(&p, ram[i], 12345, &gpa))
			continue;
		if (gpa % 4096 || gpa < LAYOUT_HIGH_RAM || gpa + 12345 > ram[i])
			abort();
		for (unsigned int s = 0; s < p.nsegments; s++) {
			if (gpa < p.segment[s].gpa + p.segment[s].mem_bytes &&
			    p.segment[s].gpa < gpa + 12345)
				abort();
		}
	}
}

#endif
