/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: configuration space, BARs, capabilities, state. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/pci/pci.h"
#include "pci_fixture.h"

#define SLOT_A 3u
#define SLOT_B 4u
#define MAX_MOVES 32

/* A device that writes down what reaches it. */
struct probe {
	struct pci_device *d;
	unsigned int nmoves;
	uint64_t moved[MAX_MOVES];
	unsigned int reads, writes, size_bytes;
	uint64_t offset, value;
	uint64_t answer;
	unsigned int cap, cap_offset, cap_len, cap_reads, cap_writes;
	uint8_t cap_bytes[8];
};

struct fixture {
	struct pci_fixture f;
	struct probe a, b;
};

static uint64_t probe_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	struct probe *p = dev;

	p->reads++;
	p->offset = offset;
	p->size_bytes = size_bytes;
	return p->answer;
}

static void probe_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct probe *p = dev;

	p->writes++;
	p->offset = offset;
	p->size_bytes = size_bytes;
	p->value = value;
}

static void probe_moved(void *dev, uint64_t gpa)
{
	struct probe *p = dev;

	assert_true(p->nmoves < MAX_MOVES);
	p->moved[p->nmoves++] = gpa;
}

static void probe_cap_read(void *dev, unsigned int cap, unsigned int offset, unsigned int len_bytes,
			   uint8_t *bytes)
{
	struct probe *p = dev;

	p->cap_reads++;
	p->cap = cap;
	p->cap_offset = offset;
	p->cap_len = len_bytes;
	memset(bytes, 0x77, len_bytes);
}

static void probe_cap_write(void *dev, unsigned int cap, unsigned int offset,
			    unsigned int len_bytes, const uint8_t *bytes)
{
	struct probe *p = dev;

	p->cap_writes++;
	p->cap = cap;
	p->cap_offset = offset;
	p->cap_len = len_bytes;
	memcpy(p->cap_bytes, bytes, len_bytes);
}

static const struct pci_device_ops probe_ops = {
	.bar = { .read = probe_read, .write = probe_write },
	.bar_moved = probe_moved,
	.cap_read = probe_cap_read,
	.cap_write = probe_cap_write,
};

static struct pci_device_config config_in(unsigned int slot)
{
	return (struct pci_device_config){ .slot = slot,
					   .vendor = 0x1af4,
					   .device = 0x1041,
					   .subsystem_vendor = 0x1234,
					   .subsystem = 0x5678,
					   .revision = 1,
					   .class_code = 0x020000,
					   .bar_bytes = 0x4000,
					   .nvectors = 3 };
}

static int add(struct pci_fixture *f, unsigned int slot, struct probe *p)
{
	const struct pci_device_config config = config_in(slot);

	return pci_device_create(f->pci, &config, &probe_ops, p, &p->d, NULL);
}

static void init(struct fixture *t)
{
	*t = (struct fixture){ 0 };
	assert_int_equal(pci_fixture_init(&t->f), 0);
	assert_int_equal(add(&t->f, SLOT_A, &t->a), 0);
	assert_int_equal(add(&t->f, SLOT_B, &t->b), 0);
}

static void fini(struct fixture *t)
{
	pci_device_destroy(t->a.d);
	pci_device_destroy(t->b.d);
	pci_fixture_fini(&t->f);
}

static int setup(void **state)
{
	static struct fixture t;

	init(&t);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	fini(*state);
	pci_device_destroy(NULL);
	pci_host_destroy(NULL);
	return 0;
}

static void command(struct fixture *t, unsigned int slot, uint16_t value)
{
	cfg_put(&t->f, slot, PCI_COMMAND, 2, value);
}

static void put_bar(struct fixture *t, unsigned int slot, unsigned int bar, uint32_t value)
{
	cfg_put(&t->f, slot, PCI_BASE_ADDRESS_0 + 4 * bar, 4, value);
}

static void shows_bridge_devices_and_nothing_else(void **state)
{
	struct fixture *t = *state;
	const uint64_t ones[] = { 0xff, 0xffff, 0xffffffff, UINT64_MAX };

	assert_int_equal(cfg_get(&t->f, 0, PCI_CLASS_DEVICE, 2), 0x0600);
	assert_int_equal(cfg_get(&t->f, 0, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(cfg_get(&t->f, SLOT_A, PCI_VENDOR_ID, 4), 0x10411af4);
	assert_int_equal(cfg_get(&t->f, SLOT_A, PCI_CLASS_REVISION, 4), 0x02000001);
	assert_int_equal(cfg_get(&t->f, SLOT_A, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(cfg_get(&t->f, SLOT_A, PCI_INTERRUPT_PIN, 1), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(cfg_get(&t->f, 7, 0, 1u << i), ones[i]);
		assert_int_equal(cfg_get(&t->f, SLOT_A, 0x1000, 1u << i), ones[i]); /* function 1 */
		assert_int_equal(cfg_get(&t->f, SLOT_A, 0x100, 1u << i), 0); /* no PCI Express */
	}
	cfg_put(&t->f, 7, 0, 4, 0);
	cfg_put(&t->f, SLOT_A, 0x100, 8, UINT64_MAX);
	assert_int_equal(cfg_get(&t->f, SLOT_A, 0x100, 8), 0);
}

/* All bits of every register, set and cleared: only what the guest may write changes. */
static void keeps_what_is_read_only(void **state)
{
	struct fixture *t = *state;

	for (unsigned int reg = 0; reg < 256; reg += 4) {
		uint32_t was = (uint32_t)cfg_get(&t->f, SLOT_A, reg, 4);
		uint32_t bridge = (uint32_t)cfg_get(&t->f, 0, reg, 4);
		uint32_t may = 0;

		cfg_put(&t->f, 0, reg, 4, ~bridge);
		assert_int_equal(cfg_get(&t->f, 0, reg, 4), bridge);
		if (reg == PCI_COMMAND)
			may = 0x406;
		else if (reg == PCI_BASE_ADDRESS_0)
			may = 0xffffc000;
		else if (reg == PCI_BASE_ADDRESS_1)
			may = 0xfffff000;
		else if (reg == find_capability(&t->f, SLOT_A, PCI_CAP_ID_MSIX, 0))
			may = 0xc0000000;
		cfg_put(&t->f, SLOT_A, reg, 4, ~was);
		assert_int_equal(cfg_get(&t->f, SLOT_A, reg, 4) ^ was, may);
		cfg_put(&t->f, SLOT_A, reg, 4, was);
		assert_int_equal(cfg_get(&t->f, SLOT_A, reg, 4), was);
	}
}

static void takes_accesses_of_any_size_and_alignment(void **state)
{
	struct fixture *t = *state;
	uint8_t space[256];

	for (unsigned int i = 0; i < sizeof(space); i++)
		space[i] = (uint8_t)cfg_get(&t->f, SLOT_A, i, 1);
	for (unsigned int size = 1; size <= 8; size *= 2) {
		for (unsigned int at = 0; at < sizeof(space); at++) {
			uint64_t want = 0;

			for (unsigned int i = 0; i < size && at + i < sizeof(space); i++)
				want |= (uint64_t)space[at + i] << 8 * i;
			assert_int_equal(cfg_get(&t->f, SLOT_A, at, size), want);
		}
		/* Across the end of a function's space, and of the whole of them. */
		if (size > 1) {
			assert_int_equal((uint8_t)cfg_get(&t->f, SLOT_A, 0xfff, size), 0xff);
			assert_int_equal((uint8_t)cfg_get(&t->f, 31, 0x7fff, size), 0xff);
			cfg_put(&t->f, SLOT_A, 0xfff, size, 0);
			cfg_put(&t->f, 31, 0x7fff, size, 0);
		}
	}
	/* Byte by byte, and across two registers at once. */
	cfg_put(&t->f, SLOT_A, PCI_BASE_ADDRESS_0 + 2, 1, 0x12);
	cfg_put(&t->f, SLOT_A, PCI_BASE_ADDRESS_0 + 3, 1, 0xc0);
	assert_int_equal(bar_of(&t->f, SLOT_A, 0), 0xc0120000 | (space[0x11] << 8));
	cfg_put(&t->f, SLOT_A, PCI_BASE_ADDRESS_0 + 3, 8, 0x1122c0008000c3ull);
	assert_int_equal(bar_of(&t->f, SLOT_A, 0) >> 24, 0xc3);
	assert_int_equal(bar_of(&t->f, SLOT_A, 1), 0xc0008000);
}

static void gives_each_bar_a_place(void **state)
{
	struct fixture *t = *state;
	const unsigned int slots[] = { SLOT_A, SLOT_B };
	uint64_t end = PCI_WINDOW_GPA;

	for (unsigned int i = 0; i < 4; i++) {
		uint32_t bytes = i % 2 ? 0x1000 : 0x4000;
		uint32_t at = bar_of(&t->f, slots[i / 2], i % 2);

		assert_int_equal(at % bytes, 0);
		assert_true(at >= end);
		end = at + bytes;
		put_bar(t, slots[i / 2], i % 2, 0xffffffff);
		assert_int_equal(bar_of(&t->f, slots[i / 2], i % 2), ~(bytes - 1));
	}
	assert_true(end <= PCI_WINDOW_GPA + PCI_WINDOW_BYTES);
	for (unsigned int bar = 2; bar < 6; bar++) {
		put_bar(t, SLOT_A, bar, 0xffffffff);
		assert_int_equal(bar_of(&t->f, SLOT_A, bar), 0);
	}
	assert_int_equal(t->a.nmoves, 0);
}

static void follows_the_bar(void **state)
{
	struct fixture *t = *state;
	const uint32_t first = bar_of(&t->f, SLOT_A, 0);
	const uint32_t second = PCI_WINDOW_GPA + PCI_WINDOW_BYTES - 0x4000;
	const uint64_t want[] = { first, 0, second, 0, second, 0, first, second, 0 };

	command(t, SLOT_A, PCI_COMMAND_MEMORY);
	command(t, SLOT_A, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER); /* says nothing new */
	put_bar(t, SLOT_A, 0, first);
	put_bar(t, SLOT_A, 0, 0xffffffff); /* sizing with memory space on: beyond the window */
	put_bar(t, SLOT_A, 0, second);
	put_bar(t, SLOT_A, 0, PCI_WINDOW_GPA - 0x4000);
	put_bar(t, SLOT_A, 0, PCI_WINDOW_GPA + PCI_WINDOW_BYTES);
	put_bar(t, SLOT_A, 0, second + 0x10); /* bits below the size do not count */
	command(t, SLOT_A, 0);
	put_bar(t, SLOT_A, 0, first);
	command(t, SLOT_A, PCI_COMMAND_MEMORY);
	put_bar(t, SLOT_A, 0, second);
	pci_device_destroy(t->a.d);
	t->a.d = NULL;
	assert_int_equal(t->a.nmoves, sizeof(want) / sizeof(want[0]));
	assert_memory_equal(t->a.moved, want, sizeof(want));
	assert_int_equal(t->b.nmoves, 0);
}

static void passes_accesses_on(void **state)
{
	struct fixture *t = *state;
	const uint64_t at = bar_of(&t->f, SLOT_A, 0);

	t->a.answer = 0x1122334455667788ull;
	assert_int_equal(mem_get(&t->f, at, 4), 0xffffffff); /* memory space is off */
	mem_put(&t->f, at, 4, 1);
	assert_int_equal(t->a.reads + t->a.writes, 0);
	command(t, SLOT_A, PCI_COMMAND_MEMORY);
	for (unsigned int size = 1; size <= 8; size *= 2) {
		assert_int_equal(mem_get(&t->f, at + 0x4000 - size, size),
				 t->a.answer & UINT64_MAX >> (64 - 8 * size));
		assert_int_equal(t->a.offset, 0x4000 - size);
		assert_int_equal(t->a.size_bytes, size);
		mem_put(&t->f, at + size, size, 0xa5);
		assert_int_equal(t->a.offset, size);
		assert_int_equal(t->a.size_bytes, size);
		assert_int_equal(t->a.value, 0xa5);
	}
	assert_int_equal(t->a.reads, 4);
	assert_int_equal(t->a.writes, 4);
	/* Across the end, and ahead of the beginning. */
	assert_int_equal(mem_get(&t->f, at + 0x3fff, 2), 0xffff);
	mem_put(&t->f, at + 0x3ffc, 8, 0);
	assert_int_equal(mem_get(&t->f, at - 1, 1), 0xff);
	assert_int_equal(t->a.reads, 4);
	assert_int_equal(t->a.writes, 4);
}

static void overlapping_bars_do_no_harm(void **state)
{
	struct fixture *t = *state;
	const uint32_t at = PCI_WINDOW_GPA + 0x80000;

	t->a.answer = 0xa;
	t->b.answer = 0xb;
	put_bar(t, SLOT_B, 0, at);
	put_bar(t, SLOT_A, 0, at);
	put_bar(t, SLOT_B, 1, at + 0x1000); /* the table beneath it, too */
	command(t, SLOT_A, PCI_COMMAND_MEMORY);
	command(t, SLOT_B, PCI_COMMAND_MEMORY);
	assert_int_equal(mem_get(&t->f, at, 1), 0xa);
	assert_int_equal(mem_get(&t->f, at + 0x1000, 4), 0xa);
	put_bar(t, SLOT_A, 0, at + 0x8000);
	assert_int_equal(mem_get(&t->f, at, 1), 0xb);
	assert_int_equal(mem_get(&t->f, at + 0x100c, 4), 0xb);
	put_bar(t, SLOT_B, 0, at + 0x10000);
	assert_int_equal(mem_get(&t->f, at + 0x100c, 4), 1); /* a masked vector */
	assert_int_equal(mem_get(&t->f, at, 1), 0xff);
}

static void links_capabilities(void **state)
{
	struct fixture *t = *state;
	const uint8_t body[6] = { 0, 0, 6, 0x11, 0x22, 0x33 };
	int first = pci_add_capability(t->a.d, PCI_CAP_ID_VNDR, body, sizeof(body), false);
	int second = pci_add_capability(t->a.d, PCI_CAP_ID_VNDR, body, sizeof(body), false);

	assert_true(first > 0 && second > 0);
	assert_true(cfg_get(&t->f, SLOT_A, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	assert_int_equal(cfg_get(&t->f, 0, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, 0);
	assert_int_equal(find_capability(&t->f, SLOT_A, PCI_CAP_ID_MSIX, 0), 0x40);
	assert_int_equal(find_capability(&t->f, SLOT_A, PCI_CAP_ID_VNDR, 0), first);
	assert_int_equal(find_capability(&t->f, SLOT_A, PCI_CAP_ID_VNDR, 1), second);
	assert_int_equal(find_capability(&t->f, SLOT_A, PCI_CAP_ID_VNDR, 2), 0);
	assert_int_equal(first % 4, 0);
	assert_int_equal(second % 4, 0);
	assert_int_equal(cfg_get(&t->f, SLOT_A, (unsigned int)second + 2, 4), 0x33221106);
	while (pci_add_capability(t->a.d, PCI_CAP_ID_VNDR, body, sizeof(body), false) > 0)
		continue;
	assert_int_equal(pci_add_capability(t->a.d, PCI_CAP_ID_VNDR, body, sizeof(body), false),
			 -ENOSPC);
	assert_int_equal(pci_add_capability(t->a.d, PCI_CAP_ID_VNDR, body, 1, false), -ENOSPC);
	assert_int_equal(find_capability(&t->f, SLOT_A, PCI_CAP_ID_VNDR, 21), 0xf4);
}

static void hands_over_a_devices_own_capability(void **state)
{
	struct fixture *t = *state;
	const uint8_t body[12] = { 0 };
	unsigned int cap =
		(unsigned int)pci_add_capability(t->a.d, PCI_CAP_ID_VNDR, body, 12, true);

	assert_int_equal(cfg_get(&t->f, SLOT_A, cap, 1), PCI_CAP_ID_VNDR);
	assert_int_equal(t->a.cap_reads, 0);
	assert_int_equal(cfg_get(&t->f, SLOT_A, cap, 4), 0x77770000 | PCI_CAP_ID_VNDR);
	assert_int_equal(t->a.cap_reads, 1);
	assert_int_equal(t->a.cap, cap);
	assert_int_equal(t->a.cap_offset, 2);
	assert_int_equal(t->a.cap_len, 2);
	assert_int_equal(cfg_get(&t->f, SLOT_A, cap + 8, 8), 0x77777777);
	assert_int_equal(t->a.cap_len, 4);
	cfg_put(&t->f, SLOT_A, cap - 2, 8, 0x0706050403020100ull);
	assert_int_equal(t->a.cap_writes, 1);
	assert_int_equal(t->a.cap_offset, 2);
	assert_int_equal(t->a.cap_len, 4);
	assert_memory_equal(t->a.cap_bytes, "\4\5\6\7", 4);
	assert_int_equal(cfg_get(&t->f, SLOT_A, cap, 1), PCI_CAP_ID_VNDR);
}

static void refuses_what_does_not_fit(void **state)
{
	struct fixture *t = *state;
	struct pci_device_config c = config_in(SLOT_A);
	struct pci_device *d = NULL;
	struct err err = { 0 };

	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -EBUSY);
	assert_string_equal(err.msg, "PCI: slot 3 is taken");
	c.slot = 0;
	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -EINVAL);
	c.slot = PCI_SLOTS;
	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -EINVAL);
	c = config_in(9);
	c.bar_bytes = 0x800;
	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -EINVAL);
	c.bar_bytes = 0x3000;
	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -EINVAL);
	c = config_in(9);
	c.nvectors = 0;
	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -EINVAL);
	c.nvectors = PCI_MAX_MSIX + 1;
	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -EINVAL);
	c = config_in(9);
	c.bar_bytes = PCI_WINDOW_BYTES;
	assert_int_equal(pci_device_create(t->f.pci, &c, &probe_ops, NULL, &d, &err), -ENOSPC);
	assert_string_equal(err.msg, "PCI: no room for the memory of slot 9");
	assert_null(d);
}

static void refuses_impossible_layouts(void **state)
{
	const struct pci_layout layouts[] = {
		{ 0xe0010000, 0xc0000000, 0x10000 },  { 0xe0000000, 0, 0x10000 },
		{ 0xe0000000, 0xc0000000, 0 },        { 0xe0000000, 0xc0001000, 0x10000 },
		{ 0xe0000000, 0xc0000000, 0x11000 },  { 0xe0000000, 0xffff0000, 0x20000 },
		{ 0xe0000000, 0x100000000, 0x10000 }, { 0xc0000000, 0xc0010000, 0x10000 },
	};
	struct fixture *t = *state;
	struct pci_host *p = NULL;

	for (unsigned int i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		struct bus mmio = { 0 };

		assert_true(pci_host_create(&layouts[i], &t->f.machine.host, &mmio, &p, NULL) < 0);
		assert_null(p);
	}
}

static int save(struct probe *p, struct buf *out)
{
	const struct state_entry entry = { &pci_device_state, SLOT_A, p->d };

	return state_save_all(&entry, 1, out, NULL);
}

static int load(struct probe *p, const struct buf *in, struct err *err)
{
	const struct state_entry entry = { &pci_device_state, SLOT_A, p->d };

	return state_load_all(&entry, 1, in->data, in->len_bytes, err);
}

static void moves_to_another_bus(void **state)
{
	struct fixture *t = *state;
	static struct fixture other;
	struct buf first = { 0 }, second = { 0 };
	const uint32_t at = PCI_WINDOW_GPA + 0xc0000;

	init(&other);
	put_bar(t, SLOT_A, 0, at);
	put_bar(t, SLOT_A, 1, at + 0x8000);
	command(t, SLOT_A, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	set_vector(&t->f, SLOT_A, 2, 0xfee01000, 0x41, 0);
	cfg_put(&t->f, SLOT_A, 0x42, 2, PCI_MSIX_FLAGS_MASKALL);
	assert_int_equal(save(&t->a, &first), 0);
	assert_int_equal(load(&other.a, &first, NULL), 0);
	assert_int_equal(save(&other.a, &second), 0);
	assert_int_equal(first.len_bytes, second.len_bytes);
	assert_memory_equal(first.data, second.data, first.len_bytes);
	for (unsigned int reg = 0; reg < 256; reg++)
		assert_int_equal(cfg_get(&other.f, SLOT_A, reg, 1), cfg_get(&t->f, SLOT_A, reg, 1));
	assert_int_equal(other.a.nmoves, 1);
	assert_int_equal(other.a.moved[0], at);
	assert_int_equal(mem_get(&other.f, at + 0x8020, 8), 0xfee01000);
	/* Once more changes nothing; to where memory space is off moves it away. */
	assert_int_equal(load(&other.a, &first, NULL), 0);
	assert_int_equal(other.a.nmoves, 1);
	second.len_bytes = 0;
	assert_int_equal(save(&t->b, &second), 0);
	assert_int_equal(load(&other.a, &second, NULL), 0);
	assert_int_equal(other.a.nmoves, 2);
	assert_int_equal(other.a.moved[1], 0);
	buf_fini(&first);
	buf_fini(&second);
	fini(&other);
}

/* Offsets in the section's body: state.md, section "pci". */
enum { AT_COMMAND = 0, AT_BAR = 2, AT_CONTROL = 10, AT_PENDING = 12, AT_LEN = 20, AT_TABLE = 24 };

static void refuses_what_no_device_has(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t bits;
		const char *says;
	} cases[] = {
		{ AT_COMMAND, 1, "command" },
		{ AT_COMMAND + 1, 8, "command" },
		{ AT_BAR + 1, 8, "bar 0" },
		{ AT_BAR + 1, 0x10, "bar 0" },
		{ AT_BAR + 4, 1, "bar 1" },
		{ AT_BAR + 5, 8, "bar 1" },
		{ AT_CONTROL, 2, "msix_control" },
		{ AT_CONTROL + 1, 0x20, "msix_control" },
		{ AT_PENDING, 1, "pending" },
		{ AT_LEN, 0x10, "left over" },
		{ AT_LEN, 8, "truncated" },
		{ AT_LEN + 1, 8, "at most 1024" },
		{ AT_TABLE, 1, "table entry 0" },
		{ AT_TABLE + 28, 2, "table entry 1" },
		{ AT_TABLE + 32, 2, "table entry 2" },
	};
	struct fixture *t = *state;
	struct buf good = { 0 };
	unsigned int body;

	assert_int_equal(save(&t->a, &good), 0);
	body = (unsigned int)good.len_bytes - AT_TABLE - 48;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };

		good.data[body + cases[i].at] ^= cases[i].bits;
		assert_true(load(&t->a, &good, &err) < 0);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("case %u: %s", i, err.msg);
		good.data[body + cases[i].at] ^= cases[i].bits;
		assert_int_equal(load(&t->a, &good, &err), 0);
	}
	/* A vector that is not there, with MSI-X on. */
	good.data[body + AT_CONTROL + 1] |= 0x80;
	good.data[body + AT_PENDING] = 8;
	assert_int_equal(load(&t->a, &good, NULL), -EBADMSG);
	good.data[body + AT_PENDING] = 4;
	assert_int_equal(load(&t->a, &good, NULL), 0);
	buf_fini(&good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(shows_bridge_devices_and_nothing_else, setup,
						teardown),
		cmocka_unit_test_setup_teardown(keeps_what_is_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_accesses_of_any_size_and_alignment, setup,
						teardown),
		cmocka_unit_test_setup_teardown(gives_each_bar_a_place, setup, teardown),
		cmocka_unit_test_setup_teardown(follows_the_bar, setup, teardown),
		cmocka_unit_test_setup_teardown(passes_accesses_on, setup, teardown),
		cmocka_unit_test_setup_teardown(overlapping_bars_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(links_capabilities, setup, teardown),
		cmocka_unit_test_setup_teardown(hands_over_a_devices_own_capability, setup,
						teardown),
		cmocka_unit_test_setup_teardown(refuses_what_does_not_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_impossible_layouts, setup, teardown),
		cmocka_unit_test_setup_teardown(moves_to_another_bus, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_no_device_has, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
