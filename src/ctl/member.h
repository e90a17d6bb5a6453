/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_MEMBER_H
#define CTL_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "units.h"

/* Members of JSON objects for texts about them; one that is missing reads as 0, "" or false. Pure. */
double member_num(const json_t *o, const char *key);
uint64_t member_count(const json_t *o, const char *key); /* negative ones are 0 */
const char *member_str(const json_t *o, const char *key);
bool member_true(const json_t *o, const char *key);
/* A ratio as unit_ratio has it, "-" where it is not known. */
const char *member_ratio(struct unit_text *ret, const json_t *o, const char *key);

#endif
