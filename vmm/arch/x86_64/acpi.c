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

/* PCI Express memory-mapped configuration space (PCI Firmware 3.3, 4.1.2). */
static size_t add_mcfg(struct buf *b)
{
	size_t at = table_begin(b, "MCFG", 1);

	buf_u64(b, 0);
	buf_u64(b, LAYOUT_PCI_ECAM);
	buf_u16(b, 0); /* segment */
	buf_u8(b, 0); /* first and last bus */
	buf_u8(b, 0);
	buf_u32(b, 0);
	table_end(b, at);
	return at;
}

void acpi_build(unsigned int ncpus, const struct boot_devices *devices, uint64_t gpa,
		struct buf *out)
{
	struct buf b = { 0 };
	bool pci = devices && devices->pci;
	size_t dsdt, fadt, madt, mcfg = 0, xsdt;
	uint8_t *rsdp = buf_grow(&b, RSDP_BYTES);

	if (rsdp)
		memset(rsdp, 0, RSDP_BYTES);
	dsdt = table_begin(&b, "DSDT", 2);
	acpi_put_dsdt(&b, devices);
	table_end(&b, dsdt);
	fadt = add_fadt(&b, gpa + dsdt);
	madt = add_madt(&b, ncpus);
	if (pci)
		mcfg = add_mcfg(&b);
	xsdt = table_begin(&b, "XSDT", 1);
	buf_u64(&b, gpa + fadt);
	buf_u64(&b, gpa + madt);
	if (pci)
		buf_u64(&b, gpa + mcfg);
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
