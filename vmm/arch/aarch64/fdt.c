/* SPDX-License-Identifier: Apache-2.0 */
#include "fdt.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "layout.h"

/* The nodes, each after its binding in Linux: Documentation/devicetree/bindings. A call that fails makes the following ones do nothing; the caller looks once. */
struct tree {
	void *fdt;
	int rc; /* libfdt's, first failure */
};

enum { PHANDLE_GIC = 1, PHANDLE_ITS, PHANDLE_CLOCK, PHANDLE_GPIO };

/* Cells of an interrupt: type, number within the type, rising edge or high level (interrupt-controller/arm,gic-v3.yaml). */
enum { IRQ_SPI = 0, IRQ_PPI = 1, IRQ_EDGE_RISING = 1, IRQ_LEVEL_HIGH = 4 };
#define PPI_BASE 16u

/* Affinity fields 2 to 0; field 3 is beyond what one cell holds, and KVM leaves it zero. */
#define MPIDR_AFFINITY 0xffffffu

#define APB_CLOCK_HZ 24000000u
#define UART_CLOCK_HZ 1843200u

static void begin(struct tree *t, const char *name)
{
	if (t->rc == 0)
		t->rc = fdt_begin_node(t->fdt, name);
}

static void begin_at(struct tree *t, const char *name, uint64_t address)
{
	char full[48];

	snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)address);
	begin(t, full);
}

static void end(struct tree *t)
{
	if (t->rc == 0)
		t->rc = fdt_end_node(t->fdt);
}

static void prop(struct tree *t, const char *name, const void *value, size_t len_bytes)
{
	if (t->rc == 0)
		t->rc = fdt_property(t->fdt, name, value, (int)len_bytes);
}

static void prop_empty(struct tree *t, const char *name)
{
	prop(t, name, NULL, 0);
}

static void prop_text(struct tree *t, const char *name, const char *value)
{
	prop(t, name, value, strlen(value) + 1);
}

static void prop_u32(struct tree *t, const char *name, uint32_t value)
{
	if (t->rc == 0)
		t->rc = fdt_property_u32(t->fdt, name, value);
}

static void prop_u64(struct tree *t, const char *name, uint64_t value)
{
	if (t->rc == 0)
		t->rc = fdt_property_u64(t->fdt, name, value);
}

static void prop_cells(struct tree *t, const char *name, const uint32_t *cells, size_t ncells)
{
	fdt32_t be[16];

	for (size_t i = 0; i < ncells && i < ARRAY_LEN(be); i++)
		be[i] = cpu_to_fdt32(cells[i]);
	prop(t, name, be, ncells * sizeof(be[0]));
}

/* Pairs of address and size, two cells each. */
static void prop_reg(struct tree *t, const uint64_t *pairs, size_t n)
{
	fdt64_t be[4];

	for (size_t i = 0; i < n && i < ARRAY_LEN(be); i++)
		be[i] = cpu_to_fdt64(pairs[i]);
	prop(t, "reg", be, n * sizeof(be[0]));
}

static void prop_reg1(struct tree *t, uint64_t address, uint64_t len_bytes)
{
	prop_reg(t, (const uint64_t[]){ address, len_bytes }, 2);
}

static void prop_spi(struct tree *t, uint32_t gsi, uint32_t trigger)
{
	prop_cells(t, "interrupts", (const uint32_t[]){ IRQ_SPI, gsi, trigger }, 3);
}

static void prop_apb_clock(struct tree *t)
{
	prop_u32(t, "clocks", PHANDLE_CLOCK);
	prop_text(t, "clock-names", "apb_pclk");
}

/* arm/cpus.yaml */
static void put_cpus(struct tree *t, const struct arm64_fdt *config)
{
	begin(t, "cpus");
	prop_u32(t, "#address-cells", 1);
	prop_u32(t, "#size-cells", 0);
	for (unsigned int i = 0; i < config->ncpus; i++) {
		uint32_t affinity = (uint32_t)(config->mpidr[i] & MPIDR_AFFINITY);

		begin_at(t, "cpu", affinity);
		prop_text(t, "device_type", "cpu");
		prop_text(t, "compatible", "arm,armv8");
		prop_text(t, "enable-method", "psci");
		prop_u32(t, "reg", affinity);
		end(t);
	}
	end(t);
}

/* arm/psci.yaml and timer/arm,arch_timer.yaml: secure, physical, virtual, hypervisor timer. */
static void put_psci_and_timer(struct tree *t)
{
	static const char psci[] = "arm,psci-1.0\0arm,psci-0.2";
	static const uint32_t timer[] = {
		IRQ_PPI, LAYOUT_PPI_TIMER_SECURE - PPI_BASE, IRQ_LEVEL_HIGH,
		IRQ_PPI, LAYOUT_PPI_TIMER_PHYS - PPI_BASE,   IRQ_LEVEL_HIGH,
		IRQ_PPI, LAYOUT_PPI_TIMER_VIRT - PPI_BASE,   IRQ_LEVEL_HIGH,
		IRQ_PPI, LAYOUT_PPI_TIMER_HYP - PPI_BASE,    IRQ_LEVEL_HIGH,
	};

	begin(t, "psci");
	prop(t, "compatible", psci, sizeof(psci));
	prop_text(t, "method", "hvc");
	end(t);
	begin(t, "timer");
	prop_text(t, "compatible", "arm,armv8-timer");
	prop_cells(t, "interrupts", timer, ARRAY_LEN(timer));
	prop_empty(t, "always-on");
	end(t);
}

/* interrupt-controller/arm,gic-v3.yaml */
static void put_gic(struct tree *t, unsigned int ncpus)
{
	const uint64_t reg[] = { LAYOUT_GICD, LAYOUT_GICD_BYTES, LAYOUT_GICR,
				 ncpus * LAYOUT_GICR_BYTES };

	begin_at(t, "interrupt-controller", LAYOUT_GICD);
	prop_text(t, "compatible", "arm,gic-v3");
	prop_u32(t, "#interrupt-cells", 3);
	prop_empty(t, "interrupt-controller");
	prop_u32(t, "#address-cells", 2);
	prop_u32(t, "#size-cells", 2);
	prop_empty(t, "ranges");
	prop_reg(t, reg, ARRAY_LEN(reg));
	prop_u32(t, "phandle", PHANDLE_GIC);
	begin_at(t, "msi-controller", LAYOUT_ITS);
	prop_text(t, "compatible", "arm,gic-v3-its");
	prop_empty(t, "msi-controller");
	prop_u32(t, "#msi-cells", 1);
	prop_reg1(t, LAYOUT_ITS, LAYOUT_ITS_BYTES);
	prop_u32(t, "phandle", PHANDLE_ITS);
	end(t);
	end(t);
}

/* serial/8250.yaml, rtc/arm,pl031.yaml, clock/fixed-clock.yaml */
static void put_devices(struct tree *t)
{
	static const char pl031[] = "arm,pl031\0arm,primecell";

	begin_at(t, "serial", LAYOUT_SERIAL);
	prop_text(t, "compatible", "ns16550a");
	prop_reg1(t, LAYOUT_SERIAL, LAYOUT_SERIAL_BYTES);
	prop_u32(t, "reg-shift", 0);
	prop_u32(t, "clock-frequency", UART_CLOCK_HZ);
	prop_spi(t, LAYOUT_SERIAL_GSI, IRQ_LEVEL_HIGH);
	end(t);
	begin(t, "apb-pclk");
	prop_text(t, "compatible", "fixed-clock");
	prop_u32(t, "#clock-cells", 0);
	prop_u32(t, "clock-frequency", APB_CLOCK_HZ);
	prop_text(t, "clock-output-names", "apb-pclk");
	prop_u32(t, "phandle", PHANDLE_CLOCK);
	end(t);
	begin_at(t, "rtc", LAYOUT_RTC);
	prop(t, "compatible", pl031, sizeof(pl031));
	prop_reg1(t, LAYOUT_RTC, LAYOUT_RTC_BYTES);
	prop_spi(t, LAYOUT_RTC_GSI, IRQ_LEVEL_HIGH);
	prop_apb_clock(t);
	end(t);
}

#define KEY_POWER 116u /* input-event-codes.h */

/* gpio/pl061-gpio.yaml, input/gpio-keys.yaml */
static void put_power_button(struct tree *t)
{
	static const char pl061[] = "arm,pl061\0arm,primecell";

	begin_at(t, "gpio", LAYOUT_GPIO);
	prop(t, "compatible", pl061, sizeof(pl061));
	prop_reg1(t, LAYOUT_GPIO, LAYOUT_GPIO_BYTES);
	prop_spi(t, LAYOUT_GPIO_GSI, IRQ_LEVEL_HIGH);
	prop_apb_clock(t);
	prop_empty(t, "gpio-controller");
	prop_u32(t, "#gpio-cells", 2);
	prop_empty(t, "interrupt-controller");
	prop_u32(t, "#interrupt-cells", 2);
	prop_u32(t, "phandle", PHANDLE_GPIO);
	end(t);
	begin(t, "gpio-keys");
	prop_text(t, "compatible", "gpio-keys");
	begin(t, "power-button");
	prop_text(t, "label", "Power Button");
	prop_u32(t, "linux,code", KEY_POWER);
	/* Active high. */
	prop_cells(t, "gpios", (const uint32_t[]){ PHANDLE_GPIO, LAYOUT_GPIO_BUTTON, 0 }, 3);
	end(t);
	end(t);
}

/* pci/host-generic-pci.yaml and pci-msi.txt: bus 0 alone; what the host's CPU caches a device sees, and device ids are the ITS' own. */
static void put_pci(struct tree *t)
{
	static const uint32_t ranges[] = { 0x02000000, /* memory, 32 bits, not prefetchable */
					   0,          LAYOUT_PCI_WINDOW,      0, LAYOUT_PCI_WINDOW,
					   0,          LAYOUT_PCI_WINDOW_BYTES };

	begin_at(t, "pcie", LAYOUT_PCI_ECAM);
	prop_text(t, "compatible", "pci-host-ecam-generic");
	prop_text(t, "device_type", "pci");
	prop_u32(t, "#address-cells", 3);
	prop_u32(t, "#size-cells", 2);
	prop_cells(t, "bus-range", (const uint32_t[]){ 0, 0 }, 2);
	prop_reg1(t, LAYOUT_PCI_ECAM, LAYOUT_PCI_ECAM_BYTES);
	prop_cells(t, "ranges", ranges, ARRAY_LEN(ranges));
	prop_cells(t, "msi-map", (const uint32_t[]){ 0, PHANDLE_ITS, 0, 0x10000 }, 4);
	prop_empty(t, "dma-coherent");
	end(t);
}

/* virtio/mmio.yaml */
static void put_virtio(struct tree *t, uint32_t slot)
{
	uint64_t base = LAYOUT_VIRTIO + slot * LAYOUT_VIRTIO_BYTES;

	begin_at(t, "virtio", base);
	prop_text(t, "compatible", "virtio,mmio");
	prop_reg1(t, base, LAYOUT_VIRTIO_BYTES);
	prop_spi(t, LAYOUT_VIRTIO_GSI + slot, IRQ_EDGE_RISING);
	prop_empty(t, "dma-coherent");
	end(t);
}

/* rng/microsoft,vmgenid.yaml; behind what the guest is told of its RAM. */
static void put_genid(struct tree *t, uint64_t ram_bytes)
{
	begin_at(t, "rng", LAYOUT_RAM + ram_bytes);
	prop_text(t, "compatible", "microsoft,vmgenid");
	prop_reg1(t, LAYOUT_RAM + ram_bytes, LAYOUT_GENID_BYTES);
	prop_spi(t, LAYOUT_GENID_GSI, IRQ_EDGE_RISING);
	end(t);
}

/* What there is only when the machine's configuration says so. */
static void put_boot_devices(struct tree *t, const struct boot_devices *devices, uint64_t ram_bytes)
{
	if (devices->pci)
		put_pci(t);
	for (uint32_t i = 0; i < LAYOUT_VIRTIO_SLOTS; i++) {
		if (devices->virtio_slots >> i & 1)
			put_virtio(t, i);
	}
	if (devices->genid)
		put_genid(t, ram_bytes);
}

/* Devicetree Specification 3.6, and Documentation/devicetree/usage-model.rst for the initrd. */
static void put_chosen(struct tree *t, const struct arm64_fdt *config)
{
	char serial[32];

	snprintf(serial, sizeof(serial), "/serial@%llx", LAYOUT_SERIAL);
	begin(t, "chosen");
	prop_text(t, "bootargs", config->cmdline);
	prop_text(t, "stdout-path", serial);
	if (config->initrd_bytes) {
		prop_u64(t, "linux,initrd-start", config->initrd);
		prop_u64(t, "linux,initrd-end", config->initrd + config->initrd_bytes);
	}
	if (config->kaslr_seed)
		prop_u64(t, "kaslr-seed", config->kaslr_seed);
	prop(t, "rng-seed", config->rng_seed, sizeof(config->rng_seed));
	end(t);
}

static void put_root(struct tree *t, const struct arm64_fdt *config)
{
	begin(t, "");
	prop_text(t, "compatible", "linux,dummy-virt");
	prop_text(t, "model", "vmm");
	prop_u32(t, "#address-cells", 2);
	prop_u32(t, "#size-cells", 2);
	prop_u32(t, "interrupt-parent", PHANDLE_GIC);
	put_chosen(t, config);
	begin_at(t, "memory", LAYOUT_RAM);
	prop_text(t, "device_type", "memory");
	prop_reg1(t, LAYOUT_RAM, config->ram_bytes);
	end(t);
	put_cpus(t, config);
	put_psci_and_timer(t);
	put_gic(t, config->ncpus);
	put_devices(t);
	put_power_button(t);
	if (config->devices)
		put_boot_devices(t, config->devices, config->ram_bytes);
	end(t);
}

int arm64_fdt_build(const struct arm64_fdt *config, void *out, size_t out_bytes, size_t *ret_bytes,
		    struct err *err)
{
	struct tree t = { .fdt = out };

	t.rc = fdt_create(out, (int)out_bytes);
	if (t.rc == 0)
		t.rc = fdt_finish_reservemap(out);
	put_root(&t, config);
	if (t.rc == 0)
		t.rc = fdt_finish(out);
	if (t.rc == -FDT_ERR_NOSPACE)
		return err_set(err, -E2BIG, "device tree: does not fit into %zu bytes", out_bytes);
	if (t.rc)
		return err_set(err, -EINVAL, "device tree: %s", fdt_strerror(t.rc));
	*ret_bytes = fdt_totalsize(out);
	return 0;
}
