/* SPDX-License-Identifier: Apache-2.0 */
/* The whole x86 state on /dev/kvm: saved, loaded into another VM, and saved again; guests go on where they were, and time never goes back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vmm/arch/x86_64/cpu_model.h"
#include "vms.h"

/* Time is compared by the tests of time. */
static void assert_same_state(struct buf *x, struct buf *y)
{
	static const char *const but[] = { "x86.clock", "x86.tsc-offset", NULL };

	assert_same_sections(x, y, but, 1 + 2 * 10 + 4);
}

static void test_save_load_save(void **state)
{
	struct pair *p = *state;

	test_vm_boot(p->a);
	/* Linux reboots through the BIOS' reset vector: mov dx, 0x601; mov al, 1; out dx, al. */
	assert_int_equal(guest_u64(p->a, 0xffff0), 0xf4faee01b00601ba);
	run_until(p->a, GUEST_BSP_COUNT, 100);
	save(p->a, &p->sa);
	save(p->a, &p->sb);
	assert_same_state(&p->sa, &p->sb); /* capture changes nothing */
	copy_memory(p->b, p->a);
	must_load(p->b, &p->sa);
	save(p->b, &p->sb);
	assert_same_state(&p->sa, &p->sb);
}

static void patch_msr(struct buf *state, uint32_t cpu, uint32_t index, uint64_t value)
{
	uint32_t len;
	uint8_t *p = section(state, "x86.msrs", cpu, &len);

	for (uint32_t at = 4; at + 16 <= len; at += 16) {
		if (le32_get(p + at) == index) {
			le64_put(p + at + 8, value);
			return;
		}
	}
	fail_msg("MSR 0x%x is not saved", index);
}

/* A value of its own in every kind of state, so that nothing is equal only because it is zero on both sides. */
static void fill_state(struct buf *state, uint32_t cpu)
{
	uint32_t len;
	uint8_t *p = section(state, "x86.regs", cpu, &len);

	for (uint32_t i = 0; i < 16; i++)
		le64_put(p + i * 8, 0x1111111111111111u * (cpu + 1) + i);
	p = section(state, "x86.xsave", cpu, &len);
	le64_put(p + 4 + 512, le64_get(p + 4 + 512) | 3); /* XSTATE_BV: x87, SSE */
	le16_put(p + 4, 0x27f);
	le32_put(p + 4 + 24, 0x1f80);
	memset(p + 4 + 160, (int)(0xa0 + cpu), 256); /* xmm0-15 */
	p = section(state, "x86.debugregs", cpu, &len);
	for (uint32_t i = 0; i < 4; i++)
		le64_put(p + i * 8, 0x400000 + cpu * 0x100 + i * 8);
	patch_msr(state, cpu, 0xc0000082, 0xffffffff81000000 + cpu); /* LSTAR */
	patch_msr(state, cpu, 0xc0000102, 0xffff888000000000 + cpu); /* KERNEL_GS_BASE */
	patch_msr(state, cpu, 0x277, 0x0007010600070106); /* PAT */
	patch_msr(state, cpu, 0x2ff, 0xc06); /* MTRR default type */
	p = section(state, "x86.lapic", cpu, &len);
	le32_put(p + 0x80, 0x20); /* TPR */
	le32_put(p + 0xa0, 0x20); /* PPR, which follows from it */
	le32_put(p + 0xf0, 0x1ff); /* spurious vector, enabled */
	le32_put(p + 0x320, 0x10040); /* LVT timer, masked */
	le32_put(p + 0x3e0, 0xb);
	/* CR8 mirrors the TPR. */
	p = section(state, "x86.sregs", cpu, &len);
	le64_put(p + 8 * (8 + 4 + 2 + 2) + 2 * 8 + 2 * 2 + 4 * 8, 2);
}

static void fill_chips(struct buf *state)
{
	uint32_t len;
	uint8_t *p = section(state, "x86.pic0", 0, &len);

	p[2] = 0xef; /* imr */
	p[5] = 0x20; /* irq_base */
	p[13] = 1;
	p = section(state, "x86.pic1", 0, &len);
	p[2] = 0xff;
	p[5] = 0x28;
	p = section(state, "x86.ioapic", 0, &len);
	le64_put(p + 8 + 12 + 4 * 8, 0x0100000000000030); /* pin 4 to APIC 1, vector 0x30 */
	le64_put(p + 8 + 12 + 5 * 8, 0x0000000000018031); /* pin 5: level, masked */
	p = section(state, "x86.pit", 0, &len);
	le32_put(p + 8, 0x1234); /* count of channel 2 */
}

static void test_all_state_moves(void **state)
{
	struct pair *p = *state;

	test_vm_boot(p->a);
	save(p->a, &p->sa);
	for (uint32_t cpu = 0; cpu < 2; cpu++)
		fill_state(&p->sa, cpu);
	fill_chips(&p->sa);
	must_load(p->a, &p->sa);
	save(p->a, &p->sb);
	assert_same_state(&p->sa, &p->sb);
	must_load(p->b, &p->sb);
	save(p->b, &p->sa);
	assert_same_state(&p->sa, &p->sb);
}

static void test_guest_goes_on(void **state)
{
	static const struct test_guest guest = { GUEST_BSP_COUNT, GUEST_START_AP, GUEST_AP_COUNT,
						 GUEST_BACKWARDS };
	struct pair *p = *state;

	test_vm_boot(p->a);
	guest_moves(p, &guest);
}

struct times {
	uint64_t kvmclock_ns, realtime_ns, host_tsc, guest_tsc[2];
};

static struct times times_of(struct buf *state)
{
	struct times t;
	uint32_t len;
	const uint8_t *p = section(state, "x86.clock", 0, &len);

	assert_int_equal(len, 24);
	t.kvmclock_ns = le64_get(p);
	t.realtime_ns = le64_get(p + 8);
	t.host_tsc = le64_get(p + 16);
	for (uint32_t cpu = 0; cpu < 2; cpu++)
		t.guest_tsc[cpu] = le64_get(section(state, "x86.tsc-offset", cpu, &len));
	return t;
}

/* Clock and TSC count the blackout: they go on as CLOCK_REALTIME and this same host's TSC did. */
static void test_time_goes_on(void **state)
{
	struct pair *p = *state;
	struct times before, after;

	test_vm_boot(p->a);
	run_until(p->a, GUEST_BSP_COUNT, 50);
	save(p->a, &p->sa);
	usleep(300000);
	copy_memory(p->b, p->a);
	must_load(p->b, &p->sa);
	save(p->b, &p->sb);
	before = times_of(&p->sa);
	after = times_of(&p->sb);
	assert_true(after.kvmclock_ns >= before.kvmclock_ns + 300000000);
	/* The limit is for a busy machine: without the correction it would be 300 ms. */
	assert_near(after.kvmclock_ns - before.kvmclock_ns, after.realtime_ns - before.realtime_ns,
		    20000000);
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		assert_true(after.guest_tsc[cpu] > before.guest_tsc[cpu]);
		assert_near(after.guest_tsc[cpu] - before.guest_tsc[cpu],
			    after.host_tsc - before.host_tsc,
			    (after.host_tsc - before.host_tsc) / 10);
	}
	run_until(p->b, GUEST_BSP_COUNT, guest_u32(p->b, GUEST_BSP_COUNT) + 50);
	assert_int_equal(guest_u32(p->b, GUEST_BACKWARDS), 0);
}

/* A source whose realtime is far off, or ahead: the guest's clock goes on from where it was. */
static void test_time_of_unsynchronised_host(void **state)
{
	struct pair *p = *state;
	struct times before, after;
	uint32_t len;

	for (int ahead = 0; ahead < 2; ahead++) {
		save(p->a, &p->sa);
		before = times_of(&p->sa);
		le64_put(section(&p->sa, "x86.clock", 0, &len) + 8,
			 before.realtime_ns + (ahead ? 1 : -1) * 3600000000000);
		must_load(p->b, &p->sa);
		save(p->b, &p->sb);
		after = times_of(&p->sb);
		assert_true(after.kvmclock_ns >= before.kvmclock_ns);
		assert_true(after.kvmclock_ns - before.kvmclock_ns < 1800000000000);
	}
}

/* Values that check() refuses: nothing at all is applied. */
static void test_refused_state_changes_nothing(void **state)
{
	static const struct {
		const char *name;
		uint32_t at;
		uint8_t value;
	} bad[] = {
		{ "x86.mp-state", 3, 1 },    { "x86.events", 22, 0x80 },
		{ "x86.pic1", 4, 8 },        { "x86.pit", 3, 1 },
		{ "x86.clock", 7, 0x80 },    { "x86.ioapic", 19, 1 },
		{ "x86.tsc-offset", 16, 2 }, { "x86.sregs", 8 * 14 + 1, 0xe },
	};
	struct pair *p = *state;
	struct buf first = { 0 };

	save(p->b, &first);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t len;
		uint8_t *s;

		save(p->a, &p->sa);
		fill_chips(&p->sa);
		s = section(&p->sa, bad[i].name, 0, &len);
		assert_true(bad[i].at < len);
		s[bad[i].at] = bad[i].value;
		expect_refused(p, bad[i].name);
		assert_same_state(&first, &p->sb);
	}
	save(p->a, &p->sa);
	patch_msr(&p->sa, 1, 0x277, 0x7040600070406);
	le32_put(section(&p->sa, "x86.msrs", 1, &(uint32_t){ 0 }) + 4, 0x4b564d00);
	expect_refused(p, "MSR 0x4b564d00");
	assert_same_state(&first, &p->sb);
	buf_fini(&first);
}

/* KVM refuses the value and the vCPU does not have it: the MSR is named. */
static void test_refused_msr_is_named(void **state)
{
	struct pair *p = *state;
	struct err err = { 0 };

	save(p->a, &p->sa);
	patch_msr(&p->sa, 1, 0xc0000082, 0x8000000000000000); /* LSTAR: not canonical */
	assert_int_equal(load(p->b, &p->sa, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "MSR 0xc0000082"));
}

static void test_cpu_model_refused(void **state)
{
	struct pair *p = *state;
	struct cpu_model *m = calloc(1, sizeof(*m));
	struct err err = { 0 };
	struct vm *vm = NULL;
	struct buf b = { 0 };

	assert_non_null(m);
	assert_int_equal(cpu_model_decode(p->model.data, p->model.len_bytes, m, &err), 0);
	for (uint32_t i = 0; i < m->cpuid.nentries; i++) {
		if (m->cpuid.entry[i].function == 7 && m->cpuid.entry[i].index == 0)
			m->cpuid.entry[i].ebx |= 1u << 14; /* MPX: gone from Linux since 5.6 */
	}
	assert_int_equal(cpu_model_encode(m, &b, &err), 0);
	assert_int_equal(test_vm_create(DIRTY_BITMAP, &b, &vm, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "CPUID 7.0 EBX bit 14"));
	assert_null(vm);

	assert_int_equal(cpu_model_decode(p->model.data, p->model.len_bytes, m, &err), 0);
	m->tsc_khz = m->tsc_khz / 2;
	buf_clear(&b);
	assert_int_equal(cpu_model_encode(m, &b, &err), 0);
	if (test_vm_create(DIRTY_BITMAP, &b, &vm, &err) == 0) {
		print_message("this host scales the TSC\n");
		vm_destroy(vm);
	} else {
		assert_non_null(strstr(err.msg, "kHz"));
	}
	buf_fini(&b);
	free(m);
}

/* For the log only: both are part of the downtime. */
static void test_cost(void **state)
{
	struct pair *p = *state;
	uint64_t t0, best_save = UINT64_MAX, best_load = UINT64_MAX;

	for (unsigned int i = 0; i < 50; i++) {
		t0 = clock_mono_ns();
		save(p->a, &p->sa);
		t0 = clock_mono_ns() - t0;
		best_save = t0 < best_save ? t0 : best_save;
		t0 = clock_mono_ns();
		must_load(p->b, &p->sa);
		t0 = clock_mono_ns() - t0;
		best_load = t0 < best_load ? t0 : best_load;
	}
	print_message("2 vCPUs: %zu bytes, save %llu us, load %llu us (best of 50)\n",
		      p->sa.len_bytes, (unsigned long long)best_save / 1000,
		      (unsigned long long)best_load / 1000);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, pair_setup, pair_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_save_load_save),
		T(test_all_state_moves),
		T(test_guest_goes_on),
		T(test_time_goes_on),
		T(test_time_of_unsynchronised_host),
		T(test_refused_state_changes_nothing),
		T(test_refused_msr_is_named),
		T(test_cpu_model_refused),
		T(test_cost),
	};

	return cmocka_run_group_tests_name("x86-state", tests, NULL, NULL);
}
