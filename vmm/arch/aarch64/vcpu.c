/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "arm64.h"
#include "kvm_arm64.h"

int arch_vcpu_create(struct arch_vm *av, int vcpu_fd, unsigned int index, struct arch_vcpu **ret,
		     struct err *err)
{
	struct kvm_vcpu_init init = av->init;
	struct arch_vcpu *ac;
	int r;

	if (index >= av->ncpus || av->vcpu[index])
		return err_set(err, -EINVAL, "vCPU %u of %u", index, av->ncpus);
	ac = calloc(1, sizeof(*ac));
	if (!ac)
		return err_set(err, -ENOMEM, "no memory for vCPU %u", index);
	*ac = (struct arch_vcpu){ .vm = av, .fd = vcpu_fd, .index = index };
	if (index > 0) /* waits for PSCI CPU_ON */
		init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
	r = kvm_arm_vcpu_init(vcpu_fd, &init, err);
	/* One is enough to find out early; arm64_state_ready looks at all, for what KVM keeps per vCPU. */
	if (r == 0 && index == 0 && av->wanted)
		r = arm64_cpu_model_check(ac, av->wanted, err);
	if (r < 0) {
		free(ac);
		return r;
	}
	av->vcpu[index] = ac;
	*ret = ac;
	return 0;
}

void arch_vcpu_destroy(struct arch_vcpu *ac)
{
	if (!ac)
		return;
	ac->vm->vcpu[ac->index] = NULL;
	free(ac);
}
