/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/send/pace.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "base/clock.h"

#define PACE_BURST_NS (10 * NS_PER_MS)

void pace_init(struct pace *p, uint64_t rate, uint64_t now_ns)
{
	*p = (struct pace){ .rate = rate, .start_ns = now_ns };
}

uint64_t pace_delay(struct pace *p, uint64_t bytes, uint64_t now_ns)
{
	uint64_t due_ns;

	if (!p->rate)
		return 0;
	/* 128 bits: bytes times ns leaves 64 after 18 GB. */
	due_ns = p->start_ns + (uint64_t)((unsigned __int128)p->sent * NS_PER_S / p->rate);
	if (now_ns > due_ns + PACE_BURST_NS) {
		/* The link was slower than the limit, or nothing was to send: no credit for that. */
		p->start_ns = now_ns - PACE_BURST_NS;
		p->sent = 0;
		due_ns = p->start_ns;
	}
	p->sent += bytes;
	return due_ns > now_ns ? due_ns - now_ns : 0;
}

int pace_wait(uint64_t delay_ns, int cancel_fd, struct err *err)
{
	struct pollfd pfd = { .fd = cancel_fd, .events = POLLIN };
	struct timespec ts = { .tv_sec = (time_t)(delay_ns / NS_PER_S),
			       .tv_nsec = (long)(delay_ns % NS_PER_S) };

	if (delay_ns && ppoll(&pfd, 1, &ts, NULL) > 0)
		return err_set(err, -ECANCELED, "cancelled");
	return 0;
}
