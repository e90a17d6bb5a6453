/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "device_set.h"
#include "vmm/gmem.h"

/* The "device" sections of CONFIG, byte by byte as docs/spec/state.md §4 has them: they come from a peer. */

struct device {
	const char *kind;
	uint32_t slot;
	uint8_t mmio, flags;
	uint32_t nqueues, queue_size, config_bytes;
	uint8_t mac0;
	uint64_t cid;
	const char *ids, *labels, *locals;
	uint32_t ids_bytes, labels_bytes, locals_bytes;
};

#define LIST(member, text) .member = (text), .member##_bytes = sizeof(text)

static const struct device disk = {
	.kind = "blk",
	.slot = 1,
	.flags = 1,
	.nqueues = 2,
	.queue_size = 256,
	.config_bytes = 60,
	LIST(ids, "root"),
	LIST(labels, "S1"),
	LIST(locals, "/a"),
};

static void put_list(struct buf *b, const char *list, uint32_t len_bytes)
{
	buf_u32(b, len_bytes);
	buf_put(b, list, len_bytes);
}

static void put_body(struct buf *b, const struct device *d)
{
	static const uint8_t zeros[64];
	char kind[16] = "";

	memcpy(kind, d->kind, strlen(d->kind));
	buf_put(b, kind, sizeof(kind));
	buf_u8(b, d->mmio);
	buf_u8(b, d->flags);
	buf_u64(b, 0x130000244);
	buf_u32(b, d->nqueues);
	buf_u32(b, d->queue_size);
	buf_u32(b, d->config_bytes);
	buf_put(b, zeros, d->config_bytes);
	buf_u8(b, d->mac0);
	buf_put(b, zeros, 5);
	buf_u32(b, 3);
	buf_u64(b, d->cid);
	buf_u64(b, 100);
	buf_u64(b, 200);
	put_list(b, d->ids, d->ids_bytes);
	put_list(b, d->labels, d->labels_bytes);
	put_list(b, d->locals, d->locals_bytes);
}

static void put(struct buf *b, const struct device *d)
{
	struct buf body = { 0 };

	put_body(&body, d);
	buf_u8(b, 6);
	buf_put(b, "device", 6);
	buf_u32(b, d->slot);
	buf_u16(b, 1);
	buf_u32(b, (uint32_t)body.len_bytes);
	buf_put(b, body.data, body.len_bytes);
	buf_fini(&body);
}

static struct device_sections *decode(const struct buf *b, int expected, struct err *err)
{
	struct device_sections *s = calloc(1, sizeof(*s));
	struct reader in = reader_over(b->data, b->len_bytes);
	int rc;

	assert_non_null(s);
	rc = device_sections_decode(&in, s, err);
	if (rc != expected)
		fail_msg("%d, expected %d: %s", rc, expected, err->msg);
	if (!rc)
		assert_int_equal(reader_left(&in), 0);
	return s;
}

static void test_disk(void **state)
{
	struct device_sections *s;
	struct err err = { 0 };
	struct buf b = { 0 };

	(void)state;
	put(&b, &disk);
	s = decode(&b, 0, &err);
	assert_int_equal(s->nslots, 1);
	assert_int_equal(s->devices.n, 1);
	assert_false(s->devices.mmio);
	assert_string_equal(s->devices.dev[0].id, "root");
	assert_string_equal(s->devices.dev[0].label, "S1");
	assert_string_equal(s->devices.dev[0].local, "/a");
	assert_true(s->devices.dev[0].readonly);
	assert_false(s->devices.dev[0].direct);
	assert_int_equal(s->devices.dev[0].nqueues, 3);
	assert_int_equal(s->devices.dev[0].limit.ops_per_s, 100);
	assert_int_equal(s->devices.dev[0].limit.bytes_per_s, 200);
	assert_string_equal(s->face[0].kind, "blk");
	assert_int_equal(s->face[0].features, 0x130000244);
	assert_int_equal(s->face[0].nqueues, 2);
	assert_int_equal(s->face[0].queue_size, 256);
	assert_int_equal(s->face[0].config_bytes, 60);
	free(s);
	buf_fini(&b);
}

/* A console's ports are entries of one device; what follows it has the next slot. */
static void test_console(void **state)
{
	const struct device console = {
		.kind = "console",
		.mmio = 1,
		.nqueues = 6,
		.queue_size = 2,
		LIST(ids, "c0\0c1"),
		LIST(labels, "\0org.x"),
		LIST(locals, "pty\0unix:/x"),
	};
	struct device rng = disk;
	struct device_sections *s;
	struct err err = { 0 };
	struct buf b = { 0 };

	(void)state;
	rng.kind = "rng";
	rng.mmio = 1;
	put(&b, &console);
	put(&b, &rng);
	s = decode(&b, 0, &err);
	assert_int_equal(s->nslots, 2);
	assert_int_equal(s->devices.n, 3);
	assert_true(s->devices.mmio);
	assert_string_equal(s->devices.dev[0].label, "");
	assert_string_equal(s->devices.dev[1].id, "c1");
	assert_string_equal(s->devices.dev[1].label, "org.x");
	assert_string_equal(s->devices.dev[1].local, "unix:/x");
	assert_string_equal(s->face[1].kind, "rng");
	free(s);
	buf_fini(&b);
}

/* Other sections, and nothing at all, are left to their readers. */
static void test_none(void **state)
{
	static const char other[] = "\7machine\0\0\0\0\1\0\0\0\0\0";
	struct device_sections *s = calloc(1, sizeof(*s));
	struct reader in = reader_over(other, sizeof(other) - 1);
	struct err err = { 0 };

	(void)state;
	assert_non_null(s);
	assert_int_equal(device_sections_decode(&in, s, &err), 0);
	assert_int_equal(s->nslots, 0);
	assert_int_equal(reader_left(&in), sizeof(other) - 1);
	in = reader_over(other, 0);
	assert_int_equal(device_sections_decode(&in, s, &err), 0);
	free(s);
}

static void refused(const struct device *d, unsigned int n, int code, const char *message)
{
	struct err err = { 0 };
	struct buf b = { 0 };

	for (unsigned int i = 0; i < n; i++)
		put(&b, &d[i]);
	free(decode(&b, code, &err));
	if (!strstr(err.msg, message))
		fail_msg("\"%s\" does not say %s", err.msg, message);
	buf_fini(&b);
}

static void test_bad_fields(void **state)
{
	struct device d = disk;

	(void)state;
#define BAD(field, value, code, message)       \
	do {                                   \
		d = disk;                      \
		d.field = (value);             \
		refused(&d, 1, code, message); \
	} while (0)
	BAD(kind, "gpu", -EOPNOTSUPP, "kind");
	BAD(kind, "", -EOPNOTSUPP, "kind");
	BAD(slot, 0, -EOPNOTSUPP, "expected slot 1");
	BAD(slot, 2, -EOPNOTSUPP, "expected slot 1");
	BAD(slot, UINT32_MAX, -EOPNOTSUPP, "expected slot 1");
	BAD(mmio, 2, -EBADMSG, "mmio");
	BAD(mmio, 1, -EOPNOTSUPP, "expected slot 0");
	BAD(flags, 8, -EBADMSG, "flags");
	BAD(nqueues, 0, -EBADMSG, "nqueues");
	BAD(nqueues, 33, -EBADMSG, "nqueues");
	BAD(queue_size, 0, -EBADMSG, "queue_size");
	BAD(queue_size, 3, -EBADMSG, "queue_size");
	BAD(queue_size, 65536, -EBADMSG, "queue_size");
	BAD(ids_bytes, 0, -EBADMSG, "ids");
	BAD(ids_bytes, 4, -EBADMSG, "ids"); /* without its zero byte */
	BAD(labels_bytes, 2, -EBADMSG, "labels");
	BAD(locals_bytes, 0, -EBADMSG, "locals");
	BAD(ids, ".abc", -EBADMSG, "id: expected");
	BAD(locals, "\n\0", -EBADMSG, "locals");
#undef BAD
}

static void test_bad_lists(void **state)
{
	static const char nine[] = "a\0b\0c\0d\0e\0f\0g\0h\0i";
	static const char long_id[] = "abcdefghijklmnopqrstuvwxyzabcdef";
	struct device d = disk;

	(void)state;
	d.ids = d.labels = d.locals = "a\0b";
	d.ids_bytes = d.labels_bytes = d.locals_bytes = 4;
	refused(&d, 1, -EBADMSG, "ids: expected 1 to 1");
	d.kind = "console";
	d.ids = d.labels = d.locals = nine;
	d.ids_bytes = d.labels_bytes = d.locals_bytes = sizeof(nine);
	refused(&d, 1, -EBADMSG, "ids: expected 1 to 8");
	d = disk;
	d.ids = long_id;
	d.ids_bytes = sizeof(long_id);
	refused(&d, 1, -EBADMSG, "ids");
	d = disk;
	d.locals = "/a\033[2J";
	d.locals_bytes = 7;
	refused(&d, 1, -EBADMSG, "control characters");
}

static void test_bad_neighbours(void **state)
{
	struct device d[2] = { disk, disk };

	(void)state;
	d[1].slot = 2;
	refused(d, 2, -EBADMSG, "another device's already");
	d[1].ids = "data";
	d[1].slot = 1;
	refused(d, 2, -EOPNOTSUPP, "expected slot 2");
	d[1].slot = 2;
	d[1].mmio = 1;
	refused(d, 2, -EBADMSG, "transport or order");
	d[1].mmio = 0;
	d[0].kind = "net"; /* ahead of a disk */
	refused(d, 2, -EBADMSG, "transport or order");
	d[0].kind = d[1].kind = "console";
	refused(d, 2, -EBADMSG, "transport or order");
	d[0].kind = d[1].kind = "rng";
	refused(d, 2, -EBADMSG, "one at most");
	d[0] = disk;
	d[0].kind = "vsock";
	d[0].cid = 2;
	refused(d, 1, -EBADMSG, "cid");
	d[0] = disk;
	d[0].kind = "net";
	d[0].mac0 = 1;
	refused(d, 1, -EBADMSG, "group");
}

static void test_too_many(void **state)
{
	struct device d = disk;
	struct err err = { 0 };
	struct buf b = { 0 };
	char id[8];

	(void)state;
	for (d.slot = 1; d.slot <= 40; d.slot++) {
		d.ids_bytes = (uint32_t)snprintf(id, sizeof(id), "d%u", d.slot) + 1;
		d.ids = id;
		put(&b, &d);
	}
	free(decode(&b, -EOPNOTSUPP, &err));
	buf_fini(&b);
}

/* Every byte short is an error and nothing else. */
static void test_cut(void **state)
{
	struct buf b = { 0 };

	(void)state;
	put(&b, &disk);
	for (size_t len = 1; len < b.len_bytes; len++) {
		struct device_sections *s = calloc(1, sizeof(*s));
		struct reader in = reader_over(b.data, len);
		struct err err = { 0 };

		assert_non_null(s);
		assert_int_equal(device_sections_decode(&in, s, &err), -EBADMSG);
		free(s);
	}
	buf_fini(&b);
}

/* What is written is what is read: a device that is really there. */
static void test_round_trip(void **state)
{
	const struct gmem_config mem_config = { .backing = GMEM_4K,
						.nregions = 1,
						.region = { { .gpa = 0, .len_bytes = 1 << 20 } } };
	struct virtio_common common = { .id = "r" };
	struct device_set *set = calloc(1, sizeof(*set));
	struct device_sections *s;
	struct virtio_face face;
	struct err err = { 0 };
	struct gmem *mem;
	struct buf b = { 0 };

	(void)state;
	assert_non_null(set);
	assert_int_equal(gmem_create(&mem_config, &mem, &err), 0);
	common.host = (struct dev_host){ .ops = &machine_dev_host_ops, .mem = mem };
	set->config = (struct machine_devices){ .mmio = true,
						.n = 1,
						.dev = { { .kind = MACHINE_RNG, .id = "r" } } };
	set->nslots = 1;
	set->slot[0] = (struct device_slot){ .kind = MACHINE_RNG, .n = 1 };
	assert_int_equal(virtio_rng_create(&common, &set->slot[0].v, &err), 0);
	virtio_get_face(set->slot[0].v, &face);
	assert_int_equal(device_sections_encode(set, &b, &err), 0);
	s = decode(&b, 0, &err);
	assert_int_equal(s->nslots, 1);
	assert_true(s->devices.mmio);
	assert_string_equal(s->devices.dev[0].id, "r");
	assert_string_equal(s->face[0].kind, "rng");
	assert_int_equal(s->face[0].features, face.features);
	assert_int_equal(s->face[0].nqueues, face.nqueues);
	assert_int_equal(s->face[0].queue_size, face.queue_size);
	assert_int_equal(s->face[0].config_bytes, face.config_bytes);
	free(s);
	buf_fini(&b);
	virtio_destroy(set->slot[0].v);
	gmem_destroy(mem);
	free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),       cmocka_unit_test(test_console),
		cmocka_unit_test(test_none),       cmocka_unit_test(test_bad_fields),
		cmocka_unit_test(test_bad_lists),  cmocka_unit_test(test_bad_neighbours),
		cmocka_unit_test(test_too_many),   cmocka_unit_test(test_cut),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
