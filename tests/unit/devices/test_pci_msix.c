/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X through the bus: table, masks, pending bits, and what the host is told. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/pci/pci.h"
#include "pci_fixture.h"

#define SLOT 5u
#define NVECTORS 4u
#define PBA 2048u
#define MASK PCI_MSIX_ENTRY_CTRL_MASKBIT
#define ADDR 0xfee01000u

struct fixture {
	struct pci_fixture f;
	struct pci_device *d;
	/* The machine's calls with this in front of them. */
	struct dev_host_ops ops;
	const struct dev_host_ops *below;
	unsigned int nsets;
	int refuse; /* msi_set's answer; 0: the machine's */
	int refuse_open_after; /* so many; -1: never */
};

/* The machine is found by the address of its own: one test runs at a time. */
static struct fixture fixture;

static int counting_set(void *opaque, unsigned int vector, const struct irq_msi *message,
			struct err *err)
{
	fixture.nsets++;
	if (fixture.refuse)
		return err_set(err, fixture.refuse, "no such message");
	return fixture.below->msi_set(opaque, vector, message, err);
}

static int limited_open(void *opaque, int eventfd, unsigned int *ret_vector, struct err *err)
{
	if (fixture.refuse_open_after == 0)
		return err_set(err, -ENOSPC, "no vector left");
	fixture.refuse_open_after -= fixture.refuse_open_after > 0;
	return fixture.below->msi_open(opaque, eventfd, ret_vector, err);
}

static uint64_t no_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	return 0;
}

static void no_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
}

static void no_move(void *dev, uint64_t gpa)
{
}

static const struct pci_device_ops device_ops = {
	.bar = { .read = no_read, .write = no_write },
	.bar_moved = no_move,
};

static int add(struct pci_fixture *f, unsigned int slot, unsigned int nvectors,
	       struct pci_device **ret)
{
	const struct pci_device_config config = {
		.slot = slot, .vendor = 0x1af4, .bar_bytes = 4096, .nvectors = nvectors
	};

	return pci_device_create(f->pci, &config, &device_ops, NULL, ret, NULL);
}

static int setup(void **state)
{
	struct fixture *t = &fixture;

	*t = (struct fixture){ .refuse_open_after = -1 };
	assert_int_equal(pci_fixture_init(&t->f), 0);
	t->below = t->f.machine.host.ops;
	t->ops = *t->below;
	t->ops.msi_set = counting_set;
	t->ops.msi_open = limited_open;
	t->f.machine.host.ops = &t->ops;
	assert_int_equal(add(&t->f, SLOT, NVECTORS, &t->d), 0);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	pci_device_destroy(t->d);
	for (unsigned int i = 0; i < DRIVER_MAX_MSI; i++)
		assert_false(t->f.machine.msi[i].open);
	pci_fixture_fini(&t->f);
	return 0;
}

static void control(struct fixture *t, uint16_t value)
{
	unsigned int cap = find_capability(&t->f, SLOT, PCI_CAP_ID_MSIX, 0);

	cfg_put(&t->f, SLOT, cap + PCI_MSIX_FLAGS, 2, value);
}

static uint64_t pending(struct fixture *t)
{
	return mem_get(&t->f, bar_of(&t->f, SLOT, 1) + PBA, 8);
}

/* Signals of the vector since the last call. Vectors of the first device are the machine's first. */
static uint64_t sent(struct fixture *t, unsigned int vector)
{
	return take_signals(t->f.machine.msi[vector].eventfd);
}

static bool has_message(struct fixture *t, unsigned int vector, uint64_t addr, uint32_t data)
{
	const struct driver_msi *m = &t->f.machine.msi[vector];

	return m->set && m->message.addr == addr && m->message.data == data &&
	       m->message.devid == SLOT << 3;
}

static void keeps_a_table(void **state)
{
	struct fixture *t = *state;
	uint64_t table = bar_of(&t->f, SLOT, 1);
	unsigned int cap = find_capability(&t->f, SLOT, PCI_CAP_ID_MSIX, 0);

	assert_int_equal(cfg_get(&t->f, SLOT, cap + PCI_MSIX_FLAGS, 2), NVECTORS - 1);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + PCI_MSIX_TABLE, 4), 1);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + PCI_MSIX_PBA, 4), PBA | 1);
	for (unsigned int i = 0; i < NVECTORS; i++) { /* masked at first */
		assert_int_equal(mem_get(&t->f, table + 16 * i, 8), 0);
		assert_int_equal(mem_get(&t->f, table + 16 * i + 8, 8), (uint64_t)MASK << 32);
	}
	for (unsigned int at = 0; at < 16 * NVECTORS; at += 4)
		mem_put(&t->f, table + at, 4, 0xffffffff);
	for (unsigned int i = 0; i < NVECTORS; i++) {
		assert_int_equal(mem_get(&t->f, table + 16 * i, 8), 0xfffffffffffffffcull);
		assert_int_equal(mem_get(&t->f, table + 16 * i + 8, 4), 0xffffffff);
		assert_int_equal(mem_get(&t->f, table + 16 * i + 12, 4), MASK);
	}
	mem_put(&t->f, table + 16, 8, 0x1122334455667788ull);
	assert_int_equal(mem_get(&t->f, table + 20, 4), 0x11223344);
	/* Other sizes, other alignments, other places: nothing. */
	mem_put(&t->f, table + 16, 1, 0);
	mem_put(&t->f, table + 16, 2, 0);
	mem_put(&t->f, table + 18, 4, 0);
	mem_put(&t->f, table + 20, 8, 0);
	assert_int_equal(mem_get(&t->f, table + 16, 8), 0x1122334455667788ull);
	assert_int_equal(mem_get(&t->f, table + 17, 1), 0);
	mem_put(&t->f, table + 16 * NVECTORS, 8, UINT64_MAX);
	assert_int_equal(mem_get(&t->f, table + 16 * NVECTORS, 8), 0);
	mem_put(&t->f, table + PBA, 8, UINT64_MAX);
	assert_int_equal(pending(t), 0);
	assert_int_equal(mem_get(&t->f, table + PBA + 8, 8), 0);
	assert_int_equal(t->nsets, 0);
}

static void sends_unless_masked(void **state)
{
	struct fixture *t = *state;

	set_vector(&t->f, SLOT, 1, ADDR, 0x41, 0);
	pci_msix_send(t->d, 1); /* MSI-X is off: gone */
	control(t, PCI_MSIX_FLAGS_ENABLE);
	assert_true(has_message(t, 1, ADDR, 0x41));
	assert_int_equal(sent(t, 1), 0);
	pci_msix_send(t->d, 1);
	pci_msix_send(t->d, 1);
	assert_int_equal(sent(t, 1), 2);
	assert_int_equal(pending(t), 0);
	pci_msix_send(t->d, 2); /* masked in the table */
	pci_msix_send(t->d, 2);
	pci_msix_send(t->d, NVECTORS); /* none of ours */
	pci_msix_send(t->d, 1000);
	assert_int_equal(pending(t), 1 << 2);
	assert_int_equal(sent(t, 2), 0);
	set_vector(&t->f, SLOT, 2, ADDR, 0x42, 0);
	assert_int_equal(pending(t), 0);
	assert_int_equal(sent(t, 2), 1); /* once, however often it was due */
	assert_int_equal(sent(t, 1), 0);
}

static void masks_the_whole_function(void **state)
{
	struct fixture *t = *state;

	set_vector(&t->f, SLOT, 0, ADDR, 0x40, 0);
	set_vector(&t->f, SLOT, 3, ADDR, 0x43, 0);
	control(t, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_int_equal(t->nsets, 0);
	pci_msix_send(t->d, 0);
	pci_msix_send(t->d, 1);
	pci_msix_send(t->d, 3);
	assert_int_equal(pending(t), 0xb);
	control(t, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(pending(t), 2); /* that one is masked by itself */
	assert_int_equal(sent(t, 0), 1);
	assert_int_equal(sent(t, 1), 0);
	assert_int_equal(sent(t, 3), 1);
	control(t, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_false(t->f.machine.msi[0].set);
	assert_false(t->f.machine.msi[3].set);
	control(t, 0); /* what waits is dropped */
	assert_int_equal(pending(t), 0);
	control(t, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(sent(t, 1), 0);
}

static void needs_bus_mastering(void **state)
{
	struct fixture *t = *state;

	set_vector(&t->f, SLOT, 0, ADDR, 0x40, 0);
	control(t, PCI_MSIX_FLAGS_ENABLE);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_false(t->f.machine.msi[0].set);
	pci_msix_send(t->d, 0);
	assert_int_equal(sent(t, 0), 0);
	assert_int_equal(pending(t), 1);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2,
		PCI_COMMAND_MASTER); /* memory space is another matter */
	assert_int_equal(sent(t, 0), 1);
}

static void tells_the_host_what_changes(void **state)
{
	struct fixture *t = *state;
	uint64_t table = bar_of(&t->f, SLOT, 1);

	control(t, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(t->nsets, 0); /* all masked */
	set_vector(&t->f, SLOT, 0, ADDR, 0x40, 0);
	assert_int_equal(t->nsets, 1);
	mem_put(&t->f, table + PCI_MSIX_ENTRY_DATA, 4, 0x50); /* unmasked: as it is written */
	assert_true(has_message(t, 0, ADDR, 0x50));
	mem_put(&t->f, table, 8, 0x1fee02007ull);
	assert_true(has_message(t, 0, 0x1fee02004ull, 0x50));
	mem_put(&t->f, table + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, MASK);
	assert_false(t->f.machine.msi[0].set);
	t->nsets = 0;
	mem_put(&t->f, table + PCI_MSIX_ENTRY_DATA, 4, 0x51);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(t->nsets, 0);
	mem_put(&t->f, table + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
	assert_true(has_message(t, 0, 0x1fee02004ull, 0x51));
	control(t, 0);
	assert_false(t->f.machine.msi[0].set);
}

static void outlives_a_message_that_is_refused(void **state)
{
	struct fixture *t = *state;

	control(t, PCI_MSIX_FLAGS_ENABLE);
	t->refuse = -EINVAL;
	set_vector(&t->f, SLOT, 0, 0xdeadbeef00000000ull, 1, 0);
	pci_msix_send(t->d, 0);
	assert_int_equal(sent(t, 0), 0);
	assert_int_equal(pending(t), 1);
	t->refuse = 0;
	set_vector(&t->f, SLOT, 0, ADDR, 0x40, 0);
	assert_int_equal(sent(t, 0), 1);
	assert_int_equal(pending(t), 0);
}

static void gives_back_vectors_when_there_are_too_few(void **state)
{
	struct fixture *t = *state;
	struct pci_device *d = NULL;
	unsigned int nopen = 0;

	t->refuse_open_after = 2;
	assert_int_equal(add(&t->f, 9, 3, &d), -ENOSPC);
	assert_null(d);
	for (unsigned int i = 0; i < DRIVER_MAX_MSI; i++)
		nopen += t->f.machine.msi[i].open;
	assert_int_equal(nopen, NVECTORS);
	assert_int_equal(cfg_get(&t->f, 9, 0, 4), 0xffffffff);
}

/* What waits at the source is sent at the destination once it is unmasked there. */
static void takes_pending_bits_along(void **state)
{
	struct fixture *t = *state;
	const struct state_entry from = { &pci_device_state, SLOT, t->d };
	struct pci_device *copy = NULL;
	struct buf out = { 0 };
	struct state_entry to;
	uint64_t table;
	struct err err = { 0 };

	set_vector(&t->f, SLOT, 0, ADDR, 0x40, 0);
	set_vector(&t->f, SLOT, 1, ADDR, 0x41, 0);
	control(t, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msix_send(t->d, 0);
	pci_msix_send(t->d, 2);
	assert_int_equal(state_save_all(&from, 1, &out, NULL), 0);
	assert_int_equal(add(&t->f, 9, NVECTORS, &copy), 0);
	to = (struct state_entry){ &pci_device_state, SLOT, copy };
	assert_int_equal(state_load_all(&to, 1, out.data, out.len_bytes, NULL), 0);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, 0); /* they are in the same place now */
	table = bar_of(&t->f, 9, 1);
	assert_int_equal(mem_get(&t->f, table + PBA, 8), 5);
	for (unsigned int i = 0; i < NVECTORS; i++)
		assert_int_equal(sent(t, NVECTORS + i), 0);
	cfg_put(&t->f, 9, find_capability(&t->f, 9, PCI_CAP_ID_MSIX, 0) + PCI_MSIX_FLAGS, 2,
		PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(sent(t, NVECTORS), 1);
	assert_int_equal(sent(t, NVECTORS + 2), 0);
	assert_int_equal(mem_get(&t->f, table + PBA, 8), 4);
	assert_int_equal(t->f.machine.msi[NVECTORS + 1].message.devid, 9 << 3);

	/* Pending for another reason than a mask: with the vector's next message. */
	t->refuse = -EINVAL;
	out.len_bytes = 0;
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	control(t, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(pending(t), 5);
	assert_int_equal(state_save_all(&from, 1, &out, NULL), 0);
	t->refuse = 0;
	assert_int_equal(state_load_all(&to, 1, out.data, out.len_bytes, NULL), 0);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, 0);
	cfg_put(&t->f, 9, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(mem_get(&t->f, table + PBA, 8), 5);
	assert_int_equal(sent(t, NVECTORS), 0);
	pci_msix_send(copy, 0);
	assert_int_equal(sent(t, NVECTORS), 1);
	assert_int_equal(mem_get(&t->f, table + PBA, 8), 4);

	/* The host refuses a message: the load fails and says so. */
	t->refuse = -EINVAL;
	out.len_bytes = 0;
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(state_save_all(&from, 1, &out, NULL), 0);
	assert_int_equal(state_load_all(&to, 1, out.data, out.len_bytes, &err), -EINVAL);
	assert_string_equal(err.msg, "state section pci.5: no such message");
	pci_device_destroy(copy);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keeps_a_table, setup, teardown),
		cmocka_unit_test_setup_teardown(sends_unless_masked, setup, teardown),
		cmocka_unit_test_setup_teardown(masks_the_whole_function, setup, teardown),
		cmocka_unit_test_setup_teardown(needs_bus_mastering, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_the_host_what_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(outlives_a_message_that_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(gives_back_vectors_when_there_are_too_few, setup,
						teardown),
		cmocka_unit_test_setup_teardown(takes_pending_bits_along, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
