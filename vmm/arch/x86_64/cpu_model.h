/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_CPU_MODEL_H
#define VMM_ARCH_X86_64_CPU_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "cpuid.h"

/*
 * What a destination must be able to offer before any memory moves (docs/spec/state.md, "x86_64"): sections x86.cpuid, x86.msr-features, x86.tsc and
 * x86.xsave-area. Encoding, decoding and checking are pure.
 */
#define CPU_MODEL_MAX_MSRS 16u
struct cpu_model_msr {
	uint32_t index;
	uint32_t reserved;
	uint64_t value;
};

struct cpu_model {
	struct cpuid_table cpuid; /* without what differs between vCPUs */
	uint32_t nmsrs;
	struct cpu_model_msr msr[CPU_MODEL_MAX_MSRS]; /* feature MSRs that the guest can read */
	uint32_t tsc_khz;
	uint32_t xsave_bytes;
	uint64_t xcr0;
};

int cpu_model_encode(const struct cpu_model *model, struct buf *out, struct err *err);
/* @ret is written only on success. -EBADMSG, -EINVAL: not a well-formed model. */
int cpu_model_decode(const void *data, size_t len_bytes, struct cpu_model *ret, struct err *err);

/* What this host can offer, all features included. tsc_khz is left 0: only a vCPU knows it. */
int cpu_model_host(int kvm_fd, uint32_t xsave_bytes, struct cpu_model *ret, struct err *err);
/* What a new guest gets of it. */
void cpu_model_guest_default(const struct cpu_model *host, struct cpu_model *ret);

/* Can @host run a guest made for @source? 0 or -EOPNOTSUPP with the first obstacle. The TSC is checked by cpu_model_check_tsc. */
int cpu_model_check(const struct cpu_model *source, const struct cpu_model *host, struct err *err);

/* Clocks of crystals of the same kind differ by less: NTP corrects up to 500 ppm, KVM_SET_TSC_KHZ itself leaves 250 ppm uncorrected (tsc_tolerance_ppm). */
#define CPU_MODEL_TSC_PPM 250u
int cpu_model_check_tsc(uint32_t source_khz, uint32_t host_khz, bool can_scale, bool *ret_scale,
			struct err *err);

#endif
