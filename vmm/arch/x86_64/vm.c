/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "layout.h"
#include "x86.h"

int arch_mem_layout(uint64_t ram_bytes, struct gmem_region regions[GMEM_MAX_REGIONS],
		    struct err *err)
{
	uint64_t low = MIN(ram_bytes, LAYOUT_HOLE);

	if (ram_bytes < LAYOUT_MIN_RAM)
		return err_set(err, -EINVAL, "%llu bytes of memory are too few for a guest",
			       (unsigned long long)ram_bytes);
	if (ram_bytes > GMEM_MAX_BYTES)
		return err_set(err, -EINVAL, "%llu bytes of memory are too many",
			       (unsigned long long)ram_bytes);
	regions[0] = (struct gmem_region){ .gpa = 0, .len_bytes = low };
	if (ram_bytes == low)
		return 1;
	regions[1] = (struct gmem_region){ .gpa = LAYOUT_HOLE_END, .len_bytes = ram_bytes - low };
	return 2;
}

int arch_vm_type(int kvm_fd, const struct gmem_config *mem, unsigned long *ret, struct err *err)
{
	*ret = 0; /* the one there is for guests that trust their host */
	return 0;
}

uint32_t arch_irq_line(unsigned int gsi)
{
	return gsi;
}

static int choose_model(struct arch_vm *av, const struct buf *cpu_model, struct err *err)
{
	struct cpu_model *host = malloc(sizeof(*host));
	int rc;

	if (!host)
		return err_set(err, -ENOMEM, "no memory for the cpu model");
	rc = cpu_model_host(av->kvm_fd, av->xsave_bytes, host, err);
	if (!rc && !cpu_model) {
		cpu_model_guest_default(host, &av->model);
	} else if (!rc) {
		rc = cpu_model_decode(cpu_model->data, cpu_model->len_bytes, &av->model, err);
		if (!rc)
			rc = cpu_model_check(&av->model, host, err);
	}
	free(host);
	return rc;
}

static int probe(struct arch_vm *av, struct err *err)
{
	int xsave2 = kvm_check_extension(av->vm_fd, KVM_CAP_XSAVE2);

	av->has_sregs2 = kvm_check_extension(av->kvm_fd, KVM_CAP_SREGS2) > 0;
	av->has_xsave2 = xsave2 > 0;
	av->xsave_bytes = xsave2 > 0 ? (uint32_t)xsave2 : (uint32_t)sizeof(struct kvm_xsave);
	if (av->xsave_bytes > X86_XSAVE_MAX)
		return err_set(err, -EOPNOTSUPP, "XSAVE area of %u bytes, at most %u are handled",
			       av->xsave_bytes, X86_XSAVE_MAX);
	if (!kvm_check_extension(av->kvm_fd, KVM_CAP_XSAVE) ||
	    !kvm_check_extension(av->kvm_fd, KVM_CAP_XCRS))
		return err_set(err, -EOPNOTSUPP, "KVM has no KVM_CAP_XSAVE or KVM_CAP_XCRS");
	return 0;
}

static int set_addresses(struct arch_vm *av, struct err *err)
{
	int rc = kvm_set_identity_map_addr(av->vm_fd, LAYOUT_IDENTITY_MAP, err);

	if (rc >= 0)
		rc = kvm_set_tss_addr(av->vm_fd, LAYOUT_KVM_TSS, err);
	return MIN(rc, 0);
}

int arch_chips_create(struct arch_vm *av, struct err *err)
{
	/* The PIT's speaker bit at port 0x61 is emulated along with it: no exit to nowhere. */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int rc = kvm_create_irqchip(av->vm_fd, err);

	if (rc >= 0)
		rc = kvm_create_pit2(av->vm_fd, &pit, err);
	return MIN(rc, 0);
}

int arch_vm_create(int kvm_fd, int vm_fd, unsigned int ncpus, const struct buf *cpu_model,
		   struct arch_vm **ret, struct err *err)
{
	struct arch_vm *av;
	int rc;

	if (!ncpus || ncpus > VM_MAX_VCPUS)
		return err_set(err, -EINVAL, "%u vCPUs: 1 to %u can be had", ncpus, VM_MAX_VCPUS);
	av = calloc(1, sizeof(*av));
	if (!av)
		return err_set(err, -ENOMEM, "no memory for the VM");
	av->kvm_fd = kvm_fd;
	av->vm_fd = vm_fd;
	av->ncpus = ncpus;
	av->incoming = cpu_model;
	rc = probe(av, err);
	if (!rc)
		rc = choose_model(av, cpu_model, err);
	if (!rc)
		rc = set_addresses(av, err);
	if (rc) {
		arch_vm_destroy(av);
		return rc;
	}
	*ret = av;
	return 0;
}

void arch_vm_destroy(struct arch_vm *av)
{
	free(av);
}

int arch_cpu_model(struct arch_vm *av, struct buf *out, struct err *err)
{
	return cpu_model_encode(&av->model, out, err);
}

/*
 * The order of apply. The clock is first: it says how far time went, and the vCPUs' TSC sections need that. The I/O APIC and the PIC come after
 * the local APICs, because setting them delivers what is pending. Within a vCPU: mp_state first, since reading it lets KVM process a
 * pending INIT or SIPI, which changes the registers read after it; XCR0 before the area it describes; the LAPIC after sregs, which
 * hold its base and mode; the TSC before and the LAPIC before TSC_DEADLINE among the MSRs; events last.
 */
static const struct state_desc *const vcpu_sections[] = {
	&x86_state_mp,        &x86_state_sregs, &x86_state_regs, &x86_state_xcrs, &x86_state_xsave,
	&x86_state_debugregs, &x86_state_lapic, &x86_state_tsc,  &x86_state_msrs, &x86_state_events,
};
static const struct state_desc *const chip_sections[] = {
	&x86_state_pic0,
	&x86_state_pic1,
	&x86_state_ioapic,
	&x86_state_pit,
};

unsigned int arch_state_entries(struct arch_vm *av, struct state_entry *entries, unsigned int max)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < 1 + av->ncpus * ARRAY_LEN(vcpu_sections); i++, n++) {
		unsigned int cpu = i ? (i - 1) / ARRAY_LEN(vcpu_sections) : 0;

		if (n >= max)
			continue;
		entries[n] =
			i ?
				(struct state_entry){
					.desc = vcpu_sections[(i - 1) % ARRAY_LEN(vcpu_sections)],
					.instance = cpu,
					.dev = av->vcpu[cpu],
				} :
				(struct state_entry){ .desc = &x86_state_clock, .dev = av };
	}
	for (unsigned int i = 0; i < ARRAY_LEN(chip_sections); i++, n++) {
		if (n < max)
			entries[n] = (struct state_entry){ .desc = chip_sections[i], .dev = av };
	}
	return n;
}

int arch_vcpus_ready(struct arch_vm *av, struct err *err)
{
	return 0;
}

/* Tells the guest's watchdogs that it was stopped. KVM hands the flag over when the vCPU next runs, so that the call belongs before a resume, on the
 * destination of a migration too. */
int arch_paused(struct arch_vm *av, struct err *err)
{
	for (unsigned int i = 0; i < av->ncpus; i++) {
		int rc;

		if (!av->vcpu[i] || !av->time.has_kvmclock_ctrl)
			continue;
		/* -EINVAL: this guest has no kvmclock running. */
		rc = kvm_kvmclock_ctrl(av->vcpu[i]->fd, NULL);
		if (rc < 0 && rc != -EINVAL)
			return err_sys(err, rc, "KVM_KVMCLOCK_CTRL of vCPU %u", i);
	}
	return 0;
}
