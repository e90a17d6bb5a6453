/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID tables, the comparison of cpu models, and their coding. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "vmm/arch/x86_64/cpu_model.h"
#include "vmm/arch/x86_64/msr.h"

#define SUB KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static const struct kvm_cpuid_entry2 host_entries[] = {
	{ .function = 0, .eax = 0x1c, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65 },
	{ .function = 1,
	  .eax = 0xa10f11,
	  .ebx = 0x800,
	  .ecx = 0x9fba9223 | 1u << 5,
	  .edx = 0x178bfbff },
	{ .function = 4, .flags = SUB, .eax = 0x1c000121 },
	{ .function = 4, .flags = SUB, .index = 3, .eax = 0x1c000163 },
	{ .function = 7, .flags = SUB, .ebx = 0x21bf07ab },
	{ .function = 0xa, .eax = 0x7300402 },
	{ .function = 0xb, .flags = SUB, .edx = 1 },
	{ .function = 0xd, .flags = SUB, .eax = 7, .ebx = 0x340, .ecx = 0x340 },
	{ .function = 0xd, .flags = SUB, .index = 2, .eax = 0x100, .ebx = 0x240 },
	{ .function = 0xe },
	{ .function = 0x40000000,
	  .eax = 0x40000001,
	  .ebx = 0x4b4d564b,
	  .ecx = 0x564b4d56,
	  .edx = 0x4d },
	{ .function = 0x40000001, .eax = 0x1007efb },
	{ .function = 0x80000001, .ecx = 0x400393 | 1u << 2, .edx = 0x23d3fbff },
	{ .function = 0x80000008, .eax = 0x3030, .ebx = 0x1000, .ecx = 0x7001 },
	{ .function = 0x8000001d, .flags = SUB, .index = 3, .eax = 0x4163 },
	{ .function = 0x8000001e },
};

static struct cpu_model *host_model(void)
{
	struct cpu_model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->cpuid.nentries = sizeof(host_entries) / sizeof(host_entries[0]);
	memcpy(m->cpuid.entry, host_entries, sizeof(host_entries));
	m->nmsrs = 1;
	m->msr[0] = (struct cpu_model_msr){ .index = MSR_IA32_ARCH_CAPABILITIES, .value = 0xb };
	m->tsc_khz = 2600000;
	m->xsave_bytes = 4096;
	m->xcr0 = 7;
	return m;
}

static struct kvm_cpuid_entry2 *entry(struct cpu_model *m, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *e =
		(struct kvm_cpuid_entry2 *)(uintptr_t)cpuid_find(&m->cpuid, function, index);

	assert_non_null(e);
	return e;
}

static int setup(void **state)
{
	struct cpu_model **m = calloc(2, sizeof(*m)); /* source, host */

	m[1] = host_model();
	m[0] = calloc(1, sizeof(*m[0]));
	assert_non_null(m[0]);
	cpu_model_guest_default(m[1], m[0]);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct cpu_model **m = *state;

	free(m[0]);
	free(m[1]);
	free(m);
	return 0;
}

static void expect(struct cpu_model **m, const char *text)
{
	struct err err = { 0 };

	assert_int_equal(cpu_model_check(m[0], m[1], &err), -EOPNOTSUPP);
	assert_string_equal(err.msg, text);
}

static void test_default_hides(void **state)
{
	struct cpu_model **m = *state;

	assert_int_equal(entry(m[0], 1, 0)->ecx & 1u << 5, 0); /* VMX */
	assert_int_equal(entry(m[0], 0x80000001, 0)->ecx & 1u << 2, 0); /* SVM */
	assert_null(cpuid_find(&m[0]->cpuid, 0xa, 0));
	assert_null(cpuid_find(&m[0]->cpuid, 0xe, 0));
	assert_int_equal(cpu_model_check(m[0], m[1], NULL), 0);
}

static void test_missing_feature(void **state)
{
	struct cpu_model **m = *state;

	entry(m[1], 7, 0)->ebx &= ~(1u << 5);
	expect(m, "destination lacks CPU feature avx2 (CPUID 7.0 EBX bit 5)");
	entry(m[1], 1, 0)->ecx &= ~(1u << 9);
	expect(m, "destination lacks CPU feature ssse3 (CPUID 1.0 ECX bit 9)");
}

static void test_missing_unnamed(void **state)
{
	struct cpu_model **m = *state;

	entry(m[0], 7, 0)->ebx |= 1u << 6;
	expect(m, "destination lacks CPU feature (CPUID 7.0 EBX bit 6)");
}

static void test_missing_leaf(void **state)
{
	struct cpu_model **m = *state;

	entry(m[1], 0x40000001, 0)->function = 0x40000002;
	expect(m, "destination lacks CPU feature (CPUID 40000001.0 EAX bit 0)");
}

static void test_more_on_host(void **state)
{
	struct cpu_model **m = *state;

	entry(m[1], 7, 0)->ebx |= 1u << 16;
	entry(m[1], 7, 0)->ecx |= 0xff;
	entry(m[1], 1, 0)->edx |= 1u << 28;
	assert_int_equal(cpu_model_check(m[0], m[1], NULL), 0);
	/* What KVM and the topology set by themselves is no difference either. */
	entry(m[0], 1, 0)->ecx |= 1u << 27;
	entry(m[1], 1, 0)->ecx &= ~(1u << 27);
	assert_int_equal(cpu_model_check(m[0], m[1], NULL), 0);
}

static void test_other_vendor(void **state)
{
	struct cpu_model **m = *state;

	entry(m[1], 0, 0)->ebx = 0x756e6547;
	expect(m, "destination has a CPU of another vendor");
}

static void test_phys_bits_and_xsave(void **state)
{
	struct cpu_model **m = *state;

	entry(m[1], 0xd, 2)->ebx = 0x340;
	expect(m, "destination lays XSAVE component 2 out differently (CPUID D.2)");
	entry(m[1], 0x80000008, 0)->eax = 0x3027;
	expect(m, "destination has 39 physical address bits, the guest has seen 48");
	entry(m[1], 0x80000008, 0)->eax = 0x3030;
	entry(m[1], 0xd, 2)->ebx = 0x240;
	m[0]->xcr0 = 0x207;
	expect(m, "destination lacks XSAVE component 9");
	m[0]->xcr0 = 7;
	m[0]->xsave_bytes = 8192;
	expect(m, "destination's XSAVE area has 4096 bytes, the guest's has 8192");
}

static void test_msr_features(void **state)
{
	struct cpu_model **m = *state;

	m[1]->msr[0].value = 0x0a; /* RDCL_NO is gone */
	expect(m, "destination lacks bit 0 of IA32_ARCH_CAPABILITIES (MSR 0x10a)");
	m[1]->msr[0].value = 0x0b;
	m[0]->msr[0].value |= 4; /* RSBA: a flaw, not a feature */
	assert_int_equal(cpu_model_check(m[0], m[1], NULL), 0);
	m[0]->msr[0].index = 0x123;
	expect(m, "the guest relies on feature MSR 0x123, unknown here");
}

static void test_tsc(void **state)
{
	struct err err = { 0 };
	bool scale = true;

	assert_int_equal(cpu_model_check_tsc(2600000, 2600650, false, &scale, &err), 0);
	assert_false(scale);
	assert_int_equal(cpu_model_check_tsc(2600000, 2599349, false, &scale, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "2599349 kHz"));
	assert_int_equal(cpu_model_check_tsc(2600000, 3000000, true, &scale, NULL), 0);
	assert_true(scale);
}

static void test_topology(void **state)
{
	struct cpu_model **m = *state;
	struct cpuid_table *t = calloc(1, sizeof(*t));
	const struct kvm_cpuid_entry2 *e;

	assert_non_null(t);
	for (unsigned int i = 0; i < 3; i++) {
		cpuid_for_vcpu(&m[0]->cpuid, 3, i, t);
		e = cpuid_find(t, 1, 0);
		assert_int_equal(e->ebx >> 24, i);
		assert_int_equal(e->ebx >> 16 & 0xff, 3);
		assert_true(e->edx & 1u << 28);
		e = cpuid_find(t, 0xb, 0);
		assert_int_equal(e->ebx, 1);
		assert_int_equal(e->ecx, 0x100);
		assert_int_equal(e->edx, i);
		e = cpuid_find(t, 0xb, 1);
		assert_int_equal(e->eax, 2);
		assert_int_equal(e->ebx, 3);
		assert_int_equal(e->ecx, 0x201);
		assert_int_equal(e->edx, i);
		assert_int_equal(cpuid_find(t, 4, 0)->eax >> 14 & 0xfff, 0);
		assert_int_equal(cpuid_find(t, 4, 3)->eax >> 14 & 0xfff, 2);
		assert_int_equal(cpuid_find(t, 4, 3)->eax >> 26, 3);
		assert_int_equal(cpuid_find(t, 0x80000008, 0)->ecx, 2 | 2u << 12);
		e = cpuid_find(t, 0x8000001e, 0);
		assert_int_equal(e->eax, i);
		assert_int_equal(e->ebx, i);
	}
	cpuid_for_vcpu(&m[0]->cpuid, 1, 0, t);
	assert_int_equal(cpuid_find(t, 1, 0)->edx & 1u << 28, 0);
	assert_int_equal(cpuid_find(t, 0xb, 1)->eax, 0);
	assert_null(cpuid_find(t, 0x1f, 0));
	free(t);
}

static void test_coding(void **state)
{
	struct cpu_model **m = *state;
	struct cpu_model *back = calloc(1, sizeof(*back));
	struct buf b = { 0 };
	struct err err = { 0 };

	assert_non_null(back);
	assert_int_equal(cpu_model_encode(m[0], &b, NULL), 0);
	assert_int_equal(cpu_model_decode(b.data, b.len_bytes, back, &err), 0);
	assert_memory_equal(back, m[0], sizeof(*back));
	for (size_t len = 0; len < b.len_bytes; len++) {
		uint8_t *copy = malloc(len + 1);

		memcpy(copy, b.data, len);
		memset(back, 0x5a, sizeof(*back));
		assert_int_not_equal(cpu_model_decode(copy, len, back, &err), 0);
		assert_int_equal(back->tsc_khz, 0x5a5a5a5a);
		free(copy);
	}
	buf_fini(&b);
	free(back);
}

static void test_coding_refuses(void **state)
{
	struct cpu_model **m = *state;
	struct cpu_model *back = calloc(1, sizeof(*back));
	struct err err = { 0 };
	struct buf b = { 0 };

	m[0]->tsc_khz = 0;
	assert_int_equal(cpu_model_encode(m[0], &b, NULL), 0);
	assert_int_equal(cpu_model_decode(b.data, b.len_bytes, back, &err), -EINVAL);
	assert_string_equal(err.msg, "state section x86.tsc.0: TSC frequency of 0 kHz");
	m[0]->tsc_khz = 1000000;
	m[0]->cpuid.nentries = 0;
	buf_clear(&b);
	assert_int_equal(cpu_model_encode(m[0], &b, NULL), 0);
	assert_int_equal(cpu_model_decode(b.data, b.len_bytes, back, &err), -EINVAL);
	m[0]->cpuid.nentries = CPUID_MAX_ENTRIES; /* no room for the topology */
	buf_clear(&b);
	assert_int_equal(cpu_model_encode(m[0], &b, NULL), 0);
	assert_int_equal(cpu_model_decode(b.data, b.len_bytes, back, &err), -EINVAL);
	buf_fini(&b);
	free(back);
}

static void test_msr_skip(void **state)
{
	assert_non_null(msr_skip_reason(MSR_IA32_TSC));
	assert_non_null(msr_skip_reason(0x4b564d00));
	assert_non_null(msr_skip_reason(0x485));
	assert_null(msr_skip_reason(MSR_IA32_TSC_DEADLINE));
	assert_null(msr_skip_reason(0x4b564d01));
	assert_null(msr_skip_reason(0x3b));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_default_hides),
		T(test_missing_feature),
		T(test_missing_unnamed),
		T(test_missing_leaf),
		T(test_more_on_host),
		T(test_other_vendor),
		T(test_phys_bits_and_xsave),
		T(test_msr_features),
		T(test_tsc),
		T(test_topology),
		T(test_coding),
		T(test_coding_refuses),
		T(test_msr_skip),
	};

	return cmocka_run_group_tests_name("x86-cpu-model", tests, NULL, NULL);
}
