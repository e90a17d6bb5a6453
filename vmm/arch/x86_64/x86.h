/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_X86_H
#define VMM_ARCH_X86_64_X86_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu_model.h"
#include "cpuid.h"
#include "kvm_x86.h"
#include "msr.h"
#include "vmm/arch.h"

/* What the files of this directory share about a live VM. The descriptors belong to vmm/. */

/* What an XSAVE area may grow to here; AMX alone needs 11 KiB. */
#define X86_XSAVE_MAX 16384u

struct arch_vcpu {
	struct arch_vm *av;
	int fd;
	unsigned int index;
};

/* How this host moves guest time; probed once. */
struct x86_time {
	uint32_t host_khz; /* of an unscaled vCPU */
	uint32_t guest_khz; /* differs only with TSC scaling */
	bool has_tsc_offset; /* KVM_VCPU_TSC_OFFSET */
	bool has_kvmclock_ctrl;
};

/* Set by applying the clock section, used by the vCPUs' TSC sections after it: how far guest time went since it was captured. */
struct x86_time_shift {
	uint64_t elapsed_ns;
	uint64_t src_host_tsc; /* source's TSC at capture */
	uint64_t dst_host_tsc; /* this host's, elapsed_ns later */
	bool valid;
};

struct arch_vm {
	int kvm_fd;
	int vm_fd;
	unsigned int ncpus;
	struct arch_vcpu *vcpu[VM_MAX_VCPUS]; /* NULL: not created yet or gone */
	struct cpu_model model; /* what the guests sees: the source's, or this host's default */
	bool incoming;
	bool has_sregs2;
	bool has_xsave2;
	uint32_t xsave_bytes;
	struct msr_list msrs; /* what is saved; filled in with the first vCPU */
	struct x86_time time;
	struct x86_time_shift shift;
	uint64_t capture_host_tsc; /* host TSC that the last captured clock section belongs to */
};

/* state_cpu.c, state_msr.c, state_time.c, state_chips.c */
extern const struct state_desc x86_state_mp, x86_state_sregs, x86_state_regs, x86_state_xcrs,
	x86_state_xsave, x86_state_debugregs, x86_state_lapic, x86_state_tsc, x86_state_msrs,
	x86_state_events; /* dev: struct arch_vcpu */
extern const struct state_desc x86_state_clock, x86_state_pic0, x86_state_pic1, x86_state_ioapic,
	x86_state_pit; /* dev: struct arch_vm */

int x86_time_probe(struct arch_vm *av, int vcpu_fd, struct err *err);

#endif
