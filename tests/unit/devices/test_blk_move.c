/* SPDX-License-Identifier: Apache-2.0 */
/* A block device as the machine sees it: paused, moved, limited, refused. */
#include "blk_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

#define WAIT_NS (10 * NS_PER_S)
#define NO_FLUSH (~(1ULL << VIRTIO_BLK_F_FLUSH)) /* each write takes as long as the medium */

static void pause_device(struct virtio *v)
{
	struct err err = { 0 };

	if (virtio_pause(v, clock_mono_ns() + WAIT_NS, &err))
		fail_msg("%s", err.msg);
}

/* Offers @n writes of one sector each, their number from @sector on. */
static void offer_writes(struct blk_fixture *f, unsigned int n, uint64_t sector)
{
	for (unsigned int i = 0; i < n; i++) {
		blk_add(f, 0, i, VIRTIO_BLK_T_OUT, sector + i);
		le64_put(blk_place(f, i) + 512, ~(sector + i));
	}
	driver_kick(&f->d, 0);
}

static void expect_written(struct blk_fixture *f, unsigned int n, uint64_t sector)
{
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(blk_place(f, i)[16], VIRTIO_BLK_S_OK);
		assert_true(blk_file_word(f, sector + i) == ~(sector + i));
	}
	assert_int_equal(blk_file_word(f, sector + n), sector + n);
}

static void a_pause_lets_nothing_under_way(void **state)
{
	enum { N = 60 };
	struct blk_fixture *f = *state;
	unsigned int used;

	blk_start(f, (struct blk_config){ 0 }, NO_FLUSH);
	for (unsigned int round = 0; round < 5; round++) {
		unsigned int statuses = 0;

		offer_writes(f, N, 100 + 100 * round);
		pause_device(f->v);
		used = driver_used(&f->d, 0);
		for (unsigned int i = 0; i < N; i++)
			statuses += blk_place(f, i)[16] == VIRTIO_BLK_S_OK;
		assert_int_equal(statuses, used); /* what was taken was returned */
		poll(NULL, 0, 20);
		assert_int_equal(driver_used(&f->d, 0), used);
		virtio_resume(f->v);
		blk_wait_all(f, 0, N);
		expect_written(f, N, 100 + 100 * round);
	}
	assert_int_equal(blk_counter(f->v, "requests"), 5 * N);
}

static void a_reset_waits_for_what_is_under_way(void **state)
{
	enum { N = 60 };
	struct blk_fixture *f = *state;

	blk_start(f, (struct blk_config){ 0 }, NO_FLUSH);
	for (unsigned int round = 0; round < 5; round++) {
		offer_writes(f, N, 100);
		/* A new beginning with rings of its own: nothing of the old requests shows up in them. */
		assert_true(driver_start(&f->d, ALL_FEATURES, 16));
		assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 3, 512), VIRTIO_BLK_S_OK);
		assert_int_equal(driver_used(&f->d, 0), 0);
		assert_true(driver_start(&f->d, NO_FLUSH, 256));
	}
	pause_device(f->v);
}

static void limits_hold_requests_back(void **state)
{
	enum { N = 24 };
	struct blk_fixture *f = *state;
	uint64_t start_ns = clock_mono_ns();

	blk_start(f, (struct blk_config){ .limit = { .ops_per_s = 20 } }, ALL_FEATURES);
	for (unsigned int i = 0; i < N; i++)
		blk_add(f, 0, i, VIRTIO_BLK_T_IN, i);
	driver_kick(&f->d, 0);
	blk_wait_all(f, 0, N);
	/* 20 at once, the other 4 at 50 ms each: never earlier. */
	assert_true(clock_mono_ns() - start_ns >= 190 * NS_PER_MS);
	assert_true(blk_counter(f->v, "throttled") >= 1);
	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(le64_get(blk_place(f, i) + 512), i);
	/* What is held back is not under way. */
	for (unsigned int i = 0; i < N; i++)
		blk_add(f, 0, i, VIRTIO_BLK_T_IN, i);
	driver_kick(&f->d, 0);
	pause_device(f->v);
	assert_true(driver_used(&f->d, 0) < N);
	virtio_resume(f->v);
	blk_wait_all(f, 0, N);
}

static void destroy(struct virtio **v)
{
	virtio_destroy(*v);
	*v = NULL;
}

struct moved {
	struct virtio *there;
	struct virtio_face face;
	struct buf state;
};

/* From a source that is paused to a device on the same memory that has its state. */
static void move(struct blk_fixture *f, struct blk_config config, struct moved *m)
{
	struct state_entry entries[4];
	struct err err = { 0 };
	unsigned int n;

	virtio_get_face(f->v, &m->face);
	if (blk_create(f, &m->face, config, &m->there, &err))
		fail_msg("%s", err.msg);
	n = virtio_state_entries(f->v, 3, entries);
	assert_int_equal(n, 2);
	assert_int_equal(state_save_all(entries, n, &m->state, &err), 0);
	n = virtio_state_entries(m->there, 3, entries);
	if (state_load_all(entries, n, m->state.data, m->state.len_bytes, &err))
		fail_msg("%s", err.msg);
}

static void moves_with_its_lock(void **state)
{
	enum { N = 60 };
	struct blk_fixture *f = *state;
	struct moved m = { 0 };
	struct err err = { 0 };
	unsigned int before;

	blk_start(f, (struct blk_config){ .serial = "the source's" }, NO_FLUSH);
	offer_writes(f, N, 200);
	pause_device(f->v);
	before = driver_used(&f->d, 0);
	move(f, (struct blk_config){ .serial = "mine" }, &m);
	assert_int_equal(virtio_take(m.there, &err), -EBUSY);
	assert_non_null(strstr(err.msg, f->path));
	assert_int_equal(virtio_release(f->v, &err), 0);
	assert_int_equal(virtio_take(m.there, &err), 0);
	assert_int_equal(virtio_take(f->v, &err), -EBUSY);
	destroy(&f->v);
	f->v = m.there;
	driver_attach(&f->d, f->v);
	virtio_resume(f->v);
	blk_wait_all(f, 0, N);
	expect_written(f, N, 200);
	assert_int_equal(blk_counter(f->v, "requests"), N - before); /* none is done twice */
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	assert_memory_equal(driver_ptr(&f->d, f->data_gpa, 20), "the source's\0\0\0\0\0\0\0\0", 20);
	buf_fini(&m.state);
}

static void stays_when_the_move_fails(void **state)
{
	struct blk_fixture *f = *state;
	struct moved m = { 0 };
	struct err err = { 0 };

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	pause_device(f->v);
	move(f, (struct blk_config){ 0 }, &m);
	assert_int_equal(virtio_release(f->v, &err), 0);
	assert_int_equal(virtio_take(m.there, &err), 0);
	destroy(&m.there);
	assert_int_equal(virtio_take(f->v, &err), 0);
	virtio_resume(f->v);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 11, 512), VIRTIO_BLK_S_OK);
	buf_fini(&m.state);
}

/* A device that has let go fails requests, and does nothing worse. */
static void does_nothing_to_an_image_it_has_let_go(void **state)
{
	struct blk_fixture *f = *state;
	struct err err = { 0 };

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	pause_device(f->v);
	assert_int_equal(virtio_release(f->v, &err), 0);
	virtio_resume(f->v);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, 11, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_file_word(f, 11), 11);
}

static void expect_face_refused(struct blk_fixture *f, const struct virtio_face *face,
				struct blk_config config, int code, const char *text)
{
	struct virtio *v = NULL;
	struct err err;

	assert_int_equal(blk_create(f, face, config, &v, &err), code);
	assert_null(v);
	assert_memory_equal(err.msg, "--disk /tmp/test-blk-", 21);
	if (!strstr(err.msg, text))
		fail_msg("'%s' lacks '%s'", err.msg, text);
}

static void refuses_another_disk_than_the_sources(void **state)
{
	struct blk_fixture *f = *state;
	const struct blk_config plain = { 0 };
	struct virtio_face good, face;

	blk_start(f, (struct blk_config){ .nqueues = 2 }, ALL_FEATURES);
	virtio_get_face(f->v, &good);
	face = good;
	le64_put(face.config, IMAGE_SECTORS + 8);
	expect_face_refused(f, &face, plain, -EINVAL, "has 4096 sectors, the source's has 4104");
	expect_face_refused(f, &good, (struct blk_config){ .readonly = true }, -EBUSY,
			    "open for writing");
	face = good;
	face.features |= 1ULL << VIRTIO_BLK_F_RO;
	expect_face_refused(f, &face, plain, -EINVAL, "the source's is read-only");
	face = good;
	face.features |= 1ULL << VIRTIO_BLK_F_SECURE_ERASE;
	expect_face_refused(f, &face, plain, -EOPNOTSUPP, "feature bit 16");
	face = good;
	face.config_bytes = 36;
	expect_face_refused(f, &face, plain, -EOPNOTSUPP, "36 bytes");
	face = good;
	face.nqueues = 33;
	expect_face_refused(f, &face, plain, -EINVAL, "33 queues");
	face = good;
	face.queue_size = 65536 + 256;
	expect_face_refused(f, &face, plain, -EOPNOTSUPP, "size 65792");
	face = good;
	le32_put(face.config + offsetof(struct virtio_blk_config, seg_max), 129);
	expect_face_refused(f, &face, plain, -EOPNOTSUPP, "129 segments");
	face = good;
	le32_put(face.config + offsetof(struct virtio_blk_config, max_discard_seg), 2);
	expect_face_refused(f, &face, plain, -EOPNOTSUPP, "discards more at once");
	unlink(f->path);
	expect_face_refused(f, &good, plain, -ENOENT, "No such file");
}

static void refuses_a_state_that_no_disk_has(void **state)
{
	struct blk_fixture *f = *state;
	struct state_entry entries[4];
	struct buf saved = { 0 };
	struct err err = { 0 };
	uint8_t *serial;
	unsigned int n;

	blk_start(f, (struct blk_config){ .serial = "SERIAL" }, ALL_FEATURES);
	pause_device(f->v);
	n = virtio_state_entries(f->v, 1, entries);
	assert_int_equal(state_save_all(entries, n, &saved, &err), 0);
	serial = memmem(saved.data, saved.len_bytes, "SERIAL", 6);
	assert_non_null(serial);
	serial[2] = '\n';
	assert_int_equal(state_load_all(entries, n, saved.data, saved.len_bytes, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "serial: byte 2 is 0xa"));
	serial[2] = 'R';
	serial[8] = 'x'; /* behind its end */
	assert_int_equal(state_load_all(entries, n, saved.data, saved.len_bytes, &err), -EBADMSG);
	serial[8] = 0;
	assert_int_equal(state_load_all(entries, n, saved.data, saved.len_bytes, &err), 0);
	buf_fini(&saved);
}

static void an_image_has_one_writer(void **state)
{
	struct blk_fixture *f = *state;
	struct virtio *second = NULL;
	struct err err;

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	assert_int_equal(blk_create(f, NULL, (struct blk_config){ 0 }, &second, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "has it open for writing"));
	assert_int_equal(blk_create(f, NULL, (struct blk_config){ .nqueues = 33 }, &second, &err),
			 -EINVAL);
	assert_int_equal(blk_create(f, NULL, (struct blk_config){ .shared = true }, &second, &err),
			 0);
	destroy(&second);
	destroy(&f->v);
	/* At once, as when a guest restarts. */
	for (int i = 0; i < 20; i++) {
		assert_int_equal(blk_create(f, NULL, (struct blk_config){ 0 }, &second, &err), 0);
		destroy(&second);
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, blk_setup, blk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pause_lets_nothing_under_way),
		TEST(a_reset_waits_for_what_is_under_way),
		TEST(limits_hold_requests_back),
		TEST(moves_with_its_lock),
		TEST(stays_when_the_move_fails),
		TEST(does_nothing_to_an_image_it_has_let_go),
		TEST(refuses_another_disk_than_the_sources),
		TEST(refuses_a_state_that_no_disk_has),
		TEST(an_image_has_one_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
