/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "internal.h"

/* The `machine` section (docs/spec/state.md): what the destination must know before it can build the VM. */
static int check(const void *image, struct err *err)
{
	const struct machine_section *s = image;
	uint64_t sum = 0;

	if (!memchr(s->name, 0, sizeof(s->name)) ||
	    !memchr(s->kernel_name, 0, sizeof(s->kernel_name)))
		return err_set(err, -EBADMSG, "machine: a name is not terminated");
	if (!machine_text_is_plain((const char *)s->name) ||
	    !machine_text_is_plain((const char *)s->kernel_name))
		return err_set(err, -EBADMSG, "machine: a name holds control characters");
	if (!s->nregions || s->nregions > GMEM_MAX_REGIONS)
		return err_set(err, -EBADMSG, "machine: %u memory regions, expected 1 to %d",
			       s->nregions, GMEM_MAX_REGIONS);
	if (s->backing > GMEM_HUGETLB)
		return err_set(err, -EBADMSG, "machine: memory backing %u is unknown", s->backing);
	for (uint32_t i = 0; i < s->nregions; i++)
		if (__builtin_add_overflow(sum, s->region_bytes[i], &sum))
			return err_set(err, -EBADMSG,
				       "machine: the memory regions' sizes overflow");
	if (sum != s->ram_bytes)
		return err_set(err, -EBADMSG,
			       "machine: the memory regions hold %llu bytes, expected %llu",
			       (unsigned long long)sum, (unsigned long long)s->ram_bytes);
	return 0;
}

static const struct state_field fields[] = {
	/* First: the reader of recorded streams takes the size of memory from here without knowing the rest. */
	STATE_FIELD_(struct machine_section, ram_bytes, STATE_U64, 1),
	STATE_FIELD_U8(struct machine_section, name),
	STATE_FIELD_U8(struct machine_section, kernel_name),
	STATE_FIELD_(struct machine_section, ncpus, STATE_U32, 1),
	STATE_FIELD_(struct machine_section, backing, STATE_U32, 1),
	STATE_FIELD_(struct machine_section, hugepage_bytes, STATE_U64, 1),
	STATE_FIELD_(struct machine_section, nregions, STATE_U32, 1),
	STATE_FIELD_(struct machine_section, paused, STATE_U8, 1),
	STATE_FIELD_U64(struct machine_section, region_gpa),
	STATE_FIELD_U64(struct machine_section, region_bytes),
};

const struct state_desc machine_section_desc = {
	.name = "machine",
	.version = 1,
	.min_version = 1,
	.image_size = sizeof(struct machine_section),
	.fields = fields,
	.nfields = ARRAY_LEN(fields),
	.check = check,
};

/*
 * user_paused is read and written here without the lock: the source's migration has the vCPUs stopped, and until it lets go no pause or resume gets through (mig_paused); the
 * destination's users can do neither before it runs.
 */
struct run_image {
	uint8_t paused;
};

static int run_capture(void *dev, void *image, struct err *err)
{
	const struct machine *m = dev;

	((struct run_image *)image)->paused = m->user_paused;
	return 0;
}

static int run_check(const void *image, struct err *err)
{
	const struct run_image *r = image;

	return r->paused > 1 ? err_set(err, -EBADMSG, "paused %u", r->paused) : 0;
}

static int run_apply(void *dev, const void *image, struct err *err)
{
	struct machine *m = dev;

	m->user_paused = ((const struct run_image *)image)->paused;
	return 0;
}

static const struct state_field run_fields[] = {
	STATE_FIELD_(struct run_image, paused, STATE_U8, 1),
};

const struct state_desc machine_run_desc =
	STATE_DESC_("run", struct run_image, run_fields, run, run_check);

void machine_section_fill(struct machine *m, struct machine_section *ret)
{
	const struct gmem *mem = vm_mem(m->vm);

	memset(ret, 0, sizeof(*ret));
	snprintf((char *)ret->name, sizeof(ret->name), "%s", m->config.name);
	snprintf((char *)ret->kernel_name, sizeof(ret->kernel_name), "%s", m->kernel_name);
	ret->ncpus = m->config.ncpus;
	ret->backing = m->config.backing;
	ret->ram_bytes = m->config.ram_bytes;
	ret->hugepage_bytes = m->config.hugepage_bytes;
	ret->nregions = mem->nregions;
	ret->paused = m->user_paused;
	for (unsigned int i = 0; i < mem->nregions; i++) {
		ret->region_gpa[i] = mem->region[i].gpa;
		ret->region_bytes[i] = mem->region[i].len_bytes;
	}
}
