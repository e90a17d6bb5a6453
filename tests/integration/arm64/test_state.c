/* SPDX-License-Identifier: Apache-2.0 */
/* The whole arm64 state on /dev/kvm: saved, loaded into another VM, and saved again; guests go on where they were, and time never goes back. */
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
#include "base/num.h"
#include "vmm/arch/aarch64/sysreg.h"
#include "vms.h"

#define NSECTIONS (2 + 2 * 5 + 1)

/* The value of a register in a vCPU's section, to patch or compare. */
static uint8_t *reg(struct buf *state, uint32_t cpu, uint64_t id)
{
	char name[ARM64_REG_NAME_MAX];
	uint32_t len;
	uint8_t *p = section(state, "arm64.regs", cpu, &len);

	for (uint32_t at = 4; at + 8 < len; at += 8 + arm64_reg_bytes(le64_get(p + at))) {
		if (le64_get(p + at) == id)
			return p + at + 8;
	}
	fail_msg("%s is not saved", arm64_reg_name(id, name));
	return NULL;
}

/* A timer's condition (CNTx_CTL_EL0.ISTATUS) follows from the time. */
static void forget_timer_status(struct buf *state)
{
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		uint8_t *virt = reg(state, cpu, ARM64_TIMER_CTL);
		uint8_t *phys = reg(state, cpu, ARM64_PTIMER_CTL);

		le64_put(virt, le64_get(virt) & ~4ull);
		le64_put(phys, le64_get(phys) & ~4ull);
	}
}

static void assert_same_state(struct buf *x, struct buf *y)
{
	static const char *const but[] = { "arm64.counter", NULL };

	forget_timer_status(x);
	forget_timer_status(y);
	assert_same_sections(x, y, but, NSECTIONS);
}

static void test_save_load_save(void **state)
{
	struct pair *p = *state;

	test_vm_boot(p->a);
	run_until(p->a, GUEST_COUNT, 100);
	save(p->a, &p->sa);
	save(p->a, &p->sb);
	assert_same_state(&p->sa, &p->sb); /* capture changes nothing */
	copy_memory(p->b, p->a);
	must_load(p->b, &p->sa);
	save(p->b, &p->sb);
	assert_same_state(&p->sa, &p->sb);
}

/* A value of its own in every kind of state, so that nothing is equal only because it is zero on both sides. */
static void fill_cpu(struct buf *state, uint32_t cpu)
{
	uint8_t *p;
	uint32_t len;

	for (uint32_t i = 0; i < 31; i++)
		le64_put(reg(state, cpu, ARM64_CORE64(2 * i)), 0x1111111111111111u * (cpu + 1) + i);
	for (uint32_t i = 0; i < 32; i++)
		memset(reg(state, cpu, 0x6040000000100054 + 4 * i), (int)(0x40 * (cpu + 1) + i),
		       16);
	le32_put(reg(state, cpu, 0x60200000001000d4), 0x08000000); /* FPSR.QC */
	le64_put(reg(state, cpu, ARM64_CORE64(64)), 0x40001000 + cpu * 4); /* PC */
	le64_put(reg(state, cpu, ARM64_SYSREG(3, 0, 2, 0, 0)), 0x40100000 + cpu); /* TTBR0_EL1 */
	le64_put(reg(state, cpu, ARM64_SYSREG(3, 0, 10, 2, 0)), 0x44ff04 + cpu); /* MAIR_EL1 */
	le64_put(reg(state, cpu, ARM64_SYSREG(3, 0, 12, 0, 0)),
		 0x40200000 + cpu * 0x800); /* VBAR */
	le64_put(reg(state, cpu, ARM64_SYSREG(3, 3, 13, 0, 2)), 0xbeef0000 + cpu); /* TPIDR_EL0 */
	le64_put(reg(state, cpu, ARM64_SYSREG(2, 0, 0, 0, 4)), 0x40300000 + cpu * 4); /* DBGBVR0 */
	le64_put(reg(state, cpu, ARM64_TIMER_CVAL), 0x7000000000000000 + cpu);
	le64_put(reg(state, cpu, ARM64_TIMER_CTL), 3); /* enabled, masked */
	p = section(state, "arm64.mp-state", cpu, &len);
	le32_put(p, cpu ? 5 : 0);
	p = section(state, "arm64.gicr", cpu, &len);
	assert_int_equal(len, 4 * (3 + 4 + 5 + 8 + 2));
	le32_put(p + 28, 0xffffffff); /* igroupr0 */
	le32_put(p + 32, 0x0800ffff); /* isenabler0 */
	le32_put(p + 36, cpu ? 0x2 : 0x4); /* ispendr0: an SGI */
	le32_put(p + 40, 0x100); /* isactiver0: another */
	for (uint32_t i = 0; i < 8; i++) /* priorities; KVM keeps five bits at the least */
		le32_put(p + 48 + 4 * i, 0xa0a0a0a0 - (cpu + 1) * 0x08080808);
	p = section(state, "arm64.icc", cpu, &len);
	assert_int_equal(len, 8 * 15);
	le64_put(p + 16, 0xf0); /* pmr */
	le64_put(p + 48, 1); /* igrpen1 */
	le64_put(p + 56 + 32, 1u << (0x98 >> 3)); /* ap1r0: a priority is active */
}

static void fill_gicd(struct buf *state)
{
	uint32_t len, at = 16, nirqs;
	uint8_t *p = section(state, "arm64.gicd", 0, &len);

	nirqs = le32_get(p);
	le32_put(p + 4, le32_get(p + 4) | 2); /* ctlr: group 1 enabled */
	/* In the order of the format: igroupr isenabler ispendr isactiver level, each (nirqs - 32) / 8 bytes behind its length. */
	for (unsigned int bank = 0; bank < 5; bank++) {
		static const uint32_t word[] = { 0xffffffff, 0x0f, 0x11, 0x22, 0x40 };

		assert_int_equal(le32_get(p + at), (nirqs - 32) / 8);
		le32_put(p + at + 4, word[bank]);
		at += 4 + (nirqs - 32) / 8;
	}
	assert_int_equal(le32_get(p + at), nirqs - 32); /* ipriorityr */
	le32_put(p + at + 4, 0x60a0c0e0);
	at += 4 + nirqs - 32;
	assert_int_equal(le32_get(p + at), (nirqs - 32) / 4); /* icfgr */
	le32_put(p + at + 4, 0x2a); /* INTIDs 32-34: edge */
	at += 4 + (nirqs - 32) / 4;
	assert_int_equal(le32_get(p + at), (nirqs - 32) * 4); /* irouter */
	le32_put(p + at + 4, 1); /* INTID 32 to vCPU 1 */
	assert_int_equal(at + 4 + (nirqs - 32) * 4, len);
}

static void test_all_state_moves(void **state)
{
	struct pair *p = *state;

	test_vm_boot(p->a);
	save(p->a, &p->sa);
	for (uint32_t cpu = 0; cpu < 2; cpu++)
		fill_cpu(&p->sa, cpu);
	fill_gicd(&p->sa);
	must_load(p->a, &p->sa);
	save(p->a, &p->sb);
	assert_same_state(&p->sa, &p->sb);
	must_load(p->b, &p->sb);
	save(p->b, &p->sa);
	assert_same_state(&p->sa, &p->sb);
}

static void test_guest_goes_on(void **state)
{
	static const struct test_guest guest = { GUEST_COUNT, GUEST_START, GUEST_SECOND_COUNT,
						 GUEST_BACKWARDS };
	struct pair *p = *state;

	test_vm_boot(p->a);
	assert_int_equal(guest_u32(guest_moves(p, &guest), GUEST_PSCI_RESULT), 0);
}

/* Where a 32-bit word of an array of arm64.gicd lies: the @bank-th (in the order of the format: igroupr, isenabler, ispendr, isactiver, level, ipriorityr,
 * icfgr, irouter), the @i-th of it. */
static uint8_t *gicd_word(struct buf *state, unsigned int bank, uint32_t i)
{
	uint32_t len, at = 16;
	uint8_t *p = section(state, "arm64.gicd", 0, &len);

	while (bank--)
		at += 4 + le32_get(p + at);
	assert_true(i * 4 < le32_get(p + at));
	return p + at + 4 + i * 4;
}

/* What is pending when the state arrives is offered to the guest, whether an edge was latched or a line is high. */
static void test_pending_interrupt_arrives(void **state)
{
	static const struct {
		uint32_t intid;
		unsigned int bank;
	} pending[] = { { 33, 2 }, { 70, 4 } };
	struct pair *p = *state;
	uint32_t len;

	test_vm_boot(p->a);
	run_until(p->a, GUEST_COUNT, 50);
	assert_int_equal(guest_u32(p->a, GUEST_PENDING), 1023);
	for (size_t i = 0; i < ARRAY_LEN(pending); i++) {
		uint32_t spi = pending[i].intid - 32, bit = 1u << spi % 32;
		uint8_t *icc;

		save(p->a, &p->sa);
		le32_put(section(&p->sa, "arm64.gicd", 0, &len) + 4, 2);
		le32_put(gicd_word(&p->sa, 0, spi / 32), bit);
		le32_put(gicd_word(&p->sa, 1, spi / 32), bit);
		le32_put(gicd_word(&p->sa, pending[i].bank, spi / 32), bit);
		if (pending[i].bank == 4) /* KVM starts with all of them edge-triggered */
			le32_put(gicd_word(&p->sa, 6, spi / 16), 0);
		icc = section(&p->sa, "arm64.icc", 0, &len);
		le64_put(icc + 16, 0xf0); /* pmr */
		le64_put(icc + 48, 1); /* igrpen1 */
		copy_memory(p->b, p->a);
		must_load(p->b, &p->sa);
		run_until(p->b, GUEST_COUNT, guest_u32(p->b, GUEST_COUNT) + 50);
		assert_int_equal(guest_u32(p->b, GUEST_PENDING), pending[i].intid);
	}
}

struct times {
	uint64_t virtual, realtime_ns, hz;
};

static struct times times_of(struct pair *p, struct buf *state)
{
	uint32_t len;
	const uint8_t *c = section(state, "arm64.counter", 0, &len);
	const uint8_t *v = section(&p->model, "arm64.vm", 0, &len);

	return (struct times){ .virtual = le64_get(c),
			       .realtime_ns = le64_get(c + 8),
			       .hz = le64_get(v + 32) };
}

/* The counter goes on by the blackout. */
static void check_time(struct pair *p)
{
	struct times before, after;
	uint64_t ticks_ns;

	test_vm_boot(p->a);
	run_until(p->a, GUEST_COUNT, 50);
	save(p->a, &p->sa);
	usleep(300000);
	copy_memory(p->b, p->a);
	must_load(p->b, &p->sa);
	save(p->b, &p->sb);
	before = times_of(p, &p->sa);
	after = times_of(p, &p->sb);
	assert_true(after.virtual > before.virtual);
	ticks_ns = (uint64_t)((unsigned __int128)(after.virtual - before.virtual) * NS_PER_S /
			      before.hz);
	assert_true(ticks_ns >= 290000000);
	/* The limit is for a busy machine: without the correction it would be 300 ms. */
	assert_near(ticks_ns, after.realtime_ns - before.realtime_ns, 20000000);
	run_until(p->b, GUEST_COUNT, guest_u32(p->b, GUEST_COUNT) + 50);
	assert_int_equal(guest_u32(p->b, GUEST_BACKWARDS), 0);
}

static void test_time_goes_on(void **state)
{
	check_time(*state);
}

/* As on a host whose KVM cannot shift the physical counter (KVM_CAP_COUNTER_OFFSET, Linux 6.4). */
static void test_time_goes_on_in_one_counter(void **state)
{
	struct pair *p = *state;
	struct err err = { 0 };
	uint32_t len;

	vm_destroy(p->b);
	p->b = NULL;
	section(&p->model, "arm64.vm", 0, &len)[48] = 0;
	if (test_vm_create(DIRTY_BITMAP, &p->model, &p->b, &err))
		fail_msg("%s", err.msg);
	check_time(p);
}

/* A source whose realtime is far off, or ahead: the guest's counter goes on from where it was. */
static void test_time_of_unsynchronised_host(void **state)
{
	struct pair *p = *state;
	struct times before, after;
	uint32_t len;

	for (int ahead = 0; ahead < 2; ahead++) {
		save(p->a, &p->sa);
		before = times_of(p, &p->sa);
		le64_put(section(&p->sa, "arm64.counter", 0, &len) + 8,
			 before.realtime_ns + (ahead ? 1 : -1) * 3600000000000);
		must_load(p->b, &p->sa);
		save(p->b, &p->sb);
		after = times_of(p, &p->sb);
		assert_true(after.virtual >= before.virtual);
		assert_true(after.virtual - before.virtual < 1800 * before.hz);
	}
}

/* What is wrong with one section keeps all others from being applied. */
static void test_refused_state_changes_nothing(void **state)
{
	static const struct {
		const char *name;
		uint32_t at;
		uint8_t value;
	} bad[] = {
		{ "arm64.mp-state", 0, 3 },  { "arm64.events", 0, 2 },
		{ "arm64.events", 9, 1 },    { "arm64.counter", 15, 0x80 },
		{ "arm64.gicd", 0, 1 },      { "arm64.gicd", 8, 0x10 },
		{ "arm64.gicd", 16, 0 },     { "arm64.gicr", 4, 0x10 },
		{ "arm64.icc", 56 + 24, 1 }, { "arm64.its", 32, 0x10 },
		{ "arm64.its", 26, 0x1 },    { "arm64.regs", 4 + 7, 0x20 },
	};
	struct pair *p = *state;
	struct buf first = { 0 };

	save(p->b, &first);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint32_t len;
		uint8_t *s;

		save(p->a, &p->sa);
		fill_gicd(&p->sa);
		s = section(&p->sa, bad[i].name, 0, &len);
		assert_true(bad[i].at < len);
		s[bad[i].at] = bad[i].value;
		expect_refused(p, bad[i].name);
		assert_same_state(&first, &p->sb);
	}
	/* A register that a healthy source never sends. */
	save(p->a, &p->sa);
	le64_put(reg(&p->sa, 1, ARM64_TIMER_CVAL) - 8, ARM64_MPIDR_EL1);
	expect_refused(p, "arm64.regs.1: register MPIDR_EL1");
	assert_same_state(&first, &p->sb);
	buf_fini(&first);
}

/* KVM refuses the value and the vCPU does not have it: the register is named. */
static void test_refused_register_is_named(void **state)
{
	struct pair *p = *state;
	struct err err = { 0 };

	save(p->a, &p->sa);
	le64_put(reg(&p->sa, 1, ARM64_CORE64(66)), 0xc); /* EL3t */
	assert_int_equal(load(p->b, &p->sa, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "arm64.regs.1"));
	assert_non_null(strstr(err.msg, "of PSTATE"));
}

static void patch_id(struct buf *model, uint64_t id, uint64_t set)
{
	uint32_t len;
	uint8_t *p = section(model, "arm64.id-registers", 0, &len);

	for (uint32_t at = 4; at + 8 < len; at += 8 + arm64_reg_bytes(le64_get(p + at))) {
		if (le64_get(p + at) == id) {
			le64_put(p + at + 8, le64_get(p + at + 8) ^ set);
			return;
		}
	}
	fail_msg("no such ID register");
}

static void expect_no_vm(const struct buf *model, const char *text)
{
	struct err err = { 0 };
	struct vm *vm = NULL;

	assert_int_equal(test_vm_create(DIRTY_BITMAP, model, &vm, &err), -EOPNOTSUPP);
	assert_null(vm);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not contain \"%s\"", err.msg, text);
}

/* Each before there is any memory to move. */
static void test_cpu_model_refused(void **state)
{
	struct pair *p = *state;
	uint32_t len;

	patch_id(&p->model, ARM64_MIDR_EL1, 0x100000);
	expect_no_vm(&p->model, "MIDR_EL1: field Variant differs: source ");
	patch_id(&p->model, ARM64_MIDR_EL1, 0x100000);
	patch_id(&p->model, ARM64_SYSREG(3, 0, 0, 6, 0),
		 0xf000000000000000); /* RNDR: no CPU has 15 */
	expect_no_vm(&p->model, "ID_AA64ISAR0_EL1: field RNDR differs: source ");
	patch_id(&p->model, ARM64_SYSREG(3, 0, 0, 6, 0), 0xf000000000000000);
	patch_id(&p->model, ARM64_FW(0), 0x30000);
	expect_no_vm(&p->model, "PSCI version differs: source 0x2");
	patch_id(&p->model, ARM64_FW(0), 0x30000);
	section(&p->model, "arm64.vm", 0, &len)[33] ^= 1;
	expect_no_vm(&p->model, "CNTFRQ_EL0 differs");
	section(&p->model, "arm64.vm", 0, &len)[33] ^= 1;
	section(&p->model, "arm64.gic", 0, &len)[0] ^= 0xc0;
	expect_no_vm(&p->model, "the guest's GIC has 64 interrupts, here it has 128");
}

/* An older firmware interface is one that KVM still has. */
static void test_older_psci_is_adopted(void **state)
{
	struct pair *p = *state;
	struct buf again = { 0 };
	struct err err = { 0 };
	struct vm *vm = NULL;

	patch_id(&p->model, ARM64_FW(0), 1); /* 1.1 becomes 1.0 */
	if (test_vm_create(DIRTY_BITMAP, &p->model, &vm, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(vm_cpu_model(vm, &again, &err), 0);
	assert_int_equal(again.len_bytes, p->model.len_bytes);
	assert_memory_equal(again.data, p->model.data, again.len_bytes);
	vm_destroy(vm);
	buf_fini(&again);
}

/* Newer kernels give a guest less than the host has: what the source had is what it keeps, and what it is sent on with. */
static void test_smaller_cpu_is_adopted(void **state)
{
	struct pair *p = *state;
	struct buf again = { 0 };
	struct err err = { 0 };
	struct vm *vm = NULL;
	int rc;

	/* SHA1, which each CPU with cryptography has as 1 */
	patch_id(&p->model, ARM64_SYSREG(3, 0, 0, 6, 0), 0x100);
	rc = test_vm_create(DIRTY_BITMAP, &p->model, &vm, &err);
	if (rc) {
		assert_int_equal(rc, -EOPNOTSUPP);
		assert_non_null(strstr(err.msg, "ID_AA64ISAR0_EL1: field SHA1 differs: source "));
		print_message("this host's KVM keeps SHA1 as it is\n");
	} else {
		assert_int_equal(vm_cpu_model(vm, &again, &err), 0);
		assert_int_equal(again.len_bytes, p->model.len_bytes);
		assert_memory_equal(again.data, p->model.data, again.len_bytes);
	}
	vm_destroy(vm);
	buf_fini(&again);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, pair_setup, pair_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_save_load_save),
		T(test_all_state_moves),
		T(test_guest_goes_on),
		T(test_pending_interrupt_arrives),
		T(test_time_goes_on),
		T(test_time_goes_on_in_one_counter),
		T(test_time_of_unsynchronised_host),
		T(test_refused_state_changes_nothing),
		T(test_refused_register_is_named),
		T(test_cpu_model_refused),
		T(test_older_psci_is_adopted),
		T(test_smaller_cpu_is_adopted),
	};

	return cmocka_run_group_tests_name("arm64-state", tests, NULL, NULL);
}
