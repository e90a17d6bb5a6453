/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arm64.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "cpu_model.h"
#include "kvm_arm64.h"
#include "state.h"
#include "sysreg.h"

/* The CPU model of a live vCPU: what KVM tells about it, and how a new one is brought to a source's. */

static uint64_t read_cntfrq(void)
{
	uint64_t v;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(v));
	return v;
}

static uint64_t read_dczid(void)
{
	uint64_t v;

	__asm__ volatile("mrs %0, dczid_el0" : "=r"(v));
	return v;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* All ids of a vCPU, sorted. */
static int list_all(int vcpu_fd, struct reg_list *ret, struct err *err)
{
	cleanup_free struct kvm_reg_list *raw =
		calloc(1, sizeof(*raw) + REG_SET_MAX * sizeof(raw->reg[0]));
	int rc;

	if (!raw)
		return err_set(err, -ENOMEM, "no memory for the list of registers");
	raw->n = REG_SET_MAX;
	rc = kvm_get_reg_list(vcpu_fd, raw, err);
	if (rc == -E2BIG)
		return err_set(err, rc, "KVM lists %llu registers, at most %u are handled",
			       (unsigned long long)raw->n, REG_SET_MAX);
	if (rc < 0)
		return rc;
	ret->n = (uint32_t)MIN(raw->n, (uint64_t)REG_SET_MAX);
	memcpy(ret->id, raw->reg, ret->n * sizeof(ret->id[0]));
	qsort(ret->id, ret->n, sizeof(ret->id[0]), compare_ids);
	return 0;
}

static void keep_classes(const struct reg_list *all, unsigned int classes, struct reg_list *ret)
{
	ret->n = 0;
	for (uint32_t i = 0; i < all->n; i++) {
		if (classes & 1u << arm64_reg_class(all->id[i], NULL))
			ret->id[ret->n++] = all->id[i];
	}
}

int arm64_regs_read(int vcpu_fd, const struct reg_list *list, struct reg_set *ret, struct err *err)
{
	uint8_t value[ARM64_REG_MAX_BYTES];
	char name[ARM64_REG_NAME_MAX];

	ret->len_bytes = 0;
	for (uint32_t i = 0; i < list->n; i++) {
		int rc;

		if (!arm64_reg_bytes(list->id[i]))
			return err_set(err, -EOPNOTSUPP, "KVM lists %s, which is of no known size",
				       arm64_reg_name(list->id[i], name));
		rc = kvm_get_one_reg(vcpu_fd, list->id[i], value, err);
		if (rc >= 0)
			rc = reg_set_add(ret, list->id[i], value, err);
		if (rc < 0) {
			err_prefix(err, "register %s", arm64_reg_name(list->id[i], name));
			return rc;
		}
	}
	return 0;
}

/* This vCPU's registers: ids of its state, and values of what makes up the model. */
static int read_registers(int vcpu_fd, struct cpu_model *ret, struct err *err)
{
	struct reg_list *all = malloc(sizeof(*all)), *ids = malloc(sizeof(*ids));
	int rc = -ENOMEM;

	if (!all || !ids)
		err_set(err, rc, "no memory for the list of registers");
	else
		rc = list_all(vcpu_fd, all, err);
	if (!rc) {
		keep_classes(all, 1u << ARM64_REG_STATE, &ret->regs);
		keep_classes(all, 1u << ARM64_REG_ID | 1u << ARM64_REG_FIRMWARE, ids);
		rc = arm64_regs_read(vcpu_fd, ids, &ret->ids, err);
	}
	free(all);
	free(ids);
	return rc;
}

static void read_vm(const struct arch_vm *av, struct cpu_model_vm *ret)
{
	*ret = (struct cpu_model_vm){
		.target = av->init.target,
		.counter_hz = read_cntfrq(),
		.dczid = read_dczid(),
		.one_counter = kvm_check_extension(av->vm_fd, KVM_CAP_COUNTER_OFFSET) > 0,
	};
	_Static_assert(sizeof(ret->features) == sizeof(av->init.features), "all features");
	memcpy(ret->features, av->init.features, sizeof(ret->features));
}

/*
 * Asks KVM to let this vCPU be what the source's was: newer kernels take an ID register that promises less than the host has, and pseudo-registers of the firmware. What
 * is refused shows in the comparison that follows, but for the firmware's, whose acceptance is the answer (a level that KVM takes may read as the host's own). One
 * register's limits may depend on another one, so that it goes round until nothing changes.
 */
static int adapt(int vcpu_fd, const struct reg_set *source, struct err *err)
{
	bool again = true;

	for (unsigned int round = 0; again && round < 3; round++) {
		struct reader in = reg_set_reader(source);
		struct reg_record s;

		again = false;
		while (reg_set_next(&in, &s)) {
			bool firmware = arm64_reg_class(s.id, NULL) == ARM64_REG_FIRMWARE;
			uint8_t now[ARM64_REG_MAX_BYTES];
			char name[ARM64_REG_NAME_MAX];
			int rc = kvm_get_one_reg(vcpu_fd, s.id, now, err);

			if (rc < 0) {
				err_prefix(err, "register %s", arm64_reg_name(s.id, name));
				return rc;
			}
			if (!memcmp(now, s.value, s.len_bytes))
				continue;
			rc = kvm_set_one_reg(vcpu_fd, s.id, s.value, NULL);
			if (firmware && rc < 0)
				return err_set(err, -EOPNOTSUPP,
					       "%s differs: source 0x%llx, here 0x%llx",
					       arm64_reg_name(s.id, name),
					       (unsigned long long)reg_value(&s),
					       (unsigned long long)le64_get(now));
			again |= !firmware;
		}
	}
	return 0;
}

/* Before any value is looked at: the same registers on both sides. */
static int check_ids_exist(const struct reg_set *source, const struct reg_set *host,
			   struct err *err)
{
	cleanup_free struct reg_list *lists = malloc(2 * sizeof(*lists));

	if (!lists)
		return err_set(err, -ENOMEM, "no memory for the list of registers");
	reg_set_ids(source, &lists[0]);
	reg_set_ids(host, &lists[1]);
	return reg_list_check(&lists[0], &lists[1], err);
}

static int check_registers(int vcpu_fd, const struct cpu_model *model, struct cpu_model *host,
			   struct err *err)
{
	int rc = read_registers(vcpu_fd, host, err);

	if (!rc)
		rc = check_ids_exist(&model->ids, &host->ids, err);
	if (!rc)
		rc = adapt(vcpu_fd, &model->ids, err);
	/* Anew: which registers there are follows from the ID registers. */
	if (!rc)
		rc = read_registers(vcpu_fd, host, err);
	if (!rc)
		rc = cpu_model_check_ids(&model->ids, &host->ids, err);
	return rc ? rc : reg_list_check(&model->regs, &host->regs, err);
}

int arm64_cpu_model_check(struct arch_vcpu *first, const struct cpu_model *model, struct err *err)
{
	struct cpu_model *host = calloc(1, sizeof(*host));
	int rc;

	if (!host)
		return err_set(err, -ENOMEM, "no memory for the cpu model");
	read_vm(first->vm, &host->vm);
	rc = cpu_model_check_vm(&model->vm, &host->vm, err);
	if (!rc)
		rc = check_registers(first->fd, model, host, err);
	free(host);
	return rc;
}

int arm64_cpu_model_decode(const struct buf *sections, struct cpu_model **ret, struct err *err)
{
	struct cpu_model *model = calloc(1, sizeof(*model));
	int rc;

	if (!model)
		return err_set(err, -ENOMEM, "no memory for the cpu model");
	rc = cpu_model_decode(sections->data, sections->len_bytes, model, err);
	if (rc) {
		free(model);
		return rc;
	}
	*ret = model;
	return 0;
}

void arm64_cpu_model_free(struct cpu_model *model)
{
	free(model);
}

/* What this host gives a guest that comes from nowhere. */
static int capture_model(struct arch_vm *av, struct err *err)
{
	int rc;

	av->model = calloc(1, sizeof(*av->model));
	if (!av->model)
		return err_set(err, -ENOMEM, "no memory for the cpu model");
	read_vm(av, &av->model->vm);
	rc = arm64_gic_describe(av, &av->model->gic, err);
	return rc ? rc : read_registers(av->vcpu[0]->fd, av->model, err);
}

/* The first vCPU was checked as soon as it was there; cache geometry is each vCPU's own. What the source lists and what this host lists may differ in what needs no
 * moving: from here on this host's list counts. */
static int adopt_model(struct arch_vm *av, struct err *err)
{
	cleanup_free struct cpu_model *host = calloc(1, sizeof(*host));
	int rc;

	if (!host)
		return err_set(err, -ENOMEM, "no memory for the cpu model");
	rc = arm64_gic_describe(av, &host->gic, err);
	if (!rc)
		rc = cpu_model_check_gic(&av->wanted->gic, &host->gic, err);
	for (unsigned int i = 0; !rc && i < av->ncpus; i++) {
		rc = check_registers(av->vcpu[i]->fd, av->wanted, host, err);
		if (rc)
			err_prefix(err, "vCPU %u", i);
	}
	if (rc)
		return rc;
	av->wanted->regs = host->regs;
	av->model = av->wanted;
	av->wanted = NULL;
	return 0;
}

int arm64_state_ready(struct arch_vm *av, struct err *err)
{
	int rc = av->wanted ? adopt_model(av, err) : capture_model(av, err);

	return rc ? rc : arm64_counter_start(av, err);
}

int arch_cpu_model(struct arch_vm *av, struct buf *out, struct err *err)
{
	return cpu_model_encode(av->model, out, err);
}
