/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/clock.h"
#include "base/num.h"

/* The wrappers that every backend runs under, and the choice of a backend. */

static int publish_host_log(struct gmem *mem, struct err *err)
{
	/* Kept until the memory goes: a writer may still hold the pointer of the attempt before. */
	if (!mem->host_log_store.words && bitmap_init(&mem->host_log_store, mem->npages) < 0)
		return err_set(err, -ENOMEM, "dirty tracking: out of memory");
	bitmap_zero(&mem->host_log_store);
	__atomic_store_n(&mem->host_log, &mem->host_log_store, __ATOMIC_RELEASE);
	/* Pairs with the fence in gmem_mark_dirty. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return 0;
}

static void withdraw_host_log(struct gmem *mem)
{
	__atomic_store_n(&mem->host_log, NULL, __ATOMIC_RELEASE);
}

int dirty_start(struct dirty *d, struct err *err)
{
	uint64_t t0;
	int r;

	if (d->started)
		dirty_stop(d);
	d->stats = (struct dirty_stats){ 0 };
	r = publish_host_log(d->mem, err);
	if (r < 0)
		return r;
	t0 = clock_mono_ns();
	r = d->ops->start(d, err);
	d->stats.start_ns = clock_mono_ns() - t0;
	if (r < 0) {
		withdraw_host_log(d->mem);
		err_prefix(err, "dirty tracking (%s)", d->ops->name);
		return r;
	}
	d->started = true;
	return 0;
}

static int collect_with(struct dirty *d,
			int (*collect)(struct dirty *d, struct bitmap *acc, struct err *err),
			struct bitmap *acc, struct err *err)
{
	uint64_t before, t0;
	int r;

	if (!d->started)
		return err_set(err, -EINVAL, "dirty tracking: not started");
	if (acc->nbits != d->mem->npages)
		return err_set(err, -EINVAL, "dirty tracking: bitmap of another size");
	before = bitmap_count(acc);
	t0 = clock_mono_ns();
	r = collect(d, acc, err);
	d->stats.collect_ns += clock_mono_ns() - t0;
	if (r < 0) {
		err_prefix(err, "dirty tracking (%s)", d->ops->name);
		return r;
	}
	bitmap_take_atomic(acc, &d->mem->host_log_store);
	d->stats.collects++;
	d->stats.pages_found += bitmap_count(acc) - before;
	return 0;
}

int dirty_collect(struct dirty *d, struct bitmap *acc, struct err *err)
{
	return collect_with(d, d->ops->collect, acc, err);
}

int dirty_finish(struct dirty *d, struct bitmap *acc, struct err *err)
{
	return collect_with(d, d->ops->finish, acc, err);
}

int dirty_rearm(struct dirty *d, const struct bitmap *pages, uint64_t first, uint64_t n,
		struct err *err)
{
	uint64_t npages = d->mem->npages;
	uint64_t t0;
	int r;

	if (!d->started)
		return err_set(err, -EINVAL, "dirty tracking: not started");
	if (pages->nbits != npages || first > npages || n > npages - first || first % 64 != 0 ||
	    (n % 64 != 0 && first + n != npages))
		return err_set(err, -EINVAL, "dirty tracking: range is not made of 64 pages");
	if (!d->ops->rearm)
		return 0;
	t0 = clock_mono_ns();
	r = d->ops->rearm(d, pages, first, n, err);
	d->stats.rearm_ns += clock_mono_ns() - t0;
	d->stats.rearms++;
	if (r < 0)
		err_prefix(err, "dirty tracking (%s)", d->ops->name);
	return r;
}

void dirty_stop(struct dirty *d)
{
	if (!d->started)
		return;
	d->ops->stop(d);
	withdraw_host_log(d->mem);
	d->started = false;
}

int dirty_create(enum dirty_kind kind, int vm_fd, struct gmem *mem, uint32_t ring_entries,
		 struct dirty **ret, struct err *err)
{
	switch (kind) {
	case DIRTY_BITMAP:
		return dirty_bitmap_create(vm_fd, mem, ret, err);
	case DIRTY_MANUAL:
		return dirty_manual_create(vm_fd, mem, ret, err);
	case DIRTY_RING:
		return dirty_ring_create(vm_fd, mem,
					 ring_entries ? ring_entries : DIRTY_RING_DEFAULT_ENTRIES,
					 ret, err);
	case DIRTY_UFFD:
		return dirty_uffd_create(mem, ret, err);
	case DIRTY_AUTO:
		break;
	}
	return err_set(err, -EINVAL, "dirty tracking: no such backend");
}

static const char *const kind_names[] = { [DIRTY_AUTO] = "auto",
					  [DIRTY_BITMAP] = "bitmap",
					  [DIRTY_MANUAL] = "manual",
					  [DIRTY_RING] = "ring",
					  [DIRTY_UFFD] = "uffd" };

const char *dirty_kind_name(enum dirty_kind kind)
{
	return kind_names[kind];
}

static int parse_entries(const char *s, uint32_t *ret, struct err *err)
{
	uint64_t n;

	if (num_parse_u64(s, &n) < 0 || n < DIRTY_RING_MIN_ENTRIES || n > DIRTY_RING_MAX_ENTRIES ||
	    (n & (n - 1)) != 0)
		return err_set(err, -EINVAL,
			       "dirty ring: entries=%s is not a power of two from %u to %u", s,
			       DIRTY_RING_MIN_ENTRIES, DIRTY_RING_MAX_ENTRIES);
	*ret = (uint32_t)n;
	return 0;
}

int dirty_parse(const char *s, enum dirty_kind *ret_kind, uint32_t *ret_ring_entries,
		struct err *err)
{
	static const char with_entries[] = "ring,entries=";
	uint32_t entries = 0;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(kind_names); i++) {
		if (strcmp(s, kind_names[i]) == 0) {
			*ret_kind = (enum dirty_kind)i;
			*ret_ring_entries = DIRTY_RING_DEFAULT_ENTRIES;
			return 0;
		}
	}
	if (strncmp(s, with_entries, sizeof(with_entries) - 1) != 0)
		return err_set(
			err, -EINVAL,
			"dirty tracking \"%s\": auto, bitmap, manual, ring, ring,entries=N or uffd",
			s);
	r = parse_entries(s + sizeof(with_entries) - 1, &entries, err);
	if (r < 0)
		return r;
	*ret_kind = DIRTY_RING;
	*ret_ring_entries = entries;
	return 0;
}

static const char *const accel_mode_names[] = {
	[DIRTY_ACCEL_AUTO] = "auto", [DIRTY_ACCEL_ON] = "on", [DIRTY_ACCEL_OFF] = "off"
};

const char *dirty_accel_mode_name(enum dirty_accel_mode mode)
{
	return accel_mode_names[mode];
}

/* What follows "group=". */
static int parse_group(const char *s, uint32_t *ret, struct err *err)
{
	uint64_t n;

	if (strcmp(s, "all") == 0) {
		*ret = DIRTY_GROUP_ALL;
		return 0;
	}
	if (num_parse_u64(s, &n) < 0 || n < 2 || n > DIRTY_GROUP_MAX || (n & (n - 1)) != 0)
		return err_set(err, -EINVAL,
			       "group=%s is neither a power of two from 2 to %u nor all", s,
			       DIRTY_GROUP_MAX);
	*ret = (uint32_t)n;
	return 0;
}

int dirty_accel_parse(const char *s, struct dirty_accel_ask *ret, struct err *err)
{
	static const char with_group[] = ",group=";
	struct dirty_accel_ask ask = { 0 };
	size_t len = strcspn(s, ",");

	for (size_t i = 0; i < ARRAY_LEN(accel_mode_names); i++) {
		if (strncmp(s, accel_mode_names[i], len) != 0 || accel_mode_names[i][len] != '\0')
			continue;
		ask.mode = (enum dirty_accel_mode)i;
		if (s[len] != '\0') {
			int r;

			if (ask.mode == DIRTY_ACCEL_OFF ||
			    strncmp(s + len, with_group, sizeof(with_group) - 1) != 0)
				break;
			r = parse_group(s + len + sizeof(with_group) - 1, &ask.group_pages, err);
			if (r < 0)
				return r;
		}
		*ret = ask;
		return 0;
	}
	return err_set(
		err, -EINVAL,
		"expected auto, on or off (auto and on with ,group=N where there are groups), got \"%s\"",
		s);
}
