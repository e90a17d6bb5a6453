/* SPDX-License-Identifier: Apache-2.0 */
/* The firmware tables: lengths, checksums, links, and what iasl makes of the bytecode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "vmm/arch/x86_64/acpi.h"
#include "vmm/arch/x86_64/layout.h"

#define GPA 0xe0000u
/* Of two CPUs. */
#define TABLES_BYTES 708u
#define TABLES_FNV 0xe43ae0f7u

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

/* The table at guest address @gpa, checked. */
static const uint8_t *table(const struct buf *b, uint64_t gpa, const char *signature,
			    uint32_t *ret_len)
{
	const uint8_t *t;

	assert_in_range(gpa, GPA, GPA + b->len_bytes - 36);
	assert_int_equal(gpa % 16, 0);
	t = b->data + (gpa - GPA);
	assert_memory_equal(t, signature, 4);
	*ret_len = le32_get(t + 4);
	assert_in_range(*ret_len, 36, b->len_bytes - (gpa - GPA));
	assert_int_equal(sum(t, *ret_len), 0);
	return t;
}

static void check_madt(const uint8_t *t, uint32_t len, unsigned int ncpus)
{
	unsigned int lapics = 0, ioapics = 0, nmis = 0;

	assert_int_equal(le32_get(t + 36), LAYOUT_LAPIC);
	for (uint32_t at = 44; at < len; at += t[at + 1]) {
		assert_true(t[at + 1] >= 2 && t[at + 1] <= len - at);
		switch (t[at]) {
		case 0:
			assert_int_equal(t[at + 3], lapics); /* APIC id = vCPU index */
			assert_int_equal(le32_get(t + at + 4), 1);
			lapics++;
			break;
		case 1:
			assert_int_equal(le32_get(t + at + 4), LAYOUT_IOAPIC);
			ioapics++;
			break;
		case 4:
			nmis++;
			break;
		default:
			fail_msg("MADT entry of type %u", t[at]);
		}
	}
	assert_int_equal(lapics, ncpus);
	assert_int_equal(ioapics, 1);
	assert_int_equal(nmis, 1);
}

static void check_mcfg(const uint8_t *t, uint32_t len)
{
	static const uint8_t nothing[8];

	assert_int_equal(len, 36 + 8 + 16);
	assert_memory_equal(t + 36, nothing, 8);
	assert_int_equal(le64_get(t + 44), LAYOUT_PCI_ECAM);
	assert_memory_equal(t + 52, nothing, 8); /* segment 0, bus 0 */
}

static void check_tables(unsigned int ncpus, const struct boot_devices *devices)
{
	bool pci = devices && devices->pci;
	struct buf b = { 0 };
	const uint8_t *xsdt, *fadt, *madt;
	uint32_t len, dsdt_len;

	acpi_build(ncpus, devices, GPA, &b);
	assert_true(buf_ok(&b));
	assert_true(b.len_bytes <= LAYOUT_ACPI_MAX);
	assert_memory_equal(b.data, "RSD PTR ", 8);
	assert_int_equal(sum(b.data, 20), 0);
	assert_int_equal(sum(b.data, 36), 0);
	xsdt = table(&b, le64_get(b.data + 24), "XSDT", &len);
	assert_int_equal(len, 36 + (pci ? 3 : 2) * 8);
	if (pci) {
		uint32_t mcfg_len;
		const uint8_t *mcfg = table(&b, le64_get(xsdt + 52), "MCFG", &mcfg_len);

		check_mcfg(mcfg, mcfg_len);
	}
	fadt = table(&b, le64_get(xsdt + 36), "FACP", &len);
	assert_int_equal(len, 276);
	assert_int_equal(le32_get(fadt + 112) >> 20 & 1, 1); /* HW_REDUCED_ACPI */
	assert_int_equal(le32_get(fadt + 112) >> 10 & 1, 1); /* RESET_REG_SUP */
	assert_int_equal(le16_get(fadt + 109) & 2, 0); /* no 8042 */
	assert_int_equal(le64_get(fadt + 120), LAYOUT_POWER_RESET);
	assert_int_equal(le64_get(fadt + 248), LAYOUT_POWER_SLEEP_CONTROL);
	assert_int_equal(le64_get(fadt + 260), LAYOUT_POWER_SLEEP_STATUS);
	table(&b, le64_get(fadt + 140), "DSDT", &dsdt_len);
	assert_true(dsdt_len > 100);
	madt = table(&b, le64_get(xsdt + 44), "APIC", &len);
	check_madt(madt, len, ncpus);
	buf_fini(&b);
}

static const struct boot_devices all = { .pci = true, .virtio_slots = 0xffff, .genid = true };

static void test_tables(void **state)
{
	check_tables(1, NULL);
	check_tables(2, NULL);
	check_tables(64, NULL);
	check_tables(VM_MAX_VCPUS, &all);
}

static uint32_t fnv(const struct buf *b)
{
	uint32_t h = 2166136261;

	for (size_t i = 0; i < b->len_bytes; i++)
		h = (h ^ b->data[i]) * 16777619;
	return h;
}

/* A machine without such devices has the tables that it always had: their sum was taken before there were any. */
static void test_nothing_added(void **state)
{
	const struct boot_devices none = { 0 };
	struct buf without = { 0 }, with_none = { 0 };

	acpi_build(2, NULL, GPA, &without);
	acpi_build(2, &none, GPA, &with_none);
	assert_true(buf_ok(&without));
	assert_int_equal(without.len_bytes, with_none.len_bytes);
	assert_memory_equal(without.data, with_none.data, without.len_bytes);
	assert_int_equal(without.len_bytes, TABLES_BYTES);
	assert_int_equal(fnv(&without), TABLES_FNV);
	buf_fini(&without);
	buf_fini(&with_none);
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static unsigned int occurrences(const char *text, const char *what)
{
	unsigned int n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

/* iasl disassembles the DSDT and compiles its own output again without an error; the source is in @text. */
static void disassemble(const struct boot_devices *devices, char *text, size_t text_bytes)
{
	char dir[] = "/tmp/vmm-test-acpi-XXXXXX";
	char path[64], cmd[256];
	struct buf b = { 0 };
	const uint8_t *dsdt;
	uint32_t len;
	size_t n;
	FILE *f;

	if (system("command -v iasl >/dev/null 2>&1")) {
		print_message("SKIP: iasl is not installed (package acpica-tools)\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	acpi_build(2, devices, GPA, &b);
	dsdt = table(&b, GPA + 48, "DSDT", &len);
	snprintf(path, sizeof(path), "%s/dsdt.dat", dir);
	write_file(path, dsdt, len);
	snprintf(cmd, sizeof(cmd),
		 "cd %s && iasl -d dsdt.dat >log 2>&1 && iasl -p again dsdt.dsl >>log 2>&1 || "
		 "{ cat log; exit 1; }",
		 dir);
	assert_int_equal(system(cmd), 0);
	snprintf(path, sizeof(path), "%s/dsdt.dsl", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, text_bytes - 1, f);
	text[n] = '\0';
	assert_true(feof(f));
	fclose(f);
	assert_true(n > 0);
	assert_null(strstr(text, "Unknown"));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
	buf_fini(&b);
}

static void expect_text(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("the DSDT has no \"%s\":\n%s", what, text);
}

static void test_iasl(void **state)
{
	static char text[65536];

	disassemble(NULL, text, sizeof(text));
	expect_text(text, "Device (COM1)");
	expect_text(text, "EisaId (\"PNP0501\")");
	expect_text(text, "EisaId (\"PNP0C0C\")");
	expect_text(text, "\"ACPI0013\"");
	expect_text(text, "Notify (PWRB, 0x80)");
	expect_text(text, "Name (_S5");
	assert_int_equal(occurrences(text, "Device ("), 3);
}

static void test_iasl_devices(void **state)
{
	static char text[65536];

	disassemble(&all, text, sizeof(text));
	expect_text(text, "Notify (PWRB, 0x80)");
	expect_text(text, "Device (PCI0)");
	expect_text(text, "EisaId (\"PNP0A08\")");
	expect_text(text, "Name (_CID, EisaId (\"PNP0A03\")");
	expect_text(text, "WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode");
	expect_text(
		text,
		"DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite");
	expect_text(text, "0xC0000000,         // Range Minimum");
	expect_text(text, "0xDFFFFFFF,         // Range Maximum");
	expect_text(text, "EisaId (\"PNP0C02\")");
	expect_text(text, "0xE0000000,         // Address Base");
	assert_int_equal(occurrences(text, "\"LNRO0005\""), 16);
	expect_text(text, "0xE8000000,         // Address Base");
	expect_text(text, "0xE800F000,         // Address Base");
	expect_text(text, "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive");
	expect_text(text, "0x00000008,");
	expect_text(text, "0x00000017,");
	expect_text(text, "\"VM_Gen_Counter\"");
	expect_text(text, "\"VMGENCTR\"");
	expect_text(text, "Method (_E06, 0, NotSerialized)");
	expect_text(text, "Notify (VGEN, 0x80)");
}

static void test_iasl_some_slots(void **state)
{
	const struct boot_devices some = { .virtio_slots = 0x8001 };
	static char text[65536];

	disassemble(&some, text, sizeof(text));
	assert_int_equal(occurrences(text, "\"LNRO0005\""), 2);
	expect_text(text, "Device (VIO0)");
	expect_text(text, "Device (VIOF)");
	assert_null(strstr(text, "PCI0"));
	assert_null(strstr(text, "VGEN"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_nothing_added),
		cmocka_unit_test(test_iasl),
		cmocka_unit_test(test_iasl_devices),
		cmocka_unit_test(test_iasl_some_slots),
	};

	return cmocka_run_group_tests_name("x86-acpi", tests, NULL, NULL);
}
