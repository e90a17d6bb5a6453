/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts, clocks and the other CPUs, all from ring 3: the IDT is memory, the local APIC is
 * memory-mapped (xAPIC) and its page is open to ring 3.
 */
#include "guest.h"
#include "layout.h"

#define LAPIC_SPURIOUS 0x0f0
#define LAPIC_ICR 0x300
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_TIMER_COUNT 0x380
#define LAPIC_TIMER_NOW 0x390
#define LAPIC_TIMER_DIVIDE 0x3e0

#define LAPIC_PERIODIC 0x20000
#define LAPIC_DIVIDE_BY_1 0xb

#define ICR_ALL_BUT_SELF 0xc0000
#define ICR_ASSERT 0x4000
#define ICR_INIT 0x500
#define ICR_STARTUP 0x600

/* What KVM (by default) and QEMU count with. */
#define LAPIC_TIMER_HZ 1000000000ull

/* ACPI sleep control and reset registers of the machine (hardware-reduced: ACPI 6.4, 4.8.3.7). */
#define PORT_SLEEP_CONTROL 0x600
#define SLEEP_S5 (5 << 2 | 0x20)

struct idt_gate {
	uint16_t offset_low, selector;
	uint16_t flags, offset_mid;
	uint32_t offset_high, reserved;
};

/* KVM's pvclock ABI (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW). */
struct pvclock {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
};

struct idt_gate idt[256] __attribute__((aligned(4096)));
extern volatile struct pvclock boot_pvclock;
extern const uint64_t trap_table[32];
extern uint64_t boot_ap_areas;
extern uint32_t boot_ap_limit;
extern const char ap_trampoline[], ap_trampoline_end[];
extern void irq_uart(void), irq_tick(void), irq_wake(void), irq_ignore(void);
void trap_fatal(const uint64_t *frame, uint64_t cr2) __attribute__((noreturn));

static uint64_t tsc_khz;
static const char *clock_source;

static void lapic_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(uintptr_t)(LAPIC_PA + reg) = v;
}

static uint32_t lapic_read(uint32_t reg)
{
	return *(volatile uint32_t *)(uintptr_t)(LAPIC_PA + reg);
}

static void set_gate(uint32_t vector, uint64_t entry)
{
	idt[vector] = (struct idt_gate){
		.offset_low = (uint16_t)entry,
		.selector = SEL_CODE0,
		.flags = 0x8e00, /* present, ring 0, interrupt gate */
		.offset_mid = (uint16_t)(entry >> 16),
		.offset_high = (uint32_t)(entry >> 32),
	};
}

void cpu_init_shared(void)
{
	for (uint32_t v = 0; v < 32; v++)
		set_gate(v, trap_table[v]);
	for (uint32_t v = 0; v < 16; v++)
		set_gate(VEC_PIC + v, (uint64_t)irq_ignore);
	set_gate(VEC_UART, (uint64_t)irq_uart);
	set_gate(VEC_TICK, (uint64_t)irq_tick);
	set_gate(VEC_WAKE, (uint64_t)irq_wake);
	set_gate(VEC_SPURIOUS, (uint64_t)irq_ignore);
}

void cpu_init_local(void)
{
	lapic_write(LAPIC_SPURIOUS, 0x100 | VEC_SPURIOUS);
}

static uint64_t khz_from_kvmclock(void)
{
	uint64_t khz;

	if (!boot_pvclock.tsc_to_system_mul)
		return 0;
	khz = (1000000ull << 32) / boot_pvclock.tsc_to_system_mul;
	return boot_pvclock.tsc_shift < 0 ? khz << -boot_pvclock.tsc_shift :
					    khz >> boot_pvclock.tsc_shift;
}

/* 10 ms by the local APIC's timer. */
static uint64_t khz_from_lapic(void)
{
	uint32_t first, now;
	uint64_t start;

	lapic_write(LAPIC_TIMER_DIVIDE, LAPIC_DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, LAPIC_MASKED);
	lapic_write(LAPIC_TIMER_COUNT, UINT32_MAX);
	first = lapic_read(LAPIC_TIMER_NOW);
	start = cpu_clock();
	do {
		now = lapic_read(LAPIC_TIMER_NOW);
	} while (first - now < LAPIC_TIMER_HZ / 100);
	start = cpu_clock() - start;
	lapic_write(LAPIC_TIMER_COUNT, 0);
	return start * (LAPIC_TIMER_HZ / 1000) / (first - now);
}

void cpu_init_clock(uint64_t given_khz)
{
	tsc_khz = given_khz;
	clock_source = "arg";
	if (!tsc_khz) {
		tsc_khz = khz_from_kvmclock();
		clock_source = "kvmclock";
	}
	if (!tsc_khz) {
		tsc_khz = khz_from_lapic();
		clock_source = "lapic";
	}
	if (!tsc_khz)
		tsc_khz = 1;
}

uint64_t cpu_clock_khz(void)
{
	return tsc_khz;
}

const char *cpu_clock_source(void)
{
	return clock_source;
}

uint64_t cpu_host_clock_ns(void)
{
	uint64_t delta, ns;
	uint32_t version;

	if (!boot_pvclock.tsc_to_system_mul)
		return 0;
	do {
		version = boot_pvclock.version & ~1u;
		__asm__ volatile("lfence" ::: "memory");
		delta = cpu_clock() - boot_pvclock.tsc_timestamp;
		if (boot_pvclock.tsc_shift < 0)
			delta >>= -boot_pvclock.tsc_shift;
		else
			delta <<= boot_pvclock.tsc_shift;
		ns = (uint64_t)((unsigned __int128)delta * boot_pvclock.tsc_to_system_mul >> 32);
		ns += boot_pvclock.system_time;
		__asm__ volatile("" ::: "memory");
	} while (boot_pvclock.version != version);
	return ns;
}

void cpu_start_tick(uint64_t hz)
{
	lapic_write(LAPIC_TIMER_DIVIDE, LAPIC_DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, LAPIC_PERIODIC | VEC_TICK);
	lapic_write(LAPIC_TIMER_COUNT, (uint32_t)(LAPIC_TIMER_HZ / hz));
}

static void delay_us(uint64_t us)
{
	uint64_t start = cpu_clock();

	while (cpu_clock() - start < us * tsc_khz / 1000)
		cpu_pause();
}

/*
 * The static parts of an area come from the BSP's; the TSS, its stack and its descriptor are the
 * CPU's own.
 */
static void init_area(struct cpu_area *of)
{
	char *area = (char *)of;
	uint64_t tss = (uint64_t)area + AREA_TSS;
	uint64_t desc =
		(tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56 | 0x0000890000000000 | TSS_LIMIT;
	uint64_t rsp0 = (uint64_t)area + AREA_STACK_TRAP;
	uint64_t gdt = (uint64_t)area + AREA_GDT;

	memcpy(area + AREA_GDT, (char *)&bsp_area + AREA_GDT, AREA_TSS - AREA_GDT + TSS_LIMIT + 1);
	memcpy(area + AREA_GDT + SEL_TSS, &desc, sizeof(desc));
	memcpy(area + AREA_GDTR + 2, &gdt, sizeof(gdt));
	memcpy(area + AREA_TSS + TSS_RSP0, &rsp0, sizeof(rsp0));
}

/* SDM vol. 3, 9.4.4: INIT, start-up, and a second start-up for a CPU that missed the first. */
void cpu_start_others(uint32_t cpus, struct cpu_area *areas)
{
	if (cpus < 2)
		return;
	for (uint32_t i = 0; i < cpus - 1; i++)
		init_area(&areas[i]);
	boot_ap_areas = (uint64_t)areas - AREA_SIZE;
	boot_ap_limit = cpus;
	memcpy((void *)TRAMPOLINE_PA, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	lapic_write(LAPIC_ICR, ICR_ALL_BUT_SELF | ICR_ASSERT | ICR_INIT);
	delay_us(1000);
	for (int i = 0; i < 2; i++) {
		lapic_write(LAPIC_ICR,
			    ICR_ALL_BUT_SELF | ICR_ASSERT | ICR_STARTUP | TRAMPOLINE_PA >> 12);
		delay_us(200);
	}
}

void cpu_wake_others(void)
{
	lapic_write(LAPIC_ICR, ICR_ALL_BUT_SELF | ICR_ASSERT | VEC_WAKE);
}

void cpu_halt(struct cpu_area *area)
{
	__asm__ volatile("hlt" ::"D"(&area->wake) : "memory");
}

void cpu_power_off(struct cpu_area *area)
{
	outb(PORT_SLEEP_CONTROL, SLEEP_S5);
	for (;;) {
		area->wake = 0;
		cpu_halt(area);
	}
}

/* Ring 0. frame: vector, error code, rip, cs, rflags, rsp, ss. The CPU stays here. */
void trap_fatal(const uint64_t *frame, uint64_t cr2)
{
	struct line l;

	l.len = 0;
	line_dec(&l, "vmm-guest: TRAP vector=", frame[0]);
	line_hex(&l, " error=", frame[1]);
	line_hex(&l, " rip=", frame[2]);
	line_hex(&l, " rsp=", frame[5]);
	line_hex(&l, " cr2=", cr2);
	line_print_unlocked(&l);
	for (;;)
		__asm__ volatile("cli; hlt");
}
