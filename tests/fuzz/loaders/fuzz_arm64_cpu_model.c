/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an arm64 CPU model: refused with a reason, or well-formed: equal to itself, with a name for each register, and the same again once encoded. */
#include <stdlib.h>
#include <string.h>

#include "vmm/arch/aarch64/cpu_model.h"
#include "vmm/arch/aarch64/sysreg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void use(const struct cpu_model *m)
{
	struct reader in = reg_set_reader(&m->ids);
	struct reg_list *list = malloc(sizeof(*list));
	char name[ARM64_REG_NAME_MAX];
	struct reg_record r;
	uint32_t n = 0;

	if (!list || cpu_model_check_vm(&m->vm, &m->vm, NULL) ||
	    cpu_model_check_gic(&m->gic, &m->gic, NULL) ||
	    cpu_model_check_ids(&m->ids, &m->ids, NULL) || reg_list_check(&m->regs, &m->regs, NULL))
		__builtin_trap();
	while (reg_set_next(&in, &r)) {
		struct arm64_reg_field f;

		if (strlen(arm64_reg_name(r.id, name)) == 0 ||
		    reg_set_find(&m->ids, r.id) != r.value)
			__builtin_trap();
		if (arm64_reg_difference(r.id, reg_value(&r), ~reg_value(&r), &f) &&
		    (!f.name[0] || f.a == f.b))
			__builtin_trap();
		n++;
	}
	reg_set_ids(&m->ids, list);
	if (in.failed || reader_left(&in) || list->n != n)
		__builtin_trap();
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct cpu_model *m = calloc(1, sizeof(*m));
	struct buf out = { 0 };
	struct err err = { 0 };

	if (!m)
		return 0;
	if (!cpu_model_decode(data, len_bytes, m, &err)) {
		use(m);
		/* The order of sections is free, so that the bytes may be others than those read; their number is not. */
		if (cpu_model_encode(m, &out, &err) || out.len_bytes != len_bytes ||
		    cpu_model_decode(out.data, out.len_bytes, m, &err))
			__builtin_trap();
	} else if (!err.code) {
		__builtin_trap();
	}
	buf_fini(&out);
	free(m);
	return 0;
}
