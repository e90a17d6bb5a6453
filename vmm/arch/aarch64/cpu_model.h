/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_CPU_MODEL_H
#define VMM_ARCH_AARCH64_CPU_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "reg_set.h"

/*
 * What a destination must be able to offer before any memory moves (docs/spec/state.md, "arm64"): sections arm64.vm, arm64.gic, arm64.id-registers and
 * arm64.registers. Pure; what asks KVM is in cpu_model_host.c.
 */

/* What the vCPUs are made of and what no register of KVM tells. */
struct cpu_model_vm {
	uint32_t target; /* KVM_ARM_VCPU_INIT */
	uint32_t features[7];
	uint64_t counter_hz; /* CNTFRQ_EL0 */
	uint64_t dczid; /* DCZID_EL0 */
	uint8_t one_counter; /* 1: CNTPCT_EL0 shows the same as CNTVCT_EL0; 0: the host's own counter */
};

struct cpu_model_gic {
	uint32_t nirqs; /* INTIDs, without LPIs */
	uint32_t gicd_typer;
	uint32_t gicd_iidr;
	uint64_t icc_ctlr; /* ICC_CTLR_EL1: the read-only fields count */
	uint8_t has_its;
	uint64_t gits_typer; /* zero without ITS */
	uint64_t gits_iidr;
};

struct cpu_model {
	struct cpu_model_vm vm;
	struct cpu_model_gic gic;
	struct reg_set ids; /* of classes ID and FIRMWARE */
	struct reg_list regs; /* of class STATE */
};

int cpu_model_encode(const struct cpu_model *model, struct buf *out, struct err *err);
/* @ret is written only on success. -EBADMSG, -EINVAL: not a well-formed model. */
int cpu_model_decode(const void *data, size_t len_bytes, struct cpu_model *ret, struct err *err);

/* Can @host run a guest made for @source? 0 or -EOPNOTSUPP with the first obstacle. */
int cpu_model_check_vm(const struct cpu_model_vm *source, const struct cpu_model_vm *host,
		       struct err *err);
int cpu_model_check_gic(const struct cpu_model_gic *source, const struct cpu_model_gic *host,
			struct err *err);
/* Firmware registers are not compared: KVM has been asked to take the source's. */
int cpu_model_check_ids(const struct reg_set *source, const struct reg_set *host, struct err *err);

#endif
