/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi.h"

#include <string.h>

#include "base/bytes.h"
#include "layout.h"

/* Section numbers are of the ACPI specification, version 6.5. */

#define SDT_HEADER_BYTES 36u
#define RSDP_BYTES 36u
#define FADT_BYTES 276u
#define TABLE_ALIGN 16u

static uint8_t checksum(const uint8_t *p, size_t len_bytes)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len_bytes; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

/* ---- AML (chapter 20): what the DSDT below needs, no more ---- */

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

static void aml_name(struct buf *b, const char seg[static 5])
{
	buf_put(b, seg, 4);
}

/* PkgLength in its two-byte form (20.2.4: up to 4095 bytes, itself included), filled in by aml_end. */
static size_t aml_begin(struct buf *b)
{
	size_t at = b->len_bytes;

	buf_u16(b, 0);
	return at;
}

static void aml_end(struct buf *b, size_t at)
{
	size_t len = b->len_bytes - at;

	if (!buf_ok(b))
		return;
	b->data[at] = (uint8_t)(0x40 | (len & 0xf));
	b->data[at + 1] = (uint8_t)(len >> 4);
}

static size_t aml_device(struct buf *b, const char *seg)
{
	size_t at;

	buf_u8(b, AML_EXT);
	buf_u8(b, AML_EXT_DEVICE);
	at = aml_begin(b);
	aml_name(b, seg);
	return at;
}

static void aml_byte(struct buf *b, uint8_t v)
{
	buf_u8(b, AML_BYTE);
	buf_u8(b, v);
}

static void aml_named(struct buf *b, const char *seg)
{
	buf_u8(b, AML_NAME);
	aml_name(b, seg);
}

static void aml_uid0(struct buf *b)
{
	aml_named(b, "_UID");
	buf_u8(b, 0);
}

/* EISA id of "PNPxxxx" (19.3.4): three letters of five bits, then the number, big-endian. */
static void aml_hid_pnp(struct buf *b, uint16_t number)
{
	aml_named(b, "_HID");
	buf_u8(b, AML_DWORD);
	buf_u8(b, 0x41);
	buf_u8(b, 0xd0);
	buf_u8(b, (uint8_t)(number >> 8));
	buf_u8(b, (uint8_t)number);
}

static size_t aml_crs_begin(struct buf *b, size_t *ret_size_at)
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

static void aml_crs_end(struct buf *b, size_t at, size_t size_at)
{
	buf_u8(b, 0x79); /* end tag, checksum not used (6.4.2.9) */
	buf_u8(b, 0);
	if (buf_ok(b))
		b->data[size_at] = (uint8_t)(b->len_bytes - size_at - 1);
	aml_end(b, at);
}

/* 6.4.2.5 */
static void aml_crs_io(struct buf *b, uint16_t port, uint8_t len_bytes)
{
	buf_u8(b, 0x47);
	buf_u8(b, 1); /* decodes 16 bits */
	buf_u16(b, port);
	buf_u16(b, port);
	buf_u8(b, 1);
	buf_u8(b, len_bytes);
}

/* 6.4.3.6 */
#define AML_IRQ_CONSUMER 1u
#define AML_IRQ_EDGE 2u
static void aml_crs_irq(struct buf *b, uint32_t gsi, uint8_t flags)
{
	buf_u8(b, 0x89);
	buf_u16(b, 6);
	buf_u8(b, flags);
	buf_u8(b, 1);
	buf_u32(b, gsi);
}

static void dsdt_serial(struct buf *b)
{
	size_t dev = aml_device(b, "COM1"), crs, size_at;

	aml_hid_pnp(b, 0x0501); /* 16550A compatible */
	aml_uid0(b);
	crs = aml_crs_begin(b, &size_at);
	aml_crs_io(b, LAYOUT_SERIAL_PORT, LAYOUT_SERIAL_PORT_LEN);
	aml_crs_irq(b, LAYOUT_SERIAL_GSI, AML_IRQ_CONSUMER | AML_IRQ_EDGE);
	aml_crs_end(b, crs, size_at);
	aml_end(b, dev);
}

/* Control-method power button (4.8.3.2.2.2) and the Generic Event Device that tells of it (5.6.9): the event method reads the latch, which clears
 * it and lowers the line. */
static void dsdt_power_button(struct buf *b)
{
	size_t dev, at, size_at, cond;

	dev = aml_device(b, "PWRB");
	aml_hid_pnp(b, 0x0c0c);
	aml_uid0(b);
	aml_end(b, dev);

	dev = aml_device(b, "GED_");
	aml_named(b, "_HID");
	buf_u8(b, AML_STRING);
	buf_put(b, "ACPI0013", 9);
	aml_uid0(b);
	at = aml_crs_begin(b, &size_at);
	aml_crs_irq(b, LAYOUT_POWER_GSI, AML_IRQ_CONSUMER);
	aml_crs_end(b, at, size_at);

	buf_u8(b, AML_EXT);
	buf_u8(b, AML_EXT_REGION);
	aml_name(b, "PREG");
	buf_u8(b, AML_REGION_IO);
	buf_u8(b, AML_WORD);
	buf_u16(b, LAYOUT_POWER_EVENT);
	aml_byte(b, 1);

	buf_u8(b, AML_EXT);
	buf_u8(b, AML_EXT_FIELD);
	at = aml_begin(b);
	aml_name(b, "PREG");
	buf_u8(b, AML_FIELD_BYTE_ACCESS);
	aml_name(b, "PEVT");
	buf_u8(b, 8); /* bits */
	aml_end(b, at);

	buf_u8(b, AML_METHOD);
	at = aml_begin(b);
	aml_name(b, "_EVT");
	buf_u8(b, 1 | AML_METHOD_SERIALIZED);
	buf_u8(b, AML_IF);
	cond = aml_begin(b);
	aml_name(b, "PEVT");
	buf_u8(b, AML_NOTIFY);
	aml_name(b, "PWRB");
	aml_byte(b, 0x80);
	aml_end(b, cond);
	aml_end(b, at);
	aml_end(b, dev);
}

static void dsdt_body(struct buf *b)
{
	size_t at;

	buf_u8(b, AML_SCOPE);
	at = aml_begin(b);
	buf_u8(b, AML_ROOT);
	aml_name(b, "_SB_");
	dsdt_serial(b);
	dsdt_power_button(b);
	aml_end(b, at);

	aml_named(b, "_S5_"); /* 7.4.2.6 */
	buf_u8(b, AML_PACKAGE);
	at = aml_begin(b);
	buf_u8(b, 4);
	aml_byte(b, LAYOUT_POWER_SLEEP_S5);
	buf_u8(b, 0);
	buf_u8(b, 0);
	buf_u8(b, 0);
	aml_end(b, at);
}

/* ---- tables ---- */

static size_t table_begin(struct buf *b, const char signature[static 5], uint8_t revision)
{
	size_t at;

	while (buf_ok(b) && b->len_bytes % TABLE_ALIGN)
		buf_u8(b, 0);
	at = b->len_bytes;
	buf_put(b, signature, 4);
	buf_u32(b, 0); /* length */
	buf_u8(b, revision);
	buf_u8(b, 0); /* checksum */
	buf_put(b, "VMM   ", 6);
	buf_put(b, "VMMX8664", 8);
	buf_u32(b, 1);
	buf_put(b, "VMM ", 4);
	buf_u32(b, 1);
	return at;
}

static void table_end(struct buf *b, size_t at)
{
	if (!buf_ok(b))
		return;
	le32_put(b->data + at + 4, (uint32_t)(b->len_bytes - at));
	b->data[at + 9] = checksum(b->data + at, b->len_bytes - at);
}

/* Characters of a fixed field: no zero behind them. */
static void put_chars(uint8_t *p, const char *text)
{
	while (*text)
		*p++ = (uint8_t)*text++;
}

/* Generic Address Structure (5.2.3.2) of a byte port. */
static void put_gas(uint8_t *p, uint16_t port)
{
	p[0] = 1; /* system I/O */
	p[1] = 8;
	p[2] = 0;
	p[3] = 1; /* byte access */
	le64_put(p + 4, port);
}

/* Fixed ACPI Description Table (5.2.9). */
static size_t add_fadt(struct buf *b, uint64_t dsdt)
{
	enum {
		BOOT_ARCH_NO_VGA = 1 << 2,
		BOOT_ARCH_NO_CMOS_RTC = 1 << 5,
		FLAG_WBINVD = 1 << 0,
		FLAG_PWR_BUTTON = 1 << 4, /* no fixed-hardware buttons */
		FLAG_SLP_BUTTON = 1 << 5,
		FLAG_RESET_REG = 1 << 10,
		FLAG_HEADLESS = 1 << 12,
		FLAG_HW_REDUCED = 1 << 20,
	};
	size_t at = table_begin(b, "FACP", 6);
	uint8_t *t = buf_grow(b, FADT_BYTES - SDT_HEADER_BYTES);

	if (!t)
		return at;
	memset(t, 0, FADT_BYTES - SDT_HEADER_BYTES);
	t -= SDT_HEADER_BYTES;
	le32_put(t + 40, (uint32_t)dsdt);
	le16_put(t + 109, BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_CMOS_RTC);
	le32_put(t + 112, FLAG_WBINVD | FLAG_PWR_BUTTON | FLAG_SLP_BUTTON | FLAG_RESET_REG |
				  FLAG_HEADLESS | FLAG_HW_REDUCED);
	put_gas(t + 116, LAYOUT_POWER_RESET);
	t[128] = LAYOUT_POWER_RESET_VALUE;
	t[131] = 5; /* minor version */
	le64_put(t + 140, dsdt);
	put_gas(t + 244, LAYOUT_POWER_SLEEP_CONTROL);
	put_gas(t + 256, LAYOUT_POWER_SLEEP_STATUS);
	put_chars(t + 268, "VMM"); /* hypervisor vendor */
	table_end(b, at);
	return at;
}

/* Multiple APIC Description Table (5.2.12). */
static size_t add_madt(struct buf *b, unsigned int ncpus)
{
	size_t at = table_begin(b, "APIC", 5);

	buf_u32(b, LAYOUT_LAPIC);
	buf_u32(b, 0); /* no PC-AT interrupt controllers to switch off */
	for (unsigned int i = 0; i < ncpus; i++) {
		buf_u8(b, 0); /* processor local APIC */
		buf_u8(b, 8);
		buf_u8(b, (uint8_t)i);
		buf_u8(b, (uint8_t)i);
		buf_u32(b, 1); /* enabled */
	}
	buf_u8(b, 1); /* I/O APIC */
	buf_u8(b, 12);
	buf_u8(b, 0);
	buf_u8(b, 0);
	buf_u32(b, LAYOUT_IOAPIC);
	buf_u32(b, 0); /* first GSI */
	buf_u8(b, 4); /* local APIC NMI: LINT1 of every processor */
	buf_u8(b, 6);
	buf_u8(b, 0xff);
	buf_u16(b, 0);
	buf_u8(b, 1);
	table_end(b, at);
	return at;
}

void acpi_build(unsigned int ncpus, uint64_t gpa, struct buf *out)
{
	struct buf b = { 0 };
	size_t dsdt, fadt, madt, xsdt;
	uint8_t *rsdp = buf_grow(&b, RSDP_BYTES);

	if (rsdp)
		memset(rsdp, 0, RSDP_BYTES);
	dsdt = table_begin(&b, "DSDT", 2);
	dsdt_body(&b);
	table_end(&b, dsdt);
	fadt = add_fadt(&b, gpa + dsdt);
	madt = add_madt(&b, ncpus);
	xsdt = table_begin(&b, "XSDT", 1);
	buf_u64(&b, gpa + fadt);
	buf_u64(&b, gpa + madt);
	table_end(&b, xsdt);
	if (buf_ok(&b)) { /* 5.2.5.3 */
		rsdp = b.data;
		put_chars(rsdp, "RSD PTR ");
		put_chars(rsdp + 9, "VMM   ");
		rsdp[15] = 2;
		le32_put(rsdp + 20, RSDP_BYTES);
		le64_put(rsdp + 24, gpa + xsdt);
		rsdp[8] = checksum(rsdp, 20);
		rsdp[32] = checksum(rsdp, RSDP_BYTES);
	} else {
		out->failed = true;
	}
	buf_put(out, b.data, b.len_bytes);
	buf_fini(&b);
}
