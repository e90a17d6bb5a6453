/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start, reports and commands: CPU 0 does this between its batches, the others only work and answer
 * its requests.
 */
#include "guest.h"

#define ARRIVE_TIMEOUT_MS 5000u
#define VERIFY_TIMEOUT_MS 600000u
#define INPUT_BYTES_MAX 64u

enum request_kind { REQUEST_VERIFY, REQUEST_STOP, REQUEST_SUM };

static struct args args;
const struct args *guest_args = &args;
static uint64_t start_clk;
static uint64_t work_clk; /* when the work began */
static uint64_t next_report_clk;
static uint32_t request_seq;
static uint32_t request_kind;
static uint32_t halted; /* by the key */
static bool done; /* all requests= are served */
static uint64_t faults_bad;

static inline uint64_t clock_to_us(uint64_t clk)
{
	return clk * 1000 / cpu_clock_khz();
}

struct worker *worker_of(uint32_t cpu)
{
	return cpu ? &memory_ap_areas()[cpu - 1].worker : &bsp_area.worker;
}

static uint32_t phase_of(uint32_t cpu)
{
	return __atomic_load_n(&worker_of(cpu)->phase, __ATOMIC_ACQUIRE);
}

static uint32_t cpus_in(uint32_t phase)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < args.cpus; i++)
		n += phase_of(i) >= phase;
	return n;
}

bool request_pending(const struct worker *w)
{
	return __atomic_load_n(&request_seq, __ATOMIC_ACQUIRE) != w->request;
}

/* The BSP has to see the others finish, and so goes on. */
bool load_halted(const struct worker *w)
{
	return __atomic_load_n(&halted, __ATOMIC_SEQ_CST) ||
	       (args.kv && w->phase == WORKER_FINISHED && (w->cpu || done));
}

/* ---- what the BSP prints ---- */

/* Queued: a line at once would be a gap of its own. */
static void queue_report(void)
{
	uint64_t pages = 0, bad = 0, gap = 0, maxgap = 0;
	struct line l;

	for (uint32_t i = 0; i < args.cpus; i++) {
		struct worker *w = worker_of(i);
		/*
		 * Its owner may be writing just now: at worst a gap is told twice, or only as part
		 * of maxgap.
		 */
		uint64_t g = __atomic_exchange_n(&w->gap_clk, 0, __ATOMIC_RELAXED);
		uint64_t m = __atomic_load_n(&w->maxgap_clk, __ATOMIC_RELAXED);

		pages += __atomic_load_n(&w->pages, __ATOMIC_RELAXED);
		bad += __atomic_load_n(&w->bad, __ATOMIC_RELAXED);
		gap = g > gap ? g : gap;
		maxgap = m > maxgap ? m : maxgap;
	}
	l.len = 0;
	line_dec(&l, "vmm-guest: t_ms=", clock_to_us(cpu_clock() - start_clk) / 1000);
	line_dec(&l, args.kv ? " requests=" : " pages=", pages);
	line_dec(&l, " pass=", worker_of(0)->streams[0].pass);
	line_dec(&l, " gap_us=", clock_to_us(gap));
	line_dec(&l, " maxgap_us=", clock_to_us(maxgap));
	line_dec(&l, " bad=", bad);
	if (cpu_host_clock_ns())
		line_dec(&l, " clock_ms=", cpu_host_clock_ns() / 1000000);
	if (args.blk)
		disk_report(&l);
	line_queue(&l);
}

static void print_ready(uint64_t ws_pages, uint64_t fill_pages)
{
	struct line l;

	l.len = 0;
	line_dec(&l, "vmm-guest: ready cpus=", cpus_in(WORKER_READY));
	line_dec(&l, "/", args.cpus);
	line_dec(&l, " ws_pages=", ws_pages);
	line_dec(&l, " fill_pages=", fill_pages);
	line_dec(&l, " pool_pages=", memory_pool_pages());
	line_dec(&l, " tsc_khz=", cpu_clock_khz());
	line_str(&l, " clock=");
	line_str(&l, cpu_clock_source());
	line_dec(&l, " t_ms=", clock_to_us(cpu_clock() - start_clk) / 1000);
	if (args.kv) {
		line_dec(&l, " keys=", args.keys);
		line_dec(&l, " value_bytes=", args.value_bytes);
		line_dec(&l, " clients=", args.clients);
	}
	line_print(&l);
}

static void print_done(void)
{
	uint64_t end = 0, maxgap = 0, us;
	struct line l;

	for (uint32_t i = 0; i < args.cpus; i++) {
		struct worker *w = worker_of(i);

		end = w->finish_clk > end ? w->finish_clk : end;
		maxgap = w->maxgap_clk > maxgap ? w->maxgap_clk : maxgap;
	}
	us = clock_to_us(end - work_clk);
	l.len = 0;
	line_dec(&l, "vmm-guest: done requests=", args.requests);
	line_dec(&l, " elapsed_us=", us);
	line_dec(&l, " per_s=", us ? args.requests * 1000000 / us : 0);
	line_dec(&l, " maxgap_us=", clock_to_us(maxgap));
	line_dec(&l, " t_ms=", clock_to_us(end - start_clk) / 1000);
	line_print(&l);
}

/* ---- commands ---- */

static void answer(struct worker *w, uint32_t kind)
{
	if (kind == REQUEST_SUM)
		work_sum(w);
	else
		work_verify(w);
}

/* All CPUs answer side by side; the answers added up. How many answered. */
static uint32_t ask_all(enum request_kind kind, struct verdict *ret_sum, uint64_t *ret_bad)
{
	struct worker *self = worker_of(0);
	struct verdict sum = { 0 };
	uint64_t bad = 0, start;
	uint32_t seq = request_seq + 1, answered = 0;

	request_kind = kind;
	__atomic_store_n(&request_seq, seq, __ATOMIC_RELEASE);
	if (args.cpus > 1)
		cpu_wake_others();
	answer(self, kind);
	__atomic_store_n(&self->request, seq, __ATOMIC_RELEASE);
	start = cpu_clock();
	for (uint32_t i = 0; i < args.cpus; i++) {
		struct worker *w = worker_of(i);

		while (phase_of(i) >= WORKER_READY &&
		       __atomic_load_n(&w->request, __ATOMIC_ACQUIRE) != seq &&
		       cpu_clock() - start < cpu_clock_khz() * VERIFY_TIMEOUT_MS)
			cpu_pause();
		if (phase_of(i) < WORKER_READY ||
		    __atomic_load_n(&w->request, __ATOMIC_ACQUIRE) != seq)
			continue;
		answered++;
		sum.pages += w->found.pages;
		sum.words += w->found.words;
		sum.bad += w->found.bad;
		sum.keys += w->found.keys;
		sum.sum += w->found.sum;
		bad += w->bad;
	}
	self->last_clk = cpu_clock();
	*ret_sum = sum;
	*ret_bad = bad;
	return answered;
}

/* True if every CPU asked for took part and nothing was ever bad. */
static bool verify_all(enum request_kind kind)
{
	struct verdict sum;
	struct line l;
	uint64_t bad, disk_bad = args.blk ? disk_verify() : 0;
	uint32_t answered = ask_all(kind, &sum, &bad);

	l.len = 0;
	line_dec(&l, "vmm-guest: verified pages=", sum.pages);
	line_dec(&l, " words=", sum.words);
	line_dec(&l, " bad=", sum.bad);
	if (args.kv)
		line_dec(&l, " keys=", sum.keys);
	line_print(&l);
	if (answered != args.cpus)
		console_puts("vmm-guest: note a CPU took no part in the verification");
	worker_of(0)->last_clk = cpu_clock();
	return !bad && !disk_bad && !faults_bad && answered == args.cpus;
}

static void print_sum(void)
{
	struct verdict sum;
	struct line l;
	uint64_t bad;

	if (ask_all(REQUEST_SUM, &sum, &bad) != args.cpus) {
		console_puts("vmm-guest: note a CPU took no part, so there is no checksum");
		return;
	}
	l.len = 0;
	line_dec(&l, "vmm-guest: ram pages=", sum.pages);
	line_hex(&l, " sum=", sum.sum);
	line_print(&l);
	worker_of(0)->last_clk = cpu_clock();
}

static void halt_or_go_on(void)
{
	bool halt = !halted;

	__atomic_store_n(&halted, halt, __ATOMIC_SEQ_CST);
	disk_halt(halt);
	if (!halt && args.cpus > 1)
		cpu_wake_others();
	console_puts(halt ? "vmm-guest: halted" : "vmm-guest: goes on");
	worker_of(0)->last_clk = cpu_clock();
}

static __attribute__((noreturn)) void finish(bool pass)
{
	console_puts(pass ? "vmm-guest: PASS" : "vmm-guest: FAIL");
	cpu_power_off(&bsp_area);
}

static __attribute__((noreturn)) void stop(void)
{
	bool pass = verify_all(REQUEST_STOP);

	queue_report();
	finish(pass);
}

static void handle_byte(int c)
{
	switch (c) {
	case 's':
		stop();
	case 'v':
		verify_all(REQUEST_VERIFY);
		break;
	case 'g':
		for (uint32_t i = 0; i < args.cpus; i++) {
			__atomic_store_n(&worker_of(i)->gap_clk, 0, __ATOMIC_RELAXED);
			__atomic_store_n(&worker_of(i)->maxgap_clk, 0, __ATOMIC_RELAXED);
		}
		break;
	case 'r':
		queue_report();
		break;
	case 'c':
		print_sum();
		break;
	case 'h':
		halt_or_go_on();
		break;
	default:
		break;
	}
}

static void handle_input(struct cpu_area *area)
{
	__atomic_store_n(&area->rx, 0, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < INPUT_BYTES_MAX; i++) {
		int c = uart_getc();

		if (c < 0)
			return;
		handle_byte(c);
	}
	__atomic_store_n(&area->rx, 1, __ATOMIC_SEQ_CST);
}

/* ---- the two kinds of CPU ---- */

static void bsp_poll(struct worker *w)
{
	console_step();
	if (unlikely(__atomic_load_n(&w->area->rx, __ATOMIC_SEQ_CST)))
		handle_input(w->area);
	if (unlikely(args.report_ms && w->last_clk >= next_report_clk)) {
		queue_report();
		next_report_clk = cpu_clock() + args.report_ms * cpu_clock_khz();
	}
	if (unlikely(w->phase == WORKER_FINISHED && !done &&
		     cpus_in(WORKER_FINISHED) == args.cpus)) {
		if (args.passes)
			stop();
		done = true;
		print_done();
	}
}

static bool divide_pool(uint64_t *ret_ws_pages, uint64_t *ret_fill_pages)
{
	uint64_t pool = memory_pool_pages();
	uint64_t ws = args.kv ? kv_store_pages(&args) : args.ws_bytes / PAGE_BYTES;
	uint64_t fill = args.fillsize_bytes / PAGE_BYTES;

	if (args.kv && !ws)
		return false;
	if (ws > pool && !args.ws_given && !args.kv)
		ws = pool;
	if (args.fillsize_bytes == UINT64_MAX)
		fill = ws < pool ? pool - ws : 0;
	if (ws > pool || fill > pool - ws) {
		struct line l;

		l.len = 0;
		line_dec(
			&l,
			args.kv ?
				"vmm-guest: ERROR keys, value and fillsize do not fit, pool_pages=" :
				"vmm-guest: ERROR ws and fillsize do not fit, pool_pages=",
			pool);
		line_print(&l);
		return false;
	}
	*ret_ws_pages = ws;
	*ret_fill_pages = fill;
	return true;
}

static void wait_for_others(void)
{
	uint64_t start = cpu_clock();

	while (cpus_in(WORKER_ARRIVED) < args.cpus &&
	       cpu_clock() - start < cpu_clock_khz() * ARRIVE_TIMEOUT_MS)
		cpu_pause();
	while (cpus_in(WORKER_READY) < cpus_in(WORKER_ARRIVED))
		cpu_pause();
}

void bsp_main(struct cpu_area *area)
{
	struct worker *w = &area->worker;
	uint64_t ws_pages, fill_pages;

	start_clk = cpu_clock();
	console_puts("vmm-guest: hello");
	cpu_init_shared();
	if (!memory_read_boot_info() || !args_parse(&args, memory_cmdline()) ||
	    !memory_init(&args) || !divide_pool(&ws_pages, &fill_pages))
		finish(false);
	cpu_init_local();
	cpu_init_clock(args.tsc_khz);
	pages_init(args.fill);
	work_init(&args, ws_pages, fill_pages);
	kv_init(&args, ws_pages);
	cpu_start_others(args.cpus, memory_ap_areas());
	w->phase = WORKER_ARRIVED;
	work_start(w, area, 0);
	w->phase = WORKER_READY;
	uart_init();
	wait_for_others();
	if (args.faults)
		faults_bad = faults_run(memory_disk_area());
	if (args.blk && !disk_init(&args, memory_disk_area()))
		finish(false);
	print_ready(ws_pages, fill_pages);
	w->last_clk = cpu_clock();
	work_clk = w->last_clk;
	next_report_clk = w->last_clk + args.report_ms * cpu_clock_khz();
	for (;;) {
		/* The disk's answers bring no interrupt: while some are to come there is no halting. */
		bool disk_waits = args.blk && disk_step();

		if (!disk_waits || !work_halts(w))
			work_step(w);
		bsp_poll(w);
	}
}

void ap_main(struct cpu_area *area)
{
	struct worker *w = &area->worker;
	uint32_t cpu = (uint32_t)(area - memory_ap_areas()) + 1;

	cpu_init_local();
	__atomic_store_n(&w->phase, WORKER_ARRIVED, __ATOMIC_RELEASE);
	work_start(w, area, cpu);
	__atomic_store_n(&w->phase, WORKER_READY, __ATOMIC_RELEASE);
	for (;;) {
		if (unlikely(request_pending(w))) {
			uint32_t seq = __atomic_load_n(&request_seq, __ATOMIC_ACQUIRE);
			bool stops = request_kind == REQUEST_STOP;

			answer(w, request_kind);
			__atomic_store_n(&w->request, seq, __ATOMIC_RELEASE);
			while (stops) {
				area->wake = 0;
				cpu_halt(area);
			}
		}
		work_step(w);
	}
}
