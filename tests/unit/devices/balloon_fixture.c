/* SPDX-License-Identifier: Apache-2.0 */
#include "balloon_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int balloon_setup(void **state)
{
	struct balloon_fixture *f = calloc(1, sizeof(*f));
	struct virtio_common common = { .id = "balloon0" };
	struct err err = { 0 };

	if (!f)
		return -1;
	assert_int_equal(driver_init(&f->d), 0);
	common.host = f->d.host;
	if (virtio_balloon_create(&common, &f->v, &err))
		fail_msg("%s", err.msg);
	driver_attach(&f->d, f->v);
	f->buffer = driver_alloc(&f->d, 2 * 65536);
	memset(f->d.mem->base + (2u << 20), 'x', f->d.mem->npages * PAGE - (2u << 20));
	*state = f;
	return 0;
}

int balloon_teardown(void **state)
{
	struct balloon_fixture *f = *state;

	virtio_destroy(f->v);
	driver_fini(&f->d);
	free(f);
	return 0;
}

void balloon_start(struct balloon_fixture *f)
{
	assert_true(driver_start(&f->d, ALL_FEATURES, 256));
}

bool balloon_zero(struct balloon_fixture *f, uint64_t gpa)
{
	static const uint8_t zeros[PAGE];

	return !memcmp(driver_ptr(&f->d, gpa, PAGE), zeros, PAGE);
}

uint32_t balloon_config(struct balloon_fixture *f, unsigned int offset)
{
	uint8_t bytes[4];

	virtio_config_read(f->v, offset, bytes, sizeof(bytes));
	return le32_get(bytes);
}

struct find {
	const char *name;
	uint64_t value;
};

static void find_counter(void *opaque, const char *name, uint64_t value)
{
	struct find *f = opaque;

	if (!strcmp(name, f->name))
		f->value = value;
}

uint64_t balloon_counter(struct balloon_fixture *f, const char *name)
{
	struct find find = { .name = name, .value = UINT64_MAX };

	virtio_counters(f->v, find_counter, &find);
	return find.value;
}

void balloon_assert_broken(struct balloon_fixture *f, const char *why)
{
	assert_true(driver_wait_status(&f->d, VIRTIO_NEEDS_RESET));
	assert_non_null(strstr(f->v->fault.msg, why));
	balloon_start(f);
}

void balloon_save(struct balloon_fixture *f, struct buf *ret)
{
	struct state_entry entries[2];

	assert_int_equal(virtio_pause(f->v, 0, NULL), 0);
	assert_int_equal(virtio_state_entries(f->v, 3, entries), 2);
	assert_string_equal(entries[1].desc->name, "balloon");
	assert_int_equal(state_save_all(entries, 2, ret, NULL), 0);
}

int balloon_move(struct balloon_fixture *f, const struct buf *saved, struct virtio **ret,
		 struct err *err)
{
	struct virtio_common common = { .id = "there", .host = f->d.host };
	struct state_entry entries[2];
	struct virtio_face face;
	int rc;

	virtio_get_face(f->v, &face);
	common.face = &face;
	assert_int_equal(virtio_balloon_create(&common, ret, err), 0);
	assert_int_equal(virtio_state_entries(*ret, 3, entries), 2);
	rc = state_load_all(entries, 2, saved->data, saved->len_bytes, err);
	if (!rc)
		return 0;
	virtio_destroy(*ret);
	return rc;
}
