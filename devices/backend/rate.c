/* SPDX-License-Identifier: Apache-2.0 */
#include "rate.h"

#include "base/clock.h"
#include "base/num.h"

void rate_init(struct rate *r, const struct rate_limit *limit, uint64_t now_ns)
{
	*r = (struct rate){
		.limit = *limit,
		.filled_ns = now_ns,
		.ops = (double)limit->ops_per_s,
		.bytes = (double)limit->bytes_per_s,
	};
}

static double filled(double level, uint64_t per_s, double elapsed_s)
{
	double full = (double)per_s;

	level += full * elapsed_s;
	return MIN(level, full);
}

/* Seconds until a bucket holds one; negative or zero: now. */
static double wait_s(double level, uint64_t per_s)
{
	return per_s ? (1 - level) / (double)per_s : 0;
}

bool rate_take(struct rate *r, uint64_t bytes, uint64_t now_ns, uint64_t *ret_wait_ns)
{
	/* A clock that stands or goes back fills nothing. */
	if (now_ns > r->filled_ns) {
		double elapsed_s = (double)(now_ns - r->filled_ns) / NS_PER_S;

		r->ops = filled(r->ops, r->limit.ops_per_s, elapsed_s);
		r->bytes = filled(r->bytes, r->limit.bytes_per_s, elapsed_s);
		r->filled_ns = now_ns;
	}

	double wait =
		MAX(wait_s(r->ops, r->limit.ops_per_s), wait_s(r->bytes, r->limit.bytes_per_s));

	if (wait > 0) {
		/* Rounded up, so that asking again in time succeeds; a debt of centuries is as good as one of a year. */
		double wait_ns = MIN(wait * NS_PER_S, 365.0 * 86400 * NS_PER_S);

		*ret_wait_ns = (uint64_t)wait_ns + 1;
		return false;
	}
	if (r->limit.ops_per_s)
		r->ops -= 1;
	if (r->limit.bytes_per_s)
		r->bytes -= (double)bytes;
	return true;
}
