/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_X86_64_AML_H
#define VMM_ARCH_X86_64_AML_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Encoder of AML, the bytecode of ACPI's DSDT (ACPI 6.5, chapter 20): what dsdt.c needs of it, no more. All append to the buffer; the caller checks buf_ok in the end. A
 * package is begun, filled and ended; *_begin returns what its *_end wants. Names have four characters.
 */
enum {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_METHOD = 0x14,
	AML_EXT = 0x5b,
	AML_EXT_REGION = 0x80,
	AML_EXT_FIELD = 0x81,
	AML_EXT_DEVICE = 0x82,
	AML_ROOT = '\\',
	AML_DUAL_NAME = 0x2e,
	AML_NOTIFY = 0x86,
	AML_IF = 0xa0,
	AML_REGION_IO = 1,
	AML_FIELD_BYTE_ACCESS = 1,
	AML_METHOD_SERIALIZED = 1 << 3,
};

void aml_name(struct buf *b, const char seg[static 5]);
/* PkgLength in its two-byte form, for at most AML_PACKAGE_MAX bytes, itself included; a longer one makes the buffer fail. */
#define AML_PACKAGE_MAX 4095u
size_t aml_begin(struct buf *b);
void aml_end(struct buf *b, size_t at);

size_t aml_device(struct buf *b, const char *seg);
/* @flags: 20.2.5.2; bits 2-0 are the number of arguments. */
size_t aml_method(struct buf *b, const char *seg, uint8_t flags);
void aml_byte(struct buf *b, uint8_t v);
void aml_dword(struct buf *b, uint32_t v);
void aml_string(struct buf *b, const char *text);
/* Name (@seg, ...): the object follows. */
void aml_named(struct buf *b, const char *seg);
void aml_uid(struct buf *b, uint8_t uid);
void aml_hid(struct buf *b, const char *id);
/* _HID (or @seg) with the EISA id of "PNPxxxx". */
void aml_hid_pnp(struct buf *b, uint16_t number);
void aml_id_pnp(struct buf *b, const char *seg, uint16_t number);
/* Notify (@seg, @value) */
void aml_notify(struct buf *b, const char *seg, uint8_t value);

/* _CRS: resource descriptors (6.4), at most 255 bytes of them. */
size_t aml_crs_begin(struct buf *b, size_t *ret_size_at);
void aml_crs_end(struct buf *b, size_t at, size_t size_at);
void aml_crs_io(struct buf *b, uint16_t port, uint8_t len_bytes);
#define AML_IRQ_CONSUMER 1u
#define AML_IRQ_EDGE 2u
void aml_crs_irq(struct buf *b, uint32_t gsi, uint8_t flags);
/* Memory that the device has for itself, writable. */
void aml_crs_memory(struct buf *b, uint32_t base, uint32_t len_bytes);
/* What a bridge passes on: bus numbers, and a window of memory that is not cached. */
void aml_crs_buses(struct buf *b, uint16_t first, uint16_t last);
void aml_crs_window(struct buf *b, uint32_t base, uint32_t len_bytes);

#endif
