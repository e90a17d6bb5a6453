/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "../slots.h"
#include "backend.h"

/* KVM's dirty bitmap as it always was: KVM_GET_DIRTY_LOG reads, clears and write-protects in one call (api.rst 4.8). */

struct dirty_bitmap {
	struct dirty d;
	struct dirty_log log;
};

static struct dirty_bitmap *self(struct dirty *d)
{
	return (struct dirty_bitmap *)d;
}

static int start(struct dirty *d, struct err *err)
{
	return slots_set_logging(self(d)->log.vm_fd, d->mem, true, err);
}

static int collect(struct dirty *d, struct bitmap *acc, struct err *err)
{
	return dirty_log_get(&self(d)->log, d->mem, acc, err);
}

static void stop(struct dirty *d)
{
	slots_set_logging(self(d)->log.vm_fd, d->mem, false, NULL);
}

static void destroy(struct dirty *d)
{
	dirty_log_fini(&self(d)->log);
	free(d);
}

static const struct dirty_ops ops = {
	.name = "bitmap",
	.start = start,
	.collect = collect,
	.finish = collect,
	.stop = stop,
	.destroy = destroy,
};

int dirty_bitmap_create(int vm_fd, struct gmem *mem, struct dirty **ret, struct err *err)
{
	struct dirty_bitmap *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(err, -ENOMEM, "dirty tracking: out of memory");
	b->d.ops = &ops;
	b->d.mem = mem;
	r = dirty_log_init(&b->log, vm_fd, mem, err);
	if (r < 0) {
		free(b);
		return r;
	}
	*ret = &b->d;
	return 0;
}
