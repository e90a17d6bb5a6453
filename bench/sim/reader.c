/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/num.h"
#include "engine.h"

/* Running vCPUs are interrupted: each loses a little, and what its hardware has buffered goes into the log. */
static void kick(struct sim *s, bool running)
{
	for (unsigned int i = 0; running && i < s->c->vcpus; i++) {
		struct vcpu *v = &s->vcpus[i];

		v->penalty_ns += s->c->costs.kick_ns + sim_drain(s, v);
		s->counts.kick_ns += s->c->costs.kick_ns;
		s->counts.kicks++;
	}
}

static bool has_buffer(const struct sim *s)
{
	return s->c->accel == SIM_PML || s->c->accel == SIM_HDBSS;
}

/* What a walk through the log came upon. */
struct walk {
	uint64_t pages;
	uint64_t random; /* of them, those first written in random order */
	uint64_t runs; /* of pages that are neighbours */
};

/* Hands every page of [first, end) with the bit @with to @act. Eight pages at a time where there are none. */
static struct walk walk(struct sim *s, uint64_t first, uint64_t end, uint8_t with,
			void (*act)(struct sim *, uint64_t))
{
	uint64_t next = UINT64_MAX;
	struct walk w = { 0 };

	for (uint64_t i = first; i < end; i++) {
		if (i % 8 == 0 && i + 8 <= end) {
			uint64_t eight;

			memcpy(&eight, s->pages + i, 8);
			if (!(eight & with * 0x0101010101010101ULL)) {
				i += 7;
				continue;
			}
		}
		if (!(s->pages[i] & with))
			continue;
		w.pages++;
		w.random += (s->pages[i] & PAGE_RANDOM) != 0;
		w.runs += i != next;
		next = i + 1;
		act(s, i);
	}
	return w;
}

static void take(struct sim *s, uint64_t page)
{
	s->pages[page] |= PAGE_TAKEN;
}

double sim_harvest_rings(struct sim *s)
{
	uint64_t entries = 0;
	struct walk w;

	for (unsigned int i = 0; i < s->c->vcpus; i++) {
		entries += s->vcpus[i].in_ring;
		s->vcpus[i].in_ring = 0;
	}
	/* What a hardware buffer still holds is in no ring yet, but in the log of this model: it counts as harvested, and costs when its buffer is emptied. */
	w = walk(s, 0, s->npages, PAGE_LOGGED, sim_page_rearm);
	s->ring_harvested += w.pages;
	return (double)entries * s->c->costs.get_page_ns +
	       (double)w.random * s->c->costs.get_random_ns;
}

static double get_ring(struct sim *s, uint64_t *ret_found)
{
	double ns = sim_harvest_rings(s);

	*ret_found = s->ring_harvested;
	s->ring_harvested = 0;
	return s->c->costs.get_call_ns + ns;
}

static double scan_ns(const struct sim *s)
{
	if (s->c->accel == SIM_SCAN)
		return (double)s->npages * s->c->costs.scan_page_ns;
	return s->c->accel == SIM_COMBINED ? (double)s->scannable * s->c->costs.scan_page_ns : 0;
}

double sim_get(struct sim *s, double now_ns, bool running, uint64_t *ret_found)
{
	const struct sim_costs *c = &s->c->costs;
	bool rearms = !sim_splits(s);
	double ns = scan_ns(s);
	bool locks = ns > 0 || rearms;

	if (has_buffer(s))
		kick(s, running);
	if (s->c->backend == SIM_RING) {
		ns = get_ring(s, ret_found);
	} else {
		struct walk w = walk(s, 0, s->npages, PAGE_LOGGED, rearms ? sim_page_rearm : take);

		*ret_found = w.pages;
		ns += s->c->slots * c->get_call_ns +
		      (double)((s->npages + 63) / 64) * c->get_word_ns +
		      (double)w.pages * c->get_page_ns + (double)w.random * c->get_random_ns;
	}
	if (rearms && *ret_found > 0) {
		ns += c->flush_ns;
		/* PML's vCPUs were interrupted already. */
		if (!has_buffer(s))
			kick(s, running);
	}
	return locks ? sim_lock(s, NO_OWNER, now_ns, ns) - now_ns : ns;
}

double sim_clear(struct sim *s, double now_ns, bool running, uint64_t first)
{
	const struct sim_costs *c = &s->c->costs;
	uint64_t end = MIN(first + s->c->clear_chunk_pages, s->npages);
	struct walk w = walk(s, first, end, PAGE_TAKEN, sim_page_rearm);
	double ns;

	/* Nothing to clear, no call. */
	if (w.pages == 0)
		return 0;
	ns = c->clear_call_ns + (double)((end - first + 63) / 64) * c->clear_word_ns +
	     (double)w.pages * c->clear_page_ns + (double)w.random * c->clear_random_ns +
	     (double)w.runs * c->clear_run_ns + c->flush_ns;
	kick(s, running);
	return sim_lock(s, NO_OWNER, now_ns, ns) - now_ns;
}
