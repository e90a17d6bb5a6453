/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as device state: nothing is applied unless everything is good, and what was accepted encodes and loads again to the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/num.h"
#include "base/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

struct image {
	uint8_t a[3];
	uint16_t b;
	uint32_t c[2];
	uint64_t d;
	uint32_t blob_len;
	uint8_t blob[64];
	uint32_t added;
};

static const struct state_field fields[] = {
	STATE_FIELD_U8(struct image, a),
	STATE_FIELD_U16(struct image, b),
	STATE_FIELD_U32(struct image, c),
	STATE_FIELD_U64(struct image, d),
	STATE_FIELD_VBYTES(struct image, blob, blob_len),
	{ .name = "added",
	  .type = STATE_U32,
	  .since = 2,
	  .offset = offsetof(struct image, added),
	  .count = 1 },
};

struct dev {
	struct image now;
	unsigned int applied;
};

static int capture(void *dev, void *image, struct err *err)
{
	const struct dev *d = dev;

	memcpy(image, &d->now, sizeof(d->now));
	return 0;
}

static int check(const void *image, struct err *err)
{
	const struct image *img = image;

	if (img->blob_len > sizeof(img->blob))
		__builtin_trap();
	return img->a[0] == 0xff ? err_set(err, -1, "a") : 0;
}

static int apply(void *dev, const void *image, struct err *err)
{
	struct dev *d = dev;

	memcpy(&d->now, image, sizeof(d->now));
	d->applied++;
	return 0;
}

static const struct state_desc desc = {
	.name = "x",
	.version = 2,
	.min_version = 1,
	.image_size = sizeof(struct image),
	.fields = fields,
	.nfields = ARRAY_LEN(fields),
	.capture = capture,
	.check = check,
	.apply = apply,
};

#define NDEVS 2u

static void load_again(struct dev *devs)
{
	struct dev copies[NDEVS] = { 0 };
	struct state_entry from[NDEVS], to[NDEVS];
	struct buf first = { 0 }, second = { 0 };

	for (unsigned int i = 0; i < NDEVS; i++) {
		from[i] = (struct state_entry){ &desc, i, &devs[i] };
		to[i] = (struct state_entry){ &desc, i, &copies[i] };
	}
	if (state_save_all(from, NDEVS, &first, NULL) ||
	    state_load_all(to, NDEVS, first.data, first.len_bytes, NULL) ||
	    state_save_all(to, NDEVS, &second, NULL) || first.len_bytes != second.len_bytes ||
	    memcmp(first.data, second.data, first.len_bytes))
		__builtin_trap();
	buf_fini(&first);
	buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct dev devs[NDEVS] = { 0 };
	struct state_entry entries[NDEVS];
	struct err err = { 0 };
	int rc;

	for (unsigned int i = 0; i < NDEVS; i++)
		entries[i] = (struct state_entry){ &desc, i, &devs[i] };
	rc = state_load_all(entries, NDEVS, data, len_bytes, &err);
	for (unsigned int i = 0; i < NDEVS; i++) {
		if (devs[i].applied != (rc ? 0 : 1))
			__builtin_trap();
	}
	if (rc && (rc != err.code || !memchr(err.msg, '\0', sizeof(err.msg))))
		__builtin_trap();
	if (!rc)
		load_again(devs);
	return 0;
}
