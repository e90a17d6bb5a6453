/* SPDX-License-Identifier: Apache-2.0 */
/* Single instructions that C has no words for. */
#ifndef GUEST_ARCH_CPU_H
#define GUEST_ARCH_CPU_H

#include <stdint.h>

#define sysreg_read(name)                                                          \
	({                                                                         \
		uint64_t sysreg_value;                                             \
		__asm__ volatile("mrs %0, " #name : "=r"(sysreg_value)::"memory"); \
		sysreg_value;                                                      \
	})

#define sysreg_write(name, v) __asm__ volatile("msr " #name ", %0" ::"r"((uint64_t)(v)) : "memory")

static inline void cpu_isb(void)
{
	__asm__ volatile("isb" ::: "memory");
}

/* The virtual counter. It may be read ahead of time, hence the barrier. */
static inline uint64_t cpu_clock(void)
{
	cpu_isb();
	return sysreg_read(cntvct_el0);
}

static inline void cpu_pause(void)
{
	__asm__ volatile("yield" ::: "memory");
}

/*
 * Device registers. One load or store each, as an emulated device takes no other; the compiler may
 * otherwise use forms whose syndrome says too little (writeback, pairs).
 */
static inline uint32_t mmio_read32(uint64_t pa)
{
	uint32_t v;

	__asm__ volatile("ldr %w0, [%1]" : "=r"(v) : "r"(pa) : "memory");
	return v;
}

static inline uint64_t mmio_read64(uint64_t pa)
{
	uint64_t v;

	__asm__ volatile("ldr %0, [%1]" : "=r"(v) : "r"(pa) : "memory");
	return v;
}

static inline uint8_t mmio_read8(uint64_t pa)
{
	uint32_t v;

	__asm__ volatile("ldrb %w0, [%1]" : "=r"(v) : "r"(pa) : "memory");
	return (uint8_t)v;
}

static inline uint16_t mmio_read16(uint64_t pa)
{
	uint32_t v;

	__asm__ volatile("ldrh %w0, [%1]" : "=r"(v) : "r"(pa) : "memory");
	return (uint16_t)v;
}

static inline void mmio_write16(uint64_t pa, uint16_t v)
{
	__asm__ volatile("strh %w0, [%1]" ::"r"((uint32_t)v), "r"(pa) : "memory");
}

static inline void mmio_write32(uint64_t pa, uint32_t v)
{
	__asm__ volatile("str %w0, [%1]" ::"r"(v), "r"(pa) : "memory");
}

static inline void mmio_write64(uint64_t pa, uint64_t v)
{
	__asm__ volatile("str %0, [%1]" ::"r"(v), "r"(pa) : "memory");
}

static inline void mmio_write8(uint64_t pa, uint8_t v)
{
	__asm__ volatile("strb %w0, [%1]" ::"r"((uint32_t)v), "r"(pa) : "memory");
}

#endif
