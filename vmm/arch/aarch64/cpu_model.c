/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/state.h"
#include "sysreg.h"

#define VM(member) STATE_FIELD_(struct cpu_model_vm, member, STATE_U64, 1)
static const struct state_field vm_fields[] = {
	STATE_FIELD_(struct cpu_model_vm, target, STATE_U32, 1),
	STATE_FIELD_U32(struct cpu_model_vm, features),
	VM(counter_hz),
	VM(dczid),
	STATE_FIELD_(struct cpu_model_vm, one_counter, STATE_U8, 1),
};

static const struct state_field gic_fields[] = {
	STATE_FIELD_U32(struct cpu_model_gic, nirqs),
	STATE_FIELD_U32(struct cpu_model_gic, gicd_typer),
	STATE_FIELD_U32(struct cpu_model_gic, gicd_iidr),
	STATE_FIELD_U64(struct cpu_model_gic, icc_ctlr),
	STATE_FIELD_U8(struct cpu_model_gic, has_its),
	STATE_FIELD_U64(struct cpu_model_gic, gits_typer),
	STATE_FIELD_U64(struct cpu_model_gic, gits_iidr),
};

static const struct state_field ids_fields[] = {
	STATE_FIELD_VBYTES(struct reg_set, data, len_bytes),
};

/* A list's count is that of ids, its length in the format that of bytes. */
struct list_image {
	uint32_t len_bytes;
	uint8_t data[REG_SET_MAX * 8];
};

static const struct state_field list_fields[] = {
	STATE_FIELD_VBYTES(struct list_image, data, len_bytes),
};

static int vm_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;

	memcpy(image, &m->vm, sizeof(m->vm));
	return 0;
}

static int vm_check(const void *image, struct err *err)
{
	const struct cpu_model_vm *vm = image;

	/* Arm ARM, D12.1.2: from 1 MHz; 1 GHz is what later CPUs are held to. Ten times that leaves the arithmetic of time room. */
	if (vm->counter_hz < 1000000 || vm->counter_hz > 10000000000ull)
		return err_set(err, -EINVAL, "counter frequency of %llu Hz",
			       (unsigned long long)vm->counter_hz);
	if (vm->one_counter > 1)
		return err_set(err, -EINVAL, "one_counter is %u", vm->one_counter);
	return 0;
}

static int vm_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;

	memcpy(&m->vm, image, sizeof(m->vm));
	return 0;
}

static int gic_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;

	memcpy(image, &m->gic, sizeof(m->gic));
	return 0;
}

static int gic_check(const void *image, struct err *err)
{
	const struct cpu_model_gic *gic = image;

	if (gic->nirqs < 64 || gic->nirqs > 1024 || gic->nirqs % 32)
		return err_set(err, -EINVAL, "%u interrupts", gic->nirqs);
	if (gic->has_its > 1)
		return err_set(err, -EINVAL, "has_its is %u", gic->has_its);
	return 0;
}

static int gic_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;

	memcpy(&m->gic, image, sizeof(m->gic));
	return 0;
}

static int ids_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;

	memcpy(image, &m->ids, sizeof(m->ids));
	return 0;
}

static int ids_check(const void *image, struct err *err)
{
	return reg_set_check(image, 1u << ARM64_REG_ID | 1u << ARM64_REG_FIRMWARE, err);
}

static int ids_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;

	memcpy(&m->ids, image, sizeof(m->ids));
	return 0;
}

static int list_capture(void *dev, void *image, struct err *err)
{
	const struct cpu_model *m = dev;
	struct list_image *img = image;

	for (uint32_t i = 0; i < m->regs.n; i++)
		le64_put(img->data + i * 8, m->regs.id[i]);
	img->len_bytes = m->regs.n * 8;
	return 0;
}

static int list_check(const void *image, struct err *err)
{
	const struct list_image *img = image;
	char name[ARM64_REG_NAME_MAX];
	uint64_t last = 0;

	if (img->len_bytes % 8)
		return err_set(err, -EINVAL, "register list of %u bytes", img->len_bytes);
	for (uint32_t at = 0; at < img->len_bytes; at += 8) {
		uint64_t id = le64_get(img->data + at);
		const char *reason = NULL;

		if (id <= last || !arm64_reg_bytes(id) ||
		    arm64_reg_class(id, &reason) != ARM64_REG_STATE)
			return err_set(err, -EINVAL, "register %s does not belong here (%s)",
				       arm64_reg_name(id, name),
				       reason ? reason : "out of order or none of arm64");
		last = id;
	}
	return 0;
}

static int list_apply(void *dev, const void *image, struct err *err)
{
	struct cpu_model *m = dev;
	const struct list_image *img = image;

	m->regs.n = img->len_bytes / 8;
	for (uint32_t i = 0; i < m->regs.n; i++)
		m->regs.id[i] = le64_get(img->data + i * 8);
	return 0;
}

static const struct state_desc model_desc[] = {
	STATE_DESC_("arm64.vm", struct cpu_model_vm, vm_fields, vm, vm_check),
	STATE_DESC_("arm64.gic", struct cpu_model_gic, gic_fields, gic, gic_check),
	STATE_DESC_("arm64.id-registers", struct reg_set, ids_fields, ids, ids_check),
	STATE_DESC_("arm64.registers", struct list_image, list_fields, list, list_check),
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

static int check_number(const char *what, uint64_t source, uint64_t host, struct err *err)
{
	if (source == host)
		return 0;
	return err_set(err, -EOPNOTSUPP, "%s differs: source 0x%llx, here 0x%llx", what,
		       (unsigned long long)source, (unsigned long long)host);
}

int cpu_model_check_vm(const struct cpu_model_vm *source, const struct cpu_model_vm *host,
		       struct err *err)
{
	int rc = check_number("vCPU target", source->target, host->target, err);

	for (unsigned int i = 0; !rc && i < ARRAY_LEN(source->features); i++)
		rc = check_number("set of vCPU features (KVM_ARM_VCPU_*)", source->features[i],
				  host->features[i], err);
	if (rc)
		return rc;
	/* No KVM scales the counter, and the guest has read its frequency long ago. */
	if (source->counter_hz != host->counter_hz)
		return err_set(
			err, -EOPNOTSUPP,
			"CNTFRQ_EL0 differs: the guest's counter runs at %llu Hz, this host's at %llu Hz",
			(unsigned long long)source->counter_hz,
			(unsigned long long)host->counter_hz);
	if (source->one_counter && !host->one_counter)
		return err_set(
			err, -EOPNOTSUPP,
			"the guest's physical counter (CNTPCT_EL0) has an offset, which this host's KVM cannot give it (KVM_CAP_COUNTER_OFFSET)");
	return check_number("DCZID_EL0", source->dczid, host->dczid, err);
}

#define FIELD(reg, lsb, width) ((unsigned int)((reg) >> (lsb)) & ((1u << (width)) - 1))

/* Fields of which the destination may have more (KVM narrows them on request), and those that must be equal. */
static const struct gic_field {
	const char *name;
	uint8_t lsb;
	uint8_t width;
	bool may_be_more;
} icc_ctlr_fields[] = {
	{ "ICC_CTLR_EL1: field PRIbits", 8, 3, true },
	{ "ICC_CTLR_EL1: field IDbits", 11, 3, true },
	{ "ICC_CTLR_EL1: field SEIS", 14, 1, false },
	{ "ICC_CTLR_EL1: field A3V", 15, 1, false },
}, gicd_iidr_fields[] = {
	{ "GICD_IIDR: field Implementer", 0, 12, false },
	{ "GICD_IIDR: field Revision", 12, 4, true },
	{ "GICD_IIDR: field Variant", 16, 4, false },
	{ "GICD_IIDR: field ProductID", 24, 8, false },
}, gits_iidr_fields[] = {
	{ "GITS_IIDR: field Implementer", 0, 12, false },
	{ "GITS_IIDR: field Revision", 12, 4, true },
	{ "GITS_IIDR: field Variant", 16, 4, false },
	{ "GITS_IIDR: field ProductID", 24, 8, false },
};

static int check_fields(const struct gic_field *fields, unsigned int n, uint64_t source,
			uint64_t host, struct err *err)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int s = FIELD(source, fields[i].lsb, fields[i].width);
		unsigned int h = FIELD(host, fields[i].lsb, fields[i].width);

		if (s == h || (fields[i].may_be_more && s < h))
			continue;
		return err_set(err, -EOPNOTSUPP, "%s differs: source %u, here %u", fields[i].name,
			       s, h);
	}
	return 0;
}

int cpu_model_check_gic(const struct cpu_model_gic *source, const struct cpu_model_gic *host,
			struct err *err)
{
	int rc;

	if (source->nirqs != host->nirqs)
		return err_set(err, -EOPNOTSUPP,
			       "the guest's GIC has %u interrupts, here it has %u", source->nirqs,
			       host->nirqs);
	if (source->has_its != host->has_its)
		return err_set(err, -EOPNOTSUPP, "the guest has %s, this host's KVM gives it %s",
			       source->has_its ? "an ITS" : "no ITS",
			       host->has_its ? "one" : "none");
	rc = check_number("GICD_TYPER", source->gicd_typer, host->gicd_typer, err);
	if (!rc)
		rc = check_fields(gicd_iidr_fields, ARRAY_LEN(gicd_iidr_fields), source->gicd_iidr,
				  host->gicd_iidr, err);
	if (!rc)
		rc = check_fields(icc_ctlr_fields, ARRAY_LEN(icc_ctlr_fields), source->icc_ctlr,
				  host->icc_ctlr, err);
	if (!rc)
		rc = check_number("GITS_TYPER", source->gits_typer, host->gits_typer, err);
	if (!rc)
		rc = check_fields(gits_iidr_fields, ARRAY_LEN(gits_iidr_fields), source->gits_iidr,
				  host->gits_iidr, err);
	return rc;
}

int cpu_model_check_ids(const struct reg_set *source, const struct reg_set *host, struct err *err)
{
	struct reader in = reg_set_reader(source);
	char name[ARM64_REG_NAME_MAX];
	struct reg_record s;

	while (reg_set_next(&in, &s)) {
		const uint8_t *h = reg_set_find(host, s.id);
		struct arm64_reg_field f;

		if (arm64_reg_class(s.id, NULL) == ARM64_REG_FIRMWARE)
			continue;
		arm64_reg_name(s.id, name);
		if (!h)
			return err_set(err, -EOPNOTSUPP,
				       "the guest has register %s, which this host's KVM lacks",
				       name);
		if (!memcmp(s.value, h, s.len_bytes))
			continue;
		if (s.len_bytes > 8 ||
		    !arm64_reg_difference(
			    s.id, reg_value(&s),
			    reg_value(&(struct reg_record){ .len_bytes = s.len_bytes, .value = h }),
			    &f))
			return err_set(err, -EOPNOTSUPP, "%s differs", name);
		return err_set(err, -EOPNOTSUPP, "%s: field %s differs: source %llu, here %llu",
			       name, f.name, (unsigned long long)f.a, (unsigned long long)f.b);
	}
	return 0;
}
