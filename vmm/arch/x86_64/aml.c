/* SPDX-License-Identifier: Apache-2.0 */
#include "aml.h"

#include <string.h>

/* Section numbers are of the ACPI specification, version 6.5. */

void aml_name(struct buf *b, const char seg[static 5])
{
	buf_put(b, seg, 4);
}

size_t aml_begin(struct buf *b)
{
	size_t at = b->len_bytes;

	buf_u16(b, 0);
	return at;
}

/* 20.2.4 */
void aml_end(struct buf *b, size_t at)
{
	size_t len = b->len_bytes - at;

	if (!buf_ok(b))
		return;
	if (len > AML_PACKAGE_MAX) {
		b->failed = true;
		return;
	}
	b->data[at] = (uint8_t)(0x40 | (len & 0xf));
	b->data[at + 1] = (uint8_t)(len >> 4);
}

size_t aml_device(struct buf *b, const char *seg)
{
	size_t at;

	buf_u8(b, AML_EXT);
	buf_u8(b, AML_EXT_DEVICE);
	at = aml_begin(b);
	aml_name(b, seg);
	return at;
}

size_t aml_method(struct buf *b, const char *seg, uint8_t flags)
{
	size_t at;

	buf_u8(b, AML_METHOD);
	at = aml_begin(b);
	aml_name(b, seg);
	buf_u8(b, flags);
	return at;
}

void aml_byte(struct buf *b, uint8_t v)
{
	buf_u8(b, AML_BYTE);
	buf_u8(b, v);
}

void aml_dword(struct buf *b, uint32_t v)
{
	buf_u8(b, AML_DWORD);
	buf_u32(b, v);
}

void aml_string(struct buf *b, const char *text)
{
	buf_u8(b, AML_STRING);
	buf_put(b, text, strlen(text) + 1);
}

void aml_named(struct buf *b, const char *seg)
{
	buf_u8(b, AML_NAME);
	aml_name(b, seg);
}

/* Zero has an opcode of its own, and stands for itself. */
void aml_uid(struct buf *b, uint8_t uid)
{
	aml_named(b, "_UID");
	if (uid)
		aml_byte(b, uid);
	else
		buf_u8(b, 0);
}

void aml_hid(struct buf *b, const char *id)
{
	aml_named(b, "_HID");
	aml_string(b, id);
}

/* 19.3.4: three letters of five bits, then the number, big-endian. */
void aml_id_pnp(struct buf *b, const char *seg, uint16_t number)
{
	aml_named(b, seg);
	buf_u8(b, AML_DWORD);
	buf_u8(b, 0x41);
	buf_u8(b, 0xd0);
	buf_u8(b, (uint8_t)(number >> 8));
	buf_u8(b, (uint8_t)number);
}

void aml_hid_pnp(struct buf *b, uint16_t number)
{
	aml_id_pnp(b, "_HID", number);
}

void aml_notify(struct buf *b, const char *seg, uint8_t value)
{
	buf_u8(b, AML_NOTIFY);
	aml_name(b, seg);
	aml_byte(b, value);
}

size_t aml_crs_begin(struct buf *b, size_t *ret_size_at)
{
	size_t at;

	aml_named(b, "_CRS");
	buf_u8(b, AML_BUFFER);
	at = aml_begin(b);
	buf_u8(b, AML_BYTE);
	*ret_size_at = b->len_bytes;
	buf_u8(b, 0);
	return at;
}

void aml_crs_end(struct buf *b, size_t at, size_t size_at)
{
	buf_u8(b, 0x79); /* end tag, checksum not used (6.4.2.9) */
	buf_u8(b, 0);
	if (buf_ok(b))
		b->data[size_at] = (uint8_t)(b->len_bytes - size_at - 1);
	aml_end(b, at);
}

/* 6.4.2.5 */
void aml_crs_io(struct buf *b, uint16_t port, uint8_t len_bytes)
{
	buf_u8(b, 0x47);
	buf_u8(b, 1); /* decodes 16 bits */
	buf_u16(b, port);
	buf_u16(b, port);
	buf_u8(b, 1);
	buf_u8(b, len_bytes);
}

/* 6.4.3.6 */
void aml_crs_irq(struct buf *b, uint32_t gsi, uint8_t flags)
{
	buf_u8(b, 0x89);
	buf_u16(b, 6);
	buf_u8(b, flags);
	buf_u8(b, 1);
	buf_u32(b, gsi);
}

/* 6.4.3.4 */
void aml_crs_memory(struct buf *b, uint32_t base, uint32_t len_bytes)
{
	buf_u8(b, 0x86);
	buf_u16(b, 9);
	buf_u8(b, 1); /* writable */
	buf_u32(b, base);
	buf_u32(b, len_bytes);
}

#define PRODUCER_MIN_AND_MAX_FIXED 0x0cu

/* 6.4.3.5.3 */
void aml_crs_buses(struct buf *b, uint16_t first, uint16_t last)
{
	buf_u8(b, 0x88);
	buf_u16(b, 13);
	buf_u8(b, 2); /* bus numbers */
	buf_u8(b, PRODUCER_MIN_AND_MAX_FIXED);
	buf_u8(b, 0);
	buf_u16(b, 0); /* granularity */
	buf_u16(b, first);
	buf_u16(b, last);
	buf_u16(b, 0); /* translation */
	buf_u16(b, (uint16_t)(last - first + 1));
}

/* 6.4.3.5.2 */
void aml_crs_window(struct buf *b, uint32_t base, uint32_t len_bytes)
{
	buf_u8(b, 0x87);
	buf_u16(b, 23);
	buf_u8(b, 0); /* memory */
	buf_u8(b, PRODUCER_MIN_AND_MAX_FIXED);
	buf_u8(b, 1); /* writable, not cached */
	buf_u32(b, 0);
	buf_u32(b, base);
	buf_u32(b, base + len_bytes - 1);
	buf_u32(b, 0);
	buf_u32(b, len_bytes);
}
