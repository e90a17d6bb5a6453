/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "kvm.h"

/* What a KVM_RUN brought (api.rst 5, struct kvm_run). The structure is KVM's, but what is in it comes from the guest: sizes are checked before use. */

static bool stop_for_good(struct vcpu *v, enum vm_exit_reason reason, const char *text)
{
	v->vm->client.exited(v->vm->client.opaque, reason, v->index, text);
	return false;
}

static bool handle_io(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	uint64_t bytes = (uint64_t)run->io.size * run->io.count;
	uint64_t room = (uint64_t)v->vm->vcpu_run_bytes;

	if ((run->io.size != 1 && run->io.size != 2 && run->io.size != 4) ||
	    run->io.data_offset > room || bytes > room - run->io.data_offset)
		return stop_for_good(v, VM_EXIT_ERROR, "KVM_EXIT_IO does not fit kvm_run");
	v->vm->client.pio(v->vm->client.opaque, run->io.port, run->io.direction == KVM_EXIT_IO_OUT,
			  (uint8_t *)v->run + run->io.data_offset, run->io.size, run->io.count);
	return true;
}

static bool handle_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	if (run->mmio.len == 0 || run->mmio.len > sizeof(run->mmio.data))
		return stop_for_good(v, VM_EXIT_ERROR, "KVM_EXIT_MMIO of an impossible length");
	v->vm->client.mmio(v->vm->client.opaque, run->mmio.phys_addr, run->mmio.is_write != 0,
			   run->mmio.data, run->mmio.len);
	return true;
}

static bool handle_system_event(struct vcpu *v)
{
	char text[64];

	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return stop_for_good(v, VM_EXIT_SHUTDOWN, "guest powered off");
	case KVM_SYSTEM_EVENT_RESET:
		return stop_for_good(v, VM_EXIT_RESET, "guest asked for a reset");
	case KVM_SYSTEM_EVENT_CRASH:
		return stop_for_good(v, VM_EXIT_CRASH, "guest reported a crash");
	default:
		snprintf(text, sizeof(text), "unknown KVM system event %u",
			 v->run->system_event.type);
		return stop_for_good(v, VM_EXIT_ERROR, text);
	}
}

/* arm64: an access outside RAM whose instruction the CPU does not describe, so that only its address is known (KVM_CAP_ARM_NISV_TO_USER). */
static bool handle_nisv(struct vcpu *v)
{
	char text[128];

	snprintf(
		text, sizeof(text),
		"access to device address %#llx with an instruction that KVM cannot take apart (syndrome %#llx)",
		v->run->arm_nisv.fault_ipa, v->run->arm_nisv.esr_iss);
	return stop_for_good(v, VM_EXIT_ERROR, text);
}

static const char *suberror_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "an instruction that KVM cannot emulate";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "an exception while another was delivered";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an exit while an event was delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an exit reason that KVM does not know";
	default:
		return "unknown cause";
	}
}

/* The bytes of an instruction that could not be emulated are instructions, not data: naming them is worth it. */
static bool handle_internal_error(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	char text[200];
	int n = snprintf(text, sizeof(text), "KVM internal error %u (%s)", run->internal.suberror,
			 suberror_name(run->internal.suberror));

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
	    run->emulation_failure.ndata >= 3 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) &&
	    run->emulation_failure.insn_size <= sizeof(run->emulation_failure.insn_bytes)) {
		n += snprintf(text + n, sizeof(text) - (size_t)n, ", bytes");
		for (unsigned int i = 0; i < run->emulation_failure.insn_size; i++)
			n += snprintf(text + n, sizeof(text) - (size_t)n, " %02x",
				      run->emulation_failure.insn_bytes[i]);
	}
	return stop_for_good(v, VM_EXIT_ERROR, text);
}

static bool handle_failure(struct vcpu *v, int run_result)
{
	char text[160];

	if (run_result == -EFAULT && v->run->exit_reason == KVM_EXIT_MEMORY_FAULT)
		return stop_for_good(v, VM_EXIT_ERROR, "KVM cannot get at guest memory");
	snprintf(text, sizeof(text), "KVM_RUN: %s", strerrordesc_np(-run_result));
	return stop_for_good(v, VM_EXIT_ERROR, text);
}

bool vcpu_handle_exit(struct vcpu *v, int run_result)
{
	struct dirty *dirty = v->vm->dirty;
	char text[100];

	if (run_result < 0)
		return handle_failure(v, run_result);
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		return handle_io(v);
	case KVM_EXIT_MMIO:
		return handle_mmio(v);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_DIRTY_RING_FULL:
		if (dirty->ops->ring_full) {
			dirty->ops->ring_full(dirty);
			return true;
		}
		return stop_for_good(v, VM_EXIT_ERROR, "a dirty ring is full and none is in use");
	case KVM_EXIT_SHUTDOWN:
		return stop_for_good(v, VM_EXIT_CRASH, "triple fault");
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(v);
	case KVM_EXIT_ARM_NISV:
		return handle_nisv(v);
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(text, sizeof(text), "the CPU refused to enter the guest, reason %#llx",
			 v->run->fail_entry.hardware_entry_failure_reason);
		return stop_for_good(v, VM_EXIT_ERROR, text);
	case KVM_EXIT_INTERNAL_ERROR:
		return handle_internal_error(v);
	default:
		snprintf(text, sizeof(text), "unexpected KVM exit %u", v->run->exit_reason);
		return stop_for_good(v, VM_EXIT_ERROR, text);
	}
}
