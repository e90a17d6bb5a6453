/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_REPORT_FILE_H
#define CTL_REPORT_FILE_H

#include <jansson.h>

#include "base/err.h"
#include "base/new_file.h"

/* A JSON file that appears whole or not at all. Zero-initialised it is nothing. */
struct report_file {
	struct new_file file;
};

int report_file_open(struct report_file *f, const char *path, struct err *err);
/* Ends it too. Nothing happens when it is not open. */
int report_file_write(struct report_file *f, const json_t *report, struct err *err);
/* Ends it without a file; what stood at @path before stays. */
void report_file_discard(struct report_file *f);

#endif
