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

#include "devices/device.h"
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

static void test_power_button(void **state)
{
	const char *gpio = "/gpio@9030000";
	struct arm64_fdt c = config();
	uint32_t phandle;

	build(&c);
	phandle = fdt_get_phandle(blob, node(gpio));
	assert_int_not_equal(phandle, 0);
	assert_true(fdt_stringlist_search(blob, node(gpio), "compatible", "arm,primecell") == 1);
	EXPECT_CELLS(gpio, "reg", 0, 0x09030000, 0, 0x1000);
	EXPECT_CELLS(gpio, "interrupts", 0, 3, 4);
	EXPECT_CELLS(gpio, "#gpio-cells", 2);
	EXPECT_CELLS(gpio, "clocks", fdt_get_phandle(blob, node("/apb-pclk")));
	expect(gpio, "gpio-controller", "", 0);
	expect(gpio, "interrupt-controller", "", 0);
	expect_text("/gpio-keys", "compatible", "gpio-keys");
	EXPECT_CELLS("/gpio-keys/power-button", "gpios", phandle, PL061_BUTTON, 0);
	EXPECT_CELLS("/gpio-keys/power-button", "linux,code", 116);
}

static void test_no_other_devices(void **state)
{
	static uint8_t without[sizeof(blob)];
	const struct boot_devices none = { 0 };
	struct arm64_fdt c = config();

	build(&c);
	memcpy(without, blob, sizeof(blob));
	c.devices = &none;
	build(&c);
	assert_memory_equal(blob, without, sizeof(blob));
	assert_true(fdt_node_offset_by_compatible(blob, -1, "pci-host-ecam-generic") < 0);
	assert_true(fdt_node_offset_by_compatible(blob, -1, "virtio,mmio") < 0);
	assert_true(fdt_node_offset_by_compatible(blob, -1, "microsoft,vmgenid") < 0);
}

static void test_pci(void **state)
{
	const struct boot_devices devices = { .pci = true };
	const char *pci = "/pcie@30000000";
	struct arm64_fdt c = config();

	c.devices = &devices;
	build(&c);
	expect_text(pci, "compatible", "pci-host-ecam-generic");
	expect_text(pci, "device_type", "pci");
	EXPECT_CELLS(pci, "reg", 0, 0x30000000, 0, 0x100000);
	EXPECT_CELLS(pci, "#address-cells", 3);
	EXPECT_CELLS(pci, "#size-cells", 2);
	EXPECT_CELLS(pci, "bus-range", 0, 0);
	EXPECT_CELLS(pci, "ranges", 0x02000000, 0, 0x10000000, 0, 0x10000000, 0, 0x20000000);
	EXPECT_CELLS(pci, "msi-map", 0,
		     fdt_get_phandle(blob,
				     node("/interrupt-controller@8000000/msi-controller@8080000")),
		     0, 0x10000);
	expect(pci, "dma-coherent", "", 0);
}

static unsigned int count_compatible(const char *compatible)
{
	unsigned int n = 0;
	int at = -1;

	while ((at = fdt_node_offset_by_compatible(blob, at, compatible)) >= 0)
		n++;
	return n;
}

static void test_virtio(void **state)
{
	struct boot_devices devices = { .virtio_slots = 0x8001 };
	struct arm64_fdt c = config();

	c.devices = &devices;
	build(&c);
	assert_int_equal(count_compatible("virtio,mmio"), 2);
	EXPECT_CELLS("/virtio@a000000", "reg", 0, 0x0a000000, 0, 0x1000);
	EXPECT_CELLS("/virtio@a000000", "interrupts", 0, 16, 1);
	expect("/virtio@a000000", "dma-coherent", "", 0);
	EXPECT_CELLS("/virtio@a00f000", "reg", 0, 0x0a00f000, 0, 0x1000);
	EXPECT_CELLS("/virtio@a00f000", "interrupts", 0, 31, 1);
	devices.virtio_slots = 0xffffffff;
	build(&c);
	assert_int_equal(count_compatible("virtio,mmio"), LAYOUT_VIRTIO_SLOTS);
}

static void test_generation_id(void **state)
{
	const struct boot_devices devices = { .genid = true };
	struct arm64_fdt c = config();

	c.devices = &devices;
	c.ram_bytes = (1ull << 30) - LAYOUT_GENID_BYTES;
	build(&c);
	EXPECT_CELLS("/memory@40000000", "reg", 0, 0x40000000, 0, 0x3fff0000);
	expect_text("/rng@7fff0000", "compatible", "microsoft,vmgenid");
	EXPECT_CELLS("/rng@7fff0000", "reg", 0, 0x7fff0000, 0, 0x10000);
	EXPECT_CELLS("/rng@7fff0000", "interrupts", 0, 4, 1);
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
		cmocka_unit_test(test_power_button),
		cmocka_unit_test(test_no_other_devices),
		cmocka_unit_test(test_pci),
		cmocka_unit_test(test_virtio),
		cmocka_unit_test(test_generation_id),
		cmocka_unit_test(test_chosen),
		cmocka_unit_test(test_many_cpus),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
