/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>

#include "base/num.h"
#include "kvm_arm64.h"
#include "state.h"
#include "sysreg.h"

/*
 * GICv3: distributor, redistributors and CPU interfaces through KVM's device attributes (Documentation/virt/kvm/devices/arm-vgic-v3.rst). Register names and offsets are those of the
 * GICv3 architecture (IHI 0069), 12.8 to 12.12.
 */

/* ---- attributes ---- */

static int access32(int fd, uint32_t group, uint64_t attr, uint32_t *value, bool write,
		    struct err *err)
{
	int rc = write ? kvm_set_device_attr(fd, group, attr, value, err) :
			 kvm_get_device_attr(fd, group, attr, value, err);

	return MIN(rc, 0);
}

int arm64_gic_affinity(const struct arch_vcpu *vcpu, uint64_t *ret, struct err *err)
{
	uint64_t mpidr;
	int rc = kvm_get_one_reg(vcpu->fd, ARM64_MPIDR_EL1, &mpidr, err);

	if (rc < 0)
		return rc;
	/* Aff3 is in bits 39-32 of the register and in 31-24 of the attribute's upper half. */
	*ret = ((mpidr >> 8 & 0xff000000) | (mpidr & 0xffffff)) << 32;
	return 0;
}

/* ---- distributor ---- */

#define GICD_CTLR 0x0000u
#define GICD_TYPER 0x0004u
#define GICD_IIDR 0x0008u
#define GICD_STATUSR 0x0010u
#define GICD_IGROUPR 0x0080u
#define GICD_ISENABLER 0x0100u
#define GICD_ICENABLER 0x0180u
#define GICD_ISPENDR 0x0200u
#define GICD_ISACTIVER 0x0300u
#define GICD_ICACTIVER 0x0380u
#define GICD_IPRIORITYR 0x0400u
#define GICD_ICFGR 0x0c00u
#define GICD_IROUTER 0x6000u
#define STATUSR_MASK 0xfu

#define PRIVATE_IRQS 32u /* SGIs and PPIs, which are the redistributors' */
#define MAX_SPIS (1024u - PRIVATE_IRQS)

/* Arrays for each shared interrupt, as the registers hold them; lengths in bytes. */
struct gicd_image {
	uint32_t nirqs;
	uint32_t ctlr, statusr, iidr;
	uint32_t igroupr_len, isenabler_len, ispendr_len, isactiver_len, level_len, ipriorityr_len,
		icfgr_len, irouter_len;
	uint32_t igroupr[MAX_SPIS / 32];
	uint32_t isenabler[MAX_SPIS / 32];
	uint32_t ispendr[MAX_SPIS / 32];
	uint32_t isactiver[MAX_SPIS / 32];
	uint32_t level[MAX_SPIS / 32];
	uint32_t ipriorityr[MAX_SPIS / 4];
	uint32_t icfgr[MAX_SPIS / 16];
	uint32_t irouter[MAX_SPIS]; /* bits 31-0; no vCPU has an Aff3 */
};

#define GICD32(member) STATE_FIELD_(struct gicd_image, member, STATE_U32, 1)
#define GICD_ARRAY(member) STATE_FIELD_VBYTES(struct gicd_image, member, member##_len)
static const struct state_field gicd_fields[] = {
	GICD32(nirqs),       GICD32(ctlr),           GICD32(statusr),     GICD32(iidr),
	GICD_ARRAY(igroupr), GICD_ARRAY(isenabler),  GICD_ARRAY(ispendr), GICD_ARRAY(isactiver),
	GICD_ARRAY(level),   GICD_ARRAY(ipriorityr), GICD_ARRAY(icfgr),   GICD_ARRAY(irouter),
};

/*
 * The arrays in the order of apply. What an interrupt is comes before what it is doing. ISPENDR here is the latch alone, which an interrupt of a level line has beside its line; setting it also
 * clears it, unlike the architecture's register, and so needs no counterpart.
 */
static const struct bank {
	const char *name;
	uint32_t group;
	uint32_t first; /* offset of the register of INTID 32 */
	uint32_t stride; /* from one to the next */
	uint32_t per_word; /* interrupts a register */
	uint32_t clear; /* offset of the register that clears what this one only sets; 0: none */
	size_t data_at, len_at;
} banks[] = {
#define BANK(reg, bits, member, clear_reg)                                                        \
	{                                                                                         \
		.name = #reg, .group = KVM_DEV_ARM_VGIC_GRP_DIST_REGS,                            \
		.first = (reg) + PRIVATE_IRQS * (bits) / 8, .stride = 4, .per_word = 32 / (bits), \
		.clear = (clear_reg) ? (clear_reg) + 4 : 0,                                       \
		.data_at = offsetof(struct gicd_image, member),                                   \
		.len_at = offsetof(struct gicd_image, member##_len)                               \
	}
	BANK(GICD_IGROUPR, 1, igroupr, 0),
	BANK(GICD_ICFGR, 2, icfgr, 0),
	BANK(GICD_IPRIORITYR, 8, ipriorityr, 0),
	{ .name = "GICD_IROUTER",
	  .group = KVM_DEV_ARM_VGIC_GRP_DIST_REGS,
	  .first = GICD_IROUTER + PRIVATE_IRQS * 8,
	  .stride = 8,
	  .per_word = 1,
	  .data_at = offsetof(struct gicd_image, irouter),
	  .len_at = offsetof(struct gicd_image, irouter_len) },
	{ .name = "line level",
	  .group = KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO,
	  .first = VGIC_LEVEL_INFO_LINE_LEVEL << KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT |
		   PRIVATE_IRQS,
	  .stride = 32, /* the attribute counts interrupts */
	  .per_word = 32,
	  .data_at = offsetof(struct gicd_image, level),
	  .len_at = offsetof(struct gicd_image, level_len) },
	BANK(GICD_ISPENDR, 1, ispendr, 0),
	BANK(GICD_ISACTIVER, 1, isactiver, GICD_ICACTIVER),
	BANK(GICD_ISENABLER, 1, isenabler, GICD_ICENABLER),
};

static int gicd_access(const struct arch_vm *av, uint32_t offset, uint32_t *value, bool write,
		       struct err *err)
{
	return access32(av->gic_fd, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset, value, write, err);
}

static int access_bank(const struct arch_vm *av, const struct bank *b, uint8_t *image, bool write,
		       struct err *err)
{
	uint32_t n = (av->nirqs - PRIVATE_IRQS) / b->per_word, all = ~0u, len = n * 4;
	uint32_t *word = (void *)(image + b->data_at);
	int rc = 0;

	for (uint32_t i = 0; !rc && i < n; i++) {
		if (write && b->clear)
			rc = gicd_access(av, b->clear + i * 4, &all, true, err);
		if (!rc)
			rc = access32(av->gic_fd, b->group, b->first + i * b->stride, &word[i],
				      write, err);
	}
	if (rc) {
		err_prefix(err, "%s", b->name);
		return rc;
	}
	*(uint32_t *)(void *)(image + b->len_at) = len;
	return 0;
}

static int gicd_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vm *av = dev;
	struct gicd_image *img = image;
	int rc = gicd_access(av, GICD_CTLR, &img->ctlr, false, err);

	if (!rc)
		rc = gicd_access(av, GICD_STATUSR, &img->statusr, false, err);
	if (!rc)
		rc = gicd_access(av, GICD_IIDR, &img->iidr, false, err);
	for (unsigned int i = 0; !rc && i < ARRAY_LEN(banks); i++)
		rc = access_bank(av, &banks[i], image, false, err);
	img->statusr &= STATUSR_MASK;
	img->nirqs = av->nirqs;
	return rc;
}

static int gicd_check(const void *image, struct err *err)
{
	const struct gicd_image *img = image;

	if (img->nirqs < 64 || img->nirqs > 1024 || img->nirqs % 32)
		return err_set(err, -EINVAL, "%u interrupts", img->nirqs);
	if (img->statusr & ~STATUSR_MASK)
		return err_set(err, -EINVAL, "GICD_STATUSR 0x%x", img->statusr);
	for (unsigned int i = 0; i < ARRAY_LEN(banks); i++) {
		uint32_t len =
			*(const uint32_t *)(const void *)((const uint8_t *)image + banks[i].len_at);

		if (len != (img->nirqs - PRIVATE_IRQS) / banks[i].per_word * 4)
			return err_set(err, -EINVAL, "%s of %u bytes for %u interrupts",
				       banks[i].name, len, img->nirqs);
	}
	return 0;
}

/*
 * The revision first, as arm-vgic-v3.rst asks: other registers depend on it. Then the control register, although one would set it last: KVM queues an interrupt that becomes pending for its
 * vCPU only while the distributor is enabled, and enabling it does not look for those that are pending already. No vCPU runs, so that nothing can be taken too
 * early.
 */
static int gicd_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vm *av = dev;
	struct gicd_image img = *(const struct gicd_image *)image;
	int rc;

	if (img.nirqs != av->nirqs)
		return err_set(err, -EINVAL, "%u interrupts, this GIC has %u", img.nirqs,
			       av->nirqs);
	rc = gicd_access(av, GICD_IIDR, &img.iidr, true, err);
	if (!rc)
		rc = gicd_access(av, GICD_CTLR, &img.ctlr, true, err);
	if (!rc)
		rc = gicd_access(av, GICD_STATUSR, &img.statusr, true, err);
	for (unsigned int i = 0; !rc && i < ARRAY_LEN(banks); i++)
		rc = access_bank(av, &banks[i], (uint8_t *)&img, true, err);
	return rc;
}

const struct state_desc arm64_state_gicd =
	STATE_DESC_("arm64.gicd", struct gicd_image, gicd_fields, gicd, gicd_check);

/* ---- redistributors ---- */

#define SGI_FRAME 0x10000u
struct gicr_image {
	uint32_t ctlr, statusr, waker;
	uint32_t propbaser[2], pendbaser[2]; /* low and high word */
	uint32_t igroupr0, isenabler0, ispendr0, isactiver0, level;
	uint32_t ipriorityr[8];
	uint32_t icfgr[2];
};

/* In the order of apply: the LPI tables are fixed once GICR_CTLR enables LPIs, so that it comes last; otherwise as for the distributor. */
static const struct gicr_register {
	const char *name;
	size_t at; /* in the image */
	uint32_t count;
	uint32_t offset;
	uint32_t clear;
} gicr_registers[] = {
#define GICR(reg, member, off, clear_off)                                               \
	{                                                                               \
		.name = (reg), .at = offsetof(struct gicr_image, member),               \
		.count = sizeof(((struct gicr_image *)0)->member) / 4, .offset = (off), \
		.clear = (clear_off)                                                    \
	}
#define GICR_LEVEL UINT32_MAX /* an attribute of its own */
	GICR("GICR_STATUSR", statusr, 0x10, 0),
	GICR("GICR_WAKER", waker, 0x14, 0),
	GICR("GICR_PROPBASER", propbaser, 0x70, 0),
	GICR("GICR_PENDBASER", pendbaser, 0x78, 0),
	GICR("GICR_IGROUPR0", igroupr0, SGI_FRAME + 0x80, 0),
	GICR("GICR_ICFGR", icfgr, SGI_FRAME + 0xc00, 0),
	GICR("GICR_IPRIORITYR", ipriorityr, SGI_FRAME + 0x400, 0),
	GICR("line level", level, GICR_LEVEL, 0),
	GICR("GICR_ISPENDR0", ispendr0, SGI_FRAME + 0x200, 0),
	GICR("GICR_ISACTIVER0", isactiver0, SGI_FRAME + 0x300, SGI_FRAME + 0x380),
	GICR("GICR_ISENABLER0", isenabler0, SGI_FRAME + 0x100, SGI_FRAME + 0x180),
	GICR("GICR_CTLR", ctlr, 0, 0),
};

#define GICR_FIELD(member)                                 \
	STATE_FIELD_(struct gicr_image, member, STATE_U32, \
		     sizeof(((struct gicr_image *)0)->member) / 4)
static const struct state_field gicr_fields[] = {
	GICR_FIELD(ctlr),       GICR_FIELD(statusr),  GICR_FIELD(waker),      GICR_FIELD(propbaser),
	GICR_FIELD(pendbaser),  GICR_FIELD(igroupr0), GICR_FIELD(isenabler0), GICR_FIELD(ispendr0),
	GICR_FIELD(isactiver0), GICR_FIELD(level),    GICR_FIELD(ipriorityr), GICR_FIELD(icfgr),
};
_Static_assert(ARRAY_LEN(gicr_fields) == ARRAY_LEN(gicr_registers), "every register is listed");

static int access_gicr(const struct arch_vm *av, uint64_t affinity, const struct gicr_register *r,
		       uint32_t *word, bool write, struct err *err)
{
	uint32_t all = ~0u;
	int rc = 0;

	if (r->offset == GICR_LEVEL)
		return access32(av->gic_fd, KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO,
				affinity | VGIC_LEVEL_INFO_LINE_LEVEL
						   << KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT,
				word, write, err);
	if (write && r->clear)
		rc = access32(av->gic_fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, affinity | r->clear,
			      &all, true, err);
	for (uint32_t i = 0; !rc && i < r->count; i++)
		rc = access32(av->gic_fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
			      affinity | (r->offset + i * 4), &word[i], write, err);
	return rc;
}

static int access_all_gicr(const struct arch_vcpu *ac, struct gicr_image *img, bool write,
			   struct err *err)
{
	uint64_t affinity;
	int rc = arm64_gic_affinity(ac, &affinity, err);

	for (unsigned int i = 0; !rc && i < ARRAY_LEN(gicr_registers); i++) {
		const struct gicr_register *r = &gicr_registers[i];

		rc = access_gicr(ac->vm, affinity, r, (void *)((uint8_t *)img + r->at), write, err);
		if (rc)
			err_prefix(err, "%s", r->name);
	}
	return rc;
}

static int gicr_capture(void *dev, void *image, struct err *err)
{
	struct gicr_image *img = image;
	int rc = access_all_gicr(dev, img, false, err);

	img->statusr &= STATUSR_MASK;
	return rc;
}

static int gicr_check(const void *image, struct err *err)
{
	const struct gicr_image *img = image;

	if (img->statusr & ~STATUSR_MASK)
		return err_set(err, -EINVAL, "GICR_STATUSR 0x%x", img->statusr);
	return 0;
}

static int gicr_apply(void *dev, const void *image, struct err *err)
{
	struct gicr_image img = *(const struct gicr_image *)image;

	return access_all_gicr(dev, &img, true, err);
}

const struct state_desc arm64_state_gicr =
	STATE_DESC_("arm64.gicr", struct gicr_image, gicr_fields, gicr, gicr_check);

/* ---- CPU interface ---- */

#define ICC_CTLR_EL1 ARM64_SYSREG_ENC(3, 0, 12, 12, 4)
struct icc_image {
	uint64_t sre, ctlr, pmr, bpr0, bpr1, igrpen0, igrpen1;
	uint64_t ap0r[4], ap1r[4]; /* as many as there are priorities for; others zero */
};

#define ICC_FIELD(member)                                 \
	STATE_FIELD_(struct icc_image, member, STATE_U64, \
		     sizeof(((struct icc_image *)0)->member) / 8)
static const struct state_field icc_fields[] = {
	ICC_FIELD(sre),     ICC_FIELD(ctlr),    ICC_FIELD(pmr),  ICC_FIELD(bpr0), ICC_FIELD(bpr1),
	ICC_FIELD(igrpen0), ICC_FIELD(igrpen1), ICC_FIELD(ap0r), ICC_FIELD(ap1r),
};

/* In the order of apply: ICC_CTLR_EL1 fixes how many priorities there are and which of the binary points counts. */
static const struct icc_register {
	const char *name;
	uint32_t enc;
	size_t at;
	bool active; /* one of the active priorities' registers: op2 counts up */
} icc_registers[] = {
	{ "ICC_SRE_EL1", ARM64_SYSREG_ENC(3, 0, 12, 12, 5), offsetof(struct icc_image, sre),
	  false },
	{ "ICC_CTLR_EL1", ICC_CTLR_EL1, offsetof(struct icc_image, ctlr), false },
	{ "ICC_PMR_EL1", ARM64_SYSREG_ENC(3, 0, 4, 6, 0), offsetof(struct icc_image, pmr), false },
	{ "ICC_BPR0_EL1", ARM64_SYSREG_ENC(3, 0, 12, 8, 3), offsetof(struct icc_image, bpr0),
	  false },
	{ "ICC_BPR1_EL1", ARM64_SYSREG_ENC(3, 0, 12, 12, 3), offsetof(struct icc_image, bpr1),
	  false },
	{ "ICC_AP0R_EL1", ARM64_SYSREG_ENC(3, 0, 12, 8, 4), offsetof(struct icc_image, ap0r),
	  true },
	{ "ICC_AP1R_EL1", ARM64_SYSREG_ENC(3, 0, 12, 9, 0), offsetof(struct icc_image, ap1r),
	  true },
	{ "ICC_IGRPEN0_EL1", ARM64_SYSREG_ENC(3, 0, 12, 12, 6), offsetof(struct icc_image, igrpen0),
	  false },
	{ "ICC_IGRPEN1_EL1", ARM64_SYSREG_ENC(3, 0, 12, 12, 7), offsetof(struct icc_image, igrpen1),
	  false },
};

static int icc_access(const struct arch_vm *av, uint64_t affinity, uint32_t enc, uint64_t *value,
		      bool write, struct err *err)
{
	uint64_t attr = affinity | enc;
	int rc = write ? kvm_set_device_attr(av->gic_fd, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attr,
					     value, err) :
			 kvm_get_device_attr(av->gic_fd, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attr,
					     value, err);

	return MIN(rc, 0);
}

/* How many ICC_AP<g>R<n>_EL1 there are, of 32 preemption levels each: 5 bits of priority (PRIbits, which is one less) need one, 6 two, 7 four. */
static uint32_t active_registers(uint64_t icc_ctlr)
{
	unsigned int bits = (unsigned int)(icc_ctlr >> 8 & 7) + 1;

	return bits >= 7 ? 4 : bits == 6 ? 2 : 1;
}

static int access_all_icc(const struct arch_vcpu *ac, struct icc_image *img, bool write,
			  struct err *err)
{
	uint64_t affinity;
	int rc = arm64_gic_affinity(ac, &affinity, err);

	for (unsigned int i = 0; !rc && i < ARRAY_LEN(icc_registers); i++) {
		const struct icc_register *r = &icc_registers[i];
		uint32_t n = r->active ? active_registers(img->ctlr) : 1;
		uint64_t *value = (void *)((uint8_t *)img + r->at);

		for (uint32_t k = 0; !rc && k < n; k++)
			rc = icc_access(ac->vm, affinity, r->enc + k, &value[k], write, err);
		if (rc)
			err_prefix(err, "%s", r->name);
	}
	return rc;
}

static int icc_capture(void *dev, void *image, struct err *err)
{
	return access_all_icc(dev, image, false, err);
}

static int icc_check(const void *image, struct err *err)
{
	const struct icc_image *img = image;

	for (uint32_t k = active_registers(img->ctlr); k < 4; k++) {
		if (img->ap0r[k] || img->ap1r[k])
			return err_set(err, -EINVAL,
				       "active priorities in register %u, which there is not", k);
	}
	return 0;
}

static int icc_apply(void *dev, const void *image, struct err *err)
{
	struct icc_image img = *(const struct icc_image *)image;

	return access_all_icc(dev, &img, true, err);
}

const struct state_desc arm64_state_icc =
	STATE_DESC_("arm64.icc", struct icc_image, icc_fields, icc, icc_check);

/* ---- what does not change ---- */

int arm64_gic_describe(struct arch_vm *av, struct cpu_model_gic *ret, struct err *err)
{
	uint64_t affinity;
	int rc = arm64_gic_affinity(av->vcpu[0], &affinity, err);

	*ret = (struct cpu_model_gic){ .nirqs = av->nirqs, .has_its = av->its_fd >= 0 };
	if (!rc)
		rc = gicd_access(av, GICD_TYPER, &ret->gicd_typer, false, err);
	if (!rc)
		rc = gicd_access(av, GICD_IIDR, &ret->gicd_iidr, false, err);
	if (!rc)
		rc = icc_access(av, affinity, ICC_CTLR_EL1, &ret->icc_ctlr, false, err);
	if (!rc && ret->has_its)
		rc = arm64_its_describe(av, ret, err);
	return rc;
}
