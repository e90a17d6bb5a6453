/* SPDX-License-Identifier: Apache-2.0 */
/* state.md, section "virtio": a device's state moves to another one in front of the same memory. */
#include "virtio_echo.h"

#include <stdio.h>

#include "base/num.h"

static void save(struct fixture *f, struct buf *b)
{
	struct state_entry entry[2];

	assert_int_equal(virtio_state_entries(&f->e.v, 3, entry), 1);
	assert_int_equal(state_save_all(entry, 1, b, NULL), 0);
}

static int load(struct fixture *f, const struct buf *b, struct err *err)
{
	struct state_entry entry[2];

	virtio_state_entries(&f->e.v, 3, entry);
	return state_load_all(entry, 1, b->data, b->len_bytes, err);
}

/* Another device in front of the same guest. */
static void replace(struct fixture *f)
{
	virtio_destroy(&f->e.v);
	assert_int_equal(echo_make(f, &f->e, NULL, NULL), 0);
	driver_attach(&f->d, &f->e.v);
	for (unsigned int i = 0; i < NQUEUES; i++)
		atomic_store(&f->d.interrupts[i], 0);
	atomic_store(&f->d.config_interrupts, 0);
}

static void state_of_a_device_at_work_moves(void **state)
{
	struct fixture *f = *state;
	struct buf before = { 0 }, after = { 0 };
	uint64_t a, b;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	for (unsigned int i = 0; i < 11; i++) {
		a = offer(f, QUEUE_ECHO, "before");
		driver_kick(&f->d, QUEUE_ECHO);
		assert_answer(f, a, "before");
	}
	virtio_set_config(&f->e.v, 0, "K", 1);
	hold(f, 2);
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
	a = offer(f, QUEUE_ECHO, "unserved"); /* with a notification that is lost */
	save(f, &before);
	replace(f);
	assert_int_equal(load(f, &before, NULL), 0);
	assert_int_equal(f->e.activations, 1);
	save(f, &after);
	assert_int_equal(before.len_bytes, after.len_bytes);
	assert_memory_equal(before.data, after.data, after.len_bytes);
	assert_int_equal(f->e.serves[QUEUE_ECHO], 0);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 0);
	driver_want_interrupts(&f->d, QUEUE_ECHO, true); /* all of that was seen */
	virtio_resume(&f->e.v);
	assert_answer(f, a, "unserved");
	/* Of what was drained the driver has seen nothing: it is told again. So it is of the configuration. */
	assert_int_equal(driver_used(&f->d, QUEUE_HELD), 2);
	assert_int_equal(atomic_load(&f->d.interrupts[QUEUE_HELD]), 1);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 1);
	b = offer(f, QUEUE_ECHO, "after");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, b, "after");
	/* Loaded once more, as after a trial: forgets what it was, starts again. */
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
	assert_int_equal(load(f, &before, NULL), 0);
	assert_int_equal(f->e.activations, 2);
	assert_int_equal(f->e.resets, 1);
	buf_fini(&before);
	buf_fini(&after);
}

static void state_of_a_device_at_rest_moves(void **state)
{
	struct fixture *f = *state;
	struct buf b = { 0 };

	save(f, &b);
	assert_int_equal(load(f, &b, NULL), 0);
	assert_int_equal(f->e.activations, 0);
	virtio_set_status(&f->e.v, VIRTIO_DRIVER_OK); /* broken */
	buf_clear(&b);
	save(f, &b);
	replace(f);
	assert_int_equal(load(f, &b, NULL), 0);
	virtio_resume(&f->e.v);
	assert_int_equal(virtio_get_status(&f->e.v), VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET);
	assert_int_equal(atomic_load(&f->d.config_interrupts), 1);
	assert_int_equal(f->e.activations, 0);
	buf_fini(&b);
}

/* Offsets in the section "virtio": a header of 17 bytes, then the fields of state.md. */
enum {
	AT_STATUS = 17,
	AT_FEATURES = AT_STATUS + 1,
	AT_UNSEEN = AT_FEATURES + 8 + 4,
	AT_NQUEUES = AT_UNSEEN + 1,
	AT_SIZE = AT_NQUEUES + 1,
	AT_ENABLED = AT_SIZE + 64,
	AT_DESC = AT_ENABLED + 32,
	AT_AVAIL = AT_DESC + 256,
	AT_USED = AT_AVAIL + 256,
	AT_AVAIL_IDX = AT_USED + 256,
	AT_USED_IDX = AT_AVAIL_IDX + 64,
	AT_END = AT_USED_IDX + 64,
};

static void state_is_checked(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t value;
		const char *why;
	} bad[] = {
		{ AT_STATUS, 0x1f, "status 0x1f" },
		{ AT_STATUS, 0x07, "status 0x7" },
		{ AT_FEATURES, 0x02, "driver_features 0x130000002 of 0x130000021 offered" },
		{ AT_FEATURES + 4, 0x00, "driver_features 0x30000021 of 0x130000021 offered" },
		{ AT_UNSEEN, 2, "config_unseen 2" },
		{ AT_NQUEUES, 0, "nqueues 0" },
		{ AT_NQUEUES, 33, "nqueues 33" },
		{ AT_NQUEUES, 1, "queue 1 of 1" },
		{ AT_NQUEUES, 3, "3 queues, this device has 2" },
		{ AT_SIZE, 7, "queue 0: size 7" },
		{ AT_SIZE + 1, 16, "queue 0: size 4104" },
		{ AT_SIZE, 16, "queue 0: size 16, at most 8" },
		{ AT_ENABLED + 1, 2, "queue 1: enabled 2" },
		{ AT_ENABLED, 0, "queue 0: indices of a queue that is not enabled" },
		{ AT_ENABLED + 2, 1, "queue 2: size 0" },
		{ AT_DESC, 8, "queue 0: descriptor table at 0x100008: not a multiple of 16" },
		{ AT_DESC + 7, 1,
		  "queue 0: descriptor table at 0x100000000100000: 128 bytes outside of RAM" },
		{ AT_AVAIL + 8 + 5, 1,
		  "queue 1: available ring at 0x10000100170: 22 bytes outside of RAM" },
		{ AT_AVAIL_IDX, 10, "queue 0: avail_idx 10, used_idx 1, size 8" },
		{ AT_USED_IDX, 2, "queue 0: avail_idx 1, used_idx 2, size 8" },
	};
	struct fixture *f = *state;
	struct buf b = { 0 };
	uint64_t a;

	assert_true(driver_start(&f->d, ALL_FEATURES, QUEUE_SIZE));
	a = offer(f, QUEUE_ECHO, "x");
	driver_kick(&f->d, QUEUE_ECHO);
	assert_answer(f, a, "x");
	assert_int_equal(virtio_pause(&f->e.v, UINT64_MAX, NULL), 0);
	save(f, &b);
	assert_int_equal(b.len_bytes, AT_END);
	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		char want[sizeof(((struct err *)0)->msg)];
		uint8_t good = b.data[bad[i].at];
		struct err err = { 0 };

		b.data[bad[i].at] = bad[i].value;
		assert_int_not_equal(load(f, &b, &err), 0);
		snprintf(want, sizeof(want), "state section virtio.3: %s", bad[i].why);
		assert_string_equal(err.msg, want);
		b.data[bad[i].at] = good;
	}
	assert_int_equal(f->e.activations, 1); /* none of that was taken */
	assert_int_equal(load(f, &b, NULL), 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(state_of_a_device_at_work_moves),
		TEST(state_of_a_device_at_rest_moves),
		TEST(state_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
