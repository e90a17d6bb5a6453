/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_UNITS_H
#define CTL_UNITS_H

#include <stdint.h>

/* Numbers for people: three significant digits and a unit. Each fills in and returns @ret. Pure. */
struct unit_text {
	char s[24];
};

const char *unit_bytes(struct unit_text *ret, double bytes); /* powers of 1000: "2.13 GB" */
const char *unit_rate(struct unit_text *ret, double bytes_per_s); /* "1.11 GB/s" */
const char *unit_memory(struct unit_text *ret, uint64_t bytes); /* powers of 1024: "2 GiB" */
const char *unit_ms(struct unit_text *ret, double ms); /* "0.82 ms", "1.92 s", "2m03s" */
const char *unit_pages_rate(struct unit_text *ret, double pages_per_s); /* "100 k/s" */
const char *unit_ratio(struct unit_text *ret, double v); /* "1.02", "0.0021" */
const char *unit_count(struct unit_text *ret, uint64_t n); /* "524288" */

#endif
