/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "engine.h"

/* x86: KVM keeps this many entries of a ring free, and a PML buffer's worth more. */
#define RING_RESERVED 64
#define PML_ENTRIES 512

/* bench/dirty-log-perf numbers its passes, and populating the memory and a pass without logging come before. The number goes into each pass's random numbers. */
#define FIRST_PASS 3ULL

static void add_counts(struct sim_counts *to, const struct sim_counts *c)
{
	to->visits += c->visits;
	to->writes += c->writes;
	to->logged += c->logged;
	to->faults += c->faults;
	to->full_exits += c->full_exits;
	to->ring_full_exits += c->ring_full_exits;
	to->kicks += c->kicks;
	to->useful_ns += c->useful_ns;
	to->fault_ns += c->fault_ns;
	to->wait_ns += c->wait_ns;
	to->log_ns += c->log_ns;
	to->full_ns += c->full_ns;
	to->kick_ns += c->kick_ns;
}

/* Closes a step with the counts since the one before. */
static int add_step(struct sim *s, struct sim_step step)
{
	struct sim_result *r = s->result;

	if (r->nsteps == 2 * SIM_MAX_STEPS)
		return -EOVERFLOW;
	if (r->nsteps == s->steps_cap) {
		unsigned int cap = s->steps_cap ? s->steps_cap * 2 : 16;
		struct sim_step *grown = realloc(r->steps, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->steps = grown;
		s->steps_cap = cap;
	}
	step.counts = s->counts;
	s->counts = (struct sim_counts){ 0 };
	r->steps[r->nsteps++] = step;
	add_counts(&r->counts, &step.counts);
	r->found += step.found;
	r->get_ns += step.get_ns;
	r->clear_ns += step.clear_ns;
	return 0;
}

/* All vCPUs through one pass from @start_ns on; when the last one is done. */
static double pass(struct sim *s, double start_ns, unsigned int iteration)
{
	double end_ns = start_ns;
	struct heap_item it;

	s->limit_ns = INFINITY;
	s->lock_owner = NO_OWNER;
	for (unsigned int i = 0; i < s->c->vcpus; i++) {
		struct vcpu *v = &s->vcpus[i];

		source_rewind(&v->source,
			      s->c->pattern.seed + ((FIRST_PASS + iteration) << 32) + i);
		v->steps_left = source_pass_steps(&v->source);
		v->pending = PENDING_NOTHING;
		v->now_ns = start_ns;
		heap_push(&s->heap, start_ns, i);
	}
	while (heap_pop(&s->heap, &it)) {
		struct vcpu *v = &s->vcpus[it.id];

		if (sim_vcpu_step(s, it.id)) {
			heap_push(&s->heap, v->now_ns, it.id);
			continue;
		}
		/* Its last exit empties the hardware's buffer. */
		v->now_ns += sim_drain(s, v);
		end_ns = MAX(end_ns, v->now_ns);
	}
	return end_ns + s->c->costs.pass_ns;
}

static int run_passes(struct sim *s)
{
	double now_ns = 0;

	for (unsigned int i = 0; i < s->c->iterations; i++) {
		double done_ns = pass(s, now_ns, i);
		struct sim_step step = { .dirty_ns = done_ns - now_ns };
		int r;

		step.get_ns = sim_get(s, done_ns, false, &step.found);
		now_ns = done_ns + step.get_ns;
		for (uint64_t p = 0; sim_splits(s) && p < s->npages; p += s->c->clear_chunk_pages)
			step.clear_ns += sim_clear(s, now_ns + step.clear_ns, false, p);
		now_ns += step.clear_ns;
		r = add_step(s, step);
		if (r < 0)
			return r;
	}
	s->result->elapsed_ns = now_ns;
	return 0;
}

/* One move of the reader beside running vCPUs; when it moves again, INFINITY after its last one. */
static double reader_move(struct sim *s, double now_ns, int *ret_err)
{
	struct reader *rd = &s->reader;
	bool running = s->busy > 0;

	if (rd->stage == READER_GET) {
		struct sim_step step = { .dirty_ns = now_ns - rd->last_get_ns };

		rd->drained = !running;
		rd->last_get_ns = now_ns;
		step.get_ns = sim_get(s, now_ns, running, &step.found);
		*ret_err = add_step(s, step);
		now_ns += step.get_ns;
		rd->chunk = 0;
		rd->stage = sim_splits(s) ? READER_CLEAR : READER_GET;
	} else {
		double ns = sim_clear(s, now_ns, running, rd->chunk);

		s->result->steps[s->result->nsteps - 1].clear_ns += ns;
		s->result->clear_ns += ns;
		now_ns += ns;
		rd->chunk += s->c->clear_chunk_pages;
		if (rd->chunk >= s->npages)
			rd->stage = READER_GET;
	}
	if (rd->stage == READER_CLEAR)
		return now_ns;
	if (rd->drained)
		return INFINITY;
	/* A reading that is late does not make up for it. */
	while (rd->next_get_ns <= now_ns)
		rd->next_get_ns += (double)s->c->interval_ns;
	return rd->next_get_ns;
}

static int run_beside(struct sim *s)
{
	double end_ns = s->c->duration_ns ? (double)s->c->duration_ns : INFINITY;
	double last_ns = 0;
	struct heap_item it;
	int err = 0;

	s->reader = (struct reader){ .next_get_ns = (double)s->c->interval_ns };
	s->limit_ns = MIN(s->reader.next_get_ns, end_ns);
	s->busy = s->c->vcpus;
	heap_push(&s->heap, s->limit_ns, READER_ID);
	for (unsigned int i = 0; i < s->c->vcpus; i++)
		heap_push(&s->heap, 0, i);
	while (err == 0 && heap_pop(&s->heap, &it)) {
		struct vcpu *v;

		if (it.id == READER_ID) {
			/* The last reading comes when the vCPUs have stopped. */
			if (it.time_ns >= end_ns && s->busy > 0) {
				s->limit_ns = INFINITY;
				continue;
			}
			s->limit_ns = reader_move(s, it.time_ns, &err);
			if (s->limit_ns < INFINITY)
				heap_push(&s->heap, s->limit_ns, READER_ID);
			continue;
		}
		v = &s->vcpus[it.id];
		if (v->now_ns + v->penalty_ns >= end_ns || !sim_vcpu_step(s, it.id)) {
			last_ns = MAX(last_ns, v->now_ns);
			if (--s->busy == 0 && !(s->limit_ns < INFINITY))
				heap_push(&s->heap, last_ns, READER_ID);
		} else {
			heap_push(&s->heap, v->now_ns, it.id);
		}
	}
	s->result->elapsed_ns = last_ns;
	if (err == 0 && last_ns > 0)
		s->result->loss = 1 - s->result->counts.useful_ns / (last_ns * s->c->vcpus);
	return err;
}

static int prepare(struct sim *s, struct err *err)
{
	const struct sim_config *c = s->c;
	int r = 0;

	if (c->pattern.kind == SIM_TRACE)
		r = replay_load(c->pattern.trace_path, &s->replay, err);
	if (r < 0)
		return r;
	s->npages = c->pattern.kind == SIM_TRACE ? s->replay.npages :
						   c->pages_per_vcpu * (c->overlap ? 1 : c->vcpus);
	if (s->npages > SIM_MAX_PAGES)
		return err_set(err, -EFBIG, "trace %s: more pages than %llu", c->pattern.trace_path,
			       (unsigned long long)SIM_MAX_PAGES);
	s->pages = malloc(s->npages);
	s->vcpus = calloc(c->vcpus, sizeof(*s->vcpus));
	s->heap.items = calloc(c->vcpus + 1, sizeof(*s->heap.items));
	if (!s->pages || !s->vcpus || !s->heap.items)
		return err_set(err, -ENOMEM, "out of memory");
	s->ring_limit = c->ring_entries - RING_RESERVED - (c->accel == SIM_PML ? PML_ENTRIES : 0);
	s->lockstep = c->overlap && c->vcpus > 1;
	s->lock_owner = NO_OWNER;
	for (unsigned int i = 0; i < c->vcpus; i++)
		source_init(&s->vcpus[i].source, c, &s->replay, i);
	sim_pages_start(s);
	return 0;
}

int sim_run(const struct sim_config *c, struct sim_result *ret, struct err *err)
{
	struct sim_result result = { 0 };
	struct sim s = { .c = c, .result = &result };
	int r = sim_config_check(c, err);

	if (r < 0)
		return r;
	r = prepare(&s, err);
	if (r == 0) {
		bool protects = !sim_splits(&s);

		result.npages = s.npages;
		result.enable_ns = c->slots * c->costs.enable_call_ns +
				   (protects ? (double)s.npages * c->costs.enable_page_ns : 0);
		result.disable_ns = c->slots * c->costs.disable_call_ns +
				    (double)s.npages * c->costs.disable_page_ns;
		r = c->mode == SIM_PASSES ? run_passes(&s) : run_beside(&s);
		if (r < 0)
			err_set(err, r,
				r == -EOVERFLOW ?
					"the log is read too many times: a longer interval_ns expected" :
					"out of memory");
	}
	free(s.pages);
	free(s.vcpus);
	free(s.heap.items);
	replay_fini(&s.replay);
	if (r < 0)
		sim_result_fini(&result);
	else
		*ret = result;
	return r;
}

void sim_result_fini(struct sim_result *r)
{
	free(r->steps);
	*r = (struct sim_result){ 0 };
}
