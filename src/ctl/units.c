/* SPDX-License-Identifier: Apache-2.0 */
#include "units.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

/* Three digits that count, whatever the size: 1.23, 12.3, 123. The bounds are where rounding carries over. */
static int digits_after_point(double v)
{
	if (v < 9.995)
		return 2;
	return v < 99.95 ? 1 : 0;
}

static const char *scaled(struct unit_text *ret, double v, double step, const char *const *units,
			  size_t nunits, const char *tail)
{
	size_t i = 0;

	if (!(v > 0))
		v = 0;
	while (i + 1 < nunits && v >= step - 0.5) {
		v /= step;
		i++;
	}
	if (i == 0)
		snprintf(ret->s, sizeof(ret->s), "%.0f%s%s%s", v, *units[i] ? " " : "", units[i],
			 tail);
	else
		snprintf(ret->s, sizeof(ret->s), "%.*f %s%s", digits_after_point(v), v, units[i],
			 tail);
	return ret->s;
}

static const char *const byte_units[] = { "B", "kB", "MB", "GB", "TB", "PB" };

const char *unit_bytes(struct unit_text *ret, double bytes)
{
	return scaled(ret, bytes, 1000, byte_units, 6, "");
}

const char *unit_rate(struct unit_text *ret, double bytes_per_s)
{
	return scaled(ret, bytes_per_s, 1000, byte_units, 6, "/s");
}

const char *unit_pages_rate(struct unit_text *ret, double pages_per_s)
{
	static const char *const units[] = { "", "k", "M", "G" };

	return scaled(ret, pages_per_s, 1000, units, 4, "/s");
}

const char *unit_memory(struct unit_text *ret, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t i = 0;

	while (i < 4 && bytes >= 1024 && bytes % 1024 == 0) {
		bytes /= 1024;
		i++;
	}
	if (i < 4 && bytes >= 10240)
		snprintf(ret->s, sizeof(ret->s), "%.1f %s", (double)bytes / 1024, units[i + 1]);
	else
		snprintf(ret->s, sizeof(ret->s), "%" PRIu64 " %s", bytes, units[i]);
	return ret->s;
}

const char *unit_ms(struct unit_text *ret, double ms)
{
	if (!(ms > 0))
		ms = 0;
	if (ms < 0.0095 && ms > 0)
		snprintf(ret->s, sizeof(ret->s), "%.0f us", ms * 1e3);
	else if (ms < 999.5)
		snprintf(ret->s, sizeof(ret->s), "%.*f ms", digits_after_point(ms), ms);
	else if (ms < 119.5e3)
		snprintf(ret->s, sizeof(ret->s), "%.*f s", digits_after_point(ms / 1e3), ms / 1e3);
	else
		snprintf(ret->s, sizeof(ret->s), "%.0fm%02.0fs", (double)(long)((ms + 500) / 60e3),
			 (double)((long)((ms + 500) / 1e3) % 60));
	return ret->s;
}

const char *unit_ratio(struct unit_text *ret, double v)
{
	if (v >= 0.0995 || v <= 0)
		snprintf(ret->s, sizeof(ret->s), "%.*f", digits_after_point(v), v > 0 ? v : 0.0);
	else
		snprintf(ret->s, sizeof(ret->s), "%.2g", v);
	return ret->s;
}

const char *unit_count(struct unit_text *ret, uint64_t n)
{
	snprintf(ret->s, sizeof(ret->s), "%" PRIu64, n);
	return ret->s;
}
