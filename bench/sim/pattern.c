/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern.h"

/* Knuth's multiplier; the guest of bench/dirty-log-perf draws just so (tests/tinyguest), which makes the pages that its passes write the same here and there. */
#define RNG_MUL 6364136223846793005ULL
#define RNG_ADD 1442695040888963407ULL

static uint64_t draw(struct source *s, uint64_t below)
{
	s->rng = s->rng * RNG_MUL + RNG_ADD;
	return (s->rng >> 32) * below >> 32;
}

void source_init(struct source *s, const struct sim_config *c, const struct replay *replay,
		 unsigned int vcpu)
{
	*s = (struct source){
		.pattern = &c->pattern,
		.first = c->overlap ? 0 : vcpu * c->pages_per_vcpu,
		.npages = c->pages_per_vcpu,
	};
	if (c->pattern.kind == SIM_TRACE)
		replay_cursor_init(&s->replay, replay, vcpu, c->vcpus);
	source_rewind(s, c->pattern.seed + vcpu);
}

void source_rewind(struct source *s, uint64_t seed)
{
	s->rng = seed;
	s->at = 0;
}

uint64_t source_pass_steps(const struct source *s)
{
	return s->pattern->kind == SIM_SPARSE ? s->npages / s->pattern->stride : s->npages;
}

bool source_is_random(const struct source *s)
{
	return s->pattern->kind == SIM_RANDOM || s->pattern->kind == SIM_HOT;
}

static uint64_t hot_page(struct source *s, uint64_t drawn)
{
	uint64_t hot = s->npages * s->pattern->hot_percent / 100;

	if (hot == 0 || hot == s->npages)
		return drawn;
	if (draw(s, 100) < s->pattern->hot_share_percent)
		return drawn * hot / s->npages;
	return hot + drawn * (s->npages - hot) / s->npages;
}

bool source_next(struct source *s, struct access *ret)
{
	const struct sim_pattern *p = s->pattern;
	uint64_t page = 0, drawn;

	if (p->kind == SIM_TRACE)
		return replay_next(&s->replay, &ret->page, &ret->think_ns, &ret->nothing) &&
		       (ret->write = true);
	drawn = draw(s, s->npages);
	switch (p->kind) {
	case SIM_SEQUENTIAL:
		page = s->at;
		break;
	case SIM_SPARSE:
		page = s->at * p->stride;
		break;
	case SIM_RANDOM:
		page = drawn;
		break;
	case SIM_HOT:
		page = hot_page(s, drawn);
		break;
	case SIM_TRACE:
		break;
	}
	ret->write = draw(s, 100) < p->write_percent;
	ret->page = s->first + page;
	ret->think_ns = p->think_ns;
	ret->nothing = false;
	if (++s->at == source_pass_steps(s))
		s->at = 0;
	return true;
}
