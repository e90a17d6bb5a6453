/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_COMPAT_CPU_H
#define BASE_COMPAT_CPU_H

/* In a loop that waits for memory to change: leaves what the CPU can do to its other thread. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
