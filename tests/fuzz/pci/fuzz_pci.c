/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any guest on a PCI bus with two virtio devices: configuration space, BARs (wherever it puts them), MSI-X tables, rings in its memory, and states that come from a peer. What it does must
 * leave read-only registers alone and no notification outside of the BARs, what is saved loads and saves again to the same, and nothing is left when it ends.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "pci_fixture.h"
#include "tiny_virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define NDEVS 2u
#define MAX_ENTRIES (2 * NDEVS)

struct guest {
	struct pci_fixture f;
	struct virtio *v[NDEVS];
	struct virtio_pci *pci[NDEVS];
	struct state_entry entries[MAX_ENTRIES];
};

/* A step: u8 what, u8 device (bit 0) and size (bits 2-1), u16 offset, u64 value. */
enum what { CONFIG, BAR0, BAR1, WINDOW, MEMORY, DEVICE_CONFIG, STATE, NWHATS };
#define WRITE 0x80u
#define STEP_BYTES 12u

static void expect(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void save(struct guest *g, struct buf *out)
{
	expect(state_save_all(g->entries, MAX_ENTRIES, out, NULL) == 0);
}

static void save_and_load(struct guest *g)
{
	struct buf first = { 0 }, second = { 0 };

	save(g, &first);
	expect(state_load_all(g->entries, MAX_ENTRIES, first.data, first.len_bytes, NULL) == 0);
	save(g, &second);
	expect(first.len_bytes == second.len_bytes);
	expect(!memcmp(first.data, second.data, first.len_bytes));
	buf_fini(&first);
	buf_fini(&second);
}

static void load_any(struct guest *g, const void *data, size_t len_bytes)
{
	struct err err = { 0 };
	int rc = state_load_all(g->entries, MAX_ENTRIES, data, len_bytes, &err);

	expect(rc == err.code && (!rc || err.msg[0]));
	if (!rc)
		save_and_load(g);
}

static void access_at(struct guest *g, uint64_t gpa, bool write, unsigned int size_bytes,
		      uint64_t value)
{
	if (write)
		mem_put(&g->f, gpa, size_bytes, value);
	else
		(void)mem_get(&g->f, gpa, size_bytes);
}

static void run_step(struct guest *g, const uint8_t step[STEP_BYTES])
{
	unsigned int dev = step[1] & 1, slot = dev + 1, size_bytes = 1u << (step[1] >> 1 & 3);
	uint32_t offset = le16_get(step + 2);
	uint64_t value = le64_get(step + 4);
	bool write = step[0] & WRITE;

	switch ((enum what)((step[0] & ~WRITE) % NWHATS)) {
	case CONFIG: /* bit 15 of the offset: the bridge's */
		access_at(g, PCI_ECAM_GPA + (offset & 0x8000 ? 0 : slot * 0x8000) + offset % 0x8000,
			  write, size_bytes, value);
		break;
	case BAR0:
		access_at(g, bar_of(&g->f, slot, 0) + offset % 0x1100, write, size_bytes, value);
		break;
	case BAR1:
		access_at(g, bar_of(&g->f, slot, 1) + offset % 0x1100, write, size_bytes, value);
		break;
	case WINDOW:
		access_at(g, PCI_WINDOW_GPA + offset * 16u + (value & 15), write, size_bytes,
			  value);
		break;
	case MEMORY:
		memcpy(driver_ptr(&g->f.machine, DRIVER_RAM_GPA + offset, 8), step + 4, 8);
		break;
	case DEVICE_CONFIG:
		virtio_set_config(g->v[dev], offset % TINY_CONFIG_BYTES, step + 4, 1);
		break;
	case STATE:
		save_and_load(g);
		break;
	case NWHATS:
		break;
	}
}

static void check(struct guest *g)
{
	const struct driver *m = &g->f.machine;

	expect(m->nnotify <= NDEVS * TINY_QUEUES);
	for (unsigned int i = 0; i < m->nnotify; i++)
		expect(m->notify[i].gpa - PCI_WINDOW_GPA < PCI_WINDOW_BYTES);
	for (unsigned int i = 0; i < NDEVS; i++) {
		expect(cfg_get(&g->f, i + 1, 0, 4) == ((0x1040u + TINY_DEVICE_ID) << 16 | 0x1af4));
		expect((bar_of(&g->f, i + 1, 0) | bar_of(&g->f, i + 1, 1)) % 4096 == 0);
	}
	expect(cfg_get(&g->f, 0, 8, 4) == 0x06000000);
}

static void begin(struct guest *g)
{
	unsigned int n = 0;

	expect(pci_fixture_init(&g->f) == 0);
	for (unsigned int i = 0; i < NDEVS; i++) {
		expect(tiny_virtio_create(&g->f.machine.host, &g->v[i]) == 0);
		expect(virtio_pci_create(g->v[i], &g->f.machine.host, g->f.pci, i + 1, &g->pci[i],
					 NULL) == 0);
		n += virtio_pci_state_entries(g->pci[i], i + 1, g->entries + n);
		cfg_put(&g->f, i + 1, 4, 2, 6); /* memory space, bus master */
		virtio_resume(g->v[i]);
	}
	expect(n == MAX_ENTRIES);
}

static void end(struct guest *g)
{
	for (unsigned int i = 0; i < NDEVS; i++) {
		virtio_pci_destroy(g->pci[i]);
		virtio_destroy(g->v[i]);
	}
	expect(g->f.machine.nnotify == 0);
	for (unsigned int i = 0; i < DRIVER_MAX_MSI; i++)
		expect(!g->f.machine.msi[i].open);
	pci_fixture_fini(&g->f);
}

/* The first byte: how many steps there are; what follows them is a state. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static struct guest g;
	struct reader in = reader_over(data, len_bytes);
	unsigned int nsteps = reader_u8(&in);

	if (in.failed)
		return 0;
	begin(&g);
	for (unsigned int i = 0; i < nsteps && reader_left(&in) >= STEP_BYTES; i++) {
		run_step(&g, reader_bytes(&in, STEP_BYTES));
		check(&g);
	}
	if (reader_left(&in))
		load_any(&g, in.pos, reader_left(&in));
	check(&g);
	end(&g);
	return 0;
}
