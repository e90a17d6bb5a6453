/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work of one CPU: it visits the pages of its part of the working set in the order of the
 * pattern, checks what the last visit left, and writes the next; or it serves its part of the
 * key-value store (kv.c). Nothing is shared on this path but the flags that the BSP sets.
 */
#include "guest.h"

#define BATCH_PAGES 64u
#define BATCH_REQUESTS 16u
#define HOT_CYCLE 10u /* one batch in so many goes to the cold pages, nine tenths of all */
#define RATE_SLICES_HZ 1000u
#define RATE_BACKLOG_MS 50u

static enum pattern pattern;
static uint32_t cpus;
static uint32_t batch_pages;
static uint64_t ws_total, fill_total;
static uint64_t rate_clk_per_page_q8; /* or per request; of one CPU, 0 without limit */
static bool halts;
static bool serves; /* the store, instead of visits */

void work_init(const struct args *args, uint64_t ws_pages, uint64_t fill_pages)
{
	pattern = args->pattern;
	cpus = args->cpus;
	ws_total = ws_pages;
	fill_total = fill_pages;
	halts = args->idle || ws_pages < cpus;
	serves = args->kv != KV_OFF;
	batch_pages = serves ? BATCH_REQUESTS : BATCH_PAGES;
	if (args->rate) {
		uint64_t slice = args->rate / cpus / RATE_SLICES_HZ;

		if (slice < batch_pages)
			batch_pages = slice < 1 ? 1 : (uint32_t)slice;
		rate_clk_per_page_q8 = (cpu_clock_khz() * 1000 * cpus << 8) / args->rate;
	}
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
static inline __attribute__((always_inline)) void visit_batch(struct worker *w, struct stream *s,
							      uint32_t n, enum fill kind)
{
	uint64_t *at[BATCH_PAGES];
	uint64_t pass = s->pass;
	uint32_t slot = s->slot;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t *p = page_at(stream_next(s, i));

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
		p[slot] = page_data_word(page, pass, kind);
	}
}

static void visit_pages(struct worker *w, struct stream *s, uint32_t n)
{
	enum fill kind = pages_fill_kind();

	if (kind == FILL_TEXT)
		visit_batch(w, s, n, FILL_TEXT);
	else if (kind == FILL_SPARSE)
		visit_batch(w, s, n, FILL_SPARSE);
	else
		visit_batch(w, s, n, FILL_RANDOM);
	if (stream_advance(s, n) && guest_args->passes && w->streams[0].pass > guest_args->passes)
		__atomic_store_n(&w->phase, WORKER_FINISHED, __ATOMIC_RELEASE);
}

static uint32_t serve_requests(struct worker *w, struct stream *s, uint32_t n)
{
	uint64_t left = w->requests_max - w->pages;

	n = kv_batch(w, s, left < n ? (uint32_t)left : n);
	if (left == n) {
		w->finish_clk = cpu_clock();
		__atomic_store_n(&w->phase, WORKER_FINISHED, __ATOMIC_RELEASE);
	}
	return n;
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
	if (serves)
		n = serve_requests(w, s, n);
	else
		visit_pages(w, s, n);
	w->pages += n;
	return n;
}

/* ---- one CPU's life ---- */

static uint64_t part_of(uint64_t total, uint32_t cpu)
{
	return total * (cpu + 1) / cpus - total * cpu / cpus;
}

static void poke(uint64_t first, uint64_t count)
{
	uint64_t page = guest_args->poke_page;

	if (page != POKE_NONE && page >= first && page - first < count)
		page_at(page)[guest_args->poke_word] ^= 1 << 17;
}

void work_start(struct worker *w, struct cpu_area *area, uint32_t cpu)
{
	/* Keys, not pages, are what a CPU that serves goes through. */
	uint64_t items = serves ? guest_args->keys : ws_total;
	uint64_t ws_first = items * cpu / cpus;
	uint64_t ws_count = items * (cpu + 1) / cpus - ws_first;
	uint64_t hot = pattern != PATTERN_HOT ? ws_count : ws_count < 10 ? ws_count : ws_count / 10;

	w->area = area;
	w->cpu = cpu;
	w->fill_first = ws_total + fill_total * cpu / cpus;
	w->fill_count = ws_total + fill_total * (cpu + 1) / cpus - w->fill_first;
	stream_init(&w->streams[0], ws_first, hot, pattern != PATTERN_SEQ);
	stream_init(&w->streams[1], ws_first + hot, ws_count - hot, true);
	w->requests_max = part_of(guest_args->requests, cpu);
	if (!guest_args->requests)
		w->requests_max = UINT64_MAX;
	if (serves)
		kv_start(w);
	else
		pages_fill(ws_first, ws_count, true);
	pages_fill(w->fill_first, w->fill_count, false);
	poke(ws_total * cpu / cpus, part_of(ws_total, cpu));
	poke(w->fill_first, w->fill_count);
	if (halts && guest_args->tick_hz)
		cpu_start_tick(guest_args->tick_hz);
	w->last_clk = cpu_clock();
	w->rate_next_clk = w->last_clk;
}

static void note_gap(struct worker *w, uint64_t now)
{
	uint64_t gap = now - w->last_clk;

	w->last_clk = now;
	if (unlikely(gap > w->gap_clk)) {
		w->gap_clk = gap;
		if (gap > w->maxgap_clk)
			w->maxgap_clk = gap;
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
	if ((halts || load_halted(w)) && !__atomic_load_n(&w->area->rx, __ATOMIC_SEQ_CST) &&
	    !request_pending(w) && (w->cpu || !console_pending()))
		cpu_halt(w->area);
	if (!halts) {
		/* Time in which there was nothing to do is no gap, and no backlog either. */
		w->last_clk = cpu_clock();
		w->rate_next_clk = w->last_clk;
		return;
	}
	ticks = __atomic_load_n(&w->area->ticks, __ATOMIC_RELAXED);
	if (ticks != w->last_ticks) {
		w->last_ticks = ticks;
		note_gap(w, cpu_clock());
	}
}

bool work_halts(const struct worker *w)
{
	return halts || load_halted(w);
}

void work_step(struct worker *w)
{
	uint64_t now;
	uint32_t n;

	if (unlikely(work_halts(w))) {
		step_halted(w);
		return;
	}
	now = cpu_clock();
	note_gap(w, now);
	if (w->phase == WORKER_FINISHED || (rate_clk_per_page_q8 && now < w->rate_next_clk)) {
		cpu_pause();
		return;
	}
	n = work_batch(w);
	if (rate_clk_per_page_q8) {
		uint64_t backlog = cpu_clock_khz() * RATE_BACKLOG_MS;

		w->rate_next_clk += n * rate_clk_per_page_q8 >> 8;
		if (now > w->rate_next_clk + backlog)
			w->rate_next_clk = now - backlog;
	}
}

static void verify_stream(struct worker *w, const struct stream *s)
{
	struct stream walk = *s;

	stream_start_pass(&walk);
	for (uint64_t i = 0; i < s->count; i++) {
		uint64_t page = stream_next(&walk, i);

		pages_verify_written(w->cpu, page, i < s->cursor ? s->pass : s->pass - 1,
				     &w->found);
	}
}

void work_verify(struct worker *w)
{
	w->found = (struct verdict){ 0 };
	if (serves) {
		kv_verify_stream(w, &w->streams[0]);
		kv_verify_stream(w, &w->streams[1]);
		kv_verify_index(w);
	} else {
		verify_stream(w, &w->streams[0]);
		verify_stream(w, &w->streams[1]);
	}
	pages_verify_filled(w->cpu, w->fill_first, w->fill_count, &w->found);
	w->bad += w->found.bad;
	w->last_clk = cpu_clock();
}

void work_sum(struct worker *w)
{
	uint64_t pages = memory_pool_pages();
	uint64_t first = pages * w->cpu / cpus;

	w->found = (struct verdict){ .pages = part_of(pages, w->cpu) };
	w->found.sum = pages_sum(first, w->found.pages);
	w->last_clk = cpu_clock();
}
