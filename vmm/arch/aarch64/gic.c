/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "arm64.h"
#include "base/fd.h"
#include "kvm_arm64.h"
#include "layout.h"

/* GICv3 and ITS in the kernel (Documentation/virt/kvm/devices/arm-vgic-v3.rst and arm-vgic-its.rst). */

static int set_addr(int device_fd, uint64_t type, uint64_t addr, struct err *err)
{
	return kvm_set_device_attr(device_fd, KVM_DEV_ARM_VGIC_GRP_ADDR, type, &addr, err);
}

static int create_device(int vm_fd, uint32_t type, int *ret_fd, struct err *err)
{
	/* A host with an older interrupt controller, GICv2, has neither of the two. */
	int r = kvm_create_device(vm_fd, type, ret_fd, err);

	return r == -ENODEV ? err_set(err, -EOPNOTSUPP, "this host's KVM offers none") : r;
}

static int create_gic(struct arch_vm *av, struct err *err)
{
	/* One region of redistributors: how many in bits 63-52, its address, index 0 (KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION). */
	uint64_t redistributors = (uint64_t)av->ncpus << 52 | LAYOUT_GICR;
	uint32_t nirqs = LAYOUT_IRQS;
	int r = create_device(av->vm_fd, KVM_DEV_TYPE_ARM_VGIC_V3, &av->gic_fd, err);

	if (r == 0)
		r = kvm_set_device_attr(av->gic_fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &nirqs, err);
	if (r == 0)
		r = set_addr(av->gic_fd, KVM_VGIC_V3_ADDR_TYPE_DIST, LAYOUT_GICD, err);
	if (r == 0)
		r = set_addr(av->gic_fd, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, redistributors, err);
	if (r < 0)
		err_prefix(err, "GICv3");
	else
		av->nirqs = nirqs;
	return r;
}

static int create_its(struct arch_vm *av, struct err *err)
{
	int r = create_device(av->vm_fd, KVM_DEV_TYPE_ARM_VGIC_ITS, &av->its_fd, err);

	if (r == 0)
		r = set_addr(av->its_fd, KVM_VGIC_ITS_ADDR_TYPE, LAYOUT_ITS, err);
	if (r < 0)
		err_prefix(err, "GICv3 ITS");
	return r;
}

int arm64_gic_create(struct arch_vm *av, struct err *err)
{
	int r = create_gic(av, err);

	return r == 0 ? create_its(av, err) : r;
}

static int init_device(int device_fd, const char *name, struct err *err)
{
	int r = kvm_set_device_attr(device_fd, KVM_DEV_ARM_VGIC_GRP_CTRL,
				    KVM_DEV_ARM_VGIC_CTRL_INIT, NULL, err);

	if (r < 0)
		err_prefix(err, "%s: initialising", name);
	return r;
}

int arm64_gic_init(struct arch_vm *av, struct err *err)
{
	int r = init_device(av->gic_fd, "GICv3", err);

	return r == 0 ? init_device(av->its_fd, "GICv3 ITS", err) : r;
}

void arm64_gic_destroy(struct arch_vm *av)
{
	fd_close(&av->its_fd);
	fd_close(&av->gic_fd);
}
