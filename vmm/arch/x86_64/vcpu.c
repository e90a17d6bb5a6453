/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "x86.h"

static int set_cpuid(const struct arch_vcpu *ac, struct err *err)
{
	struct cpuid_table *table = malloc(sizeof(*table));
	struct kvm_cpuid2 *raw = calloc(1, sizeof(*raw) + sizeof(table->entry));
	int rc = -ENOMEM;

	if (!table || !raw) {
		err_set(err, rc, "no memory for the CPUID table");
		goto out;
	}
	cpuid_for_vcpu(&ac->av->model.cpuid, ac->av->ncpus, ac->index, table);
	raw->nent = table->nentries;
	memcpy(raw->entries, table->entry, table->nentries * sizeof(table->entry[0]));
	rc = MIN(kvm_set_cpuid2(ac->fd, raw, err), 0);
out:
	free(raw);
	free(table);
	return rc;
}

/* The TSC's frequency: checked with the first vCPU, because only a vCPU tells it; set on each where it has to be scaled. */
static int set_tsc_khz(struct arch_vm *av, int vcpu_fd, struct err *err)
{
	bool can_scale = kvm_check_extension(av->kvm_fd, KVM_CAP_TSC_CONTROL) > 0;
	bool scale;
	int rc;

	if (!av->incoming)
		av->model.tsc_khz = av->time.host_khz;
	av->time.guest_khz = av->time.host_khz;
	rc = cpu_model_check_tsc(av->model.tsc_khz, av->time.host_khz, can_scale, &scale, err);
	if (rc || !scale)
		return rc;
	rc = kvm_set_tsc_khz(vcpu_fd, av->model.tsc_khz, err);
	if (rc < 0)
		return rc;
	av->time.guest_khz = av->model.tsc_khz;
	return 0;
}

int arch_vcpu_create(struct arch_vm *av, int vcpu_fd, unsigned int index, struct arch_vcpu **ret,
		     struct err *err)
{
	struct arch_vcpu *ac;
	int rc;

	if (index >= av->ncpus || av->vcpu[index])
		return err_set(err, -EINVAL, "vCPU %u of %u", index, av->ncpus);
	ac = calloc(1, sizeof(*ac));
	if (!ac)
		return err_set(err, -ENOMEM, "no memory for vCPU %u", index);
	*ac = (struct arch_vcpu){ .av = av, .fd = vcpu_fd, .index = index };
	rc = index == 0 ? x86_time_probe(av, vcpu_fd, err) : 0;
	if (!rc)
		rc = set_tsc_khz(av, vcpu_fd, err);
	if (!rc)
		rc = set_cpuid(ac, err);
	if (!rc && index == 0)
		rc = msr_list_probe(av->kvm_fd, vcpu_fd, &av->msrs, err);
	if (!rc)
		rc = msr_set_boot_values(vcpu_fd, err);
	if (rc) {
		free(ac);
		return rc;
	}
	av->vcpu[index] = ac;
	*ret = ac;
	return 0;
}

void arch_vcpu_destroy(struct arch_vcpu *ac)
{
	if (!ac)
		return;
	ac->av->vcpu[ac->index] = NULL;
	free(ac);
}
