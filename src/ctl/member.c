/* SPDX-License-Identifier: Apache-2.0 */
#include "member.h"

double member_num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

uint64_t member_count(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

const char *member_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

bool member_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

const char *member_ratio(struct unit_text *ret, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? unit_ratio(ret, json_number_value(v)) : "-";
}
