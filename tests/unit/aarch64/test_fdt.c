/* SPDX-License-Identifier: Apache-2.0 */
/* The device tree, read back as a kernel would. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <libfdt.h>
#include <cmocka.h>

#include "vmm/arch/aarch64/fdt.h"
#include "vmm/arch/aarch64/layout.h"

static const uint64_t mpidr[LAYOUT_MAX_VCPUS] = { 0x80000000, 0x80000001, 0x80000100 };
static uint8_t blob[65536];

static struct arm64_fdt config(void)
{
	return (struct arm64_fdt){
		.ram_bytes = 5ull << 30,
		.ncpus = 3,
		.mpidr = mpidr,
		.cmdline = "console=ttyS0 quiet",
		.initrd = 0x44000000,
		.initrd_bytes = 0x1234,
		.kaslr_seed = 0x1122334455667788,
		.rng_seed = { 1, 2, 3 },
	};
}

static void build(const struct arm64_fdt *c)
{
	const void *tree =
		blob; /* libfdt's macro casts, and clang minds what a byte's alignment is */
	struct err err = { 0 };
	size_t n = 0;

	memset(blob, 0xa5, sizeof(blob));
	assert_int_equal(arm64_fdt_build(c, blob, sizeof(blob), &n, &err), 0);
	assert_int_equal(fdt_check_full(blob, n), 0);
	assert_int_equal(n, fdt_totalsize(tree));
}

static int node(const char *path)
{
	int at = fdt_path_offset(blob, path);

	if (at < 0)
		fail_msg("%s: %s", path, fdt_strerror(at));
	return at;
}

static void expect(const char *path, const char *name, const void *value, size_t len_bytes)
{
	int len = -1;
	const void *p = fdt_getprop(blob, node(path), name, &len);

	if (!p || (size_t)len != len_bytes || memcmp(p, value, len_bytes) != 0)
		fail_msg("%s: %s is not what was expected", path, name);
}

static void expect_text(const char *path, const char *name, const char *value)
{
	expect(path, name, value, strlen(value) + 1);
}

static void expect_cells(const char *path, const char *name, const uint32_t *cells, size_t n)
{
	fdt32_t be[16];

	for (size_t i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(cells[i]);
	expect(path, name, be, n * 4);
}
#define EXPECT_CELLS(path, name, ...)                               \
	expect_cells(path, name, (const uint32_t[]){ __VA_ARGS__ }, \
		     sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

static void test_memory_and_cpus(void **state)
{
	struct arm64_fdt c = config();

	build(&c);
	EXPECT_CELLS("/", "#address-cells", 2);
	EXPECT_CELLS("/", "#size-cells", 2);
	expect_text("/memory@40000000", "device_type", "memory");
	EXPECT_CELLS("/memory@40000000", "reg", 0, 0x40000000, 1, 0x40000000);
	EXPECT_CELLS("/cpus/cpu@0", "reg", 0);
	EXPECT_CELLS("/cpus/cpu@1", "reg", 1);
	EXPECT_CELLS("/cpus/cpu@100", "reg", 0x100);
	expect_text("/cpus/cpu@100", "enable-method", "psci");
	expect_text("/psci", "method", "hvc");
	assert_true(fdt_stringlist_search(blob, node("/psci"), "compatible", "arm,psci-0.2") == 1);
}

static void test_interrupts_and_devices(void **state)
{
	const char *gic = "/interrupt-controller@8000000";
	const char *its = "/interrupt-controller@8000000/msi-controller@8080000";
	struct arm64_fdt c = config();

	build(&c);
	EXPECT_CELLS(gic, "reg", 0, 0x08000000, 0, 0x10000, 0, 0x080a0000, 0, 0x60000);
	EXPECT_CELLS(gic, "#interrupt-cells", 3);
	EXPECT_CELLS("/", "interrupt-parent", fdt_get_phandle(blob, node(gic)));
	expect_text(its, "compatible", "arm,gic-v3-its");
	EXPECT_CELLS(its, "reg", 0, 0x08080000, 0, 0x20000);
	EXPECT_CELLS("/timer", "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
	EXPECT_CELLS("/serial@9000000", "reg", 0, 0x09000000, 0, 8);
	EXPECT_CELLS("/serial@9000000", "interrupts", 0, 1, 4);
	expect_text("/serial@9000000", "compatible", "ns16550a");
	EXPECT_CELLS("/rtc@9010000", "reg", 0, 0x09010000, 0, 0x1000);
	EXPECT_CELLS("/rtc@9010000", "interrupts", 0, 2, 4);
	EXPECT_CELLS("/rtc@9010000", "clocks", fdt_get_phandle(blob, node("/apb-pclk")));
	assert_true(fdt_stringlist_search(blob, node("/rtc@9010000"), "compatible",
					  "arm,primecell") == 1);
}

static void test_chosen(void **state)
{
	struct arm64_fdt c = config();

	build(&c);
	expect_text("/chosen", "bootargs", "console=ttyS0 quiet");
	expect_text("/chosen", "stdout-path", "/serial@9000000");
	EXPECT_CELLS("/chosen", "linux,initrd-start", 0, 0x44000000);
	EXPECT_CELLS("/chosen", "linux,initrd-end", 0, 0x44001234);
	EXPECT_CELLS("/chosen", "kaslr-seed", 0x11223344, 0x55667788);
	expect("/chosen", "rng-seed", c.rng_seed, sizeof(c.rng_seed));
	c.initrd_bytes = 0;
	c.kaslr_seed = 0;
	build(&c);
	assert_null(fdt_getprop(blob, node("/chosen"), "linux,initrd-start", NULL));
	assert_null(fdt_getprop(blob, node("/chosen"), "linux,initrd-end", NULL));
	assert_null(fdt_getprop(blob, node("/chosen"), "kaslr-seed", NULL));
}

/* All vCPUs there may be: unit addresses differ, and the tree fits into a small part of its 2 MiB. */
static void test_many_cpus(void **state)
{
	uint64_t many[LAYOUT_MAX_VCPUS];
	struct arm64_fdt c = config();

	for (unsigned int i = 0; i < LAYOUT_MAX_VCPUS; i++)
		many[i] = 0x80000000 | (i >> 4) << 8 | (i & 15);
	c.ncpus = LAYOUT_MAX_VCPUS;
	c.mpidr = many;
	build(&c);
	EXPECT_CELLS("/cpus/cpu@70a", "reg", 0x70a);
	EXPECT_CELLS("/interrupt-controller@8000000", "reg", 0, 0x08000000, 0, 0x10000, 0,
		     0x080a0000, 0, 0xf60000);
	assert_true(LAYOUT_GICR + LAYOUT_MAX_VCPUS * LAYOUT_GICR_BYTES <= LAYOUT_SERIAL);
}

static void test_no_room(void **state)
{
	struct arm64_fdt c = config();
	size_t need = 0, n = 77;

	build(&c);
	assert_int_equal(arm64_fdt_build(&c, blob, sizeof(blob), &need, NULL), 0);
	for (size_t room = 0; room < need; room += 61) {
		struct err err = { 0 };

		assert_int_equal(arm64_fdt_build(&c, blob, room, &n, &err), -E2BIG);
		assert_int_equal(n, 77);
		assert_int_equal(strncmp(err.msg, "device tree: does not fit", 25), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_and_cpus),
		cmocka_unit_test(test_interrupts_and_devices),
		cmocka_unit_test(test_chosen),
		cmocka_unit_test(test_many_cpus),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
