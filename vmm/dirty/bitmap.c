/* SPDX-License-Identifier: Apache-2.0 */
#include "backend.h"

/* KVM's dirty bitmap as it always was: KVM_GET_DIRTY_LOG reads, clears and write-protects in one call (api.rst 4.8). */

static const struct dirty_ops ops = {
	.name = "bitmap",
	.start = dirty_log_start,
	.collect = dirty_log_collect,
	.finish = dirty_log_collect,
	.stop = dirty_log_stop,
	.destroy = dirty_log_destroy,
};

int dirty_bitmap_create(int vm_fd, struct gmem *mem, struct dirty **ret, struct err *err)
{
	return dirty_log_create(&ops, vm_fd, mem, ret, err);
}
