/* SPDX-License-Identifier: Apache-2.0 */
#include "poll.h"

#include "base/clock.h"
#include "base/compat_cpu.h"
#include "base/num.h"

#define LOOKS 32u /* at the queue, between two at the clock */

void virtio_poll_adapt(struct virtio_poll *p, uint64_t gap_ns)
{
	if (gap_ns > POLL_MAX_NS)
		p->limit_ns = 0;
	else
		p->limit_ns = MIN(MAX(2 * p->limit_ns, POLL_MIN_NS), POLL_MAX_NS);
}

void virtio_poll_woken(struct virtio_poll *p)
{
	if (p->since_ns)
		virtio_poll_adapt(p, clock_mono_ns() - p->since_ns);
	p->since_ns = 0;
}

bool virtio_poll_watch(struct virtio_poll *p, const struct virtq *q)
{
	uint64_t start_ns = clock_mono_ns(), now_ns = start_ns;

	while (now_ns - start_ns < p->limit_ns) {
		for (unsigned int i = 0; i < LOOKS; i++) {
			if (virtq_came(q))
				return true;
			cpu_relax();
		}
		now_ns = clock_mono_ns();
	}
	p->since_ns = start_ns;
	return false;
}
