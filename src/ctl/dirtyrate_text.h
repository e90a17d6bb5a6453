/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTL_DIRTYRATE_TEXT_H
#define CTL_DIRTYRATE_TEXT_H

#include <jansson.h>

#include "base/buf.h"

/* What a measured dirty rate (docs/spec/dirtyrate.schema.json) looks like to people. Pure: JSON in, text out. */
void dirtyrate_text(const json_t *report, const char *name, struct buf *out);

#endif
