/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "x86.h"

/* The in-kernel interrupt controllers and timer. */

static int get_chip(const struct arch_vm *av, uint32_t id, void *dst, size_t len_bytes,
		    struct err *err)
{
	struct kvm_irqchip chip = { .chip_id = id };
	int rc = kvm_get_irqchip(av->vm_fd, &chip, err);

	if (rc < 0)
		return rc;
	memcpy(dst, &chip.chip, len_bytes);
	return 0;
}

static int set_chip(const struct arch_vm *av, uint32_t id, const void *src, size_t len_bytes,
		    struct err *err)
{
	struct kvm_irqchip chip = { .chip_id = id };

	memcpy(&chip.chip, src, len_bytes);
	return MIN(kvm_set_irqchip(av->vm_fd, &chip, err), 0);
}

/* ---- 8259A ---- */

#define PIC8(member) STATE_FIELD_U8(struct kvm_pic_state, member)
static const struct state_field pic_fields[] = {
	PIC8(last_irr),
	PIC8(irr),
	PIC8(imr),
	PIC8(isr),
	PIC8(priority_add),
	PIC8(irq_base),
	PIC8(read_reg_select),
	PIC8(poll),
	PIC8(special_mask),
	PIC8(init_state),
	PIC8(auto_eoi),
	PIC8(rotate_on_auto_eoi),
	PIC8(special_fully_nested_mode),
	PIC8(init4),
	PIC8(elcr),
	PIC8(elcr_mask),
};
_Static_assert(sizeof(struct kvm_pic_state) == ARRAY_LEN(pic_fields), "every field is listed");

static int pic0_capture(void *dev, void *image, struct err *err)
{
	return get_chip(dev, KVM_IRQCHIP_PIC_MASTER, image, sizeof(struct kvm_pic_state), err);
}

static int pic0_apply(void *dev, const void *image, struct err *err)
{
	return set_chip(dev, KVM_IRQCHIP_PIC_MASTER, image, sizeof(struct kvm_pic_state), err);
}

static int pic1_capture(void *dev, void *image, struct err *err)
{
	return get_chip(dev, KVM_IRQCHIP_PIC_SLAVE, image, sizeof(struct kvm_pic_state), err);
}

static int pic1_apply(void *dev, const void *image, struct err *err)
{
	return set_chip(dev, KVM_IRQCHIP_PIC_SLAVE, image, sizeof(struct kvm_pic_state), err);
}

/* KVM uses these as indices and shift counts of a chip with 8 lines. */
static int pic_check(const void *image, struct err *err)
{
	const struct kvm_pic_state *pic = image;

	if (pic->priority_add > 7 || pic->init_state > 3)
		return err_set(err, -EINVAL, "priority %u, init state %u", pic->priority_add,
			       pic->init_state);
	return 0;
}

const struct state_desc x86_state_pic0 =
	STATE_DESC_("x86.pic0", struct kvm_pic_state, pic_fields, pic0, pic_check);
const struct state_desc x86_state_pic1 =
	STATE_DESC_("x86.pic1", struct kvm_pic_state, pic_fields, pic1, pic_check);

/* ---- I/O APIC ---- */

static const struct state_field ioapic_fields[] = {
	STATE_FIELD_U64(struct kvm_ioapic_state, base_address),
	STATE_FIELD_U32(struct kvm_ioapic_state, ioregsel),
	STATE_FIELD_U32(struct kvm_ioapic_state, id),
	STATE_FIELD_U32(struct kvm_ioapic_state, irr),
	STATE_FIELD_U64(struct kvm_ioapic_state, redirtbl),
};

static int ioapic_capture(void *dev, void *image, struct err *err)
{
	return get_chip(dev, KVM_IRQCHIP_IOAPIC, image, sizeof(struct kvm_ioapic_state), err);
}

static int ioapic_apply(void *dev, const void *image, struct err *err)
{
	return set_chip(dev, KVM_IRQCHIP_IOAPIC, image, sizeof(struct kvm_ioapic_state), err);
}

static int ioapic_check(const void *image, struct err *err)
{
	const struct kvm_ioapic_state *io = image;

	if (io->irr >> KVM_IOAPIC_NUM_PINS || io->ioregsel > 0xff)
		return err_set(err, -EINVAL, "irr 0x%x, ioregsel 0x%x", io->irr, io->ioregsel);
	return 0;
}

const struct state_desc x86_state_ioapic =
	STATE_DESC_("x86.ioapic", struct kvm_ioapic_state, ioapic_fields, ioapic, ioapic_check);

/* ---- 8254. When a channel was loaded is host time and KVM takes its own at set: the phase starts anew. ---- */

#define PIT_CHANNELS 3u
struct pit_image {
	uint32_t count[PIT_CHANNELS];
	uint16_t latched_count[PIT_CHANNELS];
	uint8_t count_latched[PIT_CHANNELS];
	uint8_t status_latched[PIT_CHANNELS];
	uint8_t status[PIT_CHANNELS];
	uint8_t read_state[PIT_CHANNELS];
	uint8_t write_state[PIT_CHANNELS];
	uint8_t write_latch[PIT_CHANNELS];
	uint8_t rw_mode[PIT_CHANNELS];
	uint8_t mode[PIT_CHANNELS];
	uint8_t bcd[PIT_CHANNELS];
	uint8_t gate[PIT_CHANNELS];
	uint32_t flags;
};

static const struct state_field pit_fields[] = {
	STATE_FIELD_U32(struct pit_image, count),
	STATE_FIELD_U16(struct pit_image, latched_count),
	STATE_FIELD_U8(struct pit_image, count_latched),
	STATE_FIELD_U8(struct pit_image, status_latched),
	STATE_FIELD_U8(struct pit_image, status),
	STATE_FIELD_U8(struct pit_image, read_state),
	STATE_FIELD_U8(struct pit_image, write_state),
	STATE_FIELD_U8(struct pit_image, write_latch),
	STATE_FIELD_U8(struct pit_image, rw_mode),
	STATE_FIELD_U8(struct pit_image, mode),
	STATE_FIELD_U8(struct pit_image, bcd),
	STATE_FIELD_U8(struct pit_image, gate),
	STATE_FIELD_U32(struct pit_image, flags),
};

#define PIT_FLAGS (KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON)

static int pit_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vm *av = dev;
	struct pit_image *img = image;
	struct kvm_pit_state2 pit = { 0 };
	int rc = kvm_get_pit2(av->vm_fd, &pit, err);

	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
		const struct kvm_pit_channel_state *c = &pit.channels[i];

		img->count[i] = c->count;
		img->latched_count[i] = c->latched_count;
		img->count_latched[i] = c->count_latched;
		img->status_latched[i] = c->status_latched;
		img->status[i] = c->status;
		img->read_state[i] = c->read_state;
		img->write_state[i] = c->write_state;
		img->write_latch[i] = c->write_latch;
		img->rw_mode[i] = c->rw_mode;
		img->mode[i] = c->mode;
		img->bcd[i] = c->bcd;
		img->gate[i] = c->gate;
	}
	img->flags = pit.flags & PIT_FLAGS;
	return 0;
}

static int pit_check(const void *image, struct err *err)
{
	const struct pit_image *img = image;

	for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
		/* 0xff: never programmed */
		if (img->count[i] > 0x10000 || (img->mode[i] > 5 && img->mode[i] != 0xff))
			return err_set(err, -EINVAL, "channel %u: count %u, mode %u", i,
				       img->count[i], img->mode[i]);
	}
	if (img->flags & ~PIT_FLAGS)
		return err_set(err, -EINVAL, "flags 0x%x", img->flags);
	return 0;
}

static int pit_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vm *av = dev;
	const struct pit_image *img = image;
	struct kvm_pit_state2 pit = { .flags = img->flags };

	for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
		pit.channels[i] = (struct kvm_pit_channel_state){
			.count = img->count[i],
			.latched_count = img->latched_count[i],
			.count_latched = img->count_latched[i],
			.status_latched = img->status_latched[i],
			.status = img->status[i],
			.read_state = img->read_state[i],
			.write_state = img->write_state[i],
			.write_latch = img->write_latch[i],
			.rw_mode = img->rw_mode[i],
			.mode = img->mode[i],
			.bcd = img->bcd[i],
			.gate = img->gate[i],
		};
	}
	return MIN(kvm_set_pit2(av->vm_fd, &pit, err), 0);
}

const struct state_desc x86_state_pit =
	STATE_DESC_("x86.pit", struct pit_image, pit_fields, pit, pit_check);
