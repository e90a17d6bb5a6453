/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "dirty/backend.h"
#include "internal.h"
#include "kvm.h"
#include "slots.h"
#include "vmm/caps.h"

#define PAUSE_TIMEOUT_NS (5 * NS_PER_S)

static int check_config(const struct vm_config *config, int kvm_fd, struct err *err)
{
	int max;

	if (config->ncpus == 0 || config->ncpus > VM_MAX_VCPUS)
		return err_set(err, -EINVAL, "%u vCPUs: 1 to %d are possible", config->ncpus,
			       VM_MAX_VCPUS);
	max = kvm_check_extension(kvm_fd, KVM_CAP_MAX_VCPUS);
	if (max > 0 && config->ncpus > (unsigned int)max)
		return err_set(err, -EINVAL, "%u vCPUs: KVM has at most %d on this host",
			       config->ncpus, max);
	if (kvm_check_extension(kvm_fd, KVM_CAP_IMMEDIATE_EXIT) <= 0)
		return err_set(err, -EOPNOTSUPP,
			       "KVM_CAP_IMMEDIATE_EXIT: this host's KVM does not have it");
	return 0;
}

static int create_dirty(struct vm *vm, const struct vm_config *config, struct err *err)
{
	enum dirty_kind kind = config->dirty;
	char reason[sizeof(vm->dirty->reason)] = "asked for";
	struct dirty_accel accel;
	int r;

	if (kind == DIRTY_AUTO)
		kind = caps_dirty_auto(vm->kvm_fd, reason, sizeof(reason));
	r = caps_dirty_accel(vm->fd, kind, config->dirty_accel, &accel, err);
	if (r == 0)
		r = dirty_create(kind, vm->fd, vm->mem, config->ring_entries, &vm->dirty, err);
	if (r < 0)
		return r;
	vm->dirty->accel = accel;
	memcpy(vm->dirty->reason, reason, sizeof(reason));
	return 0;
}

/* Takes back what arch_vm_create chose; only arm64's KVM knows of a choice. */
static int leave_huge_pages(int vm_fd, struct err *err)
{
	if (kvm_check_extension(vm_fd, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE) <= 0)
		return 0;
	return kvm_enable_cap(vm_fd, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, 0, err);
}

/* What must exist before the first vCPU: the order is KVM's (api.rst: ring size before vCPUs, interrupt controllers too). */
static int create_machine(struct vm *vm, const struct vm_config *config, struct err *err)
{
	unsigned long type;
	int r = kvm_open(&vm->kvm_fd, err);

	if (r < 0)
		return r;
	r = check_config(config, vm->kvm_fd, err);
	if (r < 0)
		return r;
	r = kvm_get_vcpu_mmap_size(vm->kvm_fd, err);
	if (r < 0)
		return r;
	vm->vcpu_run_bytes = r;
	r = arch_vm_type(vm->kvm_fd, &config->mem, &type, err);
	if (r < 0)
		return r;
	r = kvm_create_vm(vm->kvm_fd, type, &vm->fd, err);
	if (r < 0)
		return r;
	r = arch_vm_create(vm->kvm_fd, vm->fd, config->ncpus, config->cpu_model, &vm->arch, err);
	if (r < 0)
		return r;
	r = gmem_create(&config->mem, &vm->mem, err);
	if (r < 0)
		return r;
	if (config->no_eager_split) {
		r = leave_huge_pages(vm->fd, err);
		if (r < 0)
			return r;
	}
	r = create_dirty(vm, config, err);
	if (r < 0)
		return r;
	if (kvm_get_stats_fd(vm->fd, &vm->stats_fd, NULL) < 0)
		vm->stats_fd = -1;
	r = slots_create(vm->fd, vm->mem, err);
	return r < 0 ? r : arch_chips_create(vm->arch, err);
}

static int create_vcpus(struct vm *vm, const struct vm_config *config, struct err *err)
{
	int pin[VM_MAX_VCPUS] = { -1 };
	int npin = 1;
	int r;

	if (config->pin) {
		npin = pin_parse(config->pin, pin, VM_MAX_VCPUS, err);
		if (npin < 0)
			return npin;
	}
	for (unsigned int i = 0; i < config->ncpus; i++) {
		vm->ncpus = i + 1; /* vm_destroy takes a half-built vCPU */
		r = vcpu_create(vm, i, pin[i % (unsigned int)npin], err);
		if (r < 0)
			return r;
	}
	stats_find(vm->vcpu[0].stats_fd, &vm->stats_spot);
	r = arch_vcpus_ready(vm->arch, err);
	if (r == 0)
		r = vcpu_install_kick(err);
	for (unsigned int i = 0; r == 0 && i < vm->ncpus; i++)
		r = vcpu_start_thread(&vm->vcpu[i], err);
	return r;
}

int vm_create(const struct vm_config *config, const struct vm_client *client, struct vm **ret,
	      struct err *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return err_set(err, -ENOMEM, "VM: out of memory");
	vm->kvm_fd = vm->fd = vm->stats_fd = -1;
	vm->client = *client;
	msi_init(vm);
	atomic_init(&vm->order, ORDER_STEP | ORDER_PAUSE);
	r = create_machine(vm, config, err);
	if (r == 0)
		r = create_vcpus(vm, config, err);
	if (r < 0) {
		vm_destroy(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

static uint32_t give_order(struct vm *vm, enum order o)
{
	uint32_t order = (atomic_load(&vm->order) & ~ORDER_MASK) + ORDER_STEP + (uint32_t)o;

	atomic_store(&vm->order, order);
	return order;
}

void vm_end(struct vm *vm)
{
	if (!vm)
		return;
	give_order(vm, ORDER_EXIT);
	for (unsigned int i = 0; i < vm->ncpus; i++) {
		if (vm->vcpu[i].thread_started)
			vcpu_kick(&vm->vcpu[i]);
	}
	futex_wake_all(&vm->order);
	for (unsigned int i = 0; i < vm->ncpus; i++)
		vcpu_join(&vm->vcpu[i]);
	vm->running = false;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	vm_end(vm);
	for (unsigned int i = 0; i < vm->ncpus; i++)
		vcpu_destroy(&vm->vcpu[i]);
	if (vm->dirty)
		vm->dirty->ops->destroy(vm->dirty);
	arch_vm_destroy(vm->arch);
	fd_close(&vm->stats_fd);
	/* KVM lets go of the memory before it is unmapped. */
	fd_close(&vm->fd);
	fd_close(&vm->kvm_fd);
	gmem_destroy(vm->mem);
	msi_fini(vm);
	free(vm);
}

struct gmem *vm_mem(struct vm *vm)
{
	return vm->mem;
}

struct dirty *vm_dirty(struct vm *vm)
{
	return vm->dirty;
}

unsigned int vm_ncpus(const struct vm *vm)
{
	return vm->ncpus;
}

bool vm_is_paused(const struct vm *vm)
{
	return !vm->running;
}

int vm_boot(struct vm *vm, const struct boot_config *boot, struct err *err)
{
	return arch_boot(vm->arch, vm->mem, boot, err);
}

static void let_run(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->ncpus; i++)
		__atomic_store_n(&vm->vcpu[i].run->immediate_exit, 0, __ATOMIC_RELAXED);
	give_order(vm, ORDER_RUN);
	futex_wake_all(&vm->order);
}

int vm_resume(struct vm *vm, struct err *err)
{
	int r;

	if (vm->running)
		return 0;
	r = arch_paused(vm->arch, err);
	if (r < 0)
		return r;
	let_run(vm);
	vm->running = true;
	return 0;
}

int vm_pause(struct vm *vm, struct err *err)
{
	uint64_t deadline_ns;
	uint32_t order, at;

	if (!vm->running)
		return 0;
	deadline_ns = clock_mono_ns() + PAUSE_TIMEOUT_NS;
	order = give_order(vm, ORDER_PAUSE);
	/* All are on their way out before the first is waited for. */
	for (unsigned int i = 0; i < vm->ncpus; i++)
		vcpu_kick(&vm->vcpu[i]);
	futex_wake_all(&vm->order); /* those that stopped for good sleep there */
	for (unsigned int i = 0; i < vm->ncpus; i++) {
		_Atomic uint32_t *parked_at = &vm->vcpu[i].parked_at;

		while ((at = atomic_load_explicit(parked_at, memory_order_acquire)) != order) {
			if (futex_wait_until(parked_at, at, deadline_ns))
				continue;
			/* A pause that failed leaves a VM that runs: the others go on. */
			let_run(vm);
			return err_set(err, -ETIMEDOUT, "vCPU %u did not stop within 5 s", i);
		}
	}
	vm->running = false;
	return 0;
}

int vm_cpu_model(struct vm *vm, struct buf *out, struct err *err)
{
	return arch_cpu_model(vm->arch, out, err);
}

unsigned int vm_state_entries(struct vm *vm, struct state_entry *entries, unsigned int max)
{
	return arch_state_entries(vm->arch, entries, max);
}
