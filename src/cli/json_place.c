/* SPDX-License-Identifier: Apache-2.0 */
#include "json_place.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* Behind the closing quote. */
static const char *skip_string(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : p;
}

/* Behind a value, by counting brackets. */
static const char *skip_value(const char *p)
{
	unsigned int depth = 0;

	for (p = skip_blanks(p); *p; p = skip_blanks(p)) {
		if (*p == '"')
			p = skip_string(p);
		else if (*p == '{' || *p == '[')
			depth++, p++;
		else if (*p == '}' || *p == ']')
			depth--, p++;
		else if (*p == ',' || *p == ':')
			p++;
		else
			p += strcspn(p, " \t\r\n,:{}[]\"");
		if (!depth)
			break;
	}
	return p;
}

/* The member @name of the object at @p: its key and its value; NULL: none. Keys with escapes are not found: ours have none. */
static const char *find_member(const char *p, const char *name, size_t name_len,
			       const char **ret_value)
{
	for (p = skip_blanks(p + 1); *p == '"'; p = skip_blanks(p + 1)) {
		const char *key = p, *end = skip_string(p);
		const char *value = skip_blanks(end);

		value = skip_blanks(*value ? value + 1 : value);
		if ((size_t)(end - key) == name_len + 2 && !strncmp(key + 1, name, name_len)) {
			*ret_value = value;
			return key;
		}
		p = skip_blanks(skip_value(value));
		if (*p != ',')
			return NULL;
	}
	return NULL;
}

static const char *find_element(const char *p, unsigned long index)
{
	for (p = skip_blanks(p + 1); *p && *p != ']'; p = skip_blanks(p + 1)) {
		if (!index--)
			return p;
		p = skip_blanks(skip_value(p));
		if (*p != ',')
			return NULL;
	}
	return NULL;
}

static struct json_place place_of(const char *text, const char *at)
{
	struct json_place place = { .line = 1, .column = 1 };

	for (; text < at; text++) {
		if (*text == '\n') {
			place.line++;
			place.column = 1;
		} else {
			place.column++;
		}
	}
	return place;
}

struct json_place json_place_find(const char *text, const char *path)
{
	const char *value = skip_blanks(text), *at = value;

	while (*path) {
		const char *found;

		if (*path == '[' && *value == '[') {
			char *end;

			found = find_element(value, strtoul(path + 1, &end, 10));
			value = found;
			path = *end ? end + 1 : end;
		} else if (*value == '{') {
			size_t len;

			path += *path == '.';
			len = strcspn(path, ".[");
			found = find_member(value, path, len, &value);
			path += len;
		} else {
			break;
		}
		if (!found)
			break;
		at = found;
	}
	return place_of(text, at);
}
