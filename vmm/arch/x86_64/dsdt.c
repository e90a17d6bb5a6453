/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi.h"
#include "aml.h"
#include "layout.h"

/* The devices, as ACPI's bytecode tells of them. Section numbers are of the ACPI specification, version 6.5. */

static void put_serial(struct buf *b)
{
	size_t dev = aml_device(b, "COM1"), crs, size_at;

	aml_hid_pnp(b, 0x0501); /* 16550A compatible */
	aml_uid(b, 0);
	crs = aml_crs_begin(b, &size_at);
	aml_crs_io(b, LAYOUT_SERIAL_PORT, LAYOUT_SERIAL_PORT_LEN);
	aml_crs_irq(b, LAYOUT_SERIAL_GSI, AML_IRQ_CONSUMER | AML_IRQ_EDGE);
	aml_crs_end(b, crs, size_at);
	aml_end(b, dev);
}

/* A Generic Event Device (5.6.9) on line @gsi; its event method follows, then aml_end. */
static size_t begin_event_device(struct buf *b, const char *seg, uint8_t uid, uint32_t gsi,
				 uint8_t trigger)
{
	size_t dev = aml_device(b, seg), crs, size_at;

	aml_hid(b, "ACPI0013");
	aml_uid(b, uid);
	crs = aml_crs_begin(b, &size_at);
	aml_crs_irq(b, gsi, AML_IRQ_CONSUMER | trigger);
	aml_crs_end(b, crs, size_at);
	return dev;
}

/* Control-method power button (4.8.3.2.2.2) and the event device that tells of it: the event method reads the latch, which clears it and lowers the line. */
static void put_power_button(struct buf *b)
{
	size_t dev, at, cond;

	dev = aml_device(b, "PWRB");
	aml_hid_pnp(b, 0x0c0c);
	aml_uid(b, 0);
	aml_end(b, dev);

	dev = begin_event_device(b, "GED_", 0, LAYOUT_POWER_GSI, 0);
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

	at = aml_method(b, "_EVT", 1 | AML_METHOD_SERIALIZED);
	buf_u8(b, AML_IF);
	cond = aml_begin(b);
	aml_name(b, "PEVT");
	aml_notify(b, "PWRB", 0x80);
	aml_end(b, cond);
	aml_end(b, at);
	aml_end(b, dev);
}

/* A PCI Express host bridge (PCI Firmware 3.3, 4.1 and 4.3) with bus 0 alone and without interrupt pins; and its configuration space as what no other
 * device may have, the one place where Linux looks for that. */
static void put_pci(struct buf *b)
{
	size_t dev = aml_device(b, "PCI0"), crs, size_at;

	aml_hid_pnp(b, 0x0a08);
	aml_id_pnp(b, "_CID", 0x0a03);
	aml_uid(b, 0);
	aml_named(b, "_SEG");
	buf_u8(b, 0);
	aml_named(b, "_BBN");
	buf_u8(b, 0);
	crs = aml_crs_begin(b, &size_at);
	aml_crs_buses(b, 0, 0);
	aml_crs_window(b, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_BYTES);
	aml_crs_end(b, crs, size_at);
	aml_end(b, dev);

	dev = aml_device(b, "MRES");
	aml_hid_pnp(b, 0x0c02);
	aml_uid(b, 0);
	crs = aml_crs_begin(b, &size_at);
	aml_crs_memory(b, LAYOUT_PCI_ECAM, LAYOUT_PCI_ECAM_BYTES);
	aml_crs_end(b, crs, size_at);
	aml_end(b, dev);
}

/* The id that Linux' and EDK2's drivers of virtio-mmio know. */
static void put_virtio(struct buf *b, unsigned int slot)
{
	static const char digits[] = "0123456789ABCDEF";
	const char seg[] = { 'V', 'I', 'O', digits[slot % 16], '\0' };
	size_t dev = aml_device(b, seg), crs, size_at;

	_Static_assert(LAYOUT_VIRTIO_SLOTS <= 16, "a digit each");
	aml_hid(b, "LNRO0005");
	aml_uid(b, (uint8_t)slot);
	crs = aml_crs_begin(b, &size_at);
	aml_crs_memory(b, LAYOUT_VIRTIO + slot * LAYOUT_VIRTIO_BYTES, LAYOUT_VIRTIO_BYTES);
	aml_crs_irq(b, LAYOUT_VIRTIO_GSI + slot, AML_IRQ_CONSUMER | AML_IRQ_EDGE);
	aml_crs_end(b, crs, size_at);
	aml_end(b, dev);
}

/* "Virtual Machine Generation ID" (Microsoft, 2012): where the id is, low half first; 0x80 tells that it has changed. Drivers go by _CID, whose first form is longer than ACPI allows. */
static void put_genid(struct buf *b)
{
	size_t dev = aml_device(b, "VGEN"), at;

	aml_hid(b, "VMMG0001");
	aml_named(b, "_CID");
	buf_u8(b, AML_PACKAGE);
	at = aml_begin(b);
	buf_u8(b, 2);
	aml_string(b, "VM_Gen_Counter");
	aml_string(b, "VMGENCTR");
	aml_end(b, at);
	aml_named(b, "_DDN");
	aml_string(b, "VM_Gen_Counter");
	aml_uid(b, 0);
	aml_named(b, "ADDR");
	buf_u8(b, AML_PACKAGE);
	at = aml_begin(b);
	buf_u8(b, 2);
	aml_dword(b, LAYOUT_GENID);
	buf_u8(b, 0);
	aml_end(b, at);
	aml_end(b, dev);

	_Static_assert(LAYOUT_GENID_GSI == 6, "its name");
	dev = begin_event_device(b, "GEDG", 1, LAYOUT_GENID_GSI, AML_IRQ_EDGE);
	at = aml_method(b, "_E06", 0);
	aml_notify(b, "VGEN", 0x80);
	aml_end(b, at);
	aml_end(b, dev);
}

static void put_devices(struct buf *b, const struct boot_devices *devices)
{
	if (devices->pci)
		put_pci(b);
	for (unsigned int i = 0; i < LAYOUT_VIRTIO_SLOTS; i++) {
		if (devices->virtio_slots >> i & 1)
			put_virtio(b, i);
	}
	if (devices->genid)
		put_genid(b);
}

void acpi_put_dsdt(struct buf *b, const struct boot_devices *devices)
{
	size_t at;

	buf_u8(b, AML_SCOPE);
	at = aml_begin(b);
	buf_u8(b, AML_ROOT);
	aml_name(b, "_SB_");
	put_serial(b);
	put_power_button(b);
	if (devices)
		put_devices(b, devices);
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
