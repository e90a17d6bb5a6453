/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_SHAPE_H
#define CONTROL_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

/*
 * Structs to JSON objects and back by const tables, so that a shape of the specification is written down once and in one place.
 */
enum shape_kind {
	SHAPE_U32,
	SHAPE_U64,
	SHAPE_INT, /* int within [min, max] */
	SHAPE_BOOL,
	SHAPE_REAL, /* double */
	SHAPE_MS, /* uint64_t ns, a real number of milliseconds in JSON; encoding only */
	SHAPE_CHARS, /* char[size] */
	SHAPE_STRING, /* const char *; encoding only, NULL is "" */
	SHAPE_CHOICE, /* int, one of the NULL-ended names in @choices by its index */
};

struct shape_field {
	const char *name;
	const char *const *choices; /* CHOICE */
	size_t offset;
	size_t size; /* CHARS: of the array */
	uint64_t min, max; /* decoding numbers; max 0: no limit */
	enum shape_kind kind;
	bool required; /* decoding: the key must be there, else the struct keeps what it holds */
};

/* A string that is always valid JSON: bytes that are not UTF-8 become '?'. NULL when memory ran out. */
json_t *shape_text(const char *s);

/* The members of @fields of the struct at @src, in that order. NULL when memory ran out. */
json_t *shape_encode(const struct shape_field *fields, size_t nfields, const void *src);

/* -EINVAL, naming the key, for anything but an object, unknown keys, wrong types, values out of range and required keys that are missing. */
int shape_decode(const struct shape_field *fields, size_t nfields, const json_t *src, void *dst,
		 struct err *err);

#endif
