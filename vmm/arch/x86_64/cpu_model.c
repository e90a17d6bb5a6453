/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/state.h"
#include "kvm_x86.h"
#include "msr.h"

/* ---- images; on x86 host order is the format's order ---- */

struct cpuid_image_entry {
	uint32_t function, index, flags, eax, ebx, ecx, edx;
};
_Static_assert(sizeof(struct cpuid_image_entry) == 28, "as docs/spec/state.md says");

struct cpuid_image {
	uint32_t len_bytes;
	struct cpuid_image_entry entry[CPUID_MAX_ENTRIES];
};

struct msr_image {
	uint32_t len_bytes;
	uint32_t reserved;
	struct cpu_model_msr msr[CPU_MODEL_MAX_MSRS];
};
_Static_assert(sizeof(struct cpu_model_msr) == 16, "as docs/spec/state.md says");

struct tsc_image {
	uint32_t khz;
};

struct xsave_image {
	uint32_t len_bytes;
	uint64_t xcr0;
};

static const struct state_field cpuid_fields[] = {
	STATE_FIELD_VBYTES(struct cpuid_image, entry, len_bytes),
};
static const struct state_field msr_fields[] = {
	STATE_FIELD_VBYTES(struct msr_image, msr, len_bytes),
};
static const struct state_field tsc_fields[] = {
	STATE_FIELD_U32(struct tsc_image, khz),
};
static const struct state_field xsave_fields[] = {
	STATE_FIELD_U32(struct xsave_image, len_bytes),
	STATE_FIELD_U64(struct xsave_image, xcr0),
};

static int cpuid_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;
	struct cpuid_image *img = image;

	for (uint32_t i = 0; i < m->cpuid.nentries; i++) {
		const struct kvm_cpuid_entry2 *e = &m->cpuid.entry[i];

		img->entry[i] = (struct cpuid_image_entry){
			e->function, e->index, e->flags, e->eax, e->ebx, e->ecx, e->edx,
		};
	}
	img->len_bytes = m->cpuid.nentries * (uint32_t)sizeof(img->entry[0]);
	return 0;
}

static int cpuid_check_image(const void *image, struct err *err)
{
	const struct cpuid_image *img = image;
	uint32_t n = img->len_bytes / (uint32_t)sizeof(img->entry[0]);

	/* 6 entries stay free: cpuid_for_vcpu adds the topology leaves. */
	if (img->len_bytes % sizeof(img->entry[0]) || !n || n > CPUID_MAX_ENTRIES - 8)
		return err_set(err, -EINVAL, "CPUID table of %u bytes", img->len_bytes);
	for (uint32_t i = 0; i < n; i++) {
		if (img->entry[i].flags & ~(uint32_t)KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
			return err_set(err, -EINVAL, "CPUID entry %u has flags 0x%x", i,
				       img->entry[i].flags);
	}
	return 0;
}

static int cpuid_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;
	const struct cpuid_image *img = image;

	m->cpuid.nentries = img->len_bytes / (uint32_t)sizeof(img->entry[0]);
	for (uint32_t i = 0; i < m->cpuid.nentries; i++) {
		const struct cpuid_image_entry *e = &img->entry[i];

		m->cpuid.entry[i] = (struct kvm_cpuid_entry2){
			.function = e->function,
			.index = e->index,
			.flags = e->flags,
			.eax = e->eax,
			.ebx = e->ebx,
			.ecx = e->ecx,
			.edx = e->edx,
		};
	}
	return 0;
}

static int msr_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;
	struct msr_image *img = image;

	memcpy(img->msr, m->msr, sizeof(img->msr));
	img->len_bytes = m->nmsrs * (uint32_t)sizeof(img->msr[0]);
	return 0;
}

static int msr_check_image(const void *image, struct err *err)
{
	const struct msr_image *img = image;

	if (img->len_bytes % sizeof(img->msr[0]))
		return err_set(err, -EINVAL, "feature MSRs of %u bytes", img->len_bytes);
	return 0;
}

static int msr_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;
	const struct msr_image *img = image;

	memcpy(m->msr, img->msr, sizeof(m->msr));
	m->nmsrs = img->len_bytes / (uint32_t)sizeof(img->msr[0]);
	return 0;
}

static int tsc_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;
	struct tsc_image *img = image;

	img->khz = m->tsc_khz;
	return 0;
}

static int tsc_check_image(const void *image, struct err *err)
{
	const struct tsc_image *img = image;

	if (img->khz < 1000 || img->khz > 100000000)
		return err_set(err, -EINVAL, "TSC frequency of %u kHz", img->khz);
	return 0;
}

static int tsc_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;
	const struct tsc_image *img = image;

	m->tsc_khz = img->khz;
	return 0;
}

static int xsave_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;
	struct xsave_image *img = image;

	img->len_bytes = m->xsave_bytes;
	img->xcr0 = m->xcr0;
	return 0;
}

static int xsave_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;
	const struct xsave_image *img = image;

	m->xsave_bytes = img->len_bytes;
	m->xcr0 = img->xcr0;
	return 0;
}

static const struct state_desc model_desc[] = {
	STATE_DESC_("x86.cpuid", struct cpuid_image, cpuid_fields, cpuid, cpuid_check_image),
	STATE_DESC_("x86.msr-features", struct msr_image, msr_fields, msr, msr_check_image),
	STATE_DESC_("x86.tsc", struct tsc_image, tsc_fields, tsc, tsc_check_image),
	STATE_DESC_("x86.xsave-area", struct xsave_image, xsave_fields, xsave, NULL),
};

int cpu_model_encode(const struct cpu_model *model, struct buf *out, struct err *err)
{
	/* capture reads only */
	return state_save_parts(model_desc, ARRAY_LEN(model_desc),
				(struct cpu_model *)(uintptr_t)model, out, err);
}

int cpu_model_decode(const void *data, size_t len_bytes, struct cpu_model *ret, struct err *err)
{
	cleanup_free struct cpu_model *model = calloc(1, sizeof(*model));
	int rc;

	if (!model)
		return err_set(err, -ENOMEM, "no memory for the cpu model");
	rc = state_load_parts(model_desc, ARRAY_LEN(model_desc), model, data, len_bytes, err);
	if (!rc)
		*ret = *model;
	return rc;
}

/* ---- the host's own model ---- */

/* Feature MSRs that a guest with our CPUID can read, and which of their bits mean "worse" (SDM vol. 4, IA32_ARCH_CAPABILITIES). */
static const struct feature_msr {
	uint32_t index;
	const char *name;
	uint64_t not_features;
} feature_msrs[] = {
	{ MSR_IA32_ARCH_CAPABILITIES, "IA32_ARCH_CAPABILITIES", 1ull << 2 | 1ull << 19 },
	{ 0xc0011029, "AMD DE_CFG", 0 },
};

int cpu_model_host(int kvm_fd, uint32_t xsave_bytes, struct cpu_model *ret, struct err *err)
{
	const struct kvm_cpuid_entry2 *leaf_d;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = cpuid_host(kvm_fd, &ret->cpuid, err);
	if (rc)
		return rc;
	leaf_d = cpuid_find(&ret->cpuid, 0xd, 0);
	ret->xcr0 = leaf_d ? leaf_d->eax | (uint64_t)leaf_d->edx << 32 : 0;
	ret->xsave_bytes = xsave_bytes;
	for (unsigned int i = 0; i < ARRAY_LEN(feature_msrs); i++) {
		union msr_batch b = { .head = { .nmsrs = 1 } };

		b.head.entries[0].index = feature_msrs[i].index;
		/* -EINVAL or 0: this host has no such feature MSR. */
		if (kvm_get_msrs(kvm_fd, &b.head, NULL) != 1)
			continue;
		ret->msr[ret->nmsrs++] = (struct cpu_model_msr){
			.index = b.head.entries[0].index,
			.value = b.head.entries[0].data,
		};
	}
	return 0;
}

void cpu_model_guest_default(const struct cpu_model *host, struct cpu_model *ret)
{
	*ret = *host;
	cpuid_guest_default(&host->cpuid, &ret->cpuid);
}

static int check_msr(const struct cpu_model_msr *s, const struct cpu_model *host, struct err *err)
{
	const struct feature_msr *known = NULL;
	uint64_t value = 0, missing;

	for (unsigned int i = 0; i < ARRAY_LEN(feature_msrs); i++) {
		if (feature_msrs[i].index == s->index)
			known = &feature_msrs[i];
	}
	if (!known)
		return err_set(err, -EOPNOTSUPP,
			       "the guest relies on feature MSR 0x%x, unknown here", s->index);
	for (uint32_t i = 0; i < host->nmsrs; i++) {
		if (host->msr[i].index == s->index)
			value = host->msr[i].value;
	}
	missing = s->value & ~value & ~known->not_features;
	if (missing)
		return err_set(err, -EOPNOTSUPP, "destination lacks bit %u of %s (MSR 0x%x)",
			       (unsigned int)__builtin_ctzll(missing), known->name, s->index);
	return 0;
}

int cpu_model_check(const struct cpu_model *source, const struct cpu_model *host, struct err *err)
{
	int rc = cpuid_check(&source->cpuid, &host->cpuid, err);

	for (uint32_t i = 0; !rc && i < source->nmsrs; i++)
		rc = check_msr(&source->msr[i], host, err);
	if (rc)
		return rc;
	if (source->xcr0 & ~host->xcr0)
		return err_set(err, -EOPNOTSUPP, "destination lacks XSAVE component %u",
			       (unsigned int)__builtin_ctzll(source->xcr0 & ~host->xcr0));
	if (source->xsave_bytes > host->xsave_bytes)
		return err_set(err, -EOPNOTSUPP,
			       "destination's XSAVE area has %u bytes, the guest's has %u",
			       host->xsave_bytes, source->xsave_bytes);
	return 0;
}

int cpu_model_check_tsc(uint32_t source_khz, uint32_t host_khz, bool can_scale, bool *ret_scale,
			struct err *err)
{
	uint64_t diff = source_khz > host_khz ? source_khz - host_khz : host_khz - source_khz;

	*ret_scale = false;
	if (diff * 1000000 <= (uint64_t)source_khz * CPU_MODEL_TSC_PPM)
		return 0;
	if (!can_scale)
		return err_set(
			err, -EOPNOTSUPP,
			"destination's TSC runs at %u kHz, the guest's at %u kHz, and KVM cannot scale it here",
			host_khz, source_khz);
	*ret_scale = true;
	return 0;
}
