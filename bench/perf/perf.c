/* SPDX-License-Identifier: Apache-2.0 */
#include "perf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "vmm/dirty.h"

/* A VM under test and what is read out of it. */
struct bench {
	const struct perf_options *o;
	struct tiny t;
	struct dirty *d;
	uint64_t first_page; /* of the memory that is measured */
	uint64_t npages;
	struct bitmap found; /* npages of all RAM */
	uint64_t pass; /* this one's number, which goes into the pages that it writes */
};

struct tiny_pass perf_pass(const struct perf_options *o, uint64_t first_page, uint64_t pass,
			   unsigned int cpu)
{
	bool populate = pass == PERF_POPULATE_PASS;
	bool overlap = o->overlap && !populate;
	uint64_t share = o->bytes_per_vcpu / GMEM_PAGE_SIZE;

	return (struct tiny_pass){
		.first_va = tiny_va(first_page + (overlap ? 0 : cpu * share)),
		.npages = overlap ? share * o->vcpus : share,
		.write_percent = populate ? 100 : o->write_percent,
		.random_order = populate ? 0 : o->random_order,
		.seed = o->seed + (pass << 32) + cpu,
		.value = pass,
	};
}

static void set_next_pass(struct bench *b)
{
	b->pass++;
	for (unsigned int c = 0; c < b->o->vcpus; c++)
		tiny_control(&b->t, c)->pass = perf_pass(b->o, b->first_page, b->pass, c);
}

/* Exits stay 0 where KVM does not count them; perf_result.no_counters says so. */
static void read_exits(struct bench *b, struct vm_exits *ret)
{
	memset(ret, 0, sizeof(*ret));
	vm_exits(b->t.vm, ret, NULL);
}

static int run_pass(struct bench *b, uint64_t *ret_ns, struct vm_exits *ret_exits, struct err *err)
{
	struct vm_exits before;
	int r;

	read_exits(b, &before);
	r = tiny_pass_run(&b->t, b->o->timeout_ns, ret_ns, err);
	if (r < 0)
		return r;
	read_exits(b, ret_exits);
	ret_exits->exits -= before.exits;
	ret_exits->faults -= before.faults;
	return 0;
}

/* The guest's memory is the judge of the log: a page that holds the pass's number was written in it. */
static void compare(struct bench *b, struct perf_iteration *it)
{
	const struct gmem *m = vm_mem(b->t.vm);

	for (uint64_t i = 0; i < b->npages; i++) {
		uint64_t page = b->first_page + i;
		bool written = *(const uint64_t *)(const void *)gmem_page(m, page) == b->pass;
		bool found = bitmap_test(&b->found, page);

		it->written += written;
		it->missed += written && !found;
		it->extra += found && !written;
	}
	it->found = bitmap_count_range(&b->found, b->first_page, b->npages);
	it->setup = bitmap_count_range(&b->found, 0, b->first_page);
}

static int iterate(struct bench *b, struct perf_iteration *it, struct err *err)
{
	struct dirty_stats before;
	int r;

	memset(it, 0, sizeof(*it));
	set_next_pass(b);
	bitmap_zero(&b->found);
	calls_enter(CALLS_DIRTY);
	r = run_pass(b, &it->dirty_ns, &it->exits, err);
	before = b->d->stats;
	calls_enter(CALLS_GET);
	if (r == 0)
		r = dirty_collect(b->d, &b->found, err);
	calls_enter(CALLS_CLEAR);
	/* One call a slot, as the kernel's test does it; a migration takes smaller pieces. */
	if (r == 0 && b->d->ops->flags & DIRTY_SPLIT_REARM)
		r = dirty_rearm(b->d, &b->found, 0, b->found.nbits, err);
	calls_enter(CALLS_OFF);
	if (r < 0)
		return r;
	it->get_ns = b->d->stats.collect_ns - before.collect_ns;
	it->clear_ns = b->d->stats.rearm_ns - before.rearm_ns;
	compare(b, it);
	return 0;
}

static int unlogged_phases(struct bench *b, struct perf_result *ret, struct err *err)
{
	struct vm_exits ignored;
	int r = tiny_pass_start(&b->t, err);

	if (r == 0) {
		set_next_pass(b);
		r = run_pass(b, &ret->populate_ns, &ignored, err);
	}
	if (r == 0) {
		set_next_pass(b);
		r = run_pass(b, &ret->unlogged_ns, &ret->unlogged_exits, err);
	}
	return r;
}

static int logged_phases(struct bench *b, struct perf_result *ret, struct err *err)
{
	uint64_t start_ns;
	int r;

	calls_enter(CALLS_ENABLE);
	r = dirty_start(b->d, err);
	calls_enter(CALLS_OFF);
	ret->enable_ns = b->d->stats.start_ns;
	while (r == 0 && ret->niterations < b->o->iterations) {
		r = iterate(b, &ret->iteration[ret->niterations], err);
		if (r == 0)
			ret->niterations++;
	}
	ret->ring_full_exits = b->d->stats.ring_full_exits;
	calls_enter(CALLS_DISABLE);
	start_ns = clock_mono_ns();
	dirty_stop(b->d);
	ret->disable_ns = clock_mono_ns() - start_ns;
	calls_enter(CALLS_OFF);
	return r;
}

static int run_phases(struct bench *b, struct perf_result *ret, struct err *err)
{
	struct counters *before = malloc(sizeof(*before));
	struct err why = { 0 };
	int r = before ? 0 : err_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = unlogged_phases(b, ret, err);
	/* From here to the second reading vCPUs run in the iterations' passes only. */
	if (r == 0 && counters_read(b->t.vm, before, &why) < 0)
		snprintf(ret->no_counters, sizeof(ret->no_counters), "%.119s", why.msg);
	if (r == 0)
		r = logged_phases(b, ret, err);
	if (r == 0 && ret->no_counters[0] == '\0') {
		r = counters_read(b->t.vm, &ret->counters, err);
		if (r == 0)
			counters_subtract(&ret->counters, before);
	}
	free(before);
	return r;
}

static int create(struct bench *b, const char *name, uint32_t *ret_ring_entries, struct err *err)
{
	struct gmem_config mem;
	struct tiny_config config = { .ncpus = b->o->vcpus,
				      .mem = &mem,
				      .pin = b->o->pin,
				      .dirty_accel = b->o->accel,
				      .program = TINY_PASS };
	int r = dirty_parse(name, &config.dirty, &config.ring_entries, err);

	if (r == 0)
		r = perf_memory(b->o, &mem, err);
	if (r == 0)
		r = tiny_create(&config, &b->t, err);
	if (r < 0)
		return r;
	b->d = vm_dirty(b->t.vm);
	*ret_ring_entries = config.dirty == DIRTY_RING ? config.ring_entries : 0;
	b->first_page = vm_mem(b->t.vm)->region[1].first_page;
	b->npages = perf_bytes(b->o) / GMEM_PAGE_SIZE;
	if (bitmap_init(&b->found, vm_mem(b->t.vm)->npages) < 0)
		r = err_set(err, -ENOMEM, "out of memory");
	return r;
}

int perf_run(const struct perf_options *o, const char *name, struct perf_result *ret,
	     struct err *err)
{
	struct bench b = { .o = o };
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->iteration = calloc(o->iterations, sizeof(*ret->iteration));
	if (!ret->iteration)
		return err_set(err, -ENOMEM, "out of memory");
	calls_reset();
	r = create(&b, name, &ret->ring_entries, err);
	if (r == 0) {
		ret->backend = b.d->ops->name;
		ret->accel = b.d->accel;
		ret->split_rearm = b.d->ops->flags & DIRTY_SPLIT_REARM;
		ret->starts_full = b.d->ops->flags & DIRTY_STARTS_FULL;
		r = run_phases(&b, ret, err);
		ret->ncalls = calls_read(ret->call);
	}
	if (b.t.vm)
		tiny_destroy(&b.t);
	bitmap_fini(&b.found);
	if (r < 0)
		perf_result_fini(ret);
	return r;
}

void perf_result_fini(struct perf_result *r)
{
	free(r->iteration);
	r->iteration = NULL;
}
