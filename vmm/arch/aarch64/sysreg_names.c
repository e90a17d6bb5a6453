/* SPDX-License-Identifier: Apache-2.0 */
#include "sysreg_names.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "sysreg.h"

#define E ARM64_SYSREG_ENC

/*
 * ID registers of four-bit fields, from bit 0 up, "-" for reserved ones (Arm ARM DDI 0487, D24.2 and G8.2). A field is unsigned or signed, which does not matter here: a
 * value is compared with its equal.
 */
static const struct {
	uint32_t enc;
	const char *name;
	const char *fields;
} id_registers[] = {
	{ E(3, 0, 0, 1, 0), "ID_PFR0_EL1", "State0 State1 State2 State3 CSV2 AMU DIT RAS" },
	{ E(3, 0, 0, 1, 1), "ID_PFR1_EL1",
	  "ProgMod Security MProgMod Virtualization GenTimer Sec_frac Virt_frac GIC" },
	{ E(3, 0, 0, 1, 2), "ID_DFR0_EL1",
	  "CopDbg CopSDbg MMapDbg CopTrc MMapTrc MProfDbg PerfMon TraceFilt" },
	{ E(3, 0, 0, 1, 3), "ID_AFR0_EL1", "" },
	{ E(3, 0, 0, 1, 4), "ID_MMFR0_EL1",
	  "VMSA PMSA OuterShr ShareLvl TCM AuxReg FCSE InnerShr" },
	{ E(3, 0, 0, 1, 5), "ID_MMFR1_EL1",
	  "L1HvdVA L1UniVA L1HvdSW L1UniSW L1Hvd L1Uni L1TstCln BPred" },
	{ E(3, 0, 0, 1, 6), "ID_MMFR2_EL1",
	  "L1HvdFG L1HvdBG L1HvdRng HvdTLB UniTLB MemBarr WFIStall HWAccFlg" },
	{ E(3, 0, 0, 1, 7), "ID_MMFR3_EL1",
	  "CMaintVA CMaintSW BPMaint MaintBcst PAN CohWalk CMemSz Supersec" },
	{ E(3, 0, 0, 2, 0), "ID_ISAR0_EL1",
	  "Swap BitCount BitField CmpBranch Coproc Debug Divide -" },
	{ E(3, 0, 0, 2, 1), "ID_ISAR1_EL1",
	  "Endian Except Except_AR Extend IfThen Immediate Interwork Jazelle" },
	{ E(3, 0, 0, 2, 2), "ID_ISAR2_EL1",
	  "LoadStore MemHint MultiAccessInt Mult MultS MultU PSR_AR Reversal" },
	{ E(3, 0, 0, 2, 3), "ID_ISAR3_EL1",
	  "Saturate SIMD SVC SynchPrim TabBranch T32Copy TrueNOP T32EE" },
	{ E(3, 0, 0, 2, 4), "ID_ISAR4_EL1",
	  "Unpriv WithShifts Writeback SMC Barrier SynchPrim_frac PSR_M SWP_frac" },
	{ E(3, 0, 0, 2, 5), "ID_ISAR5_EL1", "SEVL AES SHA1 SHA2 CRC32 - RDM VCMA" },
	{ E(3, 0, 0, 2, 6), "ID_MMFR4_EL1", "SpecSEI AC2 XNX CnP HPDS LSM CCIDX EVT" },
	{ E(3, 0, 0, 2, 7), "ID_ISAR6_EL1", "JSCVT DP FHM SB SPECRES BF16 I8MM CLRBHB" },
	{ E(3, 0, 0, 3, 0), "MVFR0_EL1",
	  "SIMDReg FPSP FPDP FPTrap FPDivide FPSqrt FPShVec FPRound" },
	{ E(3, 0, 0, 3, 1), "MVFR1_EL1",
	  "FPFtZ FPDNaN SIMDLS SIMDInt SIMDSP SIMDHP FPHP SIMDFMAC" },
	{ E(3, 0, 0, 3, 2), "MVFR2_EL1", "SIMDMisc FPMisc" },
	{ E(3, 0, 0, 3, 4), "ID_PFR2_EL1", "CSV3 SSBS RAS_frac" },
	{ E(3, 0, 0, 3, 5), "ID_DFR1_EL1", "MTPMU HPMN0" },
	{ E(3, 0, 0, 3, 6), "ID_MMFR5_EL1", "ETS nTLBPA" },
	{ E(3, 0, 0, 4, 0), "ID_AA64PFR0_EL1",
	  "EL0 EL1 EL2 EL3 FP AdvSIMD GIC RAS SVE SEL2 MPAM AMU DIT RME CSV2 CSV3" },
	{ E(3, 0, 0, 4, 1), "ID_AA64PFR1_EL1",
	  "BT SSBS MTE RAS_frac MPAM_frac - SME RNDR_trap CSV2_frac NMI MTE_frac GCS THE MTEX DF2 PFAR" },
	{ E(3, 0, 0, 4, 2), "ID_AA64PFR2_EL1", "MTEPERM MTESTOREONLY MTEFAR - - - - - FPMR" },
	{ E(3, 0, 0, 4, 4), "ID_AA64ZFR0_EL1",
	  "SVEver AES - - BitPerm BF16 B16B16 - SHA3 - SM4 I8MM - F32MM F64MM -" },
	{ E(3, 0, 0, 4, 5), "ID_AA64SMFR0_EL1", "" },
	{ E(3, 0, 0, 4, 7), "ID_AA64FPFR0_EL1", "" },
	{ E(3, 0, 0, 5, 0), "ID_AA64DFR0_EL1",
	  "DebugVer TraceVer PMUVer BRPs PMSS WRPs SEBEP CTX_CMPs PMSVer DoubleLock TraceFilt TraceBuffer MTPMU BRBE ExtTrcBuff HPMN0" },
	{ E(3, 0, 0, 5, 1), "ID_AA64DFR1_EL1", "" },
	{ E(3, 0, 0, 5, 4), "ID_AA64AFR0_EL1", "" },
	{ E(3, 0, 0, 5, 5), "ID_AA64AFR1_EL1", "" },
	{ E(3, 0, 0, 6, 0), "ID_AA64ISAR0_EL1",
	  "- AES SHA1 SHA2 CRC32 Atomic TME RDM SHA3 SM3 SM4 DP FHM TS TLB RNDR" },
	{ E(3, 0, 0, 6, 1), "ID_AA64ISAR1_EL1",
	  "DPB APA API JSCVT FCMA LRCPC GPA GPI FRINTTS SB SPECRES BF16 DGH I8MM XS LS64" },
	{ E(3, 0, 0, 6, 2), "ID_AA64ISAR2_EL1",
	  "WFxT RPRES GPA3 APA3 MOPS BC PAC_frac CLRBHB SYSREG_128 SYSINSTR_128 PRFMSLC - RPRFM CSSC LUT ATS1A" },
	{ E(3, 0, 0, 6, 3), "ID_AA64ISAR3_EL1", "" },
	{ E(3, 0, 0, 7, 0), "ID_AA64MMFR0_EL1",
	  "PARange ASIDBits BigEnd SNSMem BigEndEL0 TGran16 TGran64 TGran4 TGran16_2 TGran64_2 TGran4_2 ExS - - FGT ECV" },
	{ E(3, 0, 0, 7, 1), "ID_AA64MMFR1_EL1",
	  "HAFDBS VMIDBits VH HPDS LO PAN SpecSEI XNX TWED ETS HCX AFP nTLBPA TIDCP1 CMOW ECBHB" },
	{ E(3, 0, 0, 7, 2), "ID_AA64MMFR2_EL1",
	  "CnP UAO LSM IESB VARange CCIDX NV ST AT IDS FWB - TTL BBM EVT E0PD" },
	{ E(3, 0, 0, 7, 3), "ID_AA64MMFR3_EL1",
	  "TCRX SCTLRX S1PIE S2PIE S1POE S2POE AIE MEC D128 D128_2 SNERR ANERR SDERR ADERR - Spec_FPACC" },
	{ E(3, 0, 0, 7, 4), "ID_AA64MMFR4_EL1", "" },
};

/* ID registers whose fields have other widths. */
static const struct {
	uint32_t enc;
	uint8_t lsb;
	uint8_t width;
	const char *name;
} odd_fields[] = {
	{ E(3, 0, 0, 0, 0), 0, 4, "Revision" },      { E(3, 0, 0, 0, 0), 4, 12, "PartNum" },
	{ E(3, 0, 0, 0, 0), 16, 4, "Architecture" }, { E(3, 0, 0, 0, 0), 20, 4, "Variant" },
	{ E(3, 0, 0, 0, 0), 24, 8, "Implementer" },  { E(3, 3, 0, 0, 1), 0, 4, "IminLine" },
	{ E(3, 3, 0, 0, 1), 14, 2, "L1Ip" },         { E(3, 3, 0, 0, 1), 16, 4, "DminLine" },
	{ E(3, 3, 0, 0, 1), 20, 4, "ERG" },          { E(3, 3, 0, 0, 1), 24, 4, "CWG" },
	{ E(3, 3, 0, 0, 1), 28, 1, "IDC" },          { E(3, 3, 0, 0, 1), 29, 1, "DIC" },
};

static const struct {
	uint32_t enc;
	const char *name;
} registers[] = {
	{ E(2, 0, 0, 2, 0), "MDCCINT_EL1" },
	{ E(2, 0, 0, 2, 2), "MDSCR_EL1" },
	{ E(2, 0, 1, 1, 4), "OSLSR_EL1" },
	{ E(2, 4, 0, 7, 0), "DBGVCR32_EL2" },
	{ E(3, 0, 0, 0, 0), "MIDR_EL1" },
	{ E(3, 0, 0, 0, 5), "MPIDR_EL1" },
	{ E(3, 0, 0, 0, 6), "REVIDR_EL1" },
	{ E(3, 0, 1, 0, 0), "SCTLR_EL1" },
	{ E(3, 0, 1, 0, 1), "ACTLR_EL1" },
	{ E(3, 0, 1, 0, 2), "CPACR_EL1" },
	{ E(3, 0, 1, 0, 5), "RGSR_EL1" },
	{ E(3, 0, 1, 0, 6), "GCR_EL1" },
	{ E(3, 0, 1, 2, 0), "ZCR_EL1" },
	{ E(3, 0, 2, 0, 0), "TTBR0_EL1" },
	{ E(3, 0, 2, 0, 1), "TTBR1_EL1" },
	{ E(3, 0, 2, 0, 2), "TCR_EL1" },
	{ E(3, 0, 2, 0, 3), "TCR2_EL1" },
	{ E(3, 0, 2, 1, 0), "APIAKeyLo_EL1" },
	{ E(3, 0, 2, 1, 1), "APIAKeyHi_EL1" },
	{ E(3, 0, 2, 1, 2), "APIBKeyLo_EL1" },
	{ E(3, 0, 2, 1, 3), "APIBKeyHi_EL1" },
	{ E(3, 0, 2, 2, 0), "APDAKeyLo_EL1" },
	{ E(3, 0, 2, 2, 1), "APDAKeyHi_EL1" },
	{ E(3, 0, 2, 2, 2), "APDBKeyLo_EL1" },
	{ E(3, 0, 2, 2, 3), "APDBKeyHi_EL1" },
	{ E(3, 0, 2, 3, 0), "APGAKeyLo_EL1" },
	{ E(3, 0, 2, 3, 1), "APGAKeyHi_EL1" },
	{ E(3, 0, 5, 1, 0), "AFSR0_EL1" },
	{ E(3, 0, 5, 1, 1), "AFSR1_EL1" },
	{ E(3, 0, 5, 2, 0), "ESR_EL1" },
	{ E(3, 0, 5, 6, 0), "TFSR_EL1" },
	{ E(3, 0, 5, 6, 1), "TFSRE0_EL1" },
	{ E(3, 0, 6, 0, 0), "FAR_EL1" },
	{ E(3, 0, 7, 4, 0), "PAR_EL1" },
	{ E(3, 0, 9, 14, 1), "PMINTENSET_EL1" },
	{ E(3, 0, 9, 14, 2), "PMINTENCLR_EL1" },
	{ E(3, 0, 10, 2, 0), "MAIR_EL1" },
	{ E(3, 0, 10, 2, 2), "PIRE0_EL1" },
	{ E(3, 0, 10, 2, 3), "PIR_EL1" },
	{ E(3, 0, 10, 2, 4), "POR_EL1" },
	{ E(3, 0, 10, 3, 0), "AMAIR_EL1" },
	{ E(3, 0, 12, 0, 0), "VBAR_EL1" },
	{ E(3, 0, 12, 1, 1), "DISR_EL1" },
	{ E(3, 0, 13, 0, 1), "CONTEXTIDR_EL1" },
	{ E(3, 0, 13, 0, 4), "TPIDR_EL1" },
	{ E(3, 0, 14, 1, 0), "CNTKCTL_EL1" },
	{ E(3, 1, 0, 0, 1), "CLIDR_EL1" },
	{ E(3, 1, 0, 0, 7), "AIDR_EL1" },
	{ E(3, 2, 0, 0, 0), "CSSELR_EL1" },
	{ E(3, 3, 0, 0, 1), "CTR_EL0" },
	{ E(3, 3, 4, 2, 2), "SVCR" },
	{ E(3, 3, 4, 4, 2), "FPMR" },
	{ E(3, 3, 9, 12, 0), "PMCR_EL0" },
	{ E(3, 3, 10, 2, 4), "POR_EL0" },
	{ E(3, 3, 13, 0, 2), "TPIDR_EL0" },
	{ E(3, 3, 13, 0, 3), "TPIDRRO_EL0" },
	{ E(3, 3, 14, 0, 1), "CNTPCT_EL0" },
	{ E(3, 3, 14, 2, 1), "CNTP_CTL_EL0" },
	{ E(3, 3, 14, 2, 2), "CNTP_CVAL_EL0" },
	{ E(3, 3, 14, 3, 1), "CNTV_CTL_EL0" },
	/* swapped, as in the user API (sysreg.h) */
	{ E(3, 3, 14, 0, 2), "CNTV_CVAL_EL0" },
	{ E(3, 3, 14, 3, 2), "CNTVCT_EL0" },
	{ E(3, 4, 3, 0, 0), "DACR32_EL2" },
	{ E(3, 4, 5, 0, 1), "IFSR32_EL2" },
	{ E(3, 4, 5, 3, 0), "FPEXC32_EL2" },
};

const char *sysreg_known_name(uint32_t enc)
{
	for (unsigned int i = 0; i < ARRAY_LEN(id_registers); i++) {
		if (id_registers[i].enc == enc)
			return id_registers[i].name;
	}
	for (unsigned int i = 0; i < ARRAY_LEN(registers); i++) {
		if (registers[i].enc == enc)
			return registers[i].name;
	}
	return NULL;
}

/* The @n-th word of @words, or "-" when there are fewer; its length. */
static size_t word_at(const char *words, unsigned int n, const char **ret)
{
	for (; n && *words; n--) {
		words += strcspn(words, " ");
		words += *words == ' ';
	}
	*ret = *words ? words : "-";
	return strcspn(*ret, " ");
}

static bool odd_field_at(uint32_t enc, unsigned int bit, char *name, size_t name_bytes,
			 unsigned int *ret_lsb, unsigned int *ret_width)
{
	for (unsigned int i = 0; i < ARRAY_LEN(odd_fields); i++) {
		unsigned int lsb = odd_fields[i].lsb, width = odd_fields[i].width;

		if (odd_fields[i].enc != enc || bit < lsb || bit >= lsb + width)
			continue;
		snprintf(name, name_bytes, "%s", odd_fields[i].name);
		*ret_lsb = lsb;
		*ret_width = width;
		return true;
	}
	return false;
}

bool sysreg_field_at(uint32_t enc, unsigned int bit, char *name, size_t name_bytes,
		     unsigned int *ret_lsb, unsigned int *ret_width)
{
	const char *word;
	size_t len;

	if (odd_field_at(enc, bit, name, name_bytes, ret_lsb, ret_width))
		return true;
	for (unsigned int i = 0; i < ARRAY_LEN(id_registers); i++) {
		if (id_registers[i].enc != enc)
			continue;
		*ret_lsb = bit & ~3u;
		*ret_width = 4;
		len = word_at(id_registers[i].fields, bit / 4, &word);
		if (word[0] == '-')
			snprintf(name, name_bytes, "bits %u-%u", *ret_lsb + 3, *ret_lsb);
		else
			snprintf(name, name_bytes, "%.*s", (int)len, word);
		return true;
	}
	return false;
}
