/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon: memory that a driver gives up, what it is asked for, statistics, and its state. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "balloon_fixture.h"
#include "base/bytes.h"
#include "base/num.h"

/* A request of page numbers; true when it was answered. */
static bool send_pfns(struct balloon_fixture *f, unsigned int queue, const uint64_t *gpas,
		      unsigned int n)
{
	struct driver_part part = { .gpa = f->buffer, .len_bytes = 4 * n };
	uint32_t written = 77;

	for (unsigned int i = 0; i < n; i++)
		le32_put(driver_ptr(&f->d, f->buffer + 4 * i, 4), (uint32_t)(gpas[i] / PAGE));
	return driver_do(&f->d, queue, &part, 1, &written) && written == 0;
}

static void shows_what_it_can(void **state)
{
	struct balloon_fixture *f = *state;
	struct virtio_face face;

	virtio_get_face(f->v, &face);
	assert_string_equal(face.kind, "balloon");
	assert_int_equal(face.features & 0xff, 0x2e);
	assert_int_equal(face.nqueues, 5);
	assert_int_equal(face.config_bytes, 12);
	face.config_bytes = 8;
	assert_int_equal(virtio_balloon_create(&(struct virtio_common){ .id = "b",
									.host = f->d.host,
									.face = &face },
					       &(struct virtio *){ NULL }, NULL),
			 -EOPNOTSUPP);
}

/* Upwards, downwards, single ones, to the end of one region and the beginning of another. */
static const uint64_t given[] = {
	AREA_GPA,
	AREA_GPA + PAGE,
	AREA_GPA + 2 * PAGE,
	AREA_GPA + 9 * PAGE,
	AREA_GPA + 8 * PAGE,
	AREA_GPA + 5 * PAGE,
	AREA_GPA + 5 * PAGE,
	DRIVER_RAM_GPA + DRIVER_RAM_BYTES - PAGE,
	DRIVER_FAR_GPA,
	DRIVER_FAR_GPA + DRIVER_FAR_BYTES - PAGE,
};

static void gives_memory_back(void **state)
{
	struct balloon_fixture *f = *state;
	struct gmem *mem = f->d.mem;
	unsigned int nzero = 0;

	balloon_start(f);
	assert_int_equal(virtio_pause(f->v, 0, NULL), 0);
	assert_int_equal(bitmap_init(&mem->host_log_store, mem->npages), 0);
	mem->host_log = &mem->host_log_store;
	virtio_resume(f->v);
	assert_true(send_pfns(f, BALLOON_INFLATE, given, ARRAY_LEN(given)));
	assert_int_equal(virtio_pause(f->v, 0, NULL), 0);
	for (uint64_t p = AREA_GPA; p < AREA_GPA + AREA_PAGES * PAGE; p += PAGE)
		nzero += balloon_zero(f, p);
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		assert_true(balloon_zero(f, given[i]));
		assert_true(bitmap_test(
			mem->host_log,
			(uint64_t)((uint8_t *)driver_ptr(&f->d, given[i], 1) - mem->base) / PAGE));
	}
	assert_int_equal(nzero, 7);
	/* Besides the rings, which lie before: those and no others, to the end of RAM and in the second region. */
	assert_int_equal(bitmap_count_range(mem->host_log, AREA_PAGE, AREA_PAGES), 7);
	assert_int_equal(bitmap_count_range(mem->host_log, AREA_PAGE + AREA_PAGES, 64), 2);
	virtio_resume(f->v);
	assert_int_equal(balloon_counter(f, "inflated_pages"), ARRAY_LEN(given));
	assert_int_equal(balloon_counter(f, "discarded_bytes"), ARRAY_LEN(given) * PAGE);
	assert_true(send_pfns(f, BALLOON_DEFLATE, given, ARRAY_LEN(given)));
	assert_int_equal(balloon_counter(f, "deflated_pages"), ARRAY_LEN(given));
	assert_int_equal(balloon_counter(f, "discarded_bytes"), ARRAY_LEN(given) * PAGE);
}

/* More than is read at once, through an indirect table and in pieces that cut a number in two. */
static void takes_long_requests(void **state)
{
	struct balloon_fixture *f = *state;
	const struct driver_part parts[] = { { .gpa = f->buffer, .len_bytes = 1022 },
					     { .gpa = f->buffer + 1022, .len_bytes = 1026 } };
	uint16_t head, got;
	uint32_t written;

	balloon_start(f);
	for (unsigned int i = 0; i < AREA_PAGES; i++)
		le32_put(driver_ptr(&f->d, f->buffer + 4 * i, 4),
			 (uint32_t)(AREA_GPA / PAGE + (i ^ 1)));
	head = driver_add_indirect(&f->d, BALLOON_INFLATE, parts, 2);
	driver_kick(&f->d, BALLOON_INFLATE);
	assert_true(driver_wait_used(&f->d, BALLOON_INFLATE, &got, &written));
	assert_int_equal(got, head);
	for (uint64_t i = 0; i < AREA_PAGES; i++)
		assert_true(balloon_zero(f, AREA_GPA + i * PAGE));
	assert_int_equal(balloon_counter(f, "discarded_bytes"), AREA_PAGES * PAGE);
}

static void bad_page_numbers_need_a_reset(void **state)
{
	struct balloon_fixture *f = *state;
	const uint64_t hole[] = { AREA_GPA, DRIVER_RAM_GPA + DRIVER_RAM_BYTES };
	const struct driver_part odd = { .gpa = f->buffer, .len_bytes = 6 };
	const struct driver_part huge[] = { { .gpa = f->buffer, .len_bytes = 65536 },
					    { .gpa = f->buffer, .len_bytes = 4 } };

	balloon_start(f);
	for (unsigned int i = 0; i < 2; i++)
		le32_put(driver_ptr(&f->d, f->buffer + 4 * i, 4), (uint32_t)(hole[i] / PAGE));
	driver_add(&f->d, BALLOON_INFLATE,
		   &(struct driver_part){ .gpa = f->buffer, .len_bytes = 8 }, 1);
	driver_kick(&f->d, BALLOON_INFLATE);
	balloon_assert_broken(f, "page number 0x500 is no memory");
	driver_add(&f->d, BALLOON_INFLATE, &odd, 1);
	driver_kick(&f->d, BALLOON_INFLATE);
	balloon_assert_broken(f, "6 bytes of page numbers");
	driver_add(&f->d, BALLOON_DEFLATE, huge, 2);
	driver_kick(&f->d, BALLOON_DEFLATE);
	balloon_assert_broken(f, "65540 bytes of page numbers");
	assert_true(send_pfns(f, BALLOON_INFLATE, given, 1));
}

static void paused_it_takes_nothing(void **state)
{
	struct balloon_fixture *f = *state;
	uint16_t head;
	uint32_t written;

	balloon_start(f);
	assert_int_equal(virtio_pause(f->v, 0, NULL), 0);
	le32_put(driver_ptr(&f->d, f->buffer, 4), AREA_GPA / PAGE);
	driver_add(&f->d, BALLOON_INFLATE,
		   &(struct driver_part){ .gpa = f->buffer, .len_bytes = 4 }, 1);
	virtio_kick(f->v, BALLOON_INFLATE);
	assert_int_equal(virtio_pause(f->v, 0, NULL), 0); /* behind the kick */
	assert_false(balloon_zero(f, AREA_GPA));
	virtio_resume(f->v);
	assert_true(driver_wait_used(&f->d, BALLOON_INFLATE, &head, &written));
	assert_true(balloon_zero(f, AREA_GPA));
}

static void target_and_answer(void **state)
{
	struct balloon_fixture *f = *state;
	struct balloon_stats stats;
	uint8_t straddling[4] = { 0xff, 0xff, 0x34, 0x12 };

	balloon_start(f);
	assert_int_equal(virtio_balloon_set_target(f->v, 100, NULL), 0);
	assert_true(driver_wait_count(&f->d.config_interrupts, 1));
	assert_int_equal(balloon_config(f, BALLOON_TARGET), 100);
	assert_int_equal(virtio_balloon_set_target(f->v, f->d.mem->npages + 1, NULL), -EINVAL);
	assert_int_equal(virtio_balloon_set_target(f->v, 1ull << 33, NULL), -EINVAL);
	virtio_config_write(f->v, 2, straddling, 4); /* its lower half is not the driver's */
	virtio_config_write(f->v, BALLOON_CMD_ID, straddling, 4);
	virtio_balloon_get_stats(f->v, &stats);
	assert_int_equal(stats.target_pages, 100);
	assert_int_equal(stats.actual_pages, 0x1234);
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), 0);
	assert_false(stats.known);
	balloon_start(f); /* a driver that starts anew has none yet */
	assert_int_equal(balloon_config(f, BALLOON_ACTUAL), 0);
	assert_int_equal(balloon_config(f, BALLOON_TARGET), 100);
}

static void reported_pages(void **state)
{
	struct balloon_fixture *f = *state;
	const struct driver_part parts[] = {
		{ .gpa = AREA_GPA, .len_bytes = 16 * PAGE, .write = true },
		{ .gpa = AREA_GPA + 32 * PAGE + 100, .len_bytes = 2 * PAGE, .write = true },
		{ .gpa = DRIVER_FAR_GPA, .len_bytes = DRIVER_FAR_BYTES, .write = true },
	};
	const struct driver_part twice[] = {
		{ .gpa = DRIVER_RAM_GPA, .len_bytes = DRIVER_RAM_BYTES, .write = true },
		{ .gpa = DRIVER_RAM_GPA, .len_bytes = DRIVER_RAM_BYTES, .write = true },
	};
	struct balloon_stats stats;
	uint32_t written = 77;

	balloon_start(f);
	assert_true(driver_do(&f->d, BALLOON_REPORT, parts, 3, &written));
	assert_int_equal(written, 0);
	virtio_balloon_get_stats(f->v, &stats);
	assert_int_equal(stats.reported_bytes, 17 * PAGE + DRIVER_FAR_BYTES);
	assert_true(balloon_zero(f, AREA_GPA + 15 * PAGE));
	assert_false(balloon_zero(f, AREA_GPA + 16 * PAGE));
	assert_false(balloon_zero(f, AREA_GPA + 32 * PAGE));
	assert_true(balloon_zero(f, AREA_GPA + 33 * PAGE));
	assert_false(balloon_zero(f, AREA_GPA + 34 * PAGE));
	driver_add(&f->d, BALLOON_REPORT, twice, 2);
	driver_kick(&f->d, BALLOON_REPORT);
	balloon_assert_broken(f, "8388608 bytes of free pages in a guest of 4456448");
	assert_false(balloon_zero(f, AREA_GPA + 16 * PAGE));
}

/* A buffer of statistics; 0xffff is no tag that anybody knows. */
static uint16_t offer_stats(struct balloon_fixture *f, uint64_t free_bytes, unsigned int len_bytes)
{
	static const uint16_t tags[] = { VIRTIO_BALLOON_S_MEMTOT, 0xffff, VIRTIO_BALLOON_S_MEMFREE,
					 VIRTIO_BALLOON_S_SWAP_IN };
	const uint64_t values[] = { 1000, 1, free_bytes, 7 };
	uint64_t gpa = driver_alloc(&f->d, 64);
	uint16_t head;

	for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
		le16_put(driver_ptr(&f->d, gpa + 10 * i, 2), tags[i]);
		le64_put(driver_ptr(&f->d, gpa + 10 * i + 2, 8), values[i]);
	}
	head = driver_add(&f->d, BALLOON_STATS,
			  &(struct driver_part){ .gpa = gpa, .len_bytes = len_bytes }, 1);
	driver_kick(&f->d, BALLOON_STATS);
	return head;
}

static struct balloon_stats wait_stats(struct balloon_fixture *f, uint64_t free_bytes)
{
	struct balloon_stats s = { 0 };

	for (unsigned int i = 0; i < DRIVER_WAIT_MS; i++) {
		virtio_balloon_get_stats(f->v, &s);
		if (s.known && s.free_bytes == free_bytes)
			return s;
		poll(NULL, 0, 1);
	}
	fail_msg("no statistics");
	return s;
}

static void statistics_are_polled(void **state)
{
	struct balloon_fixture *f = *state;
	struct balloon_stats s;
	uint16_t first, second, head;
	uint32_t written;

	virtio_balloon_set_stats_interval(f->v, 0);
	balloon_start(f);
	first = offer_stats(f, 500, 39); /* the last value is cut short */
	s = wait_stats(f, 500);
	assert_int_equal(s.total_bytes, 1000);
	assert_int_equal(s.swap_in, 0);
	second = offer_stats(f, 600, 40); /* one too many: it waits its turn */
	assert_int_equal(driver_used(&f->d, BALLOON_STATS), 0);
	virtio_balloon_set_stats_interval(f->v, 1);
	assert_true(driver_wait_used(&f->d, BALLOON_STATS, &head, &written));
	assert_int_equal(head, first);
	s = wait_stats(f, 600);
	assert_int_equal(s.swap_in, 7);
	assert_true(driver_wait_used(&f->d, BALLOON_STATS, &head, &written));
	assert_int_equal(head, second);
	offer_stats(f, 700, 40);
	wait_stats(f, 700);
	balloon_start(f);
	virtio_balloon_get_stats(f->v, &s);
	assert_false(s.known);
}

static void moves_with_target_and_statistics(void **state)
{
	struct balloon_fixture *f = *state;
	struct buf saved = { 0 };
	struct virtio *here = f->v;
	uint16_t head, stats_head;
	uint32_t written;

	virtio_balloon_set_stats_interval(f->v, 0);
	balloon_start(f);
	assert_int_equal(virtio_balloon_set_target(f->v, 300, NULL), 0);
	virtio_config_write(f->v, BALLOON_ACTUAL, (uint8_t[]){ 250, 0, 0, 0 }, 4);
	stats_head = offer_stats(f, 500, 40);
	wait_stats(f, 500);
	balloon_save(f, &saved);
	assert_int_equal(balloon_move(f, &saved, &f->v, NULL), 0);
	driver_attach(&f->d, f->v);
	virtio_resume(f->v);
	assert_int_equal(balloon_config(f, BALLOON_TARGET), 300);
	assert_int_equal(balloon_config(f, BALLOON_ACTUAL), 250);
	wait_stats(f, 500); /* from the buffer, which still lies there */
	virtio_balloon_set_stats_interval(f->v, 1);
	assert_true(driver_wait_used(&f->d, BALLOON_STATS, &head, &written));
	assert_int_equal(head, stats_head);
	assert_true(send_pfns(f, BALLOON_INFLATE, given, 1));
	virtio_arrived(f->v); /* nobody had asked for hints */
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), VIRTIO_BALLOON_CMD_ID_STOP);
	buf_fini(&saved);
	virtio_destroy(here);
}

/* Fields of the section: what each is set to, and what is said about it. */
static void refuses_what_no_balloon_has(void **state)
{
	static const struct {
		uint32_t target, actual, hint_id, hint_shown;
		const char *says;
	} cases[] = {
		{ 0, UINT32_MAX, 0, 0, NULL },
		{ 1088, 0, 5, 5, NULL },
		{ 0, 0, 5, VIRTIO_BALLOON_CMD_ID_DONE, NULL },
		{ 0, 0, 1, 0, "hint_id 1" },
		{ 0, 0, 5, 4, "hint_shown 4" },
		{ 0, 0, 0, VIRTIO_BALLOON_CMD_ID_DONE, "hint_shown 1" },
		{ 1089, 0, 0, 0, "target 1089" },
	};
	struct balloon_fixture *f = *state;
	struct buf saved = { 0 };

	balloon_start(f);
	balloon_save(f, &saved);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t *body = saved.data + saved.len_bytes - 16;
		struct virtio *there = NULL;
		struct err err = { 0 };
		int rc;

		le32_put(body, cases[i].target);
		le32_put(body + 4, cases[i].actual);
		le32_put(body + 8, cases[i].hint_id);
		le32_put(body + 12, cases[i].hint_shown);
		rc = balloon_move(f, &saved, &there, &err);
		assert_int_equal(rc, cases[i].says ? -EBADMSG : 0);
		if (!rc)
			virtio_destroy(there);
		else if (!strstr(err.msg, cases[i].says))
			fail_msg("%s, not %s", err.msg, cases[i].says);
	}
	buf_fini(&saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_what_it_can),
		TEST(gives_memory_back),
		TEST(takes_long_requests),
		TEST(bad_page_numbers_need_a_reset),
		TEST(paused_it_takes_nothing),
		TEST(target_and_answer),
		TEST(reported_pages),
		TEST(statistics_are_polled),
		TEST(moves_with_target_and_statistics),
		TEST(refuses_what_no_balloon_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
