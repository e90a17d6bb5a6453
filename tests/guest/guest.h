/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built-in guest: what its files offer one another, whatever the architecture (arch.h). The
 * command line, the lines printed and the format of a page are specified in docs/spec/guest.md.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"
#include "area.h"
#include "boot.h"

#define PAGE_BYTES 4096u
#define PAGE_WORDS 512u
#define CHUNK_BYTES (2ull << 20)
#define CHUNK_PAGES 512u
#define POOL_VA (1ull << 39)
#define CPUS_MAX 255u
#define BAD_LINES_MAX 16u
#define DATA_SLOT_BASE 2u
#define DATA_SLOTS (PAGE_WORDS - DATA_SLOT_BASE)

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- args.c ---- */
enum fill { FILL_NONE, FILL_ZERO, FILL_RANDOM, FILL_TEXT, FILL_SPARSE };
enum pattern { PATTERN_SEQ, PATTERN_RANDOM, PATTERN_HOT };
enum kv_load { KV_OFF, KV_SET, KV_MIX };
enum blk_load { BLK_OFF, BLK_READ, BLK_WRITE, BLK_MIX };

#define POKE_NONE UINT64_MAX
#define KV_KEYS_MAX (1ull << 30)
#define KV_VALUE_MAX (1ull << 20)
#define KV_CLIENTS_MAX 65536u
#define BLK_DEPTH_MAX 64u
#define BLK_BYTES_MAX (128u << 10)
#define BLK_BLOCKS_MAX (1u << 20)

struct args {
	uint64_t ws_bytes;
	bool ws_given;
	uint64_t mem_bytes; /* UINT64_MAX: all that the memory map has */
	uint64_t fillsize_bytes; /* UINT64_MAX: all */
	uint64_t rate; /* pages/s or requests/s of all CPUs together, 0 without limit */
	uint64_t report_ms; /* 0: none */
	uint64_t tick_hz; /* 0: none */
	uint64_t tsc_khz; /* of cpu_clock(), 0: find out */
	uint64_t passes; /* 0: without end */
	uint64_t poke_page; /* POKE_NONE: none */
	uint64_t poke_word;
	uint64_t keys; /* of all CPUs together */
	uint64_t value_bytes; /* a multiple of 8 */
	uint64_t clients; /* of all CPUs together */
	uint64_t requests; /* of all CPUs together, 0: without end */
	uint64_t blk_bytes; /* of a request, whole sectors */
	uint64_t blk_span; /* how much of the disk is used */
	uint64_t blk_requests; /* 0: without end */
	uint32_t blk_depth;
	uint32_t cpus;
	enum pattern pattern;
	enum fill fill;
	enum kv_load kv;
	enum blk_load blk;
	bool blk_chain;
	bool faults;
	bool pattern_given;
	bool idle;
};

/*
 * Parses `key=value` separated by blanks. Prints a note for each unknown key; false after printing
 * what is wrong.
 */
bool args_parse(struct args *ret_args, const char *cmdline);

/* ---- console.c ---- */
/* A line under construction; what does not fit is cut, the newline always fits. */
struct line {
	size_t len;
	char text[240];
};

void line_str(struct line *l, const char *s);
void line_strn(struct line *l, const char *s, size_t n);
void line_dec(struct line *l, const char *label, uint64_t v);
void line_hex(struct line *l, const char *label, uint64_t v);
/* Ends the line and writes it in one piece, lines of several CPUs one after the other. */
void line_print(struct line *l);
/* The same, but console_step() writes it. Finishes a line that is queued already. */
void line_queue(struct line *l);
/* Writes one byte of a queued line, if there is one. */
void console_step(void);
bool console_pending(void);
/* As line_print() without the lock, for a CPU that may hold it. */
void line_print_unlocked(struct line *l);
void console_puts(const char *s);

/* ---- memory.c ---- */
/* Reads what the loader says. Nothing else of memory may be written before. */
bool memory_read_boot_info(void);
const char *memory_cmdline(void);
/*
 * Takes the areas of the other CPUs and the page tables from just above the image and maps the rest
 * as the pool.
 */
bool memory_init(const struct args *args);
/* Areas of the CPUs 1 to cpus - 1, zeroed, one after the other; NULL with one CPU. */
struct cpu_area *memory_ap_areas(void);
uint64_t memory_pool_pages(void);
/* disk_area_bytes() of it, zeroed, its addresses the physical ones. */
void *memory_disk_area(void);

/* ---- pages.c ---- */
/*
 * Pages are numbered from 0 in the pool, first the working set, then the pages that are filled and
 * never written.
 */
static inline uint64_t *page_at(uint64_t page)
{
	return (uint64_t *)(POOL_VA + page * PAGE_BYTES);
}

static inline uint64_t page_of(const uint64_t *p)
{
	return ((uint64_t)p - POOL_VA) / PAGE_BYTES;
}

#define PAGE_ID_MAGIC 0x766d6d2d70670000ull

static inline uint64_t page_id_word(uint64_t page)
{
	return PAGE_ID_MAGIC ^ page;
}

extern const uint64_t page_text[64];

/* The data word that pass `pass` leaves in page `page`. */
static inline uint64_t page_data_word(uint64_t page, uint64_t pass, enum fill kind)
{
	uint64_t v = page * 0x9e3779b97f4a7c15ull + pass * 0xc2b2ae3d27d4eb4full;

	v = (v ^ v >> 29) * 0xbf58476d1ce4e5b9ull;
	if (kind == FILL_TEXT)
		return page_text[v >> 58];
	return kind == FILL_SPARSE ? v >> 56 : v ^ v >> 32;
}

/* The word that pass `pass` writes that into. */
static inline uint32_t page_data_slot(uint64_t pass)
{
	return DATA_SLOT_BASE + (uint32_t)(pass % DATA_SLOTS);
}

struct verdict {
	uint64_t pages;
	uint64_t words;
	uint64_t bad;
	uint64_t keys; /* of the key-value store */
	uint64_t sum; /* answer to a request for the checksum, not to a verification */
};

void pages_init(enum fill fill);
void pages_fill(uint64_t first, uint64_t count, bool headers);
void pages_verify_filled(uint32_t cpu, uint64_t first, uint64_t count, struct verdict *v);
/* One page of the working set, last written by pass `last` (0: never). */
void pages_verify_written(uint32_t cpu, uint64_t page, uint64_t last, struct verdict *v);
enum fill pages_fill_kind(void);
/* Position-dependent checksum of whole pages; those of two ranges add up to that of both. */
uint64_t pages_sum(uint64_t first, uint64_t count);
void pages_report_bad(uint32_t cpu, uint64_t page, uint32_t word, uint64_t expected,
		      uint64_t found);

/* ---- stream.c ---- */
/* A set of pages or keys that one CPU visits over and over, each one once a pass. */
struct stream {
	uint64_t first;
	uint64_t count;
	uint64_t pass; /* the pass in progress, from 1 */
	uint64_t cursor; /* those that it has done */
	uint64_t mask; /* shuffled order: generator of all numbers up to mask */
	uint64_t state;
	uint32_t shift;
	uint32_t slot;
	bool shuffled;
};

void stream_init(struct stream *s, uint64_t first, uint64_t count, bool shuffled);
/* To the beginning of the pass in progress. */
void stream_start_pass(struct stream *s);
/* n more are done; true at the end of a pass, and the next one begins. */
bool stream_advance(struct stream *s, uint32_t n);

/*
 * The next one in shuffled order: a linear congruential generator of full period over a power of
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

/* The one at `i` from here in the order of the pass; asked for with i = 0, 1, 2, ... */
static inline uint64_t stream_next(struct stream *s, uint64_t i)
{
	return s->shuffled ? stream_shuffled(s) : s->first + s->cursor + i;
}

/* ---- kv.c ---- */
/* One CPU's part of the key-value store. All of it lies in the pool. */
struct kv_shard {
	uint64_t *index; /* open addressing: tag and number of a record, 0 for none */
	uint64_t index_mask;
	uint64_t *records;
	uint64_t records_used;
	uint64_t *clients; /* their request buffers */
	uint32_t client_count;
	uint32_t client_next;
	uint64_t first_key, keys;
	uint64_t gets; /* requests that read, so far */
};

/* ---- work.c ---- */
enum worker_phase { WORKER_ABSENT, WORKER_ARRIVED, WORKER_READY, WORKER_FINISHED };

/* Written by its own CPU; the BSP reads, and resets the gaps. */
struct worker {
	struct cpu_area *area;
	uint32_t cpu;
	uint32_t phase;
	struct stream streams[2];
	uint32_t batches;
	uint64_t fill_first, fill_count;
	struct kv_shard kv;
	uint64_t pages; /* visits, or requests to the store */
	uint64_t requests_max; /* of this CPU; UINT64_MAX: without end */
	uint64_t finish_clk;
	uint64_t bad;
	uint64_t last_clk;
	uint64_t gap_clk, maxgap_clk; /* since the last report; since the start */
	uint32_t last_ticks;
	uint32_t request; /* the last one answered */
	struct verdict found; /* the answer */
	uint64_t rate_next_clk; /* when the rate allows the next batch */
};

/*
 * What each CPU owns (offsets: area.h). The exception handlers set the first three, finding them
 * from their stack pointer.
 */
struct cpu_area {
	uint32_t wake;
	uint32_t rx;
	uint32_t ticks;
	uint8_t arch[PAGE_BYTES - 3 * sizeof(uint32_t)]; /* the architecture's tables, stack */
	union {
		struct worker worker;
		uint8_t worker_page[PAGE_BYTES];
	};
	uint8_t stack[AREA_SIZE - 2 * PAGE_BYTES];
};

_Static_assert(sizeof(struct cpu_area) == AREA_SIZE, "area.h");
_Static_assert(offsetof(struct cpu_area, wake) == AREA_WAKE, "area.h");
_Static_assert(offsetof(struct cpu_area, rx) == AREA_RX, "area.h");
_Static_assert(offsetof(struct cpu_area, ticks) == AREA_TICKS, "area.h");

extern struct cpu_area bsp_area;
/* The worker of CPU `cpu`; its phase says whether it is there. */
struct worker *worker_of(uint32_t cpu);

void work_init(const struct args *args, uint64_t ws_pages, uint64_t fill_pages);
/* Partition and fill of this CPU. */
void work_start(struct worker *w, struct cpu_area *area, uint32_t cpu);
/* Whether a step would halt this CPU. */
bool work_halts(const struct worker *w);
/* One step: a batch of pages, or a wait. */
void work_step(struct worker *w);
void work_verify(struct worker *w);
/* The checksum of this CPU's share of the pool into w->found. */
void work_sum(struct worker *w);

/* ---- kv.c, continued ---- */
/* Pages that the store needs with these arguments, all CPUs together; 0 after printing why not. */
uint64_t kv_store_pages(const struct args *args);
void kv_init(const struct args *args, uint64_t store_pages);
/* Lays out this CPU's shard and sets every key to version 0. */
void kv_start(struct worker *w);
/* Up to n requests of stream `s`, not beyond its pass. */
uint32_t kv_batch(struct worker *w, struct stream *s, uint32_t n);
/* Looks up every key of the stream, whose versions follow from its place, and checks all of it. */
void kv_verify_stream(struct worker *w, const struct stream *s);
/* That the index holds as many keys as there are. */
void kv_verify_index(struct worker *w);

/* ---- blk.c: a virtio disk, driven by CPU 0 ---- */
/* Memory that disk and faults want; 0: none. */
uint64_t disk_area_bytes(const struct args *args);
/* Finds the disk and starts it. False after printing why not. */
bool disk_init(const struct args *args, void *area);
/* Takes what is done, checks it, asks for more. True while something is under way. */
bool disk_step(void);
/* No new requests, or new ones again. */
void disk_halt(bool halt);
/* Waits for what is under way, reads every block that was written; how often something was wrong since the start. */
uint64_t disk_verify(void);
/* Its part of the report. */
void disk_report(struct line *l);

/* ---- faults.c ---- */
/* Breaks virtio's rules on each device, sees that it says so and works again; how often that was not so. */
uint64_t faults_run(void *area);

/* ---- main.c ---- */
extern const struct args *guest_args;
/* Whether the BSP waits for an answer of this CPU. */
bool request_pending(const struct worker *w);
/* Whether no CPU is to work: asked for by a key, or the load is done. */
bool load_halted(const struct worker *w);
void bsp_main(struct cpu_area *area) __attribute__((noreturn));
void ap_main(struct cpu_area *area) __attribute__((noreturn));

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

#endif
