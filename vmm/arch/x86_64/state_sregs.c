/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "x86.h"

/* Segment, descriptor table and control registers. KVM_GET_SREGS2 where there is one (it has the PAE page directory pointers), else KVM_GET_SREGS; both
 * give the same section. The pending interrupt that the older call reports too is in x86.events. */

#define NSEGMENTS 8u /* cs ds es fs gs ss tr ldt */

struct sregs_image {
	uint64_t seg_base[NSEGMENTS];
	uint32_t seg_limit[NSEGMENTS];
	uint16_t seg_selector[NSEGMENTS];
	uint16_t
		seg_attr[NSEGMENTS]; /* layout of the VMCS' access rights: SDM vol. 3, table 25-2 */
	uint64_t gdt_base;
	uint64_t idt_base;
	uint16_t gdt_limit;
	uint16_t idt_limit;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer;
	uint64_t apic_base;
	uint8_t pdptrs_valid;
	uint64_t pdptrs[4];
};

#define F(type, member) STATE_FIELD_##type(struct sregs_image, member)
static const struct state_field sregs_fields[] = {
	F(U64, seg_base), F(U32, seg_limit), F(U16, seg_selector), F(U16, seg_attr),
	F(U64, gdt_base), F(U64, idt_base),  F(U16, gdt_limit),    F(U16, idt_limit),
	F(U64, cr0),      F(U64, cr2),       F(U64, cr3),          F(U64, cr4),
	F(U64, cr8),      F(U64, efer),      F(U64, apic_base),    F(U8, pdptrs_valid),
	F(U64, pdptrs),
};

enum {
	ATTR_S = 1 << 4,
	ATTR_DPL_SHIFT = 5,
	ATTR_PRESENT = 1 << 7,
	ATTR_AVL = 1 << 12,
	ATTR_L = 1 << 13,
	ATTR_DB = 1 << 14,
	ATTR_G = 1 << 15,
	/* Bit 16 in the VMCS; the bits between 8 and 11 are reserved there. */
	ATTR_UNUSABLE = 1 << 8,
	ATTR_RESERVED = 0x0e00,
};

static uint16_t pack_attr(const struct kvm_segment *s)
{
	unsigned int a = (s->type & 0xfu) | (unsigned int)(s->dpl & 3) << ATTR_DPL_SHIFT;

	a |= s->s ? ATTR_S : 0;
	a |= s->present ? ATTR_PRESENT : 0;
	a |= s->avl ? ATTR_AVL : 0;
	a |= s->l ? ATTR_L : 0;
	a |= s->db ? ATTR_DB : 0;
	a |= s->g ? ATTR_G : 0;
	a |= s->unusable ? ATTR_UNUSABLE : 0;
	return (uint16_t)a;
}

static void pack_segment(const struct kvm_segment *s, unsigned int i, struct sregs_image *img)
{
	img->seg_base[i] = s->base;
	img->seg_limit[i] = s->limit;
	img->seg_selector[i] = s->selector;
	img->seg_attr[i] = pack_attr(s);
}

static struct kvm_segment unpack_segment(const struct sregs_image *img, unsigned int i)
{
	uint16_t a = img->seg_attr[i];

	return (struct kvm_segment){
		.base = img->seg_base[i],
		.limit = img->seg_limit[i],
		.selector = img->seg_selector[i],
		.type = a & 0xf,
		.present = !!(a & ATTR_PRESENT),
		.dpl = a >> ATTR_DPL_SHIFT & 3,
		.db = !!(a & ATTR_DB),
		.s = !!(a & ATTR_S),
		.l = !!(a & ATTR_L),
		.g = !!(a & ATTR_G),
		.avl = !!(a & ATTR_AVL),
		.unusable = !!(a & ATTR_UNUSABLE),
	};
}

/* The two structures share their first part, member by member. */
#define PACK(img, r)                               \
	do {                                       \
		pack_segment(&(r)->cs, 0, (img));  \
		pack_segment(&(r)->ds, 1, (img));  \
		pack_segment(&(r)->es, 2, (img));  \
		pack_segment(&(r)->fs, 3, (img));  \
		pack_segment(&(r)->gs, 4, (img));  \
		pack_segment(&(r)->ss, 5, (img));  \
		pack_segment(&(r)->tr, 6, (img));  \
		pack_segment(&(r)->ldt, 7, (img)); \
		(img)->gdt_base = (r)->gdt.base;   \
		(img)->gdt_limit = (r)->gdt.limit; \
		(img)->idt_base = (r)->idt.base;   \
		(img)->idt_limit = (r)->idt.limit; \
		(img)->cr0 = (r)->cr0;             \
		(img)->cr2 = (r)->cr2;             \
		(img)->cr3 = (r)->cr3;             \
		(img)->cr4 = (r)->cr4;             \
		(img)->cr8 = (r)->cr8;             \
		(img)->efer = (r)->efer;           \
		(img)->apic_base = (r)->apic_base; \
	} while (0)

#define UNPACK(img, r)                               \
	do {                                         \
		(r)->cs = unpack_segment((img), 0);  \
		(r)->ds = unpack_segment((img), 1);  \
		(r)->es = unpack_segment((img), 2);  \
		(r)->fs = unpack_segment((img), 3);  \
		(r)->gs = unpack_segment((img), 4);  \
		(r)->ss = unpack_segment((img), 5);  \
		(r)->tr = unpack_segment((img), 6);  \
		(r)->ldt = unpack_segment((img), 7); \
		(r)->gdt.base = (img)->gdt_base;     \
		(r)->gdt.limit = (img)->gdt_limit;   \
		(r)->idt.base = (img)->idt_base;     \
		(r)->idt.limit = (img)->idt_limit;   \
		(r)->cr0 = (img)->cr0;               \
		(r)->cr2 = (img)->cr2;               \
		(r)->cr3 = (img)->cr3;               \
		(r)->cr4 = (img)->cr4;               \
		(r)->cr8 = (img)->cr8;               \
		(r)->efer = (img)->efer;             \
		(r)->apic_base = (img)->apic_base;   \
	} while (0)

static int sregs_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	struct sregs_image *img = image;
	struct kvm_sregs2 s2 = { 0 };
	struct kvm_sregs s;
	int rc;

	if (!ac->av->has_sregs2) {
		rc = kvm_get_sregs(ac->fd, &s, err);
		if (rc < 0)
			return rc;
		PACK(img, &s);
		return 0;
	}
	rc = kvm_get_sregs2(ac->fd, &s2, err);
	if (rc < 0)
		return rc;
	PACK(img, &s2);
	img->pdptrs_valid = !!(s2.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID);
	if (img->pdptrs_valid)
		memcpy(img->pdptrs, s2.pdptrs, sizeof(img->pdptrs));
	return 0;
}

static int sregs_check(const void *image, struct err *err)
{
	const struct sregs_image *img = image;

	for (unsigned int i = 0; i < NSEGMENTS; i++) {
		if (img->seg_attr[i] & ATTR_RESERVED)
			return err_set(err, -EINVAL, "segment %u has attributes 0x%x", i,
				       img->seg_attr[i]);
	}
	if (img->pdptrs_valid > 1)
		return err_set(err, -EINVAL, "pdptrs_valid is %u", img->pdptrs_valid);
	return 0;
}

static int sregs_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct sregs_image *img = image;
	struct kvm_sregs2 s2 = { 0 };
	struct kvm_sregs s = { 0 };

	if (!ac->av->has_sregs2) {
		/* Without the pointers KVM loads them from guest memory, which is there by now. */
		UNPACK(img, &s);
		return MIN(kvm_set_sregs(ac->fd, &s, err), 0);
	}
	UNPACK(img, &s2);
	if (img->pdptrs_valid) {
		s2.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(s2.pdptrs, img->pdptrs, sizeof(s2.pdptrs));
	}
	return MIN(kvm_set_sregs2(ac->fd, &s2, err), 0);
}

const struct state_desc x86_state_sregs =
	STATE_DESC_("x86.sregs", struct sregs_image, sregs_fields, sregs, sregs_check);
