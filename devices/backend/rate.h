/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICES_BACKEND_RATE_H
#define DEVICES_BACKEND_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio.h"

/* Two token buckets, operations and bytes, filled by the clock that the caller passes. A request is let through when both have something left, and may overdraw the bytes, so that one larger than the
 * bucket gets through at all. Pure; one thread. */
struct rate {
	struct rate_limit limit;
	uint64_t filled_ns;
	double ops, bytes;
};

void rate_init(struct rate *r, const struct rate_limit *limit, uint64_t now_ns);
/* False: there is no limit, and no need for the time. */
static inline bool rate_limits(const struct rate *r)
{
	return r->limit.ops_per_s || r->limit.bytes_per_s;
}
/* True: taken. False: nothing was, and @ret_wait_ns says when to ask again. */
bool rate_take(struct rate *r, uint64_t bytes, uint64_t now_ns, uint64_t *ret_wait_ns);

#endif
