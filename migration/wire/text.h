/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATION_WIRE_TEXT_H
#define MIGRATION_WIRE_TEXT_H

#include <stddef.h>

/*
 * Text of a peer made fit for a terminal (stream.md §2.9): control characters (C0, DEL, C1) and bytes that are no UTF-8 become '?'. Copies at most
 * @cap - 1 bytes, never half a character, and ends them with a zero. Returns the length. Pure.
 */
size_t text_clean(const void *text, size_t len_bytes, char *out, size_t cap);

#endif
