/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "arm64.h"
#include "base/num.h"
#include "kvm_arm64.h"
#include "layout.h"

/* What KVM takes as machine type 0, and the least that VMs are made with where the host has as much: three levels of stage-2 tables. */
#define DEFAULT_IPA_BITS 40

int arch_mem_layout(uint64_t ram_bytes, struct gmem_region regions[GMEM_MAX_REGIONS],
		    struct err *err)
{
	if (ram_bytes < LAYOUT_MIN_RAM)
		return err_set(err, -EINVAL, "%llu bytes of memory are too few for a guest",
			       (unsigned long long)ram_bytes);
	if (ram_bytes > GMEM_MAX_BYTES)
		return err_set(err, -EINVAL, "%llu bytes of memory are too many",
			       (unsigned long long)ram_bytes);
	regions[0] = (struct gmem_region){ .gpa = LAYOUT_RAM, .len_bytes = ram_bytes };
	return 1;
}

/* Bits of the highest address of RAM. */
static int address_bits(const struct gmem_config *mem)
{
	uint64_t last = LAYOUT_RAM;

	for (unsigned int i = 0; i < mem->nregions; i++)
		last = MAX(last, mem->region[i].gpa + mem->region[i].len_bytes - 1);
	return 64 - __builtin_clzll(last);
}

int arch_vm_type(int kvm_fd, const struct gmem_config *mem, unsigned long *ret, struct err *err)
{
	int limit = kvm_check_extension(kvm_fd, KVM_CAP_ARM_VM_IPA_SIZE);
	int needed = address_bits(mem);

	if (needed > (limit > 0 ? limit : DEFAULT_IPA_BITS))
		return err_set(
			err, -EOPNOTSUPP,
			"so much memory needs guest-physical addresses of %d bits, this host's KVM has %d",
			needed, limit > 0 ? limit : DEFAULT_IPA_BITS);
	/* No more bits than needed: each level of tables makes the guest's TLB misses dearer. 0 where KVM knows nothing but its default. */
	*ret = limit > 0 ? KVM_VM_TYPE_ARM_IPA_SIZE(
				   (unsigned long)MAX(needed, MIN(limit, DEFAULT_IPA_BITS))) :
			   0;
	return 0;
}

static int check_host(const struct arch_vm *av, struct err *err)
{
	static const struct {
		const char *name;
		uint32_t cap;
	} required[] = {
		{ "KVM_CAP_ARM_PSCI_0_2", KVM_CAP_ARM_PSCI_0_2 },
		{ "KVM_CAP_DEVICE_CTRL", KVM_CAP_DEVICE_CTRL },
		{ "KVM_CAP_ONE_REG", KVM_CAP_ONE_REG },
	};
	long page_bytes = sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < ARRAY_LEN(required); i++) {
		if (kvm_check_extension(av->vm_fd, required[i].cap) <= 0)
			return err_set(err, -EOPNOTSUPP, "%s: this host's KVM does not have it",
				       required[i].name);
	}
	if (page_bytes != GMEM_PAGE_SIZE)
		return err_set(err, -EOPNOTSUPP,
			       "this host's pages have %ld bytes: only %u are supported",
			       page_bytes, GMEM_PAGE_SIZE);
	return 0;
}

/*
 * Huge pages of a slot are split when its pages are rearmed (or when logging starts), not one by one by the guest's first writes. The size is that of the blocks KVM
 * takes apart at a time: the smallest it offers above a page. It is fixed before the first slot (api.rst, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE); a host without it (before Linux 6.5) does the same work in
 * the guest's faults.
 */
static void enable_eager_split(const struct arch_vm *av)
{
	unsigned int sizes =
		(unsigned int)kvm_check_extension(av->vm_fd, KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES);
	unsigned int blocks = sizes & ~(GMEM_PAGE_SIZE * 2u - 1u);

	if (blocks)
		(void)kvm_enable_cap(av->vm_fd, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE,
				     blocks & -blocks, NULL);
}

static int set_up(struct arch_vm *av, const struct buf *cpu_model, struct err *err)
{
	int r = check_host(av, err);

	if (r == 0 && cpu_model)
		r = arm64_cpu_model_decode(cpu_model, &av->wanted, err);
	if (r == 0)
		r = kvm_arm_preferred_target(av->vm_fd, &av->init, err);
	if (r < 0)
		return r;
	/* No PMU, SVE or pointer authentication: a guest can run without them on more hosts, and has less to move. */
	av->init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	/* A guest that reaches for a device with an instruction KVM cannot take apart is told so, with the address. Not having it is no loss. */
	(void)kvm_enable_cap(av->vm_fd, KVM_CAP_ARM_NISV_TO_USER, 0, NULL);
	enable_eager_split(av);
	return 0;
}

int arch_vm_create(int kvm_fd, int vm_fd, unsigned int ncpus, const struct buf *cpu_model,
		   struct arch_vm **ret, struct err *err)
{
	struct arch_vm *av;
	int r;

	if (!ncpus || ncpus > LAYOUT_MAX_VCPUS)
		return err_set(err, -EINVAL,
			       "%u vCPUs: 1 to %u have a place in the arm64 machine's memory map",
			       ncpus, (unsigned int)LAYOUT_MAX_VCPUS);
	av = calloc(1, sizeof(*av));
	if (!av)
		return err_set(err, -ENOMEM, "no memory for the VM");
	av->kvm_fd = kvm_fd;
	av->vm_fd = vm_fd;
	av->ncpus = ncpus;
	av->gic_fd = av->its_fd = -1;
	r = set_up(av, cpu_model, err);
	if (r < 0) {
		arch_vm_destroy(av);
		return r;
	}
	*ret = av;
	return 0;
}

int arch_chips_create(struct arch_vm *av, struct err *err)
{
	return arm64_gic_create(av, err);
}

int arch_vcpus_ready(struct arch_vm *av, struct err *err)
{
	int r = arm64_gic_init(av, err);

	return r == 0 ? arm64_state_ready(av, err) : r;
}

void arch_vm_destroy(struct arch_vm *av)
{
	if (!av)
		return;
	arm64_gic_destroy(av);
	arm64_cpu_model_free(av->wanted);
	arm64_cpu_model_free(av->model);
	free(av);
}

/* The guest's counter runs on while it is paused, and it is told nothing: there is no paravirtual clock here. */
int arch_paused(struct arch_vm *av, struct err *err)
{
	return 0;
}
