/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/state.h"
#include "vmm/arch.h"
#include "vmm/vm.h"

int vm_check_origin(const void *cpu_model, size_t len_bytes, struct err *err)
{
	struct reader in = reader_over(cpu_model, len_bytes);
	size_t len = strlen(arch_platform.name);
	struct state_section first;
	int r = state_next_section(&in, &first, err);

	if (r == -ENODATA)
		return err_set(err, -EBADMSG, "CONFIG has no CPU model");
	if (r < 0)
		return r;
	if (!strncmp(first.name, arch_platform.name, len) && first.name[len] == '.')
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "the VM comes from a host of architecture %.*s, this one is %s",
		       (int)strcspn(first.name, "."), first.name, arch_platform.name);
}
