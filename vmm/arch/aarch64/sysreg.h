/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_SYSREG_H
#define VMM_ARCH_AARCH64_SYSREG_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The registers of an arm64 vCPU by KVM's ids (KVM api.rst 4.68, "arm64 registers"): what each is called and which section of the state it belongs to. Pure; the
 * numbers of the user API are here once more, so that this builds on any machine.
 */
#define ARM64_REG_ARCH_MASK 0xff00000000000000ull
#define ARM64_REG_ARCH 0x6000000000000000ull
#define ARM64_REG_SIZE_SHIFT 52 /* log2 of the bytes of its value, four bits */
#define ARM64_REG_U32 0x0020000000000000ull
#define ARM64_REG_U64 0x0030000000000000ull
#define ARM64_REG_MAX_BYTES 256u

#define ARM64_REG_KIND(id) ((uint32_t)((id) >> 16) & 0xfff)
#define ARM64_KIND_CORE 0x010u
#define ARM64_KIND_DEMUX 0x011u /* CCSIDR_EL1 by CSSELR_EL1 */
#define ARM64_KIND_SYSREG 0x013u
#define ARM64_KIND_FW 0x014u
#define ARM64_KIND_SVE 0x015u
#define ARM64_KIND_FW_BMAP 0x016u

/* A system register's encoding, in bits 15-0 of the id and of the GIC's CPU interface attributes alike. */
#define ARM64_SYSREG_ENC(op0, op1, crn, crm, op2)                               \
	((uint32_t)(op0) << 14 | (uint32_t)(op1) << 11 | (uint32_t)(crn) << 7 | \
	 (uint32_t)(crm) << 3 | (uint32_t)(op2))
#define ARM64_SYSREG(op0, op1, crn, crm, op2)                                 \
	(ARM64_REG_ARCH | ARM64_REG_U64 | (uint64_t)ARM64_KIND_SYSREG << 16 | \
	 ARM64_SYSREG_ENC(op0, op1, crn, crm, op2))
/* @at: offset in struct kvm_regs in units of four bytes. */
#define ARM64_CORE64(at) (ARM64_REG_ARCH | ARM64_REG_U64 | (uint64_t)ARM64_KIND_CORE << 16 | (at))
#define ARM64_DEMUX_CCSIDR(csselr) \
	(ARM64_REG_ARCH | ARM64_REG_U32 | (uint64_t)ARM64_KIND_DEMUX << 16 | (csselr))
#define ARM64_FW(n) (ARM64_REG_ARCH | ARM64_REG_U64 | (uint64_t)ARM64_KIND_FW << 16 | (n))

#define ARM64_MIDR_EL1 ARM64_SYSREG(3, 0, 0, 0, 0)
#define ARM64_MPIDR_EL1 ARM64_SYSREG(3, 0, 0, 0, 5)
/* The user API has the encodings of CNTV_CVAL_EL0 and CNTVCT_EL0 swapped. */
#define ARM64_TIMER_CTL ARM64_SYSREG(3, 3, 14, 3, 1)
#define ARM64_TIMER_CVAL ARM64_SYSREG(3, 3, 14, 0, 2)
#define ARM64_TIMER_CNT ARM64_SYSREG(3, 3, 14, 3, 2)
#define ARM64_PTIMER_CTL ARM64_SYSREG(3, 3, 14, 2, 1)
#define ARM64_PTIMER_CVAL ARM64_SYSREG(3, 3, 14, 2, 2)
#define ARM64_PTIMER_CNT ARM64_SYSREG(3, 3, 14, 0, 1)

enum arm64_reg_class {
	ARM64_REG_STATE, /* changes as the guest runs: arm64.regs of its vCPU */
	ARM64_REG_ID, /* what the CPU is: arm64.id-registers, checked before memory moves */
	ARM64_REG_FIRMWARE, /* what KVM as the guest's firmware promises: with the ID registers */
	ARM64_REG_TIME, /* a counter: arm64.counter */
	ARM64_REG_PLACE, /* which vCPU it is: made from its index on each side */
};
/* *@ret_reason (may be NULL): why it is not part of a vCPU's state, NULL when it is. */
enum arm64_reg_class arm64_reg_class(uint64_t id, const char **ret_reason);

/* Bytes of the register's value; 0: not an id of arm64, or of a size that it has no register of. */
uint32_t arm64_reg_bytes(uint64_t id);

/* May be missing on the source although it is known here: KVM has not always listed it, and it does not matter to a guest of such a KVM. */
bool arm64_reg_may_be_new(uint64_t id);

/* "TCR_EL1", "x3", "CCSIDR_EL1[2]"; what has no name here by its numbers. */
#define ARM64_REG_NAME_MAX 40u
const char *arm64_reg_name(uint64_t id, char name[ARM64_REG_NAME_MAX]);

/* The lowest field in which two values of a register differ. */
struct arm64_reg_field {
	char name[24]; /* "AES"; "bits 7-4" where it has no name here */
	uint64_t a, b;
};
/* False when the values are equal. */
bool arm64_reg_difference(uint64_t id, uint64_t a, uint64_t b, struct arm64_reg_field *ret);

#endif
