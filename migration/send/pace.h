/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_SEND_PACE_H
#define MIGRATION_SEND_PACE_H

#include <stdint.h>

#include "base/err.h"

/* Bandwidth limit: what was sent may be ahead of rate * time by one burst at most. Rate 0: no limit. Pure but for pace_wait. */
struct pace {
	uint64_t rate; /* bytes per second */
	uint64_t start_ns; /* the moment at which @sent bytes' worth of time began */
	uint64_t sent;
};

void pace_init(struct pace *p, uint64_t rate, uint64_t now_ns);
/* Account @bytes and return how long to wait, in ns, before they may go out. Idle time is not saved up beyond 10 ms. */
uint64_t pace_delay(struct pace *p, uint64_t bytes, uint64_t now_ns);
/* Sleep @delay_ns or until @cancel_fd is readable (-ECANCELED). */
int pace_wait(uint64_t delay_ns, int cancel_fd, struct err *err);

#endif
