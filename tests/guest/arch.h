/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an architecture supplies to the built-in guest besides boot.h: start, exceptions, interrupts,
 * clock, the other CPUs, the serial port, page tables. tests/guest/ARCH/ has it; its start code calls
 * bsp_main() on CPU 0 and ap_main() on the others, with the first 4 KiB of their area set up. All
 * functions run where the work runs: on x86_64 in ring 3, on arm64 at EL1.
 */
#ifndef GUEST_ARCH_H
#define GUEST_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the architecture: cpu_clock(), the clock's count, and cpu_pause(), both inline. */
#include "arch_cpu.h"

struct cpu_area;

/* ---- CPUs ---- */
/* Once, on CPU 0, before anything else: what all CPUs share. */
void cpu_init_shared(void);
/* On each CPU: its interrupt controller. From here on interrupts come. */
void cpu_init_local(void);
/* Takes over the frequency given, or with 0 finds it out. */
void cpu_init_clock(uint64_t given_khz);
/* Of cpu_clock(). */
uint64_t cpu_clock_khz(void);
/* Where the frequency comes from: arg, if it was given. */
const char *cpu_clock_source(void);
/* Time in ns by a clock that the hypervisor keeps for its guests, 0 without one. */
uint64_t cpu_host_clock_ns(void);
/* A periodic timer on this CPU, counted in its area. */
void cpu_start_tick(uint64_t hz);
/* Starts the CPUs 1 to cpus - 1 at ap_main(). */
void cpu_start_others(uint32_t cpus, struct cpu_area *areas);
/* What this CPU wrote before, they see when they wake. */
void cpu_wake_others(void);
/* Really halts until an interrupt, unless area->wake is set. */
void cpu_halt(struct cpu_area *area);
void cpu_power_off(struct cpu_area *area) __attribute__((noreturn));

/* ---- the serial port ---- */
/* Writes at once, may do so before uart_init(). */
void uart_write(const char *s, size_t n);
/* Makes received bytes raise an interrupt on CPU 0, which sets its area's rx and wake. */
void uart_init(void);
/* One received byte, or -1. On CPU 0 only. */
int uart_getc(void);

/* ---- memory ---- */
/* Up to here physical addresses at and above the image can be used as pointers. */
uint64_t mmu_identity_end(void);
/* The page table entry for a 2 MiB chunk of the pool. */
uint64_t mmu_chunk_entry(uint64_t pa);
/* Maps at POOL_VA what these tables, each with 512 such entries, say. At most 512 of them. */
void mmu_map_pool(const uint64_t *tables, uint64_t count);

#endif
