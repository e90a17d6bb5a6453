/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "../kvm.h"
#include "../slots.h"
#include "backend.h"
#include "base/num.h"

static struct dirty_log *self(struct dirty *d)
{
	return (struct dirty_log *)d;
}

uint64_t *dirty_log_scratch(const struct gmem *mem)
{
	uint64_t max = 0;

	for (unsigned int i = 0; i < mem->nregions; i++)
		max = MAX(max, mem->region[i].len_bytes >> GMEM_PAGE_SHIFT);
	return calloc(bitmap_nwords(max), sizeof(uint64_t));
}

int dirty_log_read(int vm_fd, const struct gmem *mem, uint64_t *scratch, struct bitmap *acc,
		   struct err *err)
{
	for (unsigned int i = 0; i < mem->nregions; i++) {
		const struct gmem_region *region = &mem->region[i];
		int r = kvm_get_dirty_log(vm_fd, i, scratch, err);

		if (r < 0) {
			err_prefix(err, "memory slot %u", i);
			return r;
		}
		bitmap_or_words(acc, region->first_page / 64, scratch,
				bitmap_nwords(region->len_bytes >> GMEM_PAGE_SHIFT));
	}
	return 0;
}

int dirty_log_create(const struct dirty_ops *ops, int vm_fd, struct gmem *mem, struct dirty **ret,
		     struct err *err)
{
	struct dirty_log *log = calloc(1, sizeof(*log));

	if (log)
		log->scratch = dirty_log_scratch(mem);
	if (!log || !log->scratch) {
		free(log);
		return err_set(err, -ENOMEM, "dirty tracking: out of memory");
	}
	log->d.ops = ops;
	log->d.mem = mem;
	log->vm_fd = vm_fd;
	*ret = &log->d;
	return 0;
}

int dirty_log_start(struct dirty *d, struct err *err)
{
	return slots_set_logging(self(d)->vm_fd, d->mem, true, err);
}

int dirty_log_collect(struct dirty *d, struct bitmap *acc, struct err *err)
{
	return dirty_log_read(self(d)->vm_fd, d->mem, self(d)->scratch, acc, err);
}

void dirty_log_stop(struct dirty *d)
{
	slots_set_logging(self(d)->vm_fd, d->mem, false, NULL);
}

void dirty_log_destroy(struct dirty *d)
{
	free(self(d)->scratch);
	free(d);
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
