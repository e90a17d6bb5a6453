/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work of one CPU: it visits the pages of its part of the working set in the order of the
 * pattern, checks what the last visit left, and writes the next. Nothing is shared on this path but
 * the flags that the BSP sets.
 */
#include "guest.h"

#define BATCH_PAGES 64u
#define HOT_CYCLE 10u /* one batch in so many goes to the cold pages, nine tenths of all */
#define RATE_SLICES_HZ 1000u
#define RATE_BACKLOG_MS 50u

static enum pattern pattern;
static uint32_t cpus;
static uint32_t batch_pages;
static uint64_t ws_total, fill_total;
static uint64_t rate_tsc_per_page_q8; /* of one CPU, 0 without limit */
static bool halts;

void work_init(const struct args *args, uint64_t ws_pages, uint64_t fill_pages)
{
	pattern = args->pattern;
	cpus = args->cpus;
	ws_total = ws_pages;
	fill_total = fill_pages;
	halts = args->idle || ws_pages < cpus;
	batch_pages = BATCH_PAGES;
	if (args->rate) {
		uint64_t slice = args->rate / cpus / RATE_SLICES_HZ;

		batch_pages = slice < 1 ? 1 : slice > BATCH_PAGES ? BATCH_PAGES : (uint32_t)slice;
		rate_tsc_per_page_q8 = (cpu_tsc_khz() * 1000 * cpus << 8) / args->rate;
	}
}

/* ---- order ---- */

static void stream_start_pass(struct stream *s)
{
	s->cursor = 0;
	s->slot = page_data_slot(s->pass);
	s->state = s->pass * 0x9e3779b97f4a7c15ull >> 20 & s->mask;
}

static void stream_init(struct stream *s, uint64_t first, uint64_t count, bool shuffled)
{
	uint32_t bits = 0;

	while (1ull << bits < count)
		bits++;
	s->first = first;
	s->count = count;
	s->pass = 1;
	s->mask = (1ull << bits) - 1;
	s->shift = bits / 2 + 1;
	s->shuffled = shuffled;
	stream_start_pass(s);
}

/*
 * The next page in shuffled order: a linear congruential generator of full period over a power of
 * two (Knuth vol. 2, 3.2.1.2: odd increment, multiplier 1 mod 4), its poor low bits mixed with the
 * high ones, values too large skipped.
 */
static inline uint64_t stream_shuffled(struct stream *s)
{
	uint64_t i;

	do {
		s->state = (s->state * 0x5851f42d4c957f2dull + 0x14057b7ef767814full) & s->mask;
		i = s->state ^ s->state >> s->shift;
	} while (unlikely(i >= s->count));
	return s->first + i;
}

/* ---- visits ---- */

static __attribute__((noinline, cold)) void visit_bad(struct worker *w, const uint64_t *p,
						      uint64_t expected)
{
	uint64_t page = page_of(p);

	w->bad++;
	if (p[0] != expected)
		pages_report_bad(w->cpu, page, 0, expected, p[0]);
	if (p[1] != page_id_word(page))
		pages_report_bad(w->cpu, page, 1, page_id_word(page), p[1]);
}

/* Two rounds, so that the cache misses of a batch overlap. */
static inline void visit_batch(struct worker *w, struct stream *s, uint32_t n, bool text)
{
	uint64_t *at[BATCH_PAGES];
	uint64_t pass = s->pass;
	uint32_t slot = s->slot;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t *p = page_at(s->shuffled ? stream_shuffled(s) : s->first + s->cursor + i);

		__builtin_prefetch(p, 1);
		__builtin_prefetch(p + slot, 1);
		at[i] = p;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t *p = at[i];
		uint64_t page = page_of(p);

		if (unlikely(p[0] != pass - 1 || p[1] != page_id_word(page)))
			visit_bad(w, p, pass - 1);
		p[0] = pass;
		p[1] = page_id_word(page);
		p[slot] = page_data_word(page, pass, text);
	}
}

static uint32_t work_batch(struct worker *w)
{
	struct stream *s = &w->streams[0];
	uint32_t n;

	if (pattern == PATTERN_HOT && ++w->batches == HOT_CYCLE) {
		w->batches = 0;
		if (w->streams[1].count)
			s = &w->streams[1];
	}
	n = s->count - s->cursor < batch_pages ? (uint32_t)(s->count - s->cursor) : batch_pages;
	if (pages_are_text())
		visit_batch(w, s, n, true);
	else
		visit_batch(w, s, n, false);
	s->cursor += n;
	w->pages += n;
	if (s->cursor == s->count) {
		s->pass++;
		stream_start_pass(s);
		if (guest_args->passes && w->streams[0].pass > guest_args->passes)
			__atomic_store_n(&w->phase, WORKER_FINISHED, __ATOMIC_RELEASE);
	}
	return n;
}

/* ---- one CPU's life ---- */

static void poke(uint64_t first, uint64_t count)
{
	uint64_t page = guest_args->poke_page;

	if (page != POKE_NONE && page >= first && page - first < count)
		page_at(page)[guest_args->poke_word] ^= 1 << 17;
}

void work_start(struct worker *w, struct cpu_area *area, uint32_t cpu)
{
	uint64_t ws_first = ws_total * cpu / cpus;
	uint64_t ws_count = ws_total * (cpu + 1) / cpus - ws_first;
	uint64_t hot = pattern != PATTERN_HOT ? ws_count : ws_count < 10 ? ws_count : ws_count / 10;

	w->area = area;
	w->cpu = cpu;
	w->fill_first = ws_total + fill_total * cpu / cpus;
	w->fill_count = ws_total + fill_total * (cpu + 1) / cpus - w->fill_first;
	stream_init(&w->streams[0], ws_first, hot, pattern != PATTERN_SEQ);
	stream_init(&w->streams[1], ws_first + hot, ws_count - hot, true);
	pages_fill(ws_first, ws_count, true);
	pages_fill(w->fill_first, w->fill_count, false);
	poke(ws_first, ws_count);
	poke(w->fill_first, w->fill_count);
	if (halts && guest_args->tick_hz)
		cpu_start_tick(guest_args->tick_hz);
	w->last_tsc = cpu_tsc();
	w->rate_next_tsc = w->last_tsc;
}

static void note_gap(struct worker *w, uint64_t now)
{
	uint64_t gap = now - w->last_tsc;

	w->last_tsc = now;
	if (unlikely(gap > w->gap_tsc)) {
		w->gap_tsc = gap;
		if (gap > w->maxgap_tsc)
			w->maxgap_tsc = gap;
	}
}

/*
 * Sleeps until an interrupt. Only the timer's ticks, which ought to be regular, say anything about
 * gaps.
 */
static void step_halted(struct worker *w)
{
	uint32_t ticks;

	__atomic_store_n(&w->area->wake, 0, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&w->area->rx, __ATOMIC_SEQ_CST) && !request_pending(w) &&
	    (w->cpu || !console_pending()))
		cpu_halt(w->area);
	ticks = __atomic_load_n(&w->area->ticks, __ATOMIC_RELAXED);
	if (ticks != w->last_ticks) {
		w->last_ticks = ticks;
		note_gap(w, cpu_tsc());
	}
}

void work_step(struct worker *w)
{
	uint64_t now;
	uint32_t n;

	if (halts) {
		step_halted(w);
		return;
	}
	now = cpu_tsc();
	note_gap(w, now);
	if (w->phase == WORKER_FINISHED || (rate_tsc_per_page_q8 && now < w->rate_next_tsc)) {
		cpu_pause();
		return;
	}
	n = work_batch(w);
	if (rate_tsc_per_page_q8) {
		uint64_t backlog = cpu_tsc_khz() * RATE_BACKLOG_MS;

		w->rate_next_tsc += n * rate_tsc_per_page_q8 >> 8;
		if (now > w->rate_next_tsc + backlog)
			w->rate_next_tsc = now - backlog;
	}
}

static void verify_stream(struct worker *w, const struct stream *s)
{
	struct stream walk = *s;

	stream_start_pass(&walk);
	for (uint64_t i = 0; i < s->count; i++) {
		uint64_t page = s->shuffled ? stream_shuffled(&walk) : s->first + i;

		pages_verify_written(w->cpu, page, i < s->cursor ? s->pass : s->pass - 1,
				     &w->found);
	}
}

void work_verify(struct worker *w)
{
	w->found = (struct verdict){ 0 };
	verify_stream(w, &w->streams[0]);
	verify_stream(w, &w->streams[1]);
	pages_verify_filled(w->cpu, w->fill_first, w->fill_count, &w->found);
	w->bad += w->found.bad;
	w->last_tsc = cpu_tsc();
}
