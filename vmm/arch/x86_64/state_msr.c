/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/num.h"
#include "x86.h"

/* A vCPU's MSRs: {u32 index, u32 reserved, u64 value} each, in the order of KVM's list. Which ones: msr.c. */

struct msrs_image {
	uint32_t len_bytes;
	uint32_t reserved;
	struct kvm_msr_entry entry[MSR_MAX];
};
_Static_assert(sizeof(struct kvm_msr_entry) == 16, "as docs/spec/state.md says");

static const struct state_field msrs_fields[] = {
	STATE_FIELD_VBYTES(struct msrs_image, entry, len_bytes),
};

static int msrs_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct msr_list *list = &ac->av->msrs;
	struct msrs_image *img = image;
	int rc = msr_read(ac->fd, list, img->entry, err);

	if (!rc)
		img->len_bytes = list->n * (uint32_t)sizeof(img->entry[0]);
	return rc;
}

static int msrs_check(const void *image, struct err *err)
{
	const struct msrs_image *img = image;
	uint32_t n = img->len_bytes / (uint32_t)sizeof(img->entry[0]);

	if (img->len_bytes % sizeof(img->entry[0]))
		return err_set(err, -EINVAL, "MSRs of %u bytes", img->len_bytes);
	/* Nothing that a healthy source leaves out: those have side effects on guest memory or belong to other sections. */
	for (uint32_t i = 0; i < n; i++) {
		const char *reason = msr_skip_reason(img->entry[i].index);

		if (reason)
			return err_set(err, -EINVAL, "MSR 0x%x does not belong here (%s)",
				       img->entry[i].index, reason);
	}
	return 0;
}

static int msrs_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct msrs_image *img = image;

	return msr_write(ac->fd, img->entry, img->len_bytes / (uint32_t)sizeof(img->entry[0]), err);
}

const struct state_desc x86_state_msrs =
	STATE_DESC_("x86.msrs", struct msrs_image, msrs_fields, msrs, msrs_check);
