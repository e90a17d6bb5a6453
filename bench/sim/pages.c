/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/num.h"
#include "engine.h"

static bool hardware_notes_all(const struct sim *s)
{
	return s->c->accel == SIM_PML || s->c->accel == SIM_SCAN || s->c->accel == SIM_HDBSS;
}

/* What logging leaves behind when it is switched on: backends that split start full (INITIALLY_SET), the others protect or arm every page. */
void sim_pages_start(struct sim *s)
{
	uint8_t first = hardware_notes_all(s) ? PAGE_ARMED : 0;

	if (sim_splits(s))
		first = PAGE_OPEN | PAGE_LOGGED;
	memset(s->pages, first, s->npages);
	s->scannable = 0;
	for (unsigned int i = 0; i < s->c->vcpus; i++) {
		s->vcpus[i].buffered = 0;
		s->vcpus[i].in_ring = 0;
	}
}

static void log_page(struct sim *s, struct vcpu *v, uint64_t page, uint8_t bits)
{
	s->pages[page] = (uint8_t)((s->pages[page] & (PAGE_ARMED | PAGE_TAKEN)) | PAGE_OPEN |
				   PAGE_LOGGED | bits);
	if (source_is_random(&v->source))
		s->pages[page] |= PAGE_RANDOM;
	s->counts.logged++;
}

static void push_ring(struct sim *s, struct vcpu *v, uint32_t n)
{
	if (s->c->backend != SIM_RING)
		return;
	v->in_ring += n;
	if (v->in_ring >= s->ring_limit && v->pending == PENDING_NOTHING)
		v->pending = PENDING_RING_FULL;
}

double sim_drain(struct sim *s, struct vcpu *v)
{
	double ns = v->buffered * s->c->costs.full_entry_ns;

	push_ring(s, v, v->buffered);
	v->buffered = 0;
	s->counts.full_ns += ns;
	return ns;
}

/* Hardware notes the write; a buffer that is full then exits. */
static double note(struct sim *s, struct vcpu *v, uint64_t page)
{
	const struct sim_costs *c = &s->c->costs;
	double ns = c->log_ns;

	log_page(s, v, page, PAGE_ARMED);
	s->counts.log_ns += c->log_ns;
	if ((s->c->accel == SIM_PML || s->c->accel == SIM_HDBSS) &&
	    ++v->buffered >= s->c->buffer_entries) {
		s->counts.full_exits++;
		s->counts.full_ns += c->full_ns;
		ns += c->full_ns + sim_drain(s, v);
	}
	return ns;
}

bool sim_page_write(struct sim *s, struct vcpu *v, uint64_t page, double *ret_ns)
{
	uint8_t state = s->pages[page];

	*ret_ns = 0;
	if (state & PAGE_OPEN)
		return true;
	if (!(state & PAGE_ARMED))
		return false;
	*ret_ns = note(s, v, page);
	return true;
}

bool sim_page_read(struct sim *s, uint64_t page)
{
	if (!(s->pages[page] & PAGE_GONE))
		return true;
	s->pages[page] &= (uint8_t)~PAGE_GONE;
	return false;
}

uint64_t sim_page_fault(struct sim *s, struct vcpu *v, uint64_t page)
{
	uint64_t armed = 0, first, end;

	/* Another vCPU may have opened it in the meantime. */
	if (!(s->pages[page] & PAGE_OPEN)) {
		log_page(s, v, page, 0);
		push_ring(s, v, 1);
	}
	if (s->c->accel != SIM_COMBINED)
		return 0;
	first = align_down(page, s->c->group_pages);
	end = MIN(first + s->c->group_pages, s->npages);
	for (uint64_t i = first; i < end; i++) {
		if (!(s->pages[i] & (PAGE_OPEN | PAGE_ARMED))) {
			s->pages[i] |= PAGE_ARMED;
			armed++;
		}
	}
	s->scannable += armed;
	return armed;
}

void sim_page_rearm(struct sim *s, uint64_t page)
{
	/* The combined log protects a page that it rearms, and stops scanning it. */
	if (s->c->accel == SIM_COMBINED && (s->pages[page] & PAGE_ARMED))
		s->scannable--;
	/* userfaultfd protects the process's page table, and KVM's mapping goes with the old entry. */
	if (s->c->backend == SIM_UFFD)
		s->pages[page] = PAGE_GONE;
	else
		s->pages[page] = hardware_notes_all(s) ? PAGE_ARMED : 0;
}
