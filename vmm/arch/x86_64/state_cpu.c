/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "x86.h"

/*
 * A vCPU's registers as state sections (docs/spec/state.md, "x86_64"). Where KVM's own structure has no holes that matter it is the image. KVM
 * checks what it is given (reserved bits, impossible segment states), so that check() refuses only what this code itself would trip over.
 */

/* ---- mp_state ---- */

static const struct state_field mp_fields[] = {
	STATE_FIELD_U32(struct kvm_mp_state, mp_state),
};

static int mp_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_get_mp_state(ac->fd, image, err), 0);
}

static int mp_check(const void *image, struct err *err)
{
	const struct kvm_mp_state *mp = image;

	if (mp->mp_state > KVM_MP_STATE_SIPI_RECEIVED)
		return err_set(err, -EINVAL, "mp_state %u", mp->mp_state);
	return 0;
}

static int mp_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_set_mp_state(ac->fd, image, err), 0);
}

const struct state_desc x86_state_mp =
	STATE_DESC_("x86.mp-state", struct kvm_mp_state, mp_fields, mp, mp_check);

/* ---- general registers ---- */

#define REG(member) STATE_FIELD_U64(struct kvm_regs, member)
static const struct state_field regs_fields[] = {
	REG(rax), REG(rbx), REG(rcx), REG(rdx), REG(rsi), REG(rdi), REG(rsp), REG(rbp), REG(r8),
	REG(r9),  REG(r10), REG(r11), REG(r12), REG(r13), REG(r14), REG(r15), REG(rip), REG(rflags),
};
_Static_assert(sizeof(struct kvm_regs) == ARRAY_LEN(regs_fields) * 8, "every register is listed");

static int regs_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_get_regs(ac->fd, image, err), 0);
}

static int regs_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_set_regs(ac->fd, image, err), 0);
}

const struct state_desc x86_state_regs =
	STATE_DESC_("x86.regs", struct kvm_regs, regs_fields, regs, NULL);

/* ---- XCR0 ---- */

struct xcr_image {
	uint64_t xcr0;
};

static const struct state_field xcr_fields[] = {
	STATE_FIELD_U64(struct xcr_image, xcr0),
};

static int xcr_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	struct xcr_image *img = image;
	struct kvm_xcrs xcrs = { 0 };
	int rc = kvm_get_xcrs(ac->fd, &xcrs, err);

	if (rc < 0)
		return rc;
	img->xcr0 = 1; /* x87 is always on; a CPU without XSAVE lists none */
	for (uint32_t i = 0; i < MIN(xcrs.nr_xcrs, (uint32_t)KVM_MAX_XCRS); i++) {
		if (xcrs.xcrs[i].xcr == 0)
			img->xcr0 = xcrs.xcrs[i].value;
	}
	return 0;
}

static int xcr_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct xcr_image *img = image;
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };

	if (!ac->av->model.xcr0) {
		if (img->xcr0 == 1)
			return 0;
		return err_set(err, -EINVAL, "XCR0 0x%llx on a CPU without XSAVE",
			       (unsigned long long)img->xcr0);
	}
	xcrs.xcrs[0].value = img->xcr0;
	return MIN(kvm_set_xcrs(ac->fd, &xcrs, err), 0);
}

const struct state_desc x86_state_xcrs =
	STATE_DESC_("x86.xcrs", struct xcr_image, xcr_fields, xcr, NULL);

/* ---- XSAVE area ---- */

struct xsave_image {
	uint32_t len_bytes;
	uint8_t area[X86_XSAVE_MAX] __attribute__((aligned(64)));
};

static const struct state_field xsave_fields[] = {
	STATE_FIELD_VBYTES(struct xsave_image, area, len_bytes),
};

static int xsave_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	struct xsave_image *img = image;
	int rc;

	rc = ac->av->has_xsave2 ? kvm_get_xsave2(ac->fd, img->area, err) :
				  kvm_get_xsave(ac->fd, img->area, err);
	if (rc < 0)
		return rc;
	img->len_bytes = ac->av->xsave_bytes;
	return 0;
}

/* Legacy region and header at least: XSTATE_BV stands in the header. */
#define XSAVE_MIN_BYTES 576u
static int xsave_check(const void *image, struct err *err)
{
	const struct xsave_image *img = image;

	if (img->len_bytes < XSAVE_MIN_BYTES)
		return err_set(err, -EINVAL, "XSAVE area of %u bytes", img->len_bytes);
	return 0;
}

/* KVM reads as many bytes as this host's area has; what the source did not send is zero, which is "not in use". */
static int xsave_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct xsave_image *img = image;

	if (img->len_bytes > ac->av->xsave_bytes)
		return err_set(err, -EINVAL, "XSAVE area of %u bytes, this host's has %u",
			       img->len_bytes, ac->av->xsave_bytes);
	return MIN(kvm_set_xsave(ac->fd, img->area, err), 0);
}

const struct state_desc x86_state_xsave =
	STATE_DESC_("x86.xsave", struct xsave_image, xsave_fields, xsave, xsave_check);

/* ---- debug registers ---- */

static const struct state_field debug_fields[] = {
	STATE_FIELD_U64(struct kvm_debugregs, db),
	STATE_FIELD_U64(struct kvm_debugregs, dr6),
	STATE_FIELD_U64(struct kvm_debugregs, dr7),
};

static int debug_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_get_debugregs(ac->fd, image, err), 0);
}

static int debug_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_set_debugregs(ac->fd, image, err), 0);
}

const struct state_desc x86_state_debugregs =
	STATE_DESC_("x86.debugregs", struct kvm_debugregs, debug_fields, debug, NULL);

/* ---- local APIC: its register page as it is (Intel SDM vol. 3, 11.4.1) ---- */

static const struct state_field lapic_fields[] = {
	STATE_FIELD_U8(struct kvm_lapic_state, regs),
};

static int lapic_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_get_lapic(ac->fd, image, err), 0);
}

static int lapic_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_set_lapic(ac->fd, image, err), 0);
}

const struct state_desc x86_state_lapic =
	STATE_DESC_("x86.lapic", struct kvm_lapic_state, lapic_fields, lapic, NULL);

/* ---- pending exceptions, interrupts, NMI, SMI ---- */

#define EV8(member) STATE_FIELD_U8(struct kvm_vcpu_events, member)
#define EV32(member) STATE_FIELD_U32(struct kvm_vcpu_events, member)
static const struct state_field events_fields[] = {
	EV8(exception.injected),
	EV8(exception.nr),
	EV8(exception.has_error_code),
	EV8(exception.pending),
	EV32(exception.error_code),
	EV8(interrupt.injected),
	EV8(interrupt.nr),
	EV8(interrupt.soft),
	EV8(interrupt.shadow),
	EV8(nmi.injected),
	EV8(nmi.pending),
	EV8(nmi.masked),
	EV32(sipi_vector),
	EV32(flags),
	EV8(smi.smm),
	EV8(smi.pending),
	EV8(smi.smm_inside_nmi),
	EV8(smi.latched_init),
};
/* Exception payloads and pending triple faults need capabilities that are not enabled: KVM folds both into the other fields. */
#define EVENT_FLAGS                                                          \
	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | \
	 KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM)

static int events_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_get_vcpu_events(ac->fd, image, err), 0);
}

static int events_check(const void *image, struct err *err)
{
	const struct kvm_vcpu_events *ev = image;

	if (ev->flags & ~EVENT_FLAGS)
		return err_set(err, -EINVAL, "flags 0x%x", ev->flags);
	return 0;
}

static int events_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;

	return MIN(kvm_set_vcpu_events(ac->fd, image, err), 0);
}

const struct state_desc x86_state_events =
	STATE_DESC_("x86.events", struct kvm_vcpu_events, events_fields, events, events_check);
