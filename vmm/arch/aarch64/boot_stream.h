/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_BOOT_STREAM_H
#define VMM_ARCH_AARCH64_BOOT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../boot_source.h"
#include "base/err.h"

/* A kernel's bytes in order, whether they lie in the source as they are or compressed by gzip (RFC 1952). Nothing is held but a buffer: the reader decides how
 * much there may be. Errors are "NAME: reason". */
struct boot_stream;

/* @src must outlive it. */
int boot_stream_open(const struct boot_source *src, struct boot_stream **ret, struct err *err);
void boot_stream_close(struct boot_stream *s);
bool boot_stream_is_gzip(const struct boot_stream *s);
/* The next @len_bytes bytes; *ret_bytes is less only at the end, which gzip's checksum has confirmed then. -ENODATA: the file ends in
 * the middle of the compressed data; -EBADMSG: it is damaged. */
int boot_stream_read(struct boot_stream *s, void *dst, size_t len_bytes, size_t *ret_bytes,
		     struct err *err);

#endif
