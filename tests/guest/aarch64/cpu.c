/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts, exceptions, the virtual timer, and the other CPUs by PSCI. */
#include "boot_info.h"
#include "gic.h"
#include "guest.h"
#include "layout.h"
#include "uart.h"

/* Arm DEN 0022 (PSCI 0.2), called by HVC. */
#define PSCI_SYSTEM_OFF 0x84000008u
#define PSCI_CPU_ON 0xc4000003u

#define CNTV_CTL_ENABLE 1
#define MPIDR_AFFINITY 0xff00ffffffull

extern const char image_start[], ap_entry[];
int64_t psci_call(uint64_t function, uint64_t a, uint64_t b, uint64_t c);
void irq_handle(struct cpu_area *area);
void trap_fatal(uint64_t vector, const struct cpu_area *area, uint64_t sp)
	__attribute__((noreturn));

static uint64_t clock_khz;
static const char *clock_source;
static uint64_t tick_period;
static uint32_t trapped;

void cpu_init_shared(void)
{
	gic_init_distributor();
}

void cpu_init_local(void)
{
	if (!gic_init_cpu()) {
		console_puts("vmm-guest: ERROR a CPU has no redistributor");
		psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
	}
	__asm__ volatile("msr daifclr, #2" ::: "memory");
}

/* ---- clock and timer ---- */

void cpu_init_clock(uint64_t given_khz)
{
	clock_khz = given_khz;
	clock_source = "arg";
	if (!clock_khz) {
		clock_khz = sysreg_read(cntfrq_el0) / 1000;
		clock_source = "cntfrq";
	}
	if (!clock_khz)
		clock_khz = 1;
}

uint64_t cpu_clock_khz(void)
{
	return clock_khz;
}

const char *cpu_clock_source(void)
{
	return clock_source;
}

uint64_t cpu_host_clock_ns(void)
{
	return 0;
}

void cpu_start_tick(uint64_t hz)
{
	uint64_t period = clock_khz * 1000 / hz;

	tick_period = period ? period : 1;
	sysreg_write(cntv_cval_el0, cpu_clock() + tick_period);
	sysreg_write(cntv_ctl_el0, CNTV_CTL_ENABLE);
	cpu_isb();
}

/* The next tick, one period after the last; periods that were missed do not come again. */
static void next_tick(void)
{
	uint64_t next = sysreg_read(cntv_cval_el0) + tick_period;
	uint64_t now = cpu_clock();

	sysreg_write(cntv_cval_el0, next > now ? next : now + tick_period);
	cpu_isb();
}

/* ---- exceptions ---- */

/* The work was interrupted; the flags are its own CPU's. */
void irq_handle(struct cpu_area *area)
{
	uint32_t intid = gic_acknowledge();

	if (intid >= GIC_NONE)
		return;
	if (intid == INTID_UART) {
		uart_handle_interrupt();
		__atomic_store_n(&area->rx, 1, __ATOMIC_RELAXED);
	} else if (intid == INTID_TICK) {
		next_tick();
		__atomic_store_n(&area->ticks, area->ticks + 1, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&area->wake, 1, __ATOMIC_RELAXED);
	gic_end(intid);
}

/* Any other exception. The first one is told and ends the guest; more, this code's own too, wait. */
void trap_fatal(uint64_t vector, const struct cpu_area *area, uint64_t sp)
{
	struct line l;

	while (__atomic_exchange_n(&trapped, 1, __ATOMIC_RELAXED))
		__asm__ volatile("wfi");
	l.len = 0;
	line_dec(&l, "BAD cpu=", area->worker.cpu);
	line_dec(&l, " trap=", vector);
	line_hex(&l, " esr=", sysreg_read(esr_el1));
	line_hex(&l, " elr=", sysreg_read(elr_el1));
	line_hex(&l, " far=", sysreg_read(far_el1));
	line_hex(&l, " sp=", sp);
	line_hex(&l, " image=", (uint64_t)image_start);
	line_print_unlocked(&l);
	line_str(&l, "vmm-guest: FAIL");
	line_print_unlocked(&l);
	psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

/* ---- the CPUs ---- */

static void note_not_started(uint64_t mpidr, int64_t answer)
{
	struct line l;

	l.len = 0;
	line_hex(&l, "vmm-guest: note PSCI does not start CPU ", mpidr);
	line_dec(&l, ", error -", (uint64_t)-answer);
	line_print(&l);
}

void cpu_start_others(uint32_t cpus, struct cpu_area *areas)
{
	uint64_t own = sysreg_read(mpidr_el1) & MPIDR_AFFINITY;
	uint32_t started = 0;

	/* All that they read, they read with their MMU on. */
	__asm__ volatile("dsb ish" ::: "memory");
	for (uint32_t i = 0; i < boot_cpu_count() && started + 1 < cpus; i++) {
		uint64_t mpidr = boot_cpu_mpidr(i);
		int64_t answer;

		if (mpidr == own)
			continue;
		answer = psci_call(PSCI_CPU_ON, mpidr, (uint64_t)ap_entry,
				   (uint64_t)&areas[started]);
		if (answer)
			note_not_started(mpidr, answer);
		else
			started++;
	}
}

void cpu_wake_others(void)
{
	gic_send_others(INTID_WAKE);
}

/* With interrupts masked, one that comes after the look at the flag still ends the sleep. */
void cpu_halt(struct cpu_area *area)
{
	__asm__ volatile("msr daifset, #2" ::: "memory");
	if (!__atomic_load_n(&area->wake, __ATOMIC_RELAXED))
		__asm__ volatile("dsb sy\n\twfi" ::: "memory");
	__asm__ volatile("msr daifclr, #2" ::: "memory");
}

void cpu_power_off(struct cpu_area *area)
{
	psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;) {
		area->wake = 0;
		cpu_halt(area);
	}
}
