/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "base/num.h"
#include "vmm/gmem.h"

int gmem_discard(struct gmem *m, uint64_t gpa, uint64_t len_bytes, uint64_t *ret_bytes)
{
	uint8_t *p = gmem_ptr(m, gpa, len_bytes);
	uint64_t offset, first, end;

	if (!p)
		return -EFAULT;
	offset = (uint64_t)(p - m->base);
	if (!align_up(offset, m->host_page_bytes, &first))
		return -EFAULT;
	end = align_down(offset + len_bytes, m->host_page_bytes);
	*ret_bytes = 0;
	if (first >= end)
		return 0;
	if (madvise(m->base + first, end - first, MADV_DONTNEED) < 0)
		return -errno;
	/* After the memory has gone, as after a write: whoever takes the mark reads zeros. */
	gmem_mark_dirty(m, gpa + (first - offset), end - first);
	*ret_bytes = end - first;
	return 0;
}
