/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BLACKOUT_H
#define VMM_BLACKOUT_H

#include <stdint.h>

#include "base/clock.h"

/* A longer blackout than this means that the two hosts' clocks disagree (or that the state was stored): then the guest's time stands still for it. */
#define BLACKOUT_MAX_NS (600 * NS_PER_S)

/* How far a guest's time has to go on at @now_ns that was captured at @since_ns, both CLOCK_REALTIME, perhaps of two hosts. */
static inline uint64_t blackout_ns(uint64_t since_ns, uint64_t now_ns)
{
	uint64_t passed = now_ns > since_ns ? now_ns - since_ns : 0;

	return passed <= BLACKOUT_MAX_NS ? passed : 0;
}

#endif
