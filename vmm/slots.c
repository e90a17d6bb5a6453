/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include "kvm.h"

static int set_slot(int vm_fd, const struct gmem *mem, unsigned int i, uint32_t flags,
		    struct err *err)
{
	const struct gmem_region *r = &mem->region[i];
	struct kvm_userspace_memory_region slot = {
		.slot = i,
		.flags = flags,
		.guest_phys_addr = r->gpa,
		.memory_size = r->len_bytes,
		.userspace_addr = (uint64_t)(uintptr_t)gmem_page(mem, r->first_page),
	};
	int e = kvm_set_user_memory_region(vm_fd, &slot, err);

	if (e < 0)
		err_prefix(err, "memory slot %u", i);
	return e;
}

int slots_create(int vm_fd, const struct gmem *mem, struct err *err)
{
	for (unsigned int i = 0; i < mem->nregions; i++) {
		int r = set_slot(vm_fd, mem, i, 0, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int slots_set_logging(int vm_fd, const struct gmem *mem, bool on, struct err *err)
{
	int first_error = 0;

	for (unsigned int i = 0; i < mem->nregions; i++) {
		int r = set_slot(vm_fd, mem, i, on ? KVM_MEM_LOG_DIRTY_PAGES : 0,
				 first_error ? NULL : err);

		if (r < 0 && on) {
			slots_set_logging(vm_fd, mem, false, NULL);
			return r;
		}
		if (r < 0 && !first_error)
			first_error = r;
	}
	return first_error;
}
