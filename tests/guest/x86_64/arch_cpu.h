/* SPDX-License-Identifier: Apache-2.0 */
/* Single instructions that C has no words for. */
#ifndef GUEST_ARCH_CPU_H
#define GUEST_ARCH_CPU_H

#include <stdint.h>

/* The time stamp counter. */
static inline uint64_t cpu_clock(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause" ::: "memory");
}

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* Device registers: one move each, which every host can emulate. */
static inline uint8_t mmio_read8(uint64_t pa)
{
	uint8_t v;

	__asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(pa) : "memory");
	return v;
}

static inline void mmio_write8(uint64_t pa, uint8_t v)
{
	__asm__ volatile("movb %0, (%1)" ::"q"(v), "r"(pa) : "memory");
}

static inline uint16_t mmio_read16(uint64_t pa)
{
	uint16_t v;

	__asm__ volatile("movw (%1), %0" : "=r"(v) : "r"(pa) : "memory");
	return v;
}

static inline void mmio_write16(uint64_t pa, uint16_t v)
{
	__asm__ volatile("movw %0, (%1)" ::"r"(v), "r"(pa) : "memory");
}

static inline uint32_t mmio_read32(uint64_t pa)
{
	uint32_t v;

	__asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(pa) : "memory");
	return v;
}

static inline void mmio_write32(uint64_t pa, uint32_t v)
{
	__asm__ volatile("movl %0, (%1)" ::"r"(v), "r"(pa) : "memory");
}

static inline uint64_t mmio_read64(uint64_t pa)
{
	uint64_t v;

	__asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(pa) : "memory");
	return v;
}

static inline void mmio_write64(uint64_t pa, uint64_t v)
{
	__asm__ volatile("movq %0, (%1)" ::"r"(v), "r"(pa) : "memory");
}

#endif
