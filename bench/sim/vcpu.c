/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "engine.h"

/* A vCPU goes on by itself until it needs the lock, but no longer than this: a ring that another one finds full rearms pages of its. */
#define SLICE_NS 50000.0

double sim_lock(struct sim *s, uint32_t owner, double now_ns, double hold_ns)
{
	double start_ns = MAX(now_ns, s->lock_free_ns);

	s->lock_owner = owner;
	s->lock_free_ns = start_ns + hold_ns;
	return s->lock_free_ns;
}

/* fault_ns covers the vCPU's way there, the locked part and the way back; what contention adds lies in the locked part. */
static void fault(struct sim *s, uint32_t id, struct vcpu *v)
{
	const struct sim_costs *c = &s->c->costs;
	double alone_ns = c->fault_ns + (source_is_random(&v->source) ? c->fault_random_ns : 0);
	double hold_ns = c->fault_hold_ns;
	double start_ns = MAX(v->now_ns, s->lock_free_ns);

	hold_ns += (double)sim_page_fault(s, v, v->next.page) * c->arm_page_ns;
	if (s->lock_owner != id && s->lock_owner != NO_OWNER)
		hold_ns += c->lock_bounce_ns;
	s->counts.faults++;
	s->counts.wait_ns += start_ns - v->now_ns;
	s->counts.fault_ns += hold_ns + alone_ns - c->fault_hold_ns;
	v->now_ns = sim_lock(s, id, v->now_ns, hold_ns) + alone_ns - c->fault_hold_ns;
}

static void ring_full(struct sim *s, struct vcpu *v)
{
	double ns = s->c->costs.ring_full_ns;

	s->counts.ring_full_exits++;
	/* It empties its own ring and all others, under the lock of the rings. */
	ns += sim_harvest_rings(s);
	s->counts.full_ns += ns;
	v->now_ns = sim_lock(s, NO_OWNER, v->now_ns, ns);
}

/* The access itself, at the vCPU's time. */
static void touch(struct sim *s, struct vcpu *v)
{
	double ns;

	if (v->next.nothing)
		return;
	s->counts.visits++;
	s->counts.writes += v->next.write;
	if (!v->next.write) {
		if (!sim_page_read(s, v->next.page)) {
			s->counts.faults++;
			s->counts.fault_ns += s->c->costs.read_fault_ns;
			v->now_ns += s->c->costs.read_fault_ns;
		}
		return;
	}
	if (sim_page_write(s, v, v->next.page, &ns))
		v->now_ns += ns;
	else
		v->pending = PENDING_FAULT;
}

static void settle(struct sim *s, uint32_t id, struct vcpu *v)
{
	enum pending p = v->pending;

	v->pending = PENDING_NOTHING;
	switch (p) {
	case PENDING_NOTHING:
		break;
	case PENDING_ACCESS:
		touch(s, v);
		break;
	case PENDING_FAULT:
		fault(s, id, v);
		break;
	case PENDING_RING_FULL:
		ring_full(s, v);
		break;
	}
}

/* Works up to the next access, and does it unless the reader comes first. False when the source is dry. */
static bool advance(struct sim *s, struct vcpu *v)
{
	const struct sim_costs *c = &s->c->costs;
	double useful_ns = c->visit_ns;

	if (!source_next(&v->source, &v->next))
		return false;
	if (source_is_random(&v->source))
		useful_ns += c->visit_random_ns;
	/* A trace's distances are from write to write. */
	if (s->c->pattern.kind == SIM_TRACE)
		useful_ns = MAX(v->next.think_ns, v->next.nothing ? 0 : useful_ns);
	else
		useful_ns += v->next.think_ns;
	s->counts.useful_ns += useful_ns;
	v->now_ns += useful_ns;
	if (v->now_ns > s->limit_ns)
		v->pending = PENDING_ACCESS;
	else
		touch(s, v);
	return true;
}

bool sim_vcpu_step(struct sim *s, uint32_t id)
{
	struct vcpu *v = &s->vcpus[id];
	double until_ns;

	v->now_ns += v->penalty_ns;
	v->penalty_ns = 0;
	settle(s, id, v);
	until_ns = s->lockstep ? v->now_ns : MIN(s->limit_ns, v->now_ns + SLICE_NS);
	do {
		if (v->pending != PENDING_NOTHING)
			return true;
		if (s->c->mode == SIM_PASSES && v->steps_left == 0)
			return false;
		if (s->c->mode == SIM_RUN && v->now_ns > s->limit_ns)
			return true;
		if (!advance(s, v))
			return false;
		if (s->c->mode == SIM_PASSES)
			v->steps_left--;
	} while (v->now_ns < until_ns);
	return true;
}
