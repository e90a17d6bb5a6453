/* SPDX-License-Identifier: Apache-2.0 */
#include "base/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

static size_t width_of(enum state_type type)
{
	switch (type) {
	case STATE_U16:
		return 2;
	case STATE_U32:
		return 4;
	case STATE_U64:
		return 8;
	case STATE_U8:
	case STATE_VBYTES:
		break;
	}
	return 1;
}

/* Host order to little-endian or back: the same exchange both ways. Neither side is aligned for sure. */
static void copy_elements(uint8_t *dst, const uint8_t *src, size_t width, size_t count)
{
	size_t len_bytes = width * count;

	if (width == 1 || __BYTE_ORDER == __LITTLE_ENDIAN) {
		memcpy(dst, src, len_bytes);
		return;
	}
	for (size_t i = 0; i < len_bytes; i++)
		dst[i] = src[i - i % width + (width - 1 - i % width)];
}

static int encode_field(const struct state_field *f, const uint8_t *image, struct buf *out)
{
	uint32_t count = f->count;
	uint8_t *p;

	if (f->type == STATE_VBYTES) {
		memcpy(&count, image + f->len_offset, sizeof(count));
		if (count > f->count)
			return -EINVAL;
		buf_u32(out, count);
	}
	p = buf_grow(out, width_of(f->type) * count);
	if (p)
		copy_elements(p, image + f->offset, width_of(f->type), count);
	return 0;
}

static int encode_fields(const struct state_desc *desc, const void *image, struct buf *out,
			 struct err *err)
{
	for (unsigned int i = 0; i < desc->nfields; i++) {
		int rc = encode_field(&desc->fields[i], image, out);

		if (rc)
			return err_set(err, rc, "field %s: length above the capacity of %u bytes",
				       desc->fields[i].name, desc->fields[i].count);
	}
	return 0;
}

static int encode_section(const struct state_desc *desc, uint32_t instance, const void *image,
			  struct buf *out, struct err *err)
{
	size_t name_len = strlen(desc->name);
	size_t body_at, len_bytes;
	int rc;

	if (!name_len || name_len > STATE_NAME_MAX)
		return err_set(err, -EINVAL, "section name of %zu bytes", name_len);
	buf_u8(out, (uint8_t)name_len);
	buf_put(out, desc->name, name_len);
	buf_u32(out, instance);
	buf_u16(out, desc->version);
	buf_u32(out, 0); /* the length, filled in below */
	body_at = out->len_bytes;
	rc = encode_fields(desc, image, out, err);
	if (rc)
		return rc;
	if (!buf_ok(out))
		return err_set(err, -ENOMEM, "out of memory");
	len_bytes = out->len_bytes - body_at;
	if (len_bytes > STATE_MAX_SECTION_BYTES)
		return err_set(err, -EINVAL, "%zu bytes, at most %u fit into a section", len_bytes,
			       STATE_MAX_SECTION_BYTES);
	le32_put(out->data + body_at - 4, (uint32_t)len_bytes);
	return 0;
}

int state_encode(const struct state_desc *desc, uint32_t instance, const void *image,
		 struct buf *out, struct err *err)
{
	size_t start = out->len_bytes;
	int rc = encode_section(desc, instance, image, out, err);

	if (rc) {
		out->len_bytes = start;
		err_prefix(err, "state section %s.%u", desc->name, instance);
	}
	return rc;
}

static bool name_char_ok(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

/* Names are printed and compared as C strings, so that anything but the specified characters is refused here. */
static bool read_name(struct reader *in, char name[STATE_NAME_MAX + 1])
{
	size_t len = reader_u8(in);
	const uint8_t *p;

	if (!len || len > STATE_NAME_MAX)
		return false;
	p = reader_bytes(in, len);
	if (!p)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!name_char_ok(p[i]))
			return false;
	}
	memcpy(name, p, len);
	name[len] = '\0';
	return true;
}

int state_next_section(struct reader *in, struct state_section *ret, struct err *err)
{
	struct state_section s = { 0 };

	if (in->failed)
		return err_set(err, -EBADMSG, "state: truncated section");
	if (!reader_left(in))
		return -ENODATA;
	if (!read_name(in, s.name))
		return err_set(err, -EBADMSG, "state: malformed section name");
	s.instance = reader_u32(in);
	s.version = reader_u16(in);
	s.len_bytes = reader_u32(in);
	if (s.len_bytes > STATE_MAX_SECTION_BYTES)
		return err_set(err, -EBADMSG,
			       "state section %s.%u: length %u above the limit of %u", s.name,
			       s.instance, s.len_bytes, STATE_MAX_SECTION_BYTES);
	s.data = reader_bytes(in, s.len_bytes);
	if (in->failed)
		return err_set(err, -EBADMSG, "state section %s.%u: truncated", s.name, s.instance);
	*ret = s;
	return 0;
}

static int decode_field(const struct state_field *f, struct reader *in, uint8_t *image,
			struct err *err)
{
	uint32_t count = f->count;
	const uint8_t *p;

	if (f->type == STATE_VBYTES) {
		count = reader_u32(in);
		if (count > f->count)
			return err_set(err, -EBADMSG, "field %s: %u bytes, at most %u", f->name,
				       count, f->count);
	}
	p = reader_bytes(in, width_of(f->type) * count);
	if (in->failed)
		return err_set(err, -EBADMSG, "field %s: truncated", f->name);
	if (count)
		copy_elements(image + f->offset, p, width_of(f->type), count);
	if (f->type == STATE_VBYTES)
		memcpy(image + f->len_offset, &count, sizeof(count));
	return 0;
}

static int decode_fields(const struct state_desc *desc, const struct state_section *section,
			 uint8_t *image, struct err *err)
{
	struct reader in = reader_over(section->data, section->len_bytes);

	for (unsigned int i = 0; i < desc->nfields; i++) {
		const struct state_field *f = &desc->fields[i];
		int rc;

		if (f->since > section->version)
			continue;
		rc = decode_field(f, &in, image, err);
		if (rc)
			return rc;
	}
	if (reader_left(&in))
		return err_set(err, -EBADMSG, "%zu bytes left over", reader_left(&in));
	return 0;
}

static int decode_section(const struct state_desc *desc, const struct state_section *section,
			  void *image, struct err *err)
{
	int rc;

	if (strcmp(desc->name, section->name))
		return err_set(err, -EBADMSG, "not a section %s", desc->name);
	if (section->version < desc->min_version || section->version > desc->version)
		return err_set(err, -EOPNOTSUPP, "version %u, this program reads %u to %u",
			       section->version, desc->min_version, desc->version);
	memset(image, 0, desc->image_size);
	if (desc->defaults)
		desc->defaults(image);
	rc = decode_fields(desc, section, image, err);
	if (rc)
		return rc;
	return desc->check ? desc->check(image, err) : 0;
}

/* A failed callback may have left no text. */
static void name_error(struct err *err, int rc, const char *name, uint32_t instance)
{
	if (err && err->code != rc)
		err_sys(err, rc, "refused");
	err_prefix(err, "state section %s.%u", name, instance);
}

static void err_clear(struct err *err)
{
	if (err)
		*err = (struct err){ 0 };
}

int state_decode(const struct state_desc *desc, const struct state_section *section, void *image,
		 struct err *err)
{
	int rc;

	err_clear(err);
	rc = decode_section(desc, section, image, err);
	if (rc)
		name_error(err, rc, section->name, section->instance);
	return rc;
}

static size_t largest_image(const struct state_entry *entries, unsigned int nentries)
{
	size_t max = 1;

	for (unsigned int i = 0; i < nentries; i++)
		max = MAX(max, entries[i].desc->image_size);
	return max;
}

static int save_one(const struct state_entry *e, void *image, struct buf *out, struct err *err)
{
	int rc;

	memset(image, 0, e->desc->image_size);
	err_clear(err);
	rc = e->desc->capture(e->dev, image, err);
	if (rc) {
		name_error(err, rc, e->desc->name, e->instance);
		return rc;
	}
	return state_encode(e->desc, e->instance, image, out, err);
}

int state_save_all(const struct state_entry *entries, unsigned int nentries, struct buf *out,
		   struct err *err)
{
	size_t start = out->len_bytes;
	void *image;
	int rc = 0;

	if (nentries > STATE_MAX_SECTIONS)
		return err_set(err, -EINVAL, "state: %u sections, at most %d", nentries,
			       STATE_MAX_SECTIONS);
	image = malloc(largest_image(entries, nentries));
	if (!image)
		return err_set(err, -ENOMEM, "state: out of memory");
	for (unsigned int i = 0; i < nentries && !rc; i++)
		rc = save_one(&entries[i], image, out, err);
	if (rc)
		out->len_bytes = start;
	free(image);
	return rc;
}

/* What is decoded and waits to be applied: the images of all entries in one allocation. */
struct load {
	const struct state_entry *entries;
	unsigned int nentries;
	uint8_t *images;
	size_t *image_at; /* per entry, into images */
	bool *seen;
};

static void load_fini(struct load *l)
{
	free(l->images);
	free(l->image_at);
	free(l->seen);
}

static int load_init(struct load *l, const struct state_entry *entries, unsigned int nentries)
{
	size_t total = 0;

	*l = (struct load){ .entries = entries, .nentries = nentries };
	l->image_at = calloc((size_t)nentries + 1, sizeof(*l->image_at));
	l->seen = calloc((size_t)nentries + 1, sizeof(*l->seen));
	if (!l->image_at || !l->seen)
		return -ENOMEM;
	for (unsigned int i = 0; i < nentries; i++) {
		l->image_at[i] = total;
		total += (entries[i].desc->image_size + (size_t)63) & ~(size_t)63;
	}
	l->images = malloc(total + 1);
	return l->images ? 0 : -ENOMEM;
}

static bool entry_matches(const struct state_entry *e, const struct state_section *s)
{
	return e->instance == s->instance && !strcmp(e->desc->name, s->name);
}

/* Sections come in table order from a healthy peer, so that the search starts behind the last hit. */
static bool find_entry(const struct load *l, const struct state_section *s, unsigned int from,
		       unsigned int *ret)
{
	for (unsigned int n = 0; n < l->nentries; n++) {
		unsigned int i = (from + n) % l->nentries;

		if (entry_matches(&l->entries[i], s)) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static int decode_all(struct load *l, const void *data, size_t len_bytes, struct err *err)
{
	struct reader in = reader_over(data, len_bytes);
	struct state_section s;
	unsigned int next = 0;
	int rc;

	while ((rc = state_next_section(&in, &s, err)) == 0) {
		unsigned int i;

		if (!find_entry(l, &s, next, &i))
			return err_set(err, -EBADMSG, "state section %s.%u: unknown here", s.name,
				       s.instance);
		if (l->seen[i])
			return err_set(err, -EBADMSG, "state section %s.%u: comes twice", s.name,
				       s.instance);
		rc = state_decode(l->entries[i].desc, &s, l->images + l->image_at[i], err);
		if (rc)
			return rc;
		l->seen[i] = true;
		next = i + 1;
	}
	if (rc != -ENODATA)
		return rc;
	for (unsigned int i = 0; i < l->nentries; i++) {
		if (!l->seen[i])
			return err_set(err, -EBADMSG, "state section %s.%u: missing",
				       l->entries[i].desc->name, l->entries[i].instance);
	}
	return 0;
}

static int apply_all(const struct load *l, struct err *err)
{
	for (unsigned int i = 0; i < l->nentries; i++) {
		const struct state_entry *e = &l->entries[i];
		int rc;

		err_clear(err);
		rc = e->desc->apply(e->dev, l->images + l->image_at[i], err);
		if (rc) {
			name_error(err, rc, e->desc->name, e->instance);
			return rc;
		}
	}
	return 0;
}

int state_load_all(const struct state_entry *entries, unsigned int nentries, const void *data,
		   size_t len_bytes, struct err *err)
{
	struct load l;
	int rc;

	if (nentries > STATE_MAX_SECTIONS)
		return err_set(err, -EINVAL, "state: %u sections, at most %d", nentries,
			       STATE_MAX_SECTIONS);
	rc = load_init(&l, entries, nentries);
	if (rc)
		err_set(err, rc, "state: out of memory");
	else
		rc = decode_all(&l, data, len_bytes, err);
	if (!rc)
		rc = apply_all(&l, err);
	load_fini(&l);
	return rc;
}

static int list_parts(const struct state_desc *descs, unsigned int ndescs, void *dev,
		      struct state_entry entries[STATE_MAX_PARTS], struct err *err)
{
	if (ndescs > STATE_MAX_PARTS)
		return err_set(err, -EINVAL, "state: a device of %u sections, at most %d", ndescs,
			       STATE_MAX_PARTS);
	for (unsigned int i = 0; i < ndescs; i++)
		entries[i] = (struct state_entry){ .desc = &descs[i], .dev = dev };
	return 0;
}

int state_save_parts(const struct state_desc *descs, unsigned int ndescs, void *dev,
		     struct buf *out, struct err *err)
{
	struct state_entry entries[STATE_MAX_PARTS];
	int rc = list_parts(descs, ndescs, dev, entries, err);

	return rc ? rc : state_save_all(entries, ndescs, out, err);
}

int state_load_parts(const struct state_desc *descs, unsigned int ndescs, void *dev,
		     const void *data, size_t len_bytes, struct err *err)
{
	struct state_entry entries[STATE_MAX_PARTS];
	int rc = list_parts(descs, ndescs, dev, entries, err);

	return rc ? rc : state_load_all(entries, ndescs, data, len_bytes, err);
}
