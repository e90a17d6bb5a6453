/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake_vm.h"

/* Pages that the guest names free: left out of the first round, and never lost (docs/adr/0005). Memory is two and a half of the engine's chunks. */
#define CHUNK 8192u
_Static_assert(FAKE_PAGES > 2 * CHUNK && FAKE_PAGES % 3 == 2, "built with other pages");
/* Every third page holds noise, from page 2 on; those before it are zero. */
#define NOISE_PAGES (FAKE_PAGES / 3)

static int set_up(void **state)
{
	struct fixture *f;

	if (fixture_set_up(state))
		return -1;
	f = *state;
	fake_source_init(&f->s, 0);
	fake_source_offer_free(&f->s);
	return 0;
}

static bool same(const struct fixture *f, uint64_t page)
{
	return !memcmp(gmem_page(f->d.mem, page), gmem_page(f->s.mem, page), GMEM_PAGE_SIZE);
}

static void guest_writes(struct fake_source *s, uint64_t page)
{
	memset(gmem_page(s->mem, page), 'w', GMEM_PAGE_SIZE);
	bitmap_set_atomic(&s->dirty.log, page);
}

static void name_a_third(struct fake_source *s, uint64_t first)
{
	if (first == 0)
		bitmap_set_range(&s->free.named, 3000, 3 * 3000);
}

static void test_left_out(void **state)
{
	struct fixture *f = *state;
	const struct fake_free *g = &f->s.free;

	f->s.free.play = name_a_third;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_int_equal(f->a.report.free_pages, 9000);
	assert_int_equal(f->a.report.round[0].free_pages, 9000);
	assert_string_equal(f->a.report.free_reason, "");
	assert_int_equal(f->a.received.pages, NOISE_PAGES - 3000);
	assert_int_equal(f->a.received.pages + f->a.received.zero_pages, FAKE_PAGES - 9000);
	/* Asked when all of memory was rearmed, and told to stop while the guest still ran, the three trial pauses apart. */
	assert_int_equal(g->asked, 1);
	assert_int_equal(g->rearms_when_asked, (FAKE_PAGES + CHUNK - 1) / CHUNK);
	assert_int_equal(g->stopped, 1);
	assert_int_equal(g->pauses_when_stopped, 3);
	assert_int_equal(g->ended, 1);
	for (uint64_t p = 3000; p < 12000; p++)
		assert_int_equal(*gmem_page(f->d.mem, p), 0);
}

/* It takes pages back and writes to them, at any time after it has named them. */
#define NOISE_PAGE(n) (3u * (n) + 2)
static const uint64_t written[] = {
	NOISE_PAGE(0), NOISE_PAGE(1) + 1, NOISE_PAGE(2) + 2, CHUNK - 1,
	CHUNK,         2 * CHUNK + 5,     NOISE_PAGE(2000),  FAKE_PAGES - 1
};

static void name_and_write(struct fake_source *s, uint64_t first)
{
	if (first == 0)
		bitmap_fill(&s->free.named);
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
		if (written[i] % 3 == first / CHUNK)
			guest_writes(s, written[i]);
}

static void test_written_after_named(void **state)
{
	struct fixture *f = *state;

	f->s.free.play = name_and_write;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_int_equal(f->a.report.free_pages, FAKE_PAGES);
	assert_int_equal(f->a.report.round[0].pages + f->a.report.round[0].zero_pages, 0);
	assert_int_equal(f->a.received.pages, sizeof(written) / sizeof(written[0]));
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
		assert_true(same(f, written[i]));
}

/* What a device writes for the guest counts as well. */
static void name_and_have_written(struct fake_source *s, uint64_t first)
{
	const uint64_t page = CHUNK + 77;

	bitmap_set(&s->free.named, page);
	if (first == 0)
		assert_int_equal(gmem_write(s->mem, page * GMEM_PAGE_SIZE, "x", 1), 0);
}

static void test_written_by_a_device(void **state)
{
	struct fixture *f = *state;

	f->s.free.play = name_and_have_written;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_int_equal(f->a.report.free_pages, 1);
	assert_true(same(f, CHUNK + 77));
	assert_int_equal(*gmem_page(f->d.mem, CHUNK + 77), 'x');
}

/* Sent already: the name comes too late and changes nothing, whether the page is written again or not. */
static void name_too_late(struct fake_source *s, uint64_t first)
{
	if (first < 2 * CHUNK)
		return;
	bitmap_set_range(&s->free.named, 0, CHUNK);
	guest_writes(s, 5);
}

static void test_named_too_late(void **state)
{
	struct fixture *f = *state;

	f->s.free.play = name_too_late;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_int_equal(f->a.report.free_pages, 0);
	assert_int_equal(f->a.received.pages, NOISE_PAGES + 1);
	assert_true(same(f, 5));
	assert_true(same(f, 8));
}

/* A guest that names what it uses, all of it and again and again, loses contents and nothing else. */
static void name_everything(struct fake_source *s, uint64_t first)
{
	bitmap_fill(&s->free.named);
}

static void test_names_what_it_uses(void **state)
{
	struct fixture *f = *state;

	fake_source_fini(&f->s);
	fake_source_init(&f->s, 256);
	fake_source_offer_free(&f->s);
	f->s.free.play = name_everything;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_int_equal(f->a.report.free_pages, FAKE_PAGES);
	assert_true(f->d.running);
}

static void test_cannot_be_asked(void **state)
{
	struct fixture *f = *state;

	bitmap_fini(&f->s.free.named);
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_string_equal(f->a.report.free_reason, "fake: no balloon");
	assert_int_equal(f->a.report.free_pages, 0);
	assert_int_equal(f->a.received.pages, NOISE_PAGES);
	/* Nor does it pay for those who can: memory is rearmed once. */
	assert_int_equal(f->s.dirty.d.stats.rearms, (FAKE_PAGES + CHUNK - 1) / CHUNK);
	assert_int_equal(f->s.free.asked + f->s.free.stopped + f->s.free.ended, 0);
}

/* The guest gets its pages back here, and what it named is forgotten: the next attempt sends them. */
static void test_again_after_a_failure(void **state)
{
	struct fixture *f = *state;

	f->s.free.play = name_a_third;
	f->d.fail_load = true;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, -EREMOTEIO);
	assert_int_equal(f->a.report.free_pages, 9000);
	assert_int_equal(f->s.free.ended, 1);
	assert_true(f->s.free.running_when_ended);

	fake_destination_fini(&f->d);
	attempt_defaults(&f->a);
	f->s.free.play = NULL;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_int_equal(f->a.report.free_pages, 0);
	assert_int_equal(f->a.received.pages, NOISE_PAGES);
	assert_int_equal(f->s.free.begun, 2);
	assert_int_equal(f->s.free.ended, 2);
}

static void cancel_it(struct fake_source *s, uint64_t first)
{
	atomic_store(&s->cancel, true);
}

static void test_cancelled_in_the_first_round(void **state)
{
	struct fixture *f = *state;

	f->s.free.play = cancel_it;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, -ECANCELED);
	assert_int_equal(f->s.free.stopped, 1);
	assert_int_equal(f->s.free.ended, 1);
	assert_true(f->s.free.running_when_ended);
}

static void test_cancelled_before_it_is_asked(void **state)
{
	struct fixture *f = *state;

	atomic_store(&f->s.cancel, true);
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, -ECANCELED);
	assert_int_equal(f->s.free.asked, 0);
	assert_int_equal(f->s.free.ended, f->s.free.begun);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_left_out, set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_written_after_named, set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_written_by_a_device, set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_named_too_late, set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_names_what_it_uses, set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_cannot_be_asked, set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_again_after_a_failure, set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_in_the_first_round, set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_before_it_is_asked, set_up,
						fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
