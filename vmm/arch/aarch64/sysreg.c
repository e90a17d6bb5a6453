/* SPDX-License-Identifier: Apache-2.0 */
#include "sysreg.h"

#include <stddef.h>
#include <stdio.h>

#include "base/num.h"
#include "sysreg_names.h"

/* What is not a vCPU's state, each with the reason; everything else that KVM lists is. Numbers: Arm ARM (DDI 0487), D24; KVM api.rst and fw-pseudo-registers.rst. */
static const struct reg_rule {
	uint64_t first;
	uint64_t last;
	enum arm64_reg_class class;
	const char *reason;
} rules[] = {
	{ ARM64_TIMER_CNT, ARM64_TIMER_CNT, ARM64_REG_TIME,
	  "the virtual counter: a section of its own corrects it for the blackout" },
	{ ARM64_PTIMER_CNT, ARM64_PTIMER_CNT, ARM64_REG_TIME, "the physical counter: as above" },
	{ ARM64_MPIDR_EL1, ARM64_MPIDR_EL1, ARM64_REG_PLACE,
	  "which vCPU it is: made from its index" },
	{ ARM64_MIDR_EL1, ARM64_MIDR_EL1, ARM64_REG_ID, "the CPU's name: part of the CPU model" },
	{ ARM64_SYSREG(3, 0, 0, 0, 6), ARM64_SYSREG(3, 0, 0, 0, 6), ARM64_REG_ID,
	  "the CPU's revision: part of the CPU model" },
	{ ARM64_SYSREG(3, 0, 0, 1, 0), ARM64_SYSREG(3, 0, 0, 7, 7), ARM64_REG_ID,
	  "an ID register: part of the CPU model" },
	{ ARM64_SYSREG(3, 1, 0, 0, 0), ARM64_SYSREG(3, 1, 0, 0, 7), ARM64_REG_ID,
	  "cache geometry or auxiliary ID: part of the CPU model" },
	{ ARM64_SYSREG(3, 3, 0, 0, 0), ARM64_SYSREG(3, 3, 0, 0, 7), ARM64_REG_ID,
	  "cache type: part of the CPU model" },
	/* KVM_REG_ARM64_SVE_VLS */
	{ 0x606000000015ffff, 0x606000000015ffff, ARM64_REG_ID,
	  "SVE vector lengths: fixed before the first run, part of the CPU model" },
};

static const char reason_cache[] = "cache geometry: part of the CPU model";
static const char reason_firmware[] =
	"firmware interface: fixed before the first run, part of the CPU model";

enum arm64_reg_class arm64_reg_class(uint64_t id, const char **ret_reason)
{
	enum arm64_reg_class class = ARM64_REG_STATE;
	const char *reason = NULL;

	for (unsigned int i = 0; i < ARRAY_LEN(rules); i++) {
		if (id < rules[i].first || id > rules[i].last)
			continue;
		class = rules[i].class;
		reason = rules[i].reason;
	}
	if (ARM64_REG_KIND(id) == ARM64_KIND_DEMUX) {
		class = ARM64_REG_ID;
		reason = reason_cache;
	}
	if (ARM64_REG_KIND(id) == ARM64_KIND_FW || ARM64_REG_KIND(id) == ARM64_KIND_FW_BMAP) {
		class = ARM64_REG_FIRMWARE;
		reason = reason_firmware;
	}
	if (ret_reason)
		*ret_reason = reason;
	return class;
}

uint32_t arm64_reg_bytes(uint64_t id)
{
	uint32_t log2 = (uint32_t)(id >> ARM64_REG_SIZE_SHIFT) & 0xf;

	if ((id & ARM64_REG_ARCH_MASK) != ARM64_REG_ARCH || log2 < 2 || log2 > 8)
		return 0;
	return 1u << log2;
}

/* KVM offers the physical timer's registers since Linux 6.4; a guest of an older one has done with the virtual timer. */
bool arm64_reg_may_be_new(uint64_t id)
{
	return id == ARM64_PTIMER_CTL || id == ARM64_PTIMER_CVAL;
}

static void print_core(uint32_t at, char name[ARM64_REG_NAME_MAX])
{
	static const struct {
		uint32_t at;
		const char *name;
	} single[] = {
		{ 62, "SP_EL0" },   { 64, "PC" },       { 66, "PSTATE" },   { 68, "SP_EL1" },
		{ 70, "ELR_EL1" },  { 72, "SPSR_EL1" }, { 74, "SPSR_abt" }, { 76, "SPSR_und" },
		{ 78, "SPSR_irq" }, { 80, "SPSR_fiq" }, { 212, "FPSR" },    { 213, "FPCR" },
	};

	for (unsigned int i = 0; i < ARRAY_LEN(single); i++) {
		if (single[i].at == at) {
			snprintf(name, ARM64_REG_NAME_MAX, "%s", single[i].name);
			return;
		}
	}
	if (at < 62)
		snprintf(name, ARM64_REG_NAME_MAX, "x%u", at / 2);
	else if (at >= 84 && at < 212)
		snprintf(name, ARM64_REG_NAME_MAX, "v%u", (at - 84) / 4);
	else
		snprintf(name, ARM64_REG_NAME_MAX, "core register at %u", at);
}

static void print_sysreg(uint32_t enc, char name[ARM64_REG_NAME_MAX])
{
	unsigned int op0 = enc >> 14, op1 = enc >> 11 & 7, crn = enc >> 7 & 15, crm = enc >> 3 & 15,
		     op2 = enc & 7;
	static const char *const debug[] = { [4] = "DBGBVR", "DBGBCR", "DBGWVR", "DBGWCR" };
	const char *known = sysreg_known_name(enc);

	if (known)
		snprintf(name, ARM64_REG_NAME_MAX, "%s", known);
	else if (op0 == 2 && op1 == 0 && crn == 0 && op2 >= 4)
		snprintf(name, ARM64_REG_NAME_MAX, "%s%u_EL1", debug[op2], crm);
	else
		snprintf(name, ARM64_REG_NAME_MAX, "S%u_%u_C%u_C%u_%u", op0, op1, crn, crm, op2);
}

static void print_firmware(uint32_t kind, uint32_t n, char name[ARM64_REG_NAME_MAX])
{
	static const char *const fw[] = { "PSCI version", "SMCCC workaround 1",
					  "SMCCC workaround 2", "SMCCC workaround 3" };
	static const char *const bmap[] = { "standard secure services",
					    "standard hypervisor services",
					    "vendor hypervisor services",
					    "vendor hypervisor services 2" };
	const char *const *names = kind == ARM64_KIND_FW ? fw : bmap;

	if (n < ARRAY_LEN(fw))
		snprintf(name, ARM64_REG_NAME_MAX, "%s", names[n]);
	else
		snprintf(name, ARM64_REG_NAME_MAX, "firmware register %u.%u", kind, n);
}

_Static_assert(sizeof("standard hypervisor services") <= ARM64_REG_NAME_MAX, "names fit");

static void print_sve(uint32_t n, char name[ARM64_REG_NAME_MAX])
{
	if (n < 0x400)
		snprintf(name, ARM64_REG_NAME_MAX, "z%u", n >> 5);
	else if (n < 0x600)
		snprintf(name, ARM64_REG_NAME_MAX, "p%u", (n - 0x400) >> 5);
	else if (n == 0x600)
		snprintf(name, ARM64_REG_NAME_MAX, "FFR");
	else if (n == 0xffff)
		snprintf(name, ARM64_REG_NAME_MAX, "SVE vector lengths");
	else
		snprintf(name, ARM64_REG_NAME_MAX, "SVE register 0x%x", n);
}

const char *arm64_reg_name(uint64_t id, char name[ARM64_REG_NAME_MAX])
{
	uint32_t kind = ARM64_REG_KIND(id), n = id & 0xffff;

	if (arm64_reg_bytes(id) && kind == ARM64_KIND_CORE)
		print_core(n, name);
	else if (arm64_reg_bytes(id) && kind == ARM64_KIND_DEMUX && n < 0x100)
		snprintf(name, ARM64_REG_NAME_MAX, "CCSIDR_EL1[%u]", n);
	else if (arm64_reg_bytes(id) && kind == ARM64_KIND_SYSREG)
		print_sysreg(n, name);
	else if (arm64_reg_bytes(id) && (kind == ARM64_KIND_FW || kind == ARM64_KIND_FW_BMAP))
		print_firmware(kind, n, name);
	else if (arm64_reg_bytes(id) && kind == ARM64_KIND_SVE)
		print_sve(n, name);
	else
		snprintf(name, ARM64_REG_NAME_MAX, "register 0x%llx", (unsigned long long)id);
	return name;
}

bool arm64_reg_difference(uint64_t id, uint64_t a, uint64_t b, struct arm64_reg_field *ret)
{
	unsigned int lsb = 0, width = 64;
	uint64_t mask;

	if (a == b)
		return false;
	if (ARM64_REG_KIND(id) != ARM64_KIND_SYSREG ||
	    !sysreg_field_at(id & 0xffff, (unsigned int)__builtin_ctzll(a ^ b), ret->name,
			     sizeof(ret->name), &lsb, &width))
		snprintf(ret->name, sizeof(ret->name), "value");
	mask = width == 64 ? ~0ull : (1ull << width) - 1;
	ret->a = a >> lsb & mask;
	ret->b = b >> lsb & mask;
	return true;
}
