/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CONFIG_FILE_H
#define CLI_CONFIG_FILE_H

#include <stdbool.h>

#include <jansson.h>

#include "base/err.h"

/*
 * Configuration files (docs/spec/vm-config.schema.json): JSON to the same options that the command line sets, and back.
 */
struct vm_options;

#define CONFIG_FILE_MAX_BYTES (1u << 20)

/* Fills in what the file says. Strings of @o point into what it keeps until vm_options_fini. @err is not NULL; it begins with "FILE:LINE:COLUMN: " and names the key. */
int config_file_load(const char *path, struct vm_options *o, struct err *err);
/* The same from a text that outlives @o; @name is for messages. */
int config_text_load(const char *name, const char *text, struct vm_options *o, struct err *err);

/* For what is found wrong later: whether the file sets @key ("memory.size"), and the place of @path, such a key, put in front of @err, whose code it returns. */
bool config_file_has(const json_t *root, const char *key);
int config_file_place(const char *name, const char *text, const char *path, struct err *err);
/* Takes "--OPTION: " away from the front of the message. */
void config_file_strip(struct err *err, const char *option);

/* What @o amounts to, as a file would have it. A new reference, NULL when memory ran out. */
json_t *config_dump(const struct vm_options *o);

#endif
