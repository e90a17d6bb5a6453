/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka.h wants these four ahead of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fdt.h"

/* Device trees by hand, as libfdt makes no broken ones. */
enum { HEADER_BYTES = 40, BLOB_MAX = 16384 };
enum {
	AT_TOTAL = 4,
	AT_STRUCTURE = 8,
	AT_STRINGS = 12,
	AT_VERSION = 20,
	AT_STRINGS_BYTES = 32,
	AT_STRUCTURE_BYTES = 36
};

static const char strings[] = "#address-cells\0#size-cells\0bootargs\0reg\0device_type";

struct tree {
	uint8_t blob[BLOB_MAX];
	uint32_t len;
};

static struct boot_info boot;
static struct fdt_cpus cpus;

static void put_at(struct tree *t, uint32_t at, uint32_t v)
{
	const uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
			       (uint8_t)v };

	assert_true(at + 4 <= sizeof(t->blob));
	memcpy(t->blob + at, b, 4);
}

static void put(struct tree *t, uint32_t v)
{
	put_at(t, t->len, v);
	t->len += 4;
}

static void put_bytes(struct tree *t, const void *p, uint32_t n)
{
	assert_true(t->len + n + 4 <= sizeof(t->blob));
	memcpy(t->blob + t->len, p, n);
	t->len = (t->len + n + 3) & ~3u;
}

static void begin(struct tree *t, const char *name)
{
	if (!t->len)
		t->len = HEADER_BYTES;
	put(t, 1);
	put_bytes(t, name, (uint32_t)strlen(name) + 1);
}

static void end(struct tree *t)
{
	put(t, 2);
}

static void property(struct tree *t, const char *name, const void *value, uint32_t n)
{
	uint32_t at = 0;

	while (strcmp(strings + at, name) != 0) {
		at += (uint32_t)strlen(strings + at) + 1;
		assert_true(at < sizeof(strings));
	}
	put(t, 3);
	put(t, n);
	put(t, at);
	put_bytes(t, value, n);
}

static void cells(struct tree *t, const char *name, const uint32_t *v, uint32_t n)
{
	uint8_t b[64];

	assert_true(n * 4 <= sizeof(b));
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < 4; k++)
			b[i * 4 + k] = (uint8_t)(v[i] >> (24 - 8 * k));
	property(t, name, b, n * 4);
}

#define CELLS(t, name, ...)                               \
	cells(t, name, (const uint32_t[]){ __VA_ARGS__ }, \
	      sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

/* The end of the structure, the strings, the header. */
static void finish(struct tree *t)
{
	uint32_t structure_end;

	put(t, 9);
	structure_end = t->len;
	put_bytes(t, strings, sizeof(strings));
	put_at(t, 0, 0xd00dfeed);
	put_at(t, AT_TOTAL, t->len);
	put_at(t, AT_STRUCTURE, HEADER_BYTES);
	put_at(t, AT_STRINGS, structure_end);
	put_at(t, AT_VERSION, 17);
	put_at(t, AT_STRINGS_BYTES, sizeof(strings));
	put_at(t, AT_STRUCTURE_BYTES, structure_end - HEADER_BYTES);
}

/* As the machine has it: two banks of memory, two CPUs, and nodes that look like others. */
static void make_machine(struct tree *t)
{
	memset(t, 0, sizeof(*t));
	begin(t, "");
	CELLS(t, "#address-cells", 2);
	CELLS(t, "#size-cells", 2);
	begin(t, "chosen");
	property(t, "bootargs", "ws=16M cpus=2", 14);
	end(t);
	begin(t, "memory@40000000");
	property(t, "device_type", "memory", 7);
	CELLS(t, "reg", 0, 0x40000000, 0, 0x8000000, 1, 0, 2, 0);
	end(t);
	begin(t, "cpus");
	CELLS(t, "#address-cells", 1);
	CELLS(t, "#size-cells", 0);
	begin(t, "cpu@0");
	CELLS(t, "reg", 0);
	begin(t, "cpu@7");
	CELLS(t, "reg", 7);
	end(t);
	end(t);
	begin(t, "cpu-map");
	CELLS(t, "reg", 8);
	end(t);
	begin(t, "cpu@101");
	CELLS(t, "reg", 0x101);
	end(t);
	end(t);
	begin(t, "reserved-memory");
	begin(t, "memory@50000000");
	CELLS(t, "reg", 0, 0x50000000, 0, 0x1000);
	end(t);
	end(t);
	end(t);
	finish(t);
}

/* From a copy without a byte to spare, for the address sanitizer. */
static const char *read_tree(const struct tree *t, uint32_t len)
{
	uint8_t *copy = malloc(len);
	const char *why;

	assert_non_null(copy);
	memcpy(copy, t->blob, len);
	why = fdt_read(copy, len, &boot, &cpus);
	free(copy);
	return why;
}

static void machine_is_read(void **state)
{
	struct tree t;

	(void)state;
	make_machine(&t);
	assert_null(read_tree(&t, t.len));
	assert_string_equal(boot.cmdline, "ws=16M cpus=2");
	assert_int_equal(boot.ram_count, 2);
	assert_int_equal(boot.ram[0].start, 0x40000000);
	assert_int_equal(boot.ram[0].end, 0x48000000);
	assert_int_equal(boot.ram[1].start, 0x100000000);
	assert_int_equal(boot.ram[1].end, 0x300000000);
	assert_int_equal(cpus.count, 2);
	assert_int_equal(cpus.mpidr[0], 0);
	assert_int_equal(cpus.mpidr[1], 0x101);
}

/* Without #address-cells and #size-cells addresses have two cells, sizes one. */
static void cells_have_defaults(void **state)
{
	struct tree t = { .len = 0 };

	(void)state;
	begin(&t, "");
	begin(&t, "memory");
	CELLS(&t, "reg", 1, 0x40000000, 0x200000);
	end(&t);
	begin(&t, "cpus");
	begin(&t, "cpu@0");
	CELLS(&t, "reg", 3, 0x102);
	end(&t);
	end(&t);
	end(&t);
	finish(&t);
	assert_null(read_tree(&t, t.len));
	assert_int_equal(boot.ram_count, 1);
	assert_int_equal(boot.ram[0].start, 0x140000000);
	assert_int_equal(boot.ram[0].end, 0x140200000);
	assert_int_equal(cpus.count, 1);
	assert_int_equal(cpus.mpidr[0], 0x300000102);
	assert_string_equal(boot.cmdline, "");
}

static void no_range_is_empty_or_wraps(void **state)
{
	struct tree t = { .len = 0 };

	(void)state;
	begin(&t, "");
	CELLS(&t, "#address-cells", 2);
	CELLS(&t, "#size-cells", 2);
	begin(&t, "memory");
	CELLS(&t, "reg", 0, 0x40000000, 0, 0, 0xffffffff, 0xfffff000, 0, 0x2000);
	end(&t);
	end(&t);
	finish(&t);
	assert_string_equal(read_tree(&t, t.len), "it has no memory");
}

static void long_command_line_is_cut(void **state)
{
	struct tree t = { .len = 0 };
	char args[3000];

	(void)state;
	memset(args, 'x', sizeof(args));
	begin(&t, "");
	begin(&t, "chosen");
	property(&t, "bootargs", args, sizeof(args));
	end(&t);
	begin(&t, "memory");
	CELLS(&t, "reg", 0, 0x40000000, 0x200000);
	end(&t);
	end(&t);
	finish(&t);
	assert_null(read_tree(&t, t.len));
	assert_int_equal(strlen(boot.cmdline), CMDLINE_BYTES - 1);
}

static void bad_structure_is_named(void **state)
{
	struct tree t = { .len = 0 };

	(void)state;
	for (int i = 0; i < 17; i++)
		begin(&t, "deep");
	finish(&t);
	assert_string_equal(read_tree(&t, t.len), "its nodes are nested too deeply");

	t = (struct tree){ .len = 0 };
	begin(&t, "");
	finish(&t);
	assert_string_equal(read_tree(&t, t.len), "it ends within a node");

	t = (struct tree){ .len = 0 };
	begin(&t, "");
	end(&t);
	end(&t);
	finish(&t);
	assert_string_equal(read_tree(&t, t.len), "a node ends that never began");

	t = (struct tree){ .len = 0 };
	begin(&t, "");
	CELLS(&t, "#address-cells", 3);
	begin(&t, "memory");
	CELLS(&t, "reg", 0, 0, 0x40000000, 0x200000);
	end(&t);
	end(&t);
	finish(&t);
	assert_string_equal(read_tree(&t, t.len),
			    "memory has addresses or sizes that are neither 32 nor 64 bits");
}

/* However early it ends, and wherever its header says that the structure does, nothing beyond is read. */
static void cut_tree_is_refused(void **state)
{
	struct tree t;
	uint32_t structure_bytes;

	(void)state;
	make_machine(&t);
	for (uint32_t n = 1; n < t.len; n++)
		assert_non_null(read_tree(&t, n));
	structure_bytes =
		(uint32_t)t.blob[AT_STRUCTURE_BYTES + 2] << 8 | t.blob[AT_STRUCTURE_BYTES + 3];
	for (uint32_t n = 0; n < structure_bytes; n++) {
		put_at(&t, AT_STRUCTURE_BYTES, n);
		assert_non_null(read_tree(&t, t.len));
	}
}

/* Whatever a byte is, what comes out keeps to its bounds. */
static void any_byte_may_be_wrong(void **state)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xff };
	struct tree t;
	unsigned int refused = 0;

	(void)state;
	make_machine(&t);
	for (uint32_t at = 0; at < t.len; at++) {
		for (size_t i = 0; i < sizeof(flips); i++) {
			t.blob[at] ^= flips[i];
			refused += read_tree(&t, t.len) != NULL;
			t.blob[at] ^= flips[i];
			assert_non_null(memchr(boot.cmdline, 0, sizeof(boot.cmdline)));
			assert_in_range(boot.ram_count, 0, RAM_RANGES_MAX);
			assert_in_range(cpus.count, 0, FDT_CPUS_MAX);
			for (uint32_t k = 0; k < boot.ram_count; k++)
				assert_true(boot.ram[k].start < boot.ram[k].end);
		}
	}
	assert_true(refused > 0);
	assert_null(read_tree(&t, t.len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machine_is_read),
		cmocka_unit_test(cells_have_defaults),
		cmocka_unit_test(no_range_is_empty_or_wraps),
		cmocka_unit_test(long_command_line_is_cut),
		cmocka_unit_test(bad_structure_is_named),
		cmocka_unit_test(cut_tree_is_refused),
		cmocka_unit_test(any_byte_may_be_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
