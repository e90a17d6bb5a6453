/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole balloon and a driver that asks for anything, with hints asked for and moves of its state in between: each request is answered or the device wants a reset, no page
 * changes that was not given up, and none counts as a hint that was not named.
 *
 * Input: u8 features (bit 0 hints, 1 reporting, 2 event indices), then steps, each a u8: bits 2-0 below BALLOON_QUEUES: a request on that queue, bits 4-3 parts - 1 and for each part u8 flags (bit 0: the
 * device writes), u16 page, u16 offset and length in 64 bytes, and 8 bytes of contents; else a step of the machine's.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "devices/virtio/balloon.h"
#include "tests/unit/devices/virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define PAGE GMEM_PAGE_SIZE
/* Pages that may be given up, at RAM's end: those behind them are no memory. Rings and buffers lie before them. */
#define AREA_PAGES 256u
#define AREA_GPA (DRIVER_RAM_GPA + DRIVER_RAM_BYTES - AREA_PAGES * PAGE)
#define AREA_PAGE ((AREA_GPA - DRIVER_RAM_GPA) / PAGE)
#define NAMED_PAGES (AREA_PAGES + 4u)
#define MAX_STEPS 16u

enum { STEP_ASK = BALLOON_QUEUES, STEP_STOP, STEP_MOVE };

static struct driver driver;
static uint64_t buffers_gpa, rings_gpa;
static struct bitmap given, named; /* of the area */
static unsigned int noffered[BALLOON_QUEUES], nrequests;

static void set_up(void)
{
	struct virtio_common common = { .id = "fuzzed" };
	struct virtio *v;

	if (driver_init(&driver))
		__builtin_trap();
	common.host = driver.host;
	if (virtio_balloon_create(&common, &v, NULL) || bitmap_init(&given, AREA_PAGES) ||
	    bitmap_init(&named, AREA_PAGES))
		__builtin_trap();
	virtio_balloon_set_stats_interval(v, 0);
	driver_attach(&driver, v);
	buffers_gpa = driver_alloc(&driver, MAX_STEPS * 4096);
	rings_gpa = driver.next_gpa;
	memset(driver_ptr(&driver, AREA_GPA, AREA_PAGES * PAGE), 'x', AREA_PAGES * PAGE);
}

static uint64_t features_of(uint8_t bits)
{
	return 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_RING_INDIRECT_DESC |
	       (uint64_t)(bits & 1) << VIRTIO_BALLOON_F_FREE_PAGE_HINT |
	       (uint64_t)(bits >> 1 & 1) << VIRTIO_BALLOON_F_REPORTING |
	       (uint64_t)(bits >> 2 & 1) << VIRTIO_F_RING_EVENT_IDX;
}

static uint32_t shown_id(void)
{
	uint8_t bytes[4];

	virtio_config_read(driver.v, BALLOON_CMD_ID, bytes, sizeof(bytes));
	return le32_get(bytes);
}

/* Contents of a part that the device reads: page numbers, or the id that is shown, or what the input has. */
static void fill(unsigned int queue, uint64_t gpa, uint32_t len_bytes, const uint8_t *contents)
{
	uint8_t *p = driver_ptr(&driver, gpa, len_bytes);

	for (uint32_t at = 0; at + 8 <= len_bytes; at += 8)
		memcpy(p + at, contents, 8);
	for (uint32_t at = 0; queue == BALLOON_INFLATE && at + 4 <= len_bytes; at += 4) {
		uint32_t page = (le32_get(p + at) + at / 4) % NAMED_PAGES;

		le32_put(p + at, (uint32_t)(AREA_GPA / PAGE) + page);
		bitmap_set_range(&given, page, 1);
	}
	if (queue == BALLOON_HINT && len_bytes >= 4 && contents[0] & 1)
		le32_put(p, shown_id());
}

static bool add_request(struct reader *in, unsigned int queue, unsigned int nparts)
{
	struct driver_part part[4];
	uint64_t buffer =
		buffers_gpa + nrequests++ * 4096u; /* each has its own: none is rewritten */

	for (unsigned int i = 0; i < nparts; i++) {
		uint8_t flags = reader_u8(in);
		uint16_t page = reader_u16(in) % AREA_PAGES, shape = reader_u16(in);
		const uint8_t *contents = reader_bytes(in, 8);
		uint64_t offset = (shape & 63) * 64u;

		if (in->failed)
			return false;
		part[i].write = flags & 1;
		part[i].len_bytes = (shape >> 6) * 64u;
		if (i + 1 == nparts) /* elsewhere it would cut page numbers in two */
			part[i].len_bytes += flags >> 1 & 7;
		part[i].gpa = AREA_GPA + page * PAGE + offset;
		if (!part[i].write) {
			part[i].len_bytes %= 1024;
			part[i].gpa = buffer + i * 1024;
			fill(queue, part[i].gpa, part[i].len_bytes, contents);
		} else if (queue == BALLOON_REPORT || queue == BALLOON_HINT) {
			bitmap_set_range(queue == BALLOON_REPORT ? &given : &named, page,
					 (offset + part[i].len_bytes) / PAGE + 1);
		}
	}
	if (nparts > 2)
		driver_add_indirect(&driver, queue, part, nparts);
	else
		driver_add(&driver, queue, part, nparts);
	noffered[queue]++;
	virtio_kick(driver.v, queue);
	return true;
}

static void move(void)
{
	if (!driver_move(&driver))
		__builtin_trap();
}

static bool one_step(struct reader *in)
{
	uint8_t step = reader_u8(in);
	struct bitmap none = { 0 };

	if (in->failed)
		return false;
	switch (step & 7) {
	case STEP_ASK:
		if (!virtio_balloon_hint_begin(driver.v, NULL))
			virtio_balloon_hint_ask(driver.v);
		return true;
	case STEP_STOP:
		virtio_balloon_hint_stop(driver.v);
		(void)virtio_balloon_hint_take(driver.v, 0, 0, &none);
		return true;
	case STEP_MOVE:
		move();
		return true;
	default:
		return add_request(in, step & 7, (step >> 3 & 3) + 1u);
	}
}

static void wait_for_answers(void)
{
	/* A buffer of statistics is kept. */
	for (unsigned int q = 0; q < BALLOON_QUEUES; q++)
		if (q != BALLOON_STATS && !driver_settle(&driver, q, noffered[q]))
			__builtin_trap();
	/* What broke the rules may not be the last that was under way. */
	if (virtio_pause(driver.v, UINT64_MAX, NULL))
		__builtin_trap();
}

static void check_pages(void)
{
	struct bitmap left;
	uint64_t npages = driver.mem->npages;

	for (unsigned int i = 0; i < AREA_PAGES; i++) {
		const uint8_t *p = driver_ptr(&driver, AREA_GPA + i * PAGE, PAGE);

		if (!bitmap_test(&given, i) && (p[0] != 'x' || memcmp(p, p + 1, PAGE - 1)))
			__builtin_trap();
	}
	if (bitmap_init(&left, npages))
		__builtin_trap();
	bitmap_fill(&left);
	(void)virtio_balloon_hint_take(driver.v, 0, npages, &left);
	for (uint64_t i = 0; i < npages; i++)
		if (!bitmap_test(&left, i) &&
		    (i - AREA_PAGE >= AREA_PAGES || !bitmap_test(&named, i - AREA_PAGE)))
			__builtin_trap();
	bitmap_fini(&left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct reader in = reader_over(data, len_bytes);
	uint64_t at, n;

	if (!rings_gpa)
		set_up();
	driver.next_gpa = rings_gpa;
	memset(noffered, 0, sizeof(noffered));
	nrequests = 0;
	if (!driver_start(&driver, features_of(reader_u8(&in)), 64))
		__builtin_trap();
	for (unsigned int i = 0; i < MAX_STEPS && one_step(&in); i++)
		continue;
	wait_for_answers();
	check_pages();
	virtio_balloon_hint_end(driver.v);
	for (at = 0; bitmap_next_run(&given, at, AREA_PAGES, &at, &n); at += n)
		memset(driver_ptr(&driver, AREA_GPA + at * PAGE, n * PAGE), 'x', n * PAGE);
	bitmap_zero(&given);
	bitmap_zero(&named);
	return 0;
}
