/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image of the built-in guest (docs/spec/guest.md), an ELF file with a PVH note on x86_64, an
 * Image on arm64, linked into the program as read-only data. Both symbols are its bounds; the size
 * in bytes is their difference.
 */
#ifndef BUILTIN_GUEST_H
#define BUILTIN_GUEST_H

extern const unsigned char builtin_guest_start[], builtin_guest_end[];

#endif
