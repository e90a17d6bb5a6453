/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "devices/genid.h"

#define RAM_BYTES (4u << 20)
#define GPA 0xf0000u

struct fixture {
	struct gmem *mem;
	struct irq_pin pin;
	unsigned int nedges;
	bool level;
	uint8_t id_at_edge[GENID_BYTES];
};

static void set_irq(void *opaque, unsigned int gsi, bool level)
{
	struct fixture *f = opaque;

	assert_int_equal(gsi, 6);
	if (level && !f->level) {
		f->nedges++;
		assert_int_equal(gmem_read(f->mem, GPA, f->id_at_edge, GENID_BYTES), 0);
	}
	f->level = level;
}

static int setup(void **state)
{
	static const struct gmem_config config = { .backing = GMEM_4K,
						   .nregions = 1,
						   .region = { { .len_bytes = RAM_BYTES } } };
	static struct fixture f;

	f = (struct fixture){ .pin = { set_irq, &f, 6 } };
	*state = &f;
	return gmem_create(&config, &f.mem, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gmem_destroy(f->mem);
	return 0;
}

/* What the whole of memory is but for the id: zero. */
static void assert_only_the_id(const struct fixture *f)
{
	const uint8_t *p = f->mem->base;

	for (uint64_t i = 0; i < RAM_BYTES; i++) {
		if (p[i] && (i < GPA || i >= GPA + GENID_BYTES))
			fail_msg("byte 0x%llx was written", (unsigned long long)i);
	}
}

static void each_renewal_is_another_id(void **state)
{
	struct fixture *f = *state;
	uint8_t zero[GENID_BYTES] = { 0 }, first[GENID_BYTES], second[GENID_BYTES];
	struct genid *g;

	assert_int_equal(genid_create(f->mem, GPA, &f->pin, &g, NULL), 0);
	assert_int_equal(gmem_read(f->mem, GPA, first, GENID_BYTES), 0);
	assert_memory_equal(first, zero, GENID_BYTES); /* creating one changes nothing */
	assert_int_equal(genid_renew(g, true, NULL), 0);
	assert_int_equal(gmem_read(f->mem, GPA, first, GENID_BYTES), 0);
	assert_memory_not_equal(first, zero, GENID_BYTES);
	assert_int_equal(f->nedges, 1);
	assert_false(f->level);
	assert_memory_equal(f->id_at_edge, first, GENID_BYTES); /* there when the guest is told */
	assert_int_equal(genid_renew(g, false, NULL), 0); /* at boot nobody is */
	assert_int_equal(gmem_read(f->mem, GPA, second, GENID_BYTES), 0);
	assert_memory_not_equal(first, second, GENID_BYTES);
	assert_int_equal(f->nedges, 1);
	assert_int_equal(genid_renew(g, true, NULL), 0);
	assert_int_equal(gmem_read(f->mem, GPA, second, GENID_BYTES), 0);
	assert_memory_not_equal(first, second, GENID_BYTES);
	assert_int_equal(f->nedges, 2);
	assert_only_the_id(f);
	genid_destroy(g);
}

/* Where a VM has moved to, its memory is there before the device is made or after. */
static void what_memory_holds_stays(void **state)
{
	struct fixture *f = *state;
	uint8_t id[GENID_BYTES] = "0123456789abcde", now[GENID_BYTES];
	struct genid *g;

	assert_int_equal(gmem_write(f->mem, GPA, id, GENID_BYTES), 0);
	assert_int_equal(genid_create(f->mem, GPA, &f->pin, &g, NULL), 0);
	genid_destroy(g);
	assert_int_equal(gmem_read(f->mem, GPA, now, GENID_BYTES), 0);
	assert_memory_equal(now, id, GENID_BYTES);
	assert_int_equal(f->nedges, 0);
}

static void shows_in_the_dirty_log(void **state)
{
	struct fixture *f = *state;
	struct genid *g;

	assert_int_equal(bitmap_init(&f->mem->host_log_store, f->mem->npages), 0);
	f->mem->host_log = &f->mem->host_log_store;
	assert_int_equal(genid_create(f->mem, GPA, &f->pin, &g, NULL), 0);
	assert_int_equal(bitmap_count(f->mem->host_log), 0);
	assert_int_equal(genid_renew(g, true, NULL), 0);
	assert_int_equal(bitmap_count(f->mem->host_log), 1);
	assert_true(bitmap_test(f->mem->host_log, GPA / GMEM_PAGE_SIZE));
	genid_destroy(g);
	f->mem->host_log = NULL;
	bitmap_fini(&f->mem->host_log_store);
}

static void wants_guest_memory(void **state)
{
	struct fixture *f = *state;
	struct genid *g = NULL;
	struct err err = { 0 };

	assert_int_equal(genid_create(f->mem, RAM_BYTES - GENID_BYTES + 1, &f->pin, &g, &err),
			 -EFAULT);
	assert_string_equal(err.msg, "generation ID: 0x3ffff1 is not guest memory");
	assert_null(g);
	genid_destroy(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_renewal_is_another_id),
		TEST(what_memory_holds_stays),
		TEST(shows_in_the_dirty_log),
		TEST(wants_guest_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
