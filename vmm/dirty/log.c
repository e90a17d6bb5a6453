/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "../kvm.h"
#include "backend.h"
#include "base/num.h"

int dirty_log_init(struct dirty_log *log, int vm_fd, const struct gmem *mem, struct err *err)
{
	uint64_t max = 0;

	for (unsigned int i = 0; i < mem->nregions; i++)
		max = MAX(max, mem->region[i].len_bytes >> GMEM_PAGE_SHIFT);
	log->vm_fd = vm_fd;
	log->scratch = calloc(bitmap_nwords(max), sizeof(uint64_t));
	if (!log->scratch)
		return err_set(err, -ENOMEM, "dirty tracking: out of memory");
	return 0;
}

void dirty_log_fini(struct dirty_log *log)
{
	free(log->scratch);
	log->scratch = NULL;
}

int dirty_log_get(struct dirty_log *log, const struct gmem *mem, struct bitmap *acc,
		  struct err *err)
{
	for (unsigned int i = 0; i < mem->nregions; i++) {
		const struct gmem_region *region = &mem->region[i];
		int r = kvm_get_dirty_log(log->vm_fd, i, log->scratch, err);

		if (r < 0) {
			err_prefix(err, "memory slot %u", i);
			return r;
		}
		bitmap_or_words(acc, region->first_page / 64, log->scratch,
				bitmap_nwords(region->len_bytes >> GMEM_PAGE_SHIFT));
	}
	return 0;
}

bool dirty_slot_range(const struct gmem *mem, unsigned int i, uint64_t first, uint64_t n,
		      uint64_t *ret_slot_first, uint64_t *ret_n)
{
	uint64_t region_first = mem->region[i].first_page;
	uint64_t region_end = region_first + (mem->region[i].len_bytes >> GMEM_PAGE_SHIFT);
	uint64_t from = MAX(first, region_first);
	uint64_t to = MIN(first + n, region_end);

	if (from >= to)
		return false;
	*ret_slot_first = from - region_first;
	*ret_n = to - from;
	return true;
}
