/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_JSON_PLACE_H
#define CLI_JSON_PLACE_H

#include <stdbool.h>

/*
 * Where a value stands in a JSON text, which the parser does not remember. @path: keys joined by dots, elements by their number: "disks[1].path". The place is that of the key, or of the
 * element; of the longest part of @path that there is when the whole is missing. Lines and columns count from 1, columns in bytes. @text has been parsed: it is JSON. Pure.
 */
struct json_place {
	unsigned int line, column;
};
struct json_place json_place_find(const char *text, const char *path);

#endif
