/* SPDX-License-Identifier: Apache-2.0 */
/* Free-page hints: what counts as one, and a move while the driver holds pages. */
#include <errno.h>
#include <string.h>

#include "balloon_fixture.h"
#include "base/bytes.h"

#define STOP VIRTIO_BALLOON_CMD_ID_STOP
#define DONE VIRTIO_BALLOON_CMD_ID_DONE

static void send_id(struct balloon_fixture *f, uint32_t id)
{
	const struct driver_part part = { .gpa = f->buffer, .len_bytes = 4 };
	uint32_t written;

	le32_put(driver_ptr(&f->d, f->buffer, 4), id);
	assert_true(driver_do(&f->d, BALLOON_HINT, &part, 1, &written));
}

static void name(struct balloon_fixture *f, uint64_t gpa, uint32_t len_bytes)
{
	const struct driver_part part = { .gpa = gpa, .len_bytes = len_bytes, .write = true };
	uint32_t written = 77;

	assert_true(driver_do(&f->d, BALLOON_HINT, &part, 1, &written));
	assert_int_equal(written, 0);
}

/* What is taken out of all pages. */
static uint64_t take(struct balloon_fixture *f, struct bitmap *ret)
{
	assert_int_equal(bitmap_init(ret, f->d.mem->npages), 0);
	bitmap_fill(ret);
	return virtio_balloon_hint_take(f->v, 0, f->d.mem->npages, ret);
}

static uint64_t taken(struct balloon_fixture *f)
{
	struct bitmap left;
	uint64_t n = take(f, &left);

	bitmap_fini(&left);
	return n;
}

static void hints_count_behind_the_id(void **state)
{
	struct balloon_fixture *f = *state;
	struct bitmap left;
	uint32_t id;

	balloon_start(f);
	assert_int_equal(virtio_balloon_hint_begin(f->v, NULL), 0);
	assert_int_equal(virtio_balloon_hint_begin(f->v, NULL), -EBUSY);
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), STOP);
	name(f, AREA_GPA, 16 * PAGE); /* nobody asked */
	virtio_balloon_hint_ask(f->v);
	assert_true(driver_wait_count(&f->d.config_interrupts, 1));
	id = balloon_config(f, BALLOON_CMD_ID);
	assert_true(id > DONE);
	name(f, AREA_GPA, 16 * PAGE);
	send_id(f, id + 1);
	name(f, AREA_GPA, 16 * PAGE);
	send_id(f, STOP);
	name(f, AREA_GPA, 16 * PAGE);
	assert_int_equal(taken(f), 0);
	send_id(f, id);
	name(f, AREA_GPA + 64 * PAGE - 1, 3 * PAGE + 1); /* whole pages alone */
	name(f, DRIVER_FAR_GPA, DRIVER_FAR_BYTES);
	assert_int_equal(take(f, &left), 3 + 64);
	assert_int_equal(bitmap_count_range(&left, 0, 1024), 1024 - 3);
	assert_false(bitmap_test(&left, AREA_PAGE + 64));
	assert_false(bitmap_test(&left, AREA_PAGE + 66));
	assert_int_equal(virtio_balloon_hint_take(f->v, 0, f->d.mem->npages, &left), 0);
	bitmap_fini(&left);
	assert_false(balloon_zero(f, AREA_GPA + 64 * PAGE)); /* its memory stays */
	send_id(f, STOP);
	name(f, AREA_GPA, PAGE);
	assert_int_equal(taken(f), 3 + 64);
	virtio_balloon_hint_stop(f->v);
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), STOP);
	send_id(f, id); /* too late */
	name(f, AREA_GPA, PAGE);
	assert_int_equal(taken(f), 3 + 64);
	virtio_balloon_hint_end(f->v);
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), DONE);
	assert_int_equal(taken(f), 0);
	assert_int_equal(virtio_balloon_hint_begin(f->v, NULL), 0);
	virtio_balloon_hint_ask(f->v);
	assert_int_not_equal(balloon_config(f, BALLOON_CMD_ID), id);
	send_id(f, id);
	name(f, AREA_GPA, PAGE);
	assert_int_equal(taken(f), 0);
	virtio_balloon_hint_end(f->v);
}

static void hints_need_a_driver_that_knows_them(void **state)
{
	struct balloon_fixture *f = *state;
	struct err err = { 0 };

	assert_int_equal(virtio_balloon_hint_begin(f->v, &err), -ENOTSUP);
	assert_string_equal(err.msg, "balloon balloon0: the guest has no driver running");
	assert_true(driver_start(&f->d, ALL_FEATURES & ~(1ull << VIRTIO_BALLOON_F_FREE_PAGE_HINT),
				 256));
	assert_int_equal(virtio_balloon_hint_begin(f->v, &err), -ENOTSUP);
	assert_string_equal(err.msg, "balloon balloon0: the guest's driver knows no hints");
}

static void hints_end_with_the_driver(void **state)
{
	struct balloon_fixture *f = *state;
	const struct driver_part shorter = { .gpa = f->buffer, .len_bytes = 3 };

	balloon_start(f);
	assert_int_equal(virtio_balloon_hint_begin(f->v, NULL), 0);
	virtio_balloon_hint_ask(f->v);
	send_id(f, balloon_config(f, BALLOON_CMD_ID));
	name(f, AREA_GPA, 16 * PAGE);
	assert_int_equal(taken(f), 16);
	driver_add(&f->d, BALLOON_HINT, &shorter, 1);
	driver_kick(&f->d, BALLOON_HINT);
	balloon_assert_broken(f, "a command id of 3 bytes");
	assert_int_equal(taken(f), 0);
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), STOP);
	name(f, AREA_GPA, 16 * PAGE);
	assert_int_equal(taken(f), 0);
	virtio_balloon_hint_stop(f->v);
	virtio_balloon_hint_end(f->v);
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), DONE);
}

static void moves_with_pages_in_the_drivers_hands(void **state)
{
	struct balloon_fixture *f = *state;
	struct buf saved = { 0 };
	struct virtio *here = f->v;
	uint32_t id;

	balloon_start(f);
	assert_int_equal(virtio_balloon_hint_begin(f->v, NULL), 0);
	virtio_balloon_hint_ask(f->v);
	id = balloon_config(f, BALLOON_CMD_ID);
	send_id(f, id);
	name(f, AREA_GPA, 16 * PAGE);
	virtio_balloon_hint_stop(f->v);
	balloon_save(f, &saved);
	assert_int_equal(balloon_move(f, &saved, &f->v, NULL), 0);
	driver_attach(&f->d, f->v);
	atomic_store(&f->d.config_interrupts, 0);
	virtio_resume(f->v);
	virtio_arrived(f->v);
	assert_true(driver_wait_count(&f->d.config_interrupts, 1));
	assert_int_equal(balloon_config(f, BALLOON_CMD_ID), DONE);
	assert_int_equal(virtio_balloon_hint_begin(f->v, NULL), 0);
	virtio_balloon_hint_ask(f->v);
	assert_true(balloon_config(f, BALLOON_CMD_ID) > DONE);
	assert_int_not_equal(balloon_config(f, BALLOON_CMD_ID), id);
	buf_fini(&saved);
	virtio_destroy(here);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hints_count_behind_the_id),
		TEST(hints_need_a_driver_that_knows_them),
		TEST(hints_end_with_the_driver),
		TEST(moves_with_pages_in_the_drivers_hands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
