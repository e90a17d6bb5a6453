/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/state.h"

struct thing_image {
	uint8_t a;
	uint16_t b[3];
	uint32_t c;
	uint64_t d[2];
	uint32_t blob_len;
	uint8_t blob[40];
	uint32_t added; /* version 2 */
};

static const struct state_field thing_fields[] = {
	STATE_FIELD_U8(struct thing_image, a),
	STATE_FIELD_U16(struct thing_image, b),
	STATE_FIELD_U32(struct thing_image, c),
	STATE_FIELD_U64(struct thing_image, d),
	STATE_FIELD_VBYTES(struct thing_image, blob, blob_len),
	{ .name = "added",
	  .type = STATE_U32,
	  .since = 2,
	  .offset = offsetof(struct thing_image, added),
	  .count = 1 },
};

struct thing {
	struct thing_image now;
	unsigned int applied;
	int fail; /* what capture or apply returns */
};

static int thing_capture(void *dev, void *image, struct err *err)
{
	struct thing *t = dev;

	*(struct thing_image *)image = t->now;
	return t->fail;
}

static int thing_check(const void *image, struct err *err)
{
	const struct thing_image *img = image;

	return img->a > 100 ? err_set(err, -EBADMSG, "a %u", img->a) : 0;
}

static int thing_apply(void *dev, const void *image, struct err *err)
{
	struct thing *t = dev;

	if (t->fail)
		return t->fail;
	t->now = *(const struct thing_image *)image;
	t->applied++;
	return 0;
}

static void thing_defaults(void *image)
{
	struct thing_image *img = image;

	img->added = 77;
}

static const struct state_desc thing_v2 = {
	.name = "thing",
	.version = 2,
	.min_version = 1,
	.image_size = sizeof(struct thing_image),
	.fields = thing_fields,
	.nfields = ARRAY_LEN(thing_fields),
	.capture = thing_capture,
	.check = thing_check,
	.apply = thing_apply,
	.defaults = thing_defaults,
};

static const struct state_desc thing_v1 = {
	.name = "thing",
	.version = 1,
	.min_version = 1,
	.image_size = sizeof(struct thing_image),
	.fields = thing_fields,
	.nfields = ARRAY_LEN(thing_fields) - 1,
	.capture = thing_capture,
	.check = thing_check,
	.apply = thing_apply,
};

static const struct state_desc other = {
	.name = "other.kind-2",
	.version = 1,
	.min_version = 1,
	.image_size = sizeof(struct thing_image),
	.fields = thing_fields,
	.nfields = 1,
	.capture = thing_capture,
	.check = thing_check,
	.apply = thing_apply,
};

static struct thing_image sample(uint8_t seed)
{
	struct thing_image img = {
		.a = seed,
		.b = { 0x1122, 0x3344, (uint16_t)(0x5500 + seed) },
		.c = 0xa1b2c3d4,
		.d = { 0x0102030405060708, UINT64_MAX },
		.blob_len = 5,
		.blob = "hello",
		.added = 0xcafe0000u + seed,
	};

	return img;
}

/* By what they encode to: images have padding. */
static void images_equal(const struct thing_image *a, const struct thing_image *b)
{
	struct buf ea = { 0 }, eb = { 0 };

	assert_int_equal(state_encode(&thing_v2, 0, a, &ea, NULL), 0);
	assert_int_equal(state_encode(&thing_v2, 0, b, &eb, NULL), 0);
	assert_int_equal(ea.len_bytes, eb.len_bytes);
	assert_memory_equal(ea.data, eb.data, ea.len_bytes);
	buf_fini(&ea);
	buf_fini(&eb);
}

static void encoding_is_as_specified(void **state)
{
	static const uint8_t expected[] = {
		5,    't',  'h',  'i',  'n',  'g', /* name */
		3,    0,    0,    0, /* instance */
		2,    0, /* version */
		40,   0,    0,    0, /* length */
		9, /* a */
		0x22, 0x11, 0x44, 0x33, 0x09, 0x55, /* b */
		0xd4, 0xc3, 0xb2, 0xa1, /* c */
		8,    7,    6,    5,    4,    3,    2,    1, /* d */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* d */
		5,    0,    0,    0,    'h',  'e',  'l',  'l',  'o', /* blob */
		9,    0,    0xfe, 0xca, /* added */
	};
	struct thing_image img = sample(9);
	struct buf b = { 0 };

	assert_int_equal(state_encode(&thing_v2, 3, &img, &b, NULL), 0);
	assert_int_equal(b.len_bytes, sizeof(expected));
	assert_memory_equal(b.data, expected, sizeof(expected));
	buf_fini(&b);
}

static void decode_gives_back_the_image(void **state)
{
	struct thing_image img = sample(1), got;
	struct state_section s;
	struct buf b = { 0 };
	struct reader r;

	assert_int_equal(state_encode(&thing_v2, 8, &img, &b, NULL), 0);
	r = reader_over(b.data, b.len_bytes);
	assert_int_equal(state_next_section(&r, &s, NULL), 0);
	assert_string_equal(s.name, "thing");
	assert_int_equal(s.instance, 8);
	memset(&got, 0xee, sizeof(got));
	assert_int_equal(state_decode(&thing_v2, &s, &got, NULL), 0);
	images_equal(&got, &img);
	assert_int_equal(state_next_section(&r, &s, NULL), -ENODATA);
	buf_fini(&b);
}

static void versions(void **state)
{
	struct thing_image img = sample(1), got;
	struct state_section s;
	struct buf b = { 0 };
	struct err err = { 0 };
	struct reader r;

	/* An older section: the new field has its default. */
	assert_int_equal(state_encode(&thing_v1, 0, &img, &b, NULL), 0);
	r = reader_over(b.data, b.len_bytes);
	assert_int_equal(state_next_section(&r, &s, NULL), 0);
	assert_int_equal(state_decode(&thing_v2, &s, &got, NULL), 0);
	assert_int_equal(got.added, 77);
	assert_int_equal(got.c, img.c);

	/* Newer than the reader, and older than what it still reads. */
	s.version = 3;
	assert_int_equal(state_decode(&thing_v2, &s, &got, &err), -EOPNOTSUPP);
	assert_string_equal(err.msg, "state section thing.0: version 3, this program reads 1 to 2");
	s.version = 0;
	assert_int_equal(state_decode(&thing_v2, &s, &got, &err), -EOPNOTSUPP);
	buf_fini(&b);
}

static void encode_refuses_a_length_above_capacity(void **state)
{
	struct thing_image img = sample(1);
	struct buf b = { 0 };
	struct err err = { 0 };

	buf_u8(&b, 42);
	img.blob_len = sizeof(img.blob) + 1;
	assert_int_equal(state_encode(&thing_v2, 0, &img, &b, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "thing.0: field blob"));
	assert_int_equal(b.len_bytes, 1); /* as it was */
	buf_fini(&b);
}

/* Three entries whose state is saved; the loading side has things of its own. */
struct pair {
	struct thing src[3], dst[3];
	struct state_entry save[3], load[3];
	struct buf b;
	struct err err;
};

static int pair_setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	const struct state_desc *desc[3] = { &thing_v2, &thing_v2, &other };

	if (!p)
		return -1;
	for (unsigned int i = 0; i < 3; i++) {
		p->src[i].now = sample((uint8_t)(i + 1));
		p->save[i] = (struct state_entry){ desc[i], i, &p->src[i] };
		p->load[i] = (struct state_entry){ desc[i], i, &p->dst[i] };
	}
	*state = p;
	return state_save_all(p->save, 3, &p->b, NULL);
}

static int pair_teardown(void **state)
{
	struct pair *p = *state;

	buf_fini(&p->b);
	free(p);
	return 0;
}

static void nothing_was_applied(const struct pair *p)
{
	static const struct thing untouched;

	for (unsigned int i = 0; i < 3; i++)
		assert_memory_equal(&p->dst[i].now, &untouched.now, sizeof(untouched.now));
}

static void refused(struct pair *p, const void *data, size_t len, int rc, const char *text)
{
	p->err = (struct err){ 0 };
	assert_int_equal(state_load_all(p->load, 3, data, len, &p->err), rc);
	assert_int_equal(p->err.code, rc);
	if (text && !strstr(p->err.msg, text))
		fail_msg("\"%s\" lacks \"%s\"", p->err.msg, text);
	nothing_was_applied(p);
}

static void all_loads_in_any_order(void **state)
{
	struct pair *p = *state;
	struct state_entry swapped[3] = { p->save[2], p->save[0], p->save[1] };
	struct buf b = { 0 };

	assert_int_equal(state_load_all(p->load, 3, p->b.data, p->b.len_bytes, NULL), 0);
	for (unsigned int i = 0; i < 2; i++)
		images_equal(&p->dst[i].now, &p->src[i].now);
	assert_int_equal(p->dst[2].now.a, 3);
	assert_int_equal(state_save_all(swapped, 3, &b, NULL), 0);
	assert_int_equal(state_load_all(p->load, 3, b.data, b.len_bytes, NULL), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(p->dst[i].applied, 2);
	buf_fini(&b);
}

static void wrong_sets_of_sections(void **state)
{
	struct pair *p = *state;
	struct buf b = { 0 };

	refused(p, p->b.data, 0, -EBADMSG, "thing.0: missing");
	buf_put(&b, p->b.data, p->b.len_bytes);
	buf_put(&b, p->b.data, p->b.len_bytes);
	refused(p, b.data, b.len_bytes, -EBADMSG, "thing.0: comes twice");
	buf_clear(&b);
	state_save_all(p->save, 2, &b, NULL);
	refused(p, b.data, b.len_bytes, -EBADMSG, "other.kind-2.2: missing");
	buf_clear(&b);
	state_save_all(p->save, 3, &b, NULL);
	state_encode(&other, 7, &p->src[0].now, &b, NULL);
	refused(p, b.data, b.len_bytes, -EBADMSG, "other.kind-2.7: unknown");
	buf_fini(&b);
}

static void last_section_bad_means_nothing_applied(void **state)
{
	struct pair *p = *state;

	p->b.data[p->b.len_bytes - 1] = 101; /* other.a: its check says no */
	refused(p, p->b.data, p->b.len_bytes, -EBADMSG, "other.kind-2.2: a 101");
}

static void every_truncation_is_refused(void **state)
{
	struct pair *p = *state;

	for (size_t n = 0; n < p->b.len_bytes; n++) {
		/* A copy of exactly that size: a sanitizer sees a read past it. */
		uint8_t *cut = malloc(n ? n : 1);

		memcpy(cut, p->b.data, n);
		refused(p, cut, n, -EBADMSG, NULL);
		free(cut);
	}
}

/* Flips of each byte either change a value or are refused; a refusal applies nothing. */
static void every_flip_is_safe(void **state)
{
	struct pair *p = *state;
	unsigned int nrefused = 0;

	for (size_t i = 0; i < p->b.len_bytes; i++) {
		int rc;

		p->b.data[i] ^= 0xff;
		memset(p->dst, 0, sizeof(p->dst));
		rc = state_load_all(p->load, 3, p->b.data, p->b.len_bytes, &p->err);
		if (rc) {
			nothing_was_applied(p);
			nrefused++;
		}
		p->b.data[i] ^= 0xff;
	}
	/* Names, instances, versions and lengths of three sections, the three checked bytes and two blob lengths. */
	assert_int_equal(nrefused, 2 * (1 + 5 + 10) + (1 + 12 + 10) + 3 + 2 * 4);
}

static void length_leaves_bytes_over(void **state)
{
	struct pair *p = *state;
	struct buf b = { 0 };

	/* "other" with two bytes where one is read. */
	buf_put(&b, p->b.data, p->b.len_bytes);
	buf_u8(&b, 0);
	le32_put(b.data + p->b.len_bytes - 5, 2);
	refused(p, b.data, b.len_bytes, -EBADMSG, "other.kind-2.2: 1 bytes left over");
	/* A length above the limit is refused as such, however long the input is. */
	le32_put(b.data + p->b.len_bytes - 5, STATE_MAX_SECTION_BYTES + 1);
	refused(p, b.data, b.len_bytes, -EBADMSG, "above the limit");
	buf_fini(&b);
}

static void malformed_names(void **state)
{
	static const char *const names[] = { "", "Thing", "th ng", "thing\n", "th\0ng" };
	static const size_t lens[] = { 0, 5, 5, 6, 5 };
	struct pair *p = *state;
	struct buf b = { 0 };
	uint8_t *name;

	for (size_t i = 0; i < 5; i++) {
		buf_clear(&b);
		buf_u8(&b, (uint8_t)lens[i]);
		buf_put(&b, names[i], lens[i]);
		memset(buf_grow(&b, 10), 0, 10);
		refused(p, b.data, b.len_bytes, -EBADMSG, "malformed section name");
	}
	buf_clear(&b);
	buf_u8(&b, STATE_NAME_MAX + 1);
	name = buf_grow(&b, 100);
	memset(name, 'a', 100);
	refused(p, b.data, b.len_bytes, -EBADMSG, "malformed section name");
	buf_fini(&b);
}

static void callbacks_that_fail(void **state)
{
	struct pair *p = *state;
	size_t before = p->b.len_bytes;

	p->src[1].fail = -EIO;
	assert_int_equal(state_save_all(p->save, 3, &p->b, &p->err), -EIO);
	assert_string_equal(p->err.msg, "state section thing.1: refused: Input/output error");
	assert_int_equal(p->b.len_bytes, before);

	/* The second apply fails: the first has happened, the third must not. */
	p->dst[1].fail = -EBUSY;
	assert_int_equal(state_load_all(p->load, 3, p->b.data, p->b.len_bytes, &p->err), -EBUSY);
	assert_non_null(strstr(p->err.msg, "thing.1"));
	assert_int_equal(p->dst[0].applied, 1);
	assert_int_equal(p->dst[2].applied, 0);
}

static void no_entries(void **state)
{
	struct err err = { 0 };
	struct buf b = { 0 };

	assert_int_equal(state_save_all(NULL, 0, &b, &err), 0);
	assert_int_equal(state_load_all(NULL, 0, b.data, b.len_bytes, &err), 0);
	assert_int_equal(state_load_all(NULL, 0, "\x01", 1, &err), -EBADMSG);
	assert_int_equal(state_load_all(NULL, STATE_MAX_SECTIONS + 1, "", 0, &err), -EINVAL);
	assert_int_equal(state_save_parts(NULL, 0, NULL, &b, &err), 0);
	assert_int_equal(state_save_parts(NULL, STATE_MAX_PARTS + 1, NULL, &b, &err), -EINVAL);
	assert_int_equal(state_load_parts(NULL, STATE_MAX_PARTS + 1, NULL, "", 0, &err), -EINVAL);
	buf_fini(&b);
}

#define PAIR_TEST(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoding_is_as_specified),
		cmocka_unit_test(decode_gives_back_the_image),
		cmocka_unit_test(versions),
		cmocka_unit_test(encode_refuses_a_length_above_capacity),
		PAIR_TEST(all_loads_in_any_order),
		PAIR_TEST(wrong_sets_of_sections),
		PAIR_TEST(last_section_bad_means_nothing_applied),
		PAIR_TEST(every_truncation_is_refused),
		PAIR_TEST(every_flip_is_safe),
		PAIR_TEST(length_leaves_bytes_over),
		PAIR_TEST(malformed_names),
		PAIR_TEST(callbacks_that_fail),
		cmocka_unit_test(no_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
