/* SPDX-License-Identifier: Apache-2.0 */
#include "shape.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

json_t *shape_text(const char *s)
{
	json_t *text = json_string(s);
	char *copy;

	if (text)
		return text;
	copy = strdup(s);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	text = json_string(copy);
	free(copy);
	return text;
}

static json_t *whole(uint64_t v)
{
	return json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX));
}

/* JSON knows no infinities; a rate that was never measured is 0. */
static json_t *real(double v)
{
	return json_real(isfinite(v) ? v : 0.0);
}

static json_t *encode_one(const struct shape_field *f, const void *p)
{
	switch (f->kind) {
	case SHAPE_U32:
		return whole(*(const uint32_t *)p);
	case SHAPE_U64:
		return whole(*(const uint64_t *)p);
	case SHAPE_INT:
		return json_integer(*(const int *)p);
	case SHAPE_BOOL:
		return json_boolean(*(const bool *)p);
	case SHAPE_REAL:
		return real(*(const double *)p);
	case SHAPE_MS:
		return real((double)*(const uint64_t *)p / 1e6);
	case SHAPE_CHARS:
		return shape_text(p);
	case SHAPE_STRING:
		return shape_text(*(const char *const *)p ? *(const char *const *)p : "");
	case SHAPE_CHOICE:
		return json_string(f->choices[*(const int *)p]);
	}
	return NULL;
}

json_t *shape_encode(const struct shape_field *fields, size_t nfields, const void *src)
{
	json_t *o = json_object();

	for (size_t i = 0; o && i < nfields; i++) {
		const struct shape_field *f = &fields[i];

		if (json_object_set_new(o, f->name, encode_one(f, (const char *)src + f->offset)) <
		    0) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

static int decode_whole(const struct shape_field *f, const json_t *v, uint64_t *ret,
			struct err *err)
{
	uint64_t max = f->max ? f->max : INT64_MAX;

	if (!json_is_integer(v))
		return err_set(err, -EINVAL, "%s: expected a whole number", f->name);
	if (json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) < f->min ||
	    (uint64_t)json_integer_value(v) > max)
		return err_set(err, -EINVAL,
			       "%s: %" JSON_INTEGER_FORMAT " is not within %" PRIu64
			       " and %" PRIu64,
			       f->name, json_integer_value(v), f->min, max);
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

static int decode_chars(const struct shape_field *f, const json_t *v, char *dst, struct err *err)
{
	if (!json_is_string(v))
		return err_set(err, -EINVAL, "%s: expected a string", f->name);
	if (json_string_length(v) >= f->size)
		return err_set(err, -EINVAL, "%s: longer than %zu bytes", f->name, f->size - 1);
	/* No zero byte within: json_loadb refuses \u0000 unless it is told otherwise. */
	memcpy(dst, json_string_value(v), json_string_length(v) + 1);
	return 0;
}

static int decode_choice(const struct shape_field *f, const json_t *v, int *dst, struct err *err)
{
	const char *given = json_string_value(v);
	char names[128] = "";
	size_t used = 0;

	for (int i = 0; f->choices[i]; i++) {
		if (given && !strcmp(given, f->choices[i])) {
			*dst = i;
			return 0;
		}
		if (used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s\"%s\"",
						 i ? " or " : "", f->choices[i]);
	}
	return err_set(err, -EINVAL, "%s: expected %s", f->name, names);
}

static int decode_one(const struct shape_field *f, const json_t *v, void *p, struct err *err)
{
	uint64_t n = 0;
	int rc;

	switch (f->kind) {
	case SHAPE_BOOL:
		if (!json_is_boolean(v))
			return err_set(err, -EINVAL, "%s: expected true or false", f->name);
		*(bool *)p = json_is_true(v);
		return 0;
	case SHAPE_CHARS:
		return decode_chars(f, v, p, err);
	case SHAPE_CHOICE:
		return decode_choice(f, v, p, err);
	case SHAPE_U32:
	case SHAPE_U64:
	case SHAPE_INT:
		rc = decode_whole(f, v, &n, err);
		if (rc)
			return rc;
		if (f->kind == SHAPE_U64)
			*(uint64_t *)p = n;
		else if (f->kind == SHAPE_U32)
			*(uint32_t *)p = (uint32_t)n;
		else
			*(int *)p = (int)n;
		return 0;
	case SHAPE_REAL:
	case SHAPE_MS:
	case SHAPE_STRING:
		break;
	}
	return err_set(err, -EINVAL, "%s: cannot be set", f->name);
}

int shape_decode(const struct shape_field *fields, size_t nfields, const json_t *src, void *dst,
		 struct err *err)
{
	size_t known = 0;

	if (!json_is_object(src))
		return err_set(err, -EINVAL, "the body is not a JSON object");
	for (size_t i = 0; i < nfields; i++) {
		const struct shape_field *f = &fields[i];
		const json_t *v = json_object_get(src, f->name);
		int rc;

		if (!v && f->required)
			return err_set(err, -EINVAL, "%s: missing", f->name);
		if (!v)
			continue;
		known++;
		rc = decode_one(f, v, (char *)dst + f->offset, err);
		if (rc)
			return rc;
	}
	if (known == json_object_size(src))
		return 0;
	for (void *it = json_object_iter((json_t *)src); it;
	     it = json_object_iter_next((json_t *)src, it)) {
		size_t i = 0;

		while (i < nfields && strcmp(fields[i].name, json_object_iter_key(it)) != 0)
			i++;
		if (i == nfields)
			return err_set(err, -EINVAL, "%.64s: unknown key",
				       json_object_iter_key(it));
	}
	return 0;
}
