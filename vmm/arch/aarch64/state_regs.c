/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "kvm_arm64.h"
#include "state.h"
#include "sysreg.h"

/* A vCPU's own state but for its share of the interrupt controller. KVM checks values (modes that the CPU lacks, impossible fields). */

/* ---- PSCI's power state ---- */

static const struct state_field mp_fields[] = {
	STATE_FIELD_U32(struct kvm_mp_state, mp_state),
};

static int mp_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_get_mp_state(ac->fd, image, err), 0);
}

/* Suspended is only a vCPU whose VMM asked for KVM_CAP_ARM_SYSTEM_SUSPEND; a vCPU in WFI is runnable, and wakes up once for nothing. */
static int mp_check(const void *image, struct err *err)
{
	const struct kvm_mp_state *mp = image;

	if (mp->mp_state != KVM_MP_STATE_RUNNABLE && mp->mp_state != KVM_MP_STATE_STOPPED)
		return err_set(err, -EINVAL, "mp_state %u", mp->mp_state);
	return 0;
}

static int mp_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_set_mp_state(ac->fd, image, err), 0);
}

const struct state_desc arm64_state_mp =
	STATE_DESC_("arm64.mp-state", struct kvm_mp_state, mp_fields, mp, mp_check);

/* ---- registers ---- */

static const struct state_field regs_fields[] = {
	STATE_FIELD_VBYTES(struct reg_set, data, len_bytes),
};

static int regs_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return arm64_regs_read(ac->fd, &ac->vm->model->regs, image, err);
}

static int regs_check(const void *image, struct err *err)
{
	return reg_set_check(image, 1u << ARM64_REG_STATE, err);
}

/* KVM refused the value: an error unless the vCPU has it already. */
static int check_refused(int vcpu_fd, const struct reg_record *r, int reason, struct err *err)
{
	uint8_t now[ARM64_REG_MAX_BYTES];
	char name[ARM64_REG_NAME_MAX];

	if (kvm_get_one_reg(vcpu_fd, r->id, now, NULL) >= 0 && !memcmp(now, r->value, r->len_bytes))
		return 0;
	return err_sys(err, reason, "KVM refuses the guest's value 0x%llx of %s",
		       (unsigned long long)reg_value(r), arm64_reg_name(r->id, name));
}

static int write_regs(int vcpu_fd, const struct reg_set *set, struct err *err)
{
	struct reader in = reg_set_reader(set);
	struct reg_record r;
	int rc = 0;

	while (!rc && reg_set_next(&in, &r)) {
		rc = MIN(kvm_set_one_reg(vcpu_fd, r.id, r.value, NULL), 0);
		if (rc)
			rc = check_refused(vcpu_fd, &r, rc, err);
	}
	return rc;
}

/* The list was compared before memory moved; a sender that now sends another one is not to be trusted. */
static int regs_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	cleanup_free struct reg_list *list = malloc(sizeof(*list));
	int rc;

	if (!list)
		return err_set(err, -ENOMEM, "no memory for the list of registers");
	reg_set_ids(image, list);
	rc = reg_list_check(list, &ac->vm->model->regs, err);
	return rc ? rc : write_regs(ac->fd, image, err);
}

const struct state_desc arm64_state_regs =
	STATE_DESC_("arm64.regs", struct reg_set, regs_fields, regs, regs_check);

/* ---- a pending SError ---- */

struct events_image {
	uint8_t serror_pending;
	uint8_t serror_has_esr;
	uint64_t serror_esr;
};

static const struct state_field events_fields[] = {
	STATE_FIELD_U8(struct events_image, serror_pending),
	STATE_FIELD_U8(struct events_image, serror_has_esr),
	STATE_FIELD_U64(struct events_image, serror_esr),
};

static int events_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	struct kvm_vcpu_events ev = { 0 };
	struct events_image *img = image;
	int rc = kvm_arm_get_vcpu_events(ac->fd, &ev, err);

	if (rc < 0)
		return rc;
	img->serror_pending = ev.exception.serror_pending;
	img->serror_has_esr = ev.exception.serror_has_esr;
	img->serror_esr = ev.exception.serror_esr;
	return 0;
}

/* ESR_ELx.ISS: what a virtual SError's syndrome can hold. */
#define ESR_ISS_MASK 0x1ffffffull

static int events_check(const void *image, struct err *err)
{
	const struct events_image *img = image;

	if (img->serror_pending > 1 || img->serror_has_esr > 1 || img->serror_esr & ~ESR_ISS_MASK)
		return err_set(err, -EINVAL, "SError: pending %u, has_esr %u, esr 0x%llx",
			       img->serror_pending, img->serror_has_esr,
			       (unsigned long long)img->serror_esr);
	return 0;
}

static int events_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct events_image *img = image;
	const struct kvm_vcpu_events ev = {
		.exception = { .serror_pending = img->serror_pending,
			       .serror_has_esr = img->serror_has_esr,
			       .serror_esr = img->serror_esr },
	};

	return MIN(kvm_arm_set_vcpu_events(ac->fd, &ev, err), 0);
}

const struct state_desc arm64_state_events =
	STATE_DESC_("arm64.events", struct events_image, events_fields, events, events_check);
