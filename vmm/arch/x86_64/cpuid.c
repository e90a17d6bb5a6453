/* SPDX-License-Identifier: Apache-2.0 */
#include "cpuid.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "kvm_x86.h"

/* Leaf numbers and bits: Intel SDM vol. 2A CPUID, AMD APM vol. 3 appendix E, Documentation/virt/kvm/x86/cpuid.rst. */

#define LEAF_KVM_SIGNATURE 0x40000000u
#define LEAF_KVM_FEATURES 0x40000001u

#define LEAF1_ECX_VMX (1u << 5)
#define LEAF1_ECX_PDCM (1u << 15)
#define LEAF1_ECX_X2APIC (1u << 21)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_HYPERVISOR (1u << 31)
#define LEAF1_EDX_HTT (1u << 28)
#define LEAF7_EBX_PT (1u << 25)
#define LEAF7_ECX_OSPKE (1u << 4)
#define LEAF81_ECX_CMP_LEGACY (1u << 1)
#define LEAF81_ECX_SVM (1u << 2)
#define LEAF81_ECX_PERFCTR_CORE (1u << 23)

static struct kvm_cpuid_entry2 *find(struct cpuid_table *t, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < t->nentries; i++) {
		struct kvm_cpuid_entry2 *e = &t->entry[i];

		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t, uint32_t function,
					  uint32_t index)
{
	return find((struct cpuid_table *)(uintptr_t)t, function, index);
}

int cpuid_host(int kvm_fd, struct cpuid_table *ret, struct err *err)
{
	cleanup_free struct kvm_cpuid2 *raw = NULL;
	struct kvm_cpuid_entry2 *leaf1;
	int rc;

	raw = calloc(1, sizeof(*raw) + CPUID_MAX_ENTRIES * sizeof(raw->entries[0]));
	if (!raw)
		return err_set(err, -ENOMEM, "no memory for the CPUID table");
	raw->nent = CPUID_MAX_ENTRIES;
	rc = kvm_get_supported_cpuid(kvm_fd, raw, err);
	if (rc < 0)
		return rc;
	ret->nentries = MIN(raw->nent, CPUID_MAX_ENTRIES);
	memcpy(ret->entry, raw->entries, ret->nentries * sizeof(ret->entry[0]));
	/* Not in KVM's answer by contract: they depend on the in-kernel LAPIC (api.rst 4.46, KVM_CAP_TSC_DEADLINE_TIMER). */
	leaf1 = find(ret, 1, 0);
	if (leaf1) {
		leaf1->ecx |= LEAF1_ECX_X2APIC | LEAF1_ECX_HYPERVISOR;
		if (kvm_check_extension(kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER))
			leaf1->ecx |= LEAF1_ECX_TSC_DEADLINE;
	}
	return 0;
}

static bool is_empty(const struct kvm_cpuid_entry2 *e)
{
	return !e->eax && !e->ebx && !e->ecx && !e->edx;
}

void cpuid_guest_default(const struct cpuid_table *host, struct cpuid_table *ret)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < host->nentries; i++) {
		struct kvm_cpuid_entry2 e = host->entry[i];

		switch (e.function) {
		case 1:
			e.ecx &= ~(LEAF1_ECX_VMX | LEAF1_ECX_PDCM);
			break;
		case 7:
			if (e.index == 0)
				e.ebx &= ~LEAF7_EBX_PT;
			break;
		case 0x80000001:
			e.ecx &= ~(LEAF81_ECX_SVM | LEAF81_ECX_PERFCTR_CORE);
			break;
		case 0xa: /* performance counters */
		case 0x14: /* processor trace */
		case 0x23: /* performance counters, new form */
		case 0x8000000a: /* SVM */
		case 0x80000022: /* performance counters */
			continue;
		default:
			break;
		}
		if (!is_empty(&e))
			ret->entry[n++] = e;
	}
	ret->nentries = n;
	memset(&ret->entry[n], 0, (CPUID_MAX_ENTRIES - n) * sizeof(ret->entry[0]));
}

/* ---- topology ---- */

static unsigned int bits_for(unsigned int n)
{
	unsigned int bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

static void drop(struct cpuid_table *t, uint32_t function)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->nentries; i++) {
		if (t->entry[i].function != function)
			t->entry[n++] = t->entry[i];
	}
	t->nentries = n;
}

static void append(struct cpuid_table *t, const struct kvm_cpuid_entry2 *e)
{
	if (t->nentries < CPUID_MAX_ENTRIES)
		t->entry[t->nentries++] = *e;
}

/* Extended topology: threads (1 a core), then cores, then the end mark. */
static void put_topology_leaf(struct cpuid_table *t, uint32_t function, unsigned int ncpus,
			      unsigned int index)
{
	struct kvm_cpuid_entry2 e = { .function = function,
				      .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
				      .edx = index };

	drop(t, function);
	e.ebx = 1;
	e.ecx = 1u << 8;
	append(t, &e);
	e.index = 1;
	e.eax = bits_for(ncpus);
	e.ebx = ncpus;
	e.ecx = 1 | 2u << 8;
	append(t, &e);
	e.index = 2;
	e.eax = 0;
	e.ebx = 0;
	e.ecx = 2;
	append(t, &e);
}

/* Who shares a cache (leaves 4 and 0x8000001d, EAX 25:14): the last level everybody, the others nobody. */
static uint32_t cache_sharing(uint32_t eax, unsigned int ncpus)
{
	uint32_t level = eax >> 5 & 7;

	eax &= ~(0xfffu << 14);
	return level >= 3 ? eax | (ncpus - 1) << 14 : eax;
}

static void set_entry(struct kvm_cpuid_entry2 *e, unsigned int ncpus, unsigned int index)
{
	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0xffff) | ncpus << 16 | index << 24;
		e->edx = ncpus > 1 ? e->edx | LEAF1_EDX_HTT : e->edx & ~LEAF1_EDX_HTT;
		break;
	case 4:
		if (e->eax & 0x1f) {
			e->eax = cache_sharing(e->eax, ncpus) & ~(0x3fu << 26);
			e->eax |= ((1u << bits_for(ncpus)) - 1) << 26;
		}
		break;
	case 0x80000001:
		e->ecx = ncpus > 1 ? e->ecx | LEAF81_ECX_CMP_LEGACY :
				     e->ecx & ~LEAF81_ECX_CMP_LEGACY;
		break;
	case 0x80000008: /* ECX: cores - 1, width of the core id; AMD only */
		if (e->ecx)
			e->ecx = (ncpus - 1) | bits_for(ncpus) << 12;
		break;
	case 0x8000001d:
		if (e->eax & 0x1f)
			e->eax = cache_sharing(e->eax, ncpus);
		break;
	case 0x8000001e:
		e->eax = index;
		e->ebx = index;
		e->ecx = 0;
		break;
	default:
		break;
	}
}

void cpuid_for_vcpu(const struct cpuid_table *model, unsigned int ncpus, unsigned int index,
		    struct cpuid_table *ret)
{
	const struct kvm_cpuid_entry2 *leaf0 = cpuid_find(model, 0, 0);
	const struct kvm_cpuid_entry2 *ext = cpuid_find(model, 0x80000001, 0);
	struct kvm_cpuid_entry2 amd_ids = { .function = 0x8000001e };
	bool has_topoext = ext && (ext->ecx & 1u << 22);

	*ret = *model;
	drop(ret, 0x8000001e); /* KVM gives it empty */
	if (has_topoext)
		append(ret, &amd_ids);
	for (uint32_t i = 0; i < ret->nentries; i++)
		set_entry(&ret->entry[i], ncpus, index);
	if (leaf0 && leaf0->eax >= 0xb)
		put_topology_leaf(ret, 0xb, ncpus, index);
	if (cpuid_find(model, 0x1f, 0))
		put_topology_leaf(ret, 0x1f, ncpus, index);
}

/* ---- comparing ---- */

enum reg { EAX, EBX, ECX, EDX };

static uint32_t reg_of(const struct kvm_cpuid_entry2 *e, enum reg r)
{
	switch (r) {
	case EAX:
		return e->eax;
	case EBX:
		return e->ebx;
	case ECX:
		return e->ecx;
	case EDX:
		break;
	}
	return e->edx;
}

/* Registers in which each bit is a feature. @ignore: bits that KVM or the topology code sets by itself. */
static const struct feature_word {
	uint32_t function;
	uint32_t index;
	enum reg reg;
	uint32_t ignore;
} feature_words[] = {
	{ 0x1, 0, ECX, LEAF1_ECX_OSXSAVE | LEAF1_ECX_HYPERVISOR },
	{ 0x1, 0, EDX, LEAF1_EDX_HTT },
	{ 0x6, 0, EAX, 0 },
	{ 0x7, 0, EBX, 0 },
	{ 0x7, 0, ECX, LEAF7_ECX_OSPKE },
	{ 0x7, 0, EDX, 0 },
	{ 0x7, 1, EAX, 0 },
	{ 0x7, 1, EBX, 0 },
	{ 0x7, 1, ECX, 0 },
	{ 0x7, 1, EDX, 0 },
	{ 0x7, 2, EDX, 0 },
	{ 0xd, 0, EAX, 0 },
	{ 0xd, 0, EDX, 0 },
	{ 0xd, 1, EAX, 0 },
	{ 0xd, 1, ECX, 0 },
	{ 0xd, 1, EDX, 0 },
	{ 0x19, 0, EBX, 0 },
	{ 0x40000001, 0, EAX, 0 },
	{ 0x80000001, 0, ECX, LEAF81_ECX_CMP_LEGACY },
	{ 0x80000001, 0, EDX, 0 },
	{ 0x80000007, 0, EDX, 0 },
	{ 0x80000008, 0, EBX, 0 },
	{ 0x80000021, 0, EAX, 0 },
};

static const struct feature_name {
	uint32_t function;
	uint32_t index;
	enum reg reg;
	unsigned int bit;
	const char *name;
} feature_names[] = {
	{ 0x1, 0, ECX, 0, "sse3" },
	{ 0x1, 0, ECX, 1, "pclmulqdq" },
	{ 0x1, 0, ECX, 5, "vmx" },
	{ 0x1, 0, ECX, 9, "ssse3" },
	{ 0x1, 0, ECX, 12, "fma" },
	{ 0x1, 0, ECX, 13, "cmpxchg16b" },
	{ 0x1, 0, ECX, 15, "pdcm" },
	{ 0x1, 0, ECX, 17, "pcid" },
	{ 0x1, 0, ECX, 19, "sse4.1" },
	{ 0x1, 0, ECX, 20, "sse4.2" },
	{ 0x1, 0, ECX, 21, "x2apic" },
	{ 0x1, 0, ECX, 22, "movbe" },
	{ 0x1, 0, ECX, 23, "popcnt" },
	{ 0x1, 0, ECX, 24, "tsc-deadline" },
	{ 0x1, 0, ECX, 25, "aes" },
	{ 0x1, 0, ECX, 26, "xsave" },
	{ 0x1, 0, ECX, 28, "avx" },
	{ 0x1, 0, ECX, 29, "f16c" },
	{ 0x1, 0, ECX, 30, "rdrand" },
	{ 0x1, 0, EDX, 4, "tsc" },
	{ 0x1, 0, EDX, 6, "pae" },
	{ 0x1, 0, EDX, 23, "mmx" },
	{ 0x1, 0, EDX, 25, "sse" },
	{ 0x1, 0, EDX, 26, "sse2" },
	{ 0x6, 0, EAX, 2, "arat" },
	{ 0x7, 0, EBX, 0, "fsgsbase" },
	{ 0x7, 0, EBX, 1, "tsc-adjust" },
	{ 0x7, 0, EBX, 3, "bmi1" },
	{ 0x7, 0, EBX, 5, "avx2" },
	{ 0x7, 0, EBX, 7, "smep" },
	{ 0x7, 0, EBX, 8, "bmi2" },
	{ 0x7, 0, EBX, 9, "erms" },
	{ 0x7, 0, EBX, 10, "invpcid" },
	{ 0x7, 0, EBX, 11, "rtm" },
	{ 0x7, 0, EBX, 16, "avx512f" },
	{ 0x7, 0, EBX, 17, "avx512dq" },
	{ 0x7, 0, EBX, 18, "rdseed" },
	{ 0x7, 0, EBX, 19, "adx" },
	{ 0x7, 0, EBX, 20, "smap" },
	{ 0x7, 0, EBX, 21, "avx512ifma" },
	{ 0x7, 0, EBX, 23, "clflushopt" },
	{ 0x7, 0, EBX, 24, "clwb" },
	{ 0x7, 0, EBX, 28, "avx512cd" },
	{ 0x7, 0, EBX, 29, "sha" },
	{ 0x7, 0, EBX, 30, "avx512bw" },
	{ 0x7, 0, EBX, 31, "avx512vl" },
	{ 0x7, 0, ECX, 1, "avx512vbmi" },
	{ 0x7, 0, ECX, 2, "umip" },
	{ 0x7, 0, ECX, 3, "pku" },
	{ 0x7, 0, ECX, 6, "avx512vbmi2" },
	{ 0x7, 0, ECX, 7, "shstk" },
	{ 0x7, 0, ECX, 8, "gfni" },
	{ 0x7, 0, ECX, 9, "vaes" },
	{ 0x7, 0, ECX, 10, "vpclmulqdq" },
	{ 0x7, 0, ECX, 11, "avx512vnni" },
	{ 0x7, 0, ECX, 14, "avx512vpopcntdq" },
	{ 0x7, 0, ECX, 16, "la57" },
	{ 0x7, 0, ECX, 22, "rdpid" },
	{ 0x7, 0, EDX, 4, "fsrm" },
	{ 0x7, 0, EDX, 10, "md-clear" },
	{ 0x7, 0, EDX, 20, "ibt" },
	{ 0x7, 0, EDX, 22, "amx-bf16" },
	{ 0x7, 0, EDX, 24, "amx-tile" },
	{ 0x7, 0, EDX, 25, "amx-int8" },
	{ 0x7, 0, EDX, 26, "spec-ctrl" },
	{ 0x7, 0, EDX, 27, "stibp" },
	{ 0x7, 0, EDX, 29, "arch-capabilities" },
	{ 0x7, 0, EDX, 31, "ssbd" },
	{ 0x7, 1, EAX, 4, "avx-vnni" },
	{ 0x7, 1, EAX, 5, "avx512bf16" },
	{ 0xd, 0, EAX, 2, "AVX state" },
	{ 0xd, 0, EAX, 5, "AVX-512 state" },
	{ 0xd, 0, EAX, 9, "PKRU state" },
	{ 0xd, 0, EAX, 18, "AMX tile state" },
	{ 0xd, 1, EAX, 0, "xsaveopt" },
	{ 0xd, 1, EAX, 1, "xsavec" },
	{ 0xd, 1, EAX, 2, "xgetbv1" },
	{ 0xd, 1, EAX, 3, "xsaves" },
	{ 0x40000001, 0, EAX, 3, "kvm-clocksource2" },
	{ 0x40000001, 0, EAX, 4, "kvm-async-pf" },
	{ 0x40000001, 0, EAX, 5, "kvm-steal-time" },
	{ 0x40000001, 0, EAX, 6, "kvm-pv-eoi" },
	{ 0x40000001, 0, EAX, 7, "kvm-pv-unhalt" },
	{ 0x40000001, 0, EAX, 9, "kvm-pv-tlb-flush" },
	{ 0x40000001, 0, EAX, 11, "kvm-pv-send-ipi" },
	{ 0x40000001, 0, EAX, 12, "kvm-poll-control" },
	{ 0x40000001, 0, EAX, 24, "kvm-clocksource-stable" },
	{ 0x80000001, 0, ECX, 2, "svm" },
	{ 0x80000001, 0, ECX, 5, "lzcnt" },
	{ 0x80000001, 0, ECX, 6, "sse4a" },
	{ 0x80000001, 0, ECX, 22, "topoext" },
	{ 0x80000001, 0, EDX, 20, "nx" },
	{ 0x80000001, 0, EDX, 26, "1 GiB pages" },
	{ 0x80000001, 0, EDX, 27, "rdtscp" },
	{ 0x80000001, 0, EDX, 29, "long mode" },
	{ 0x80000007, 0, EDX, 8, "invariant TSC" },
	{ 0x80000008, 0, EBX, 0, "clzero" },
	{ 0x80000008, 0, EBX, 12, "ibpb" },
};

static int missing_feature(const struct feature_word *w, uint32_t missing, struct err *err)
{
	static const char *const reg_name[] = { "EAX", "EBX", "ECX", "EDX" };
	unsigned int bit = (unsigned int)__builtin_ctz(missing);
	const char *name = NULL;

	for (unsigned int i = 0; i < ARRAY_LEN(feature_names) && !name; i++) {
		const struct feature_name *f = &feature_names[i];

		if (f->function == w->function && f->index == w->index && f->reg == w->reg &&
		    f->bit == bit)
			name = f->name;
	}
	return err_set(err, -EOPNOTSUPP,
		       "destination lacks CPU feature %s%s(CPUID %X.%u %s bit %u)",
		       name ? name : "", name ? " " : "", w->function, w->index, reg_name[w->reg],
		       bit);
}

static int check_features(const struct cpuid_table *source, const struct cpuid_table *host,
			  struct err *err)
{
	for (unsigned int i = 0; i < ARRAY_LEN(feature_words); i++) {
		const struct feature_word *w = &feature_words[i];
		const struct kvm_cpuid_entry2 *s = cpuid_find(source, w->function, w->index);
		const struct kvm_cpuid_entry2 *h = cpuid_find(host, w->function, w->index);
		uint32_t missing;

		if (!s)
			continue;
		missing = reg_of(s, w->reg) & ~w->ignore & ~(h ? reg_of(h, w->reg) : 0);
		if (missing)
			return missing_feature(w, missing, err);
	}
	return 0;
}

/* Each enabled XSAVE component must have the same size and place: the area moves as it is. */
static int check_xsave_layout(const struct cpuid_table *source, const struct cpuid_table *host,
			      struct err *err)
{
	const struct kvm_cpuid_entry2 *mask = cpuid_find(source, 0xd, 0);

	for (uint32_t i = 2; mask && i < 32; i++) {
		const struct kvm_cpuid_entry2 *s = cpuid_find(source, 0xd, i);
		const struct kvm_cpuid_entry2 *h = cpuid_find(host, 0xd, i);

		if (!(mask->eax & 1u << i))
			continue;
		if (!s || !h || s->eax != h->eax || s->ebx != h->ebx)
			return err_set(
				err, -EOPNOTSUPP,
				"destination lays XSAVE component %u out differently (CPUID D.%u)",
				i, i);
	}
	return 0;
}

int cpuid_check(const struct cpuid_table *source, const struct cpuid_table *host, struct err *err)
{
	const struct kvm_cpuid_entry2 *s = cpuid_find(source, 0, 0), *h = cpuid_find(host, 0, 0);
	int rc;

	if (!s || !cpuid_find(source, 1, 0))
		return err_set(err, -EBADMSG, "the source's CPUID table has no leaf 0 or 1");
	if (!h || s->ebx != h->ebx || s->ecx != h->ecx || s->edx != h->edx)
		return err_set(err, -EOPNOTSUPP, "destination has a CPU of another vendor");
	s = cpuid_find(source, LEAF_KVM_SIGNATURE, 0);
	h = cpuid_find(host, LEAF_KVM_SIGNATURE, 0);
	if (s && (!h || s->ebx != h->ebx || s->ecx != h->ecx || s->edx != h->edx))
		return err_set(err, -EOPNOTSUPP, "destination has another hypervisor interface");
	rc = check_features(source, host, err);
	if (rc)
		return rc;
	s = cpuid_find(source, 0x80000008, 0);
	h = cpuid_find(host, 0x80000008, 0);
	if (s && (!h || (s->eax & 0xff) > (h->eax & 0xff)))
		return err_set(err, -EOPNOTSUPP,
			       "destination has %u physical address bits, the guest has seen %u",
			       h ? h->eax & 0xff : 0, s->eax & 0xff);
	return check_xsave_layout(source, host, err);
}
