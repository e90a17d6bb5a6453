/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "virtio_driver.h"

struct fixture {
	struct driver d;
	struct virtio *v;
};

static int setup(void **state)
{
	static struct fixture f;
	struct virtio_common common = { .id = "rng0" };
	int rc = driver_init(&f.d);

	*state = &f;
	common.host = f.d.host;
	if (!rc)
		rc = virtio_rng_create(&common, &f.v, NULL);
	if (!rc)
		driver_attach(&f.d, f.v);
	return rc;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_destroy(f->v);
	driver_fini(&f->d);
	return 0;
}

static bool all_zero(struct fixture *f, uint64_t gpa, uint32_t len)
{
	const uint8_t *p = driver_ptr(&f->d, gpa, len);

	for (uint32_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static void fills_what_is_writable(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[4] = { { driver_alloc(&f->d, 64), 64, false },
				    { driver_alloc(&f->d, 64), 64, true },
				    { driver_alloc(&f->d, 16), 1, true },
				    { driver_alloc(&f->d, 128), 64, true } };
	uint32_t written;

	assert_true(driver_start(&f->d, UINT64_MAX, 64));
	assert_true(driver_do(&f->d, 0, p, 4, &written));
	assert_int_equal(written, 129);
	assert_true(all_zero(f, p[0].gpa, 64));
	assert_false(all_zero(f, p[1].gpa, 64));
	assert_false(all_zero(f, p[3].gpa, 64));
	assert_true(all_zero(f, p[3].gpa + 64, 64));
}

static void requests_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct driver_part p = { driver_alloc(&f->d, 1u << 20), 1u << 20, true };
	uint32_t written;

	assert_true(driver_start(&f->d, UINT64_MAX, 64));
	assert_true(driver_do(&f->d, 0, &p, 1, &written));
	assert_int_equal(written, 4096);
	assert_false(all_zero(f, p.gpa, 4096));
	assert_true(all_zero(f, p.gpa + 4096, p.len_bytes - 4096));
	p.write = false; /* nothing to fill */
	assert_true(driver_do(&f->d, 0, &p, 1, &written));
	assert_int_equal(written, 0);
}

/* Twice what may come at once: the rest comes later, and none is lost. */
static void a_greedy_guest_waits_and_gets_all(void **state)
{
	struct fixture *f = *state;
	struct driver_part p = { driver_alloc(&f->d, 4096), 4096, true };
	unsigned int done = 0;

	assert_true(driver_start(&f->d, UINT64_MAX, 64));
	for (unsigned int i = 0; i < 512 / 64; i++) {
		uint32_t written;
		uint16_t head;

		for (unsigned int j = 0; j < 64; j++)
			driver_add(&f->d, 0, &p, 1);
		driver_kick(&f->d, 0);
		for (unsigned int j = 0; j < 64; j++, done++) {
			assert_true(driver_wait_used(&f->d, 0, &head, &written));
			assert_int_equal(written, 4096);
		}
	}
	assert_int_equal(done, 512);
}

static void a_broken_ring_needs_reset(void **state)
{
	struct fixture *f = *state;
	struct driver_part p = { driver_alloc(&f->d, 16), 16, true };
	uint32_t written;

	assert_true(driver_start(&f->d, UINT64_MAX, 64));
	driver_raw_avail_idx(&f->d, 0, 65);
	virtio_kick(f->v, 0);
	assert_true(driver_wait_status(&f->d, VIRTIO_NEEDS_RESET));
	assert_true(driver_start(&f->d, UINT64_MAX, 64));
	assert_true(driver_do(&f->d, 0, &p, 1, &written));
}

static void says_whose_fault_it_is(void **state)
{
	struct fixture *f = *state;
	struct virtio_face face;
	const struct virtio_common common = { .id = "rng1", .host = f->d.host, .face = &face };
	struct err err = { 0 };
	struct virtio *v = NULL;

	virtio_get_face(f->v, &face);
	face.features |= 1;
	assert_int_equal(virtio_rng_create(&common, &v, &err), -EOPNOTSUPP);
	assert_string_equal(err.msg,
			    "--rng: the source's device has feature bit 0, which this one lacks");
	assert_null(v);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fills_what_is_writable),
		TEST(requests_are_bounded),
		TEST(a_greedy_guest_waits_and_gets_all),
		TEST(a_broken_ring_needs_reset),
		TEST(says_whose_fault_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
