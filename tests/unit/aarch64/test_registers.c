/* SPDX-License-Identifier: Apache-2.0 */
/* Registers by KVM's ids: names, classes, sets as they travel, and the comparison of CPU models. Pure: runs on any machine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/num.h"
#include "vmm/arch/aarch64/cpu_model.h"
#include "vmm/arch/aarch64/reg_set.h"
#include "vmm/arch/aarch64/sysreg.h"

#define ISAR0 ARM64_SYSREG(3, 0, 0, 6, 0)
#define PFR0 ARM64_SYSREG(3, 0, 0, 4, 0)
#define CLIDR ARM64_SYSREG(3, 1, 0, 0, 1)
#define CTR ARM64_SYSREG(3, 3, 0, 0, 1)
#define TCR ARM64_SYSREG(3, 0, 2, 0, 2)
#define V3 0x6040000000100060ull /* v3: 84 + 3 * 4 */
#define SVE_VLS 0x606000000015ffffull

static void test_names(void **state)
{
	static const struct {
		uint64_t id;
		const char *name;
	} known[] = {
		/* As include/uapi of arch/arm64 spells them: KVM_REG_ARM_CORE_REG(regs.regs[30]) and the like. */
		{ 0x6030000000100000, "x0" },
		{ 0x603000000010003c, "x30" },
		{ 0x603000000010003e, "SP_EL0" },
		{ 0x6030000000100040, "PC" },
		{ 0x6030000000100042, "PSTATE" },
		{ 0x6030000000100046, "ELR_EL1" },
		{ 0x6040000000100054, "v0" },
		{ 0x60400000001000d0, "v31" },
		{ 0x60200000001000d4, "FPSR" },
		{ 0x6020000000110005, "CCSIDR_EL1[5]" },
		{ 0x603000000013c000, "MIDR_EL1" },
		{ 0x603000000013c102, "TCR_EL1" },
		{ 0x603000000013c030, "ID_AA64ISAR0_EL1" },
		{ 0x6030000000138004, "DBGBVR0_EL1" },
		{ 0x603000000013807f, "DBGWCR15_EL1" },
		{ 0x603000000013df1a, "CNTVCT_EL0" },
		{ 0x603000000013df02, "CNTV_CVAL_EL0" },
		{ 0x6030000000140000, "PSCI version" },
		{ 0x6030000000140003, "SMCCC workaround 3" },
		{ 0x6030000000160002, "vendor hypervisor services" },
		{ SVE_VLS, "SVE vector lengths" },
		{ 0x603000000013c6ff, "S3_0_C13_C15_7" },
		{ 0x4030000000000001, "register 0x4030000000000001" },
	};
	char name[ARM64_REG_NAME_MAX];

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		assert_string_equal(arm64_reg_name(known[i].id, name), known[i].name);
}

static void test_sizes(void **state)
{
	assert_int_equal(arm64_reg_bytes(TCR), 8);
	assert_int_equal(arm64_reg_bytes(ARM64_DEMUX_CCSIDR(0)), 4);
	assert_int_equal(arm64_reg_bytes(0x6080000000150000), 256);
	assert_int_equal(arm64_reg_bytes(0x6010000000100000), 0); /* 2 bytes */
	assert_int_equal(arm64_reg_bytes(0x6090000000100000), 0); /* 512 */
	assert_int_equal(arm64_reg_bytes(0x2030000000000010), 0); /* x86 */
}

static void test_classes(void **state)
{
	static const struct {
		uint64_t id;
		enum arm64_reg_class class;
	} known[] = {
		{ TCR, ARM64_REG_STATE },
		{ ARM64_CORE64(0), ARM64_REG_STATE },
		{ ARM64_TIMER_CTL, ARM64_REG_STATE },
		{ ARM64_TIMER_CVAL, ARM64_REG_STATE },
		{ ARM64_PTIMER_CVAL, ARM64_REG_STATE },
		{ ARM64_SYSREG(3, 2, 0, 0, 0), ARM64_REG_STATE }, /* CSSELR_EL1 */
		{ ARM64_SYSREG(2, 0, 1, 1, 4), ARM64_REG_STATE }, /* OSLSR_EL1 */
		{ 0x6080000000150000, ARM64_REG_STATE }, /* z0 */
		{ ARM64_TIMER_CNT, ARM64_REG_TIME },
		{ ARM64_PTIMER_CNT, ARM64_REG_TIME },
		{ ARM64_MPIDR_EL1, ARM64_REG_PLACE },
		{ ARM64_MIDR_EL1, ARM64_REG_ID },
		{ ARM64_SYSREG(3, 0, 0, 1, 0), ARM64_REG_ID },
		{ ARM64_SYSREG(3, 0, 0, 7, 7), ARM64_REG_ID },
		{ CLIDR, ARM64_REG_ID },
		{ CTR, ARM64_REG_ID },
		{ ARM64_DEMUX_CCSIDR(13), ARM64_REG_ID },
		{ SVE_VLS, ARM64_REG_ID },
		{ ARM64_FW(0), ARM64_REG_FIRMWARE },
		{ 0x6030000000160001, ARM64_REG_FIRMWARE },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		const char *reason;

		assert_int_equal(arm64_reg_class(known[i].id, &reason), known[i].class);
		if (known[i].class == ARM64_REG_STATE)
			assert_null(reason);
		else
			assert_non_null(reason);
	}
}

static void test_difference(void **state)
{
	struct arm64_reg_field f;

	assert_false(arm64_reg_difference(ISAR0, 0x20, 0x20, &f));
	assert_true(arm64_reg_difference(ISAR0, 0x120, 0x100, &f));
	assert_string_equal(f.name, "AES");
	assert_int_equal(f.a, 2);
	assert_int_equal(f.b, 0);
	assert_true(arm64_reg_difference(ISAR0, 1ull << 60, 2ull << 60, &f));
	assert_string_equal(f.name, "RNDR");
	assert_int_equal(f.b, 2);
	assert_true(arm64_reg_difference(ISAR0, 1, 0, &f));
	assert_string_equal(f.name, "bits 3-0");
	/* Other widths than four bits. */
	assert_true(arm64_reg_difference(ARM64_MIDR_EL1, 0x414fd0b1, 0x414fd0c1, &f));
	assert_string_equal(f.name, "PartNum");
	assert_int_equal(f.a, 0xd0b);
	assert_true(arm64_reg_difference(CTR, 1u << 29, 0, &f));
	assert_string_equal(f.name, "DIC");
	/* Known to be an ID register, but not how it is divided. */
	assert_true(arm64_reg_difference(ARM64_SYSREG(3, 0, 0, 5, 1), 0x10, 0, &f));
	assert_string_equal(f.name, "bits 7-4");
	assert_true(arm64_reg_difference(TCR, 5, 7, &f));
	assert_string_equal(f.name, "value");
	assert_int_equal(f.a, 5);
	assert_int_equal(f.b, 7);
}

#define STATE_CLASS (1u << ARM64_REG_STATE)

static struct reg_set *new_set(void)
{
	struct reg_set *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	return s;
}

static void put(struct reg_set *s, uint64_t id, uint64_t value)
{
	uint8_t bytes[ARM64_REG_MAX_BYTES] = { 0 };

	le64_put(bytes, value);
	assert_int_equal(reg_set_add(s, id, bytes, NULL), 0);
}

static void expect_bad(const struct reg_set *s, const char *text)
{
	struct err err = { 0 };

	assert_int_equal(reg_set_check(s, STATE_CLASS, &err), -EINVAL);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not contain \"%s\"", err.msg, text);
}

static void test_set(void **state)
{
	struct reg_set *s = new_set();
	struct reader in;
	struct reg_record r;

	put(s, ARM64_CORE64(0), 7);
	put(s, TCR, 0x123456789abcdef0);
	put(s, 0x6040000000100054, 9); /* v0: 16 bytes */
	assert_int_equal(reg_set_check(s, STATE_CLASS, NULL), 0);
	assert_int_equal(s->len_bytes, 16 + 16 + 24);
	in = reg_set_reader(s);
	assert_true(reg_set_next(&in, &r));
	assert_true(reg_set_next(&in, &r));
	assert_true(r.id == TCR && reg_value(&r) == 0x123456789abcdef0);
	assert_true(reg_set_next(&in, &r));
	assert_int_equal(r.len_bytes, 16);
	assert_false(reg_set_next(&in, &r));
	assert_int_equal(le64_get(reg_set_find(s, TCR)), 0x123456789abcdef0);
	assert_null(reg_set_find(s, ISAR0));
	/* Cut anywhere but between records it is malformed. */
	for (uint32_t len = s->len_bytes - 1; len > 32; len--) {
		s->len_bytes = len;
		expect_bad(s, "cut off");
	}
	free(s);
}

static void test_hostile_sets(void **state)
{
	struct reg_set *s = new_set();

	put(s, TCR, 1);
	put(s, TCR, 1);
	expect_bad(s, "TCR_EL1 comes twice");
	s->len_bytes = 0;
	put(s, TCR, 1);
	put(s, ARM64_CORE64(0), 1);
	expect_bad(s, "x0 comes twice or out of order");
	s->len_bytes = 0;
	put(s, ARM64_MPIDR_EL1, 1);
	expect_bad(s, "MPIDR_EL1 does not belong here (which vCPU it is");
	s->len_bytes = 0;
	put(s, ARM64_TIMER_CNT, 1);
	expect_bad(s, "CNTVCT_EL0 does not belong here");
	s->len_bytes = 0;
	put(s, TCR, 1);
	le64_put(s->data, 0x2030000000000010); /* x86's */
	expect_bad(s, "no register of arm64");
	/* More records than there may be, in fewer bytes than the section holds. */
	s->len_bytes = 0;
	for (uint32_t i = 0; i <= REG_SET_MAX; i++)
		put(s, 0x6020000000100000 + i, i);
	expect_bad(s, "more than 1024");
	free(s);
}

static void test_full_set(void **state)
{
	struct reg_set *s = new_set();
	uint8_t value[ARM64_REG_MAX_BYTES] = { 0 };
	uint32_t n = 0;

	while (!reg_set_add(s, 0x6080000000150000 + n, value, NULL))
		n++;
	assert_int_equal(n, REG_SET_BYTES / (8 + 256));
	assert_int_equal(reg_set_add(s, 0x1030000000000000, value, NULL), -EINVAL);
	free(s);
}

static void test_lists(void **state)
{
	struct reg_list *source = calloc(2, sizeof(*source)), *host = source + 1;
	struct err err = { 0 };

	assert_non_null(source);
	*source = (struct reg_list){ .n = 2, .id = { ARM64_CORE64(0), TCR } };
	*host = *source;
	assert_int_equal(reg_list_check(source, host, &err), 0);
	source->n = 1;
	assert_int_equal(reg_list_check(source, host, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "TCR_EL1, which the guest does not have"));
	assert_int_equal(reg_list_check(host, source, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "TCR_EL1, which this host's KVM lacks"));
	/* New in Linux 6.4's list only. */
	host->id[1] = ARM64_PTIMER_CVAL;
	assert_int_equal(reg_list_check(source, host, &err), 0);
	assert_int_equal(reg_list_check(host, source, &err), -EOPNOTSUPP);
	source->n = 0;
	host->n = 0;
	assert_int_equal(reg_list_check(source, host, &err), 0);
	free(source);
}

/* ---- models ---- */

static struct cpu_model *new_model(void)
{
	struct cpu_model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->vm = (struct cpu_model_vm){
		.target = 5, .features = { 4 }, .counter_hz = 62500000, .dczid = 4, .one_counter = 1
	};
	m->gic = (struct cpu_model_gic){ .nirqs = 128,
					 .gicd_typer = 0x7a0003,
					 .gicd_iidr = 0x4b00343b,
					 .icc_ctlr = 0x8400,
					 .has_its = 1,
					 .gits_typer = 0x1ef00f1,
					 .gits_iidr = 0x4b00043b };
	put(&m->ids, ARM64_DEMUX_CCSIDR(0), 0x700fe01a);
	put(&m->ids, ARM64_MIDR_EL1, 0x414fd0b1);
	put(&m->ids, PFR0, 0x1100000010111112);
	put(&m->ids, ISAR0, 0x100010211120);
	put(&m->ids, CTR, 0x8444c004);
	put(&m->ids, ARM64_FW(0), 0x10001);
	m->regs.n = 3;
	m->regs.id[0] = ARM64_CORE64(0);
	m->regs.id[1] = TCR;
	m->regs.id[2] = V3;
	return m;
}

static void test_model_travels(void **state)
{
	struct cpu_model *m = new_model(), *back = calloc(1, sizeof(*back));
	struct err err = { 0 };
	struct buf b = { 0 }, again = { 0 };

	assert_non_null(back);
	assert_int_equal(cpu_model_encode(m, &b, &err), 0);
	assert_int_equal(cpu_model_decode(b.data, b.len_bytes, back, &err), 0);
	assert_memory_equal(&m->ids, &back->ids, sizeof(m->ids));
	assert_memory_equal(&m->regs, &back->regs, sizeof(m->regs));
	assert_int_equal(back->vm.counter_hz, 62500000);
	assert_int_equal(back->gic.gits_typer, 0x1ef00f1);
	assert_int_equal(cpu_model_encode(back, &again, &err), 0);
	assert_int_equal(b.len_bytes, again.len_bytes);
	assert_memory_equal(b.data, again.data, b.len_bytes);
	for (size_t cut = 0; cut < b.len_bytes; cut++)
		assert_int_equal(cpu_model_decode(b.data, cut, back, NULL), -EBADMSG);
	buf_fini(&b);
	buf_fini(&again);
	free(m);
	free(back);
}

static void expect_malformed(struct cpu_model *m, const char *text)
{
	struct cpu_model *back = calloc(1, sizeof(*back));
	struct err err = { 0 };
	struct buf b = { 0 };

	assert_non_null(back);
	assert_int_equal(cpu_model_encode(m, &b, &err), 0);
	assert_true(cpu_model_decode(b.data, b.len_bytes, back, &err) < 0);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not contain \"%s\"", err.msg, text);
	buf_fini(&b);
	free(back);
	free(m);
}

static void test_malformed_models(void **state)
{
	struct cpu_model *m = new_model();

	m->vm.counter_hz = 0;
	expect_malformed(m, "arm64.vm.0: counter frequency of 0 Hz");
	m = new_model();
	m->vm.one_counter = 2;
	expect_malformed(m, "one_counter is 2");
	m = new_model();
	m->gic.nirqs = 1056;
	expect_malformed(m, "1056 interrupts");
	m = new_model();
	m->gic.nirqs = 100;
	expect_malformed(m, "100 interrupts");
	m = new_model();
	m->regs.id[1] = ARM64_MIDR_EL1;
	expect_malformed(m, "MIDR_EL1 does not belong here");
	m = new_model();
	m->regs.id[1] = m->regs.id[0];
	expect_malformed(m, "x0 does not belong here (out of order");
	m = new_model();
	m->ids.len_bytes = 0;
	put(&m->ids, TCR, 0);
	expect_malformed(m, "TCR_EL1 does not belong here (it is a vCPU's state)");
}

static void expect_ids(uint64_t id, uint64_t value, const char *text)
{
	struct cpu_model *source = new_model(), *host = new_model();
	uint8_t *at = (uint8_t *)(uintptr_t)reg_set_find(&host->ids, id);
	struct err err = { 0 };

	assert_non_null(at);
	if (arm64_reg_bytes(id) == 4)
		le32_put(at, (uint32_t)value);
	else
		le64_put(at, value);
	if (text) {
		assert_int_equal(cpu_model_check_ids(&source->ids, &host->ids, &err), -EOPNOTSUPP);
		assert_string_equal(err.msg, text);
	} else {
		assert_int_equal(cpu_model_check_ids(&source->ids, &host->ids, &err), 0);
	}
	free(source);
	free(host);
}

static void test_ids_are_compared(void **state)
{
	expect_ids(ISAR0, 0x100010211120, NULL);
	expect_ids(ISAR0, 0x100010211100, "ID_AA64ISAR0_EL1: field AES differs: source 2, here 0");
	/* More is a difference, too: what KVM would take down has been taken down before. */
	expect_ids(PFR0, 0x1100000110111112,
		   "ID_AA64PFR0_EL1: field SVE differs: source 0, here 1");
	expect_ids(ARM64_MIDR_EL1, 0x410fd083,
		   "MIDR_EL1: field Revision differs: source 1, here 3");
	expect_ids(ARM64_DEMUX_CCSIDR(0), 0x701fe01a,
		   "CCSIDR_EL1[0]: field value differs: source 1880088602, here 1881137178");
	expect_ids(ARM64_FW(0), 0x10002, NULL); /* KVM was asked */
}

static void expect_vm(const struct cpu_model_vm *source, const struct cpu_model_vm *host,
		      const char *text)
{
	struct err err = { 0 };

	assert_int_equal(cpu_model_check_vm(source, host, &err), -EOPNOTSUPP);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not contain \"%s\"", err.msg, text);
}

static void test_vm_is_compared(void **state)
{
	struct cpu_model *m = new_model();
	struct cpu_model_vm host = m->vm;

	assert_int_equal(cpu_model_check_vm(&m->vm, &host, NULL), 0);
	host.counter_hz = 25000000;
	expect_vm(
		&m->vm, &host,
		"CNTFRQ_EL0 differs: the guest's counter runs at 62500000 Hz, this host's at 25000000 Hz");
	host = m->vm;
	host.features[0] = 0x64;
	expect_vm(&m->vm, &host, "vCPU features (KVM_ARM_VCPU_*) differs: source 0x4, here 0x64");
	host = m->vm;
	host.dczid = 0x14;
	expect_vm(&m->vm, &host, "DCZID_EL0 differs");
	host = m->vm;
	host.one_counter = 0;
	expect_vm(&m->vm, &host, "KVM_CAP_COUNTER_OFFSET");
	assert_int_equal(cpu_model_check_vm(&host, &m->vm, NULL), 0);
	free(m);
}

static void expect_gic(const struct cpu_model_gic *source, const struct cpu_model_gic *host,
		       const char *text)
{
	struct err err = { 0 };

	assert_int_equal(cpu_model_check_gic(source, host, &err), -EOPNOTSUPP);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not contain \"%s\"", err.msg, text);
}

static void test_gic_is_compared(void **state)
{
	struct cpu_model *m = new_model();
	struct cpu_model_gic host = m->gic;

	assert_int_equal(cpu_model_check_gic(&m->gic, &host, NULL), 0);
	host.icc_ctlr = 0x8700 | 3; /* 8 bits of priority; EOImode and CBPR are state */
	host.gicd_iidr += 1 << 12;
	assert_int_equal(cpu_model_check_gic(&m->gic, &host, NULL), 0);
	expect_gic(&host, &m->gic, "GICD_IIDR: field Revision differs: source 4, here 3");
	host.gicd_iidr = m->gic.gicd_iidr;
	expect_gic(&host, &m->gic, "ICC_CTLR_EL1: field PRIbits differs: source 7, here 4");
	host = m->gic;
	host.icc_ctlr ^= 1 << 14;
	expect_gic(&m->gic, &host, "ICC_CTLR_EL1: field SEIS differs: source 0, here 1");
	host = m->gic;
	host.nirqs = 96;
	expect_gic(&m->gic, &host, "the guest's GIC has 128 interrupts, here it has 96");
	host = m->gic;
	host.has_its = 0;
	expect_gic(&m->gic, &host, "the guest has an ITS, this host's KVM gives it none");
	host = m->gic;
	host.gits_typer++;
	expect_gic(&m->gic, &host, "GITS_TYPER differs");
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_difference),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_hostile_sets),
		cmocka_unit_test(test_full_set),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_model_travels),
		cmocka_unit_test(test_malformed_models),
		cmocka_unit_test(test_ids_are_compared),
		cmocka_unit_test(test_vm_is_compared),
		cmocka_unit_test(test_gic_is_compared),
	};

	return cmocka_run_group_tests_name("aarch64-registers", tests, NULL, NULL);
}
