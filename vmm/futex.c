/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "internal.h"

void futex_wait_while(_Atomic uint32_t *word, uint32_t value)
{
	while (atomic_load_explicit(word, memory_order_acquire) == value)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

bool futex_wait_until(_Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns)
{
	while (atomic_load_explicit(word, memory_order_acquire) == value) {
		/* FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time. */
		struct timespec ts = { .tv_sec = (time_t)(deadline_ns / NS_PER_S),
				       .tv_nsec = (long)(deadline_ns % NS_PER_S) };

		if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, &ts, NULL,
			    FUTEX_BITSET_MATCH_ANY) < 0 &&
		    errno == ETIMEDOUT)
			return atomic_load_explicit(word, memory_order_acquire) != value;
	}
	return true;
}

void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
