/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/num.h"
#include "kvm_arm64.h"
#include "state.h"

/*
 * The ITS (Documentation/virt/kvm/devices/arm-vgic-its.rst). Its tables of devices, collections and translations are in guest memory, where the guest gave it room, and in KVM's own form
 * while the VM runs; so are the LPIs' pending bits. Capturing writes them to guest memory: it has to come before the last look at the dirty log, which notes those
 * pages. Applying reads them back from memory that has arrived completely.
 */

#define GITS_CTLR 0x000u
#define GITS_IIDR 0x004u
#define GITS_TYPER 0x008u
#define GITS_CBASER 0x080u
#define GITS_CWRITER 0x088u
#define GITS_CREADR 0x090u
#define GITS_BASER 0x100u
#define GITS_BASERS 8u

struct its_image {
	uint64_t ctlr, iidr, cbaser, cwriter, creadr;
	uint64_t baser[GITS_BASERS];
};

static const struct state_field its_fields[] = {
	STATE_FIELD_U64(struct its_image, ctlr),   STATE_FIELD_U64(struct its_image, iidr),
	STATE_FIELD_U64(struct its_image, cbaser), STATE_FIELD_U64(struct its_image, cwriter),
	STATE_FIELD_U64(struct its_image, creadr), STATE_FIELD_U64(struct its_image, baser),
};

static int get(const struct arch_vm *av, uint32_t offset, uint64_t *ret, struct err *err)
{
	return MIN(kvm_get_device_attr(av->its_fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, offset, ret, err),
		   0);
}

/* A register that has the value is left alone: KVM adjusts the attributes of tables in what is written, in a register the guest has never written as well. */
static int set(const struct arch_vm *av, uint32_t offset, uint64_t value, struct err *err)
{
	uint64_t now;
	int rc = get(av, offset, &now, err);

	if (rc || now == value)
		return rc;
	return MIN(kvm_set_device_attr(av->its_fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, offset, &value,
				       err),
		   0);
}

static int control(int device_fd, uint64_t what, const char *name, struct err *err)
{
	int rc = kvm_set_device_attr(device_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, what, NULL, err);

	if (rc < 0)
		err_prefix(err, "%s", name);
	return MIN(rc, 0);
}

int arm64_its_describe(const struct arch_vm *av, struct cpu_model_gic *ret, struct err *err)
{
	int rc = get(av, GITS_TYPER, &ret->gits_typer, err);

	return rc ? rc : get(av, GITS_IIDR, &ret->gits_iidr, err);
}

static int its_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vm *av = dev;
	struct its_image *img = image;
	int rc = control(av->gic_fd, KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES,
			 "saving the LPIs' pending bits to guest memory", err);

	if (!rc)
		rc = control(av->its_fd, KVM_DEV_ARM_ITS_SAVE_TABLES,
			     "saving its tables to guest memory", err);
	if (!rc)
		rc = get(av, GITS_IIDR, &img->iidr, err);
	if (!rc)
		rc = get(av, GITS_CBASER, &img->cbaser, err);
	if (!rc)
		rc = get(av, GITS_CREADR, &img->creadr, err);
	if (!rc)
		rc = get(av, GITS_CWRITER, &img->cwriter, err);
	for (uint32_t i = 0; !rc && i < GITS_BASERS; i++)
		rc = get(av, GITS_BASER + i * 8, &img->baser[i], err);
	return rc ? rc : get(av, GITS_CTLR, &img->ctlr, err);
}

/* Offsets into the command queue, of 4 KiB pages as GITS_CBASER bits 7-0 say, plus one; commands have 32 bytes. */
static int its_check(const void *image, struct err *err)
{
	const struct its_image *img = image;
	uint64_t queue_bytes = ((img->cbaser & 0xff) + 1) << 12;

	if (img->creadr % 32 || img->creadr >= queue_bytes)
		return err_set(err, -EINVAL, "GITS_CREADR 0x%llx in a queue of %llu bytes",
			       (unsigned long long)img->creadr, (unsigned long long)queue_bytes);
	if (img->cwriter % 32 || img->cwriter >= queue_bytes)
		return err_set(err, -EINVAL, "GITS_CWRITER 0x%llx in a queue of %llu bytes",
			       (unsigned long long)img->cwriter, (unsigned long long)queue_bytes);
	return 0;
}

/* "ITS Restore Sequence" of arm-vgic-its.rst; the redistributors come before it (arch_state_entries). GITS_CBASER resets CREADR and CWRITER. Reset first: registers of an
 * enabled ITS are read-only. */
static int its_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vm *av = dev;
	const struct its_image *img = image;
	int rc = control(av->its_fd, KVM_DEV_ARM_ITS_CTRL_RESET, "reset", err);

	if (!rc)
		rc = set(av, GITS_CBASER, img->cbaser, err);
	if (!rc)
		rc = set(av, GITS_IIDR, img->iidr, err);
	if (!rc)
		rc = set(av, GITS_CREADR, img->creadr, err);
	if (!rc)
		rc = set(av, GITS_CWRITER, img->cwriter, err);
	for (uint32_t i = 0; !rc && i < GITS_BASERS; i++)
		rc = set(av, GITS_BASER + i * 8, img->baser[i], err);
	if (!rc)
		rc = control(av->its_fd, KVM_DEV_ARM_ITS_RESTORE_TABLES,
			     "reading its tables from guest memory", err);
	return rc ? rc : set(av, GITS_CTLR, img->ctlr, err);
}

const struct state_desc arm64_state_its =
	STATE_DESC_("arm64.its", struct its_image, its_fields, its, its_check);
