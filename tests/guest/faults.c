/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that breaks the rules of virtio 1.2, one at a time. The device must say NEEDS_RESET (§2.1.2)
 * for what it cannot serve, must not write outside its buffers, and must work after a reset.
 */
#include "layout.h"
#include "virtio.h"

#define ANSWER_TIMEOUT_MS 5000u
#define QUIET_MS 20u
#define CHAIN_MAX 4u
#define REGISTER_WRITES 256u
#define NOWHERE (1ull << 51) /* no guest has so much memory */
#define CANARY 0xa5

/* What is in an address or a head; others are meant as they are. */
#define SCRATCH 1ull
#define TABLE 2ull
#define HEAD_AT_SIZE 0x10000u
#define TABLE_OVERLONG UINT32_MAX

struct fault {
	const char *name;
	/* Descriptors from 0 on; with `table` they are in an indirect table, which descriptor 0 names. */
	struct vring_desc chain[CHAIN_MAX];
	bool table;
	uint32_t table_len; /* 0: as it should be */
	uint32_t head;
	uint16_t ahead; /* how much further than right the index goes */
	bool tolerated; /* the device may as well serve it, or wait */
};

#define R(n)                              \
	{                                 \
		SCRATCH, 16, DESC_NEXT, n \
	}
#define R_END                     \
	{                         \
		SCRATCH, 16, 0, 0 \
	}
#define W(n)                                           \
	{                                              \
		SCRATCH, 16, DESC_NEXT | DESC_WRITE, n \
	}
#define W_END                              \
	{                                  \
		SCRATCH, 16, DESC_WRITE, 0 \
	}

static const struct fault faults[] = {
	{ .name = "head-at-size", .head = HEAD_AT_SIZE, .chain = { R_END } },
	{ .name = "head-beyond", .head = 0xffff, .chain = { R_END } },
	{ .name = "next-beyond", .chain = { R(0x7fff) } },
	{ .name = "loop-of-one", .chain = { R(0) } },
	{ .name = "loop-of-two", .chain = { R(1), R(0) } },
	{ .name = "loop-writable", .chain = { R(1), W(2), W(1) } },
	{ .name = "address-nowhere", .chain = { { NOWHERE, 16, 0, 0 } } },
	{ .name = "address-wraps", .chain = { { UINT64_MAX - 7, 16, 0, 0 } } },
	{ .name = "address-of-device", .chain = { { VIRTIO_ECAM_PA, 16, DESC_WRITE, 0 } } },
	{ .name = "length-huge", .chain = { { SCRATCH, UINT32_MAX, DESC_WRITE, 0 } } },
	{ .name = "readable-behind-writable", .chain = { W(1), R_END } },
	{ .name = "index-jump", .ahead = VIRTIO_QUEUE_MAX, .chain = { R_END } },
	{ .name = "index-back", .ahead = 0xfffe, .chain = { R_END } },
	{ .name = "table-odd", .table = true, .table_len = 17, .chain = { R_END } },
	{ .name = "table-short", .table = true, .table_len = 8, .chain = { R_END } },
	{ .name = "table-overlong",
	  .table = true,
	  .table_len = TABLE_OVERLONG,
	  .chain = { R_END } },
	{ .name = "table-next-beyond", .table = true, .chain = { R(1), R(9) } },
	{ .name = "table-loop", .table = true, .chain = { R(1), R(0) } },
	{ .name = "table-in-table", .table = true, .chain = { { TABLE, 16, DESC_INDIRECT, 0 } } },
	{ .name = "table-nowhere", .chain = { { NOWHERE, 16, DESC_INDIRECT, 0 } } },
	{ .name = "table-and-next",
	  .chain = { { TABLE, 16, DESC_INDIRECT | DESC_NEXT, 1 }, R_END } },
	{ .name = "length-zero", .tolerated = true, .chain = { { SCRATCH, 0, 0, 0 } } },
	{ .name = "nothing-writable", .tolerated = true, .chain = { R_END } },
	{ .name = "nothing-readable", .tolerated = true, .chain = { W_END } },
};

/* The memory that is played with: a queue, two pages for buffers and indirect tables. */
static struct vring *ring;
static uint8_t *scratch;
static uint64_t bad, tried;

/* Of each type of device a queue that it serves without anything coming from outside. */
static uint16_t served_queue(uint32_t kind)
{
	return kind == VIRTIO_NET || kind == VIRTIO_CONSOLE || kind == VIRTIO_VSOCK;
}

static void judge(const struct virtio_device *d, const char *name, const char *what, bool ok)
{
	struct line l;

	tried++;
	if (ok)
		return;
	bad++;
	l.len = 0;
	line_str(&l, "BAD fault=");
	line_str(&l, name);
	virtio_describe(&l, d);
	line_str(&l, " ");
	line_str(&l, what);
	line_hex(&l, " status=", virtio_status(d));
	line_print(&l);
}

static bool start(struct virtio_device *d)
{
	memset(scratch, CANARY, PAGE_BYTES);
	return virtio_start(d, 1ull << VIRTIO_F_INDIRECT_DESC, served_queue(d->kind), ring);
}

static bool wait_for_reset_wanted(const struct virtio_device *d, uint32_t timeout_ms)
{
	uint64_t begin = cpu_clock();

	while (!(virtio_status(d) & VIRTIO_NEEDS_RESET)) {
		if (cpu_clock() - begin > cpu_clock_khz() * timeout_ms)
			return false;
		cpu_pause();
	}
	return true;
}

/* ---- the same device does its work ---- */

static bool wait_used(struct virtio_device *d, uint32_t *ret_len)
{
	uint64_t begin = cpu_clock();
	uint32_t id;

	while (!virtio_take(d, &id, ret_len)) {
		if (cpu_clock() - begin > cpu_clock_khz() * ANSWER_TIMEOUT_MS)
			return false;
		cpu_pause();
	}
	return id == 0;
}

static bool ask_rng(struct virtio_device *d)
{
	uint32_t len;

	ring->desc[0] = (struct vring_desc){ (uint64_t)scratch, 64, DESC_WRITE, 0 };
	virtio_offer(d, 0);
	virtio_publish(d);
	return wait_used(d, &len) && len >= 1 && len <= 64;
}

/* Reads sector 0: a header of three fields, 512 bytes, the status. */
static bool ask_blk(struct virtio_device *d)
{
	uint32_t len;

	memset(scratch, 0, 16);
	ring->desc[0] = (struct vring_desc){ (uint64_t)scratch, 16, DESC_NEXT, 1 };
	ring->desc[1] =
		(struct vring_desc){ (uint64_t)scratch + 512, 512, DESC_NEXT | DESC_WRITE, 2 };
	ring->desc[2] = (struct vring_desc){ (uint64_t)scratch + 1024, 1, DESC_WRITE, 0 };
	virtio_offer(d, 0);
	virtio_publish(d);
	return wait_used(d, &len) && len == 513 && scratch[1024] == 0;
}

static void check_works(struct virtio_device *d, const char *name)
{
	bool ok = start(d);

	if (ok && d->kind == VIRTIO_BLK)
		ok = ask_blk(d);
	else if (ok && d->kind == VIRTIO_RNG)
		ok = ask_rng(d);
	judge(d, name, "does not work after a reset", ok);
	(void)virtio_reset(d);
}

/* ---- faults of the queue ---- */

static uint64_t place(uint64_t addr)
{
	return addr == SCRATCH ? (uint64_t)scratch :
	       addr == TABLE   ? (uint64_t)scratch + 2048 :
				 addr;
}

static struct vring_desc *table_at(uint32_t offset)
{
	return (struct vring_desc *)((uint64_t)scratch + offset);
}

static void lay_out(const struct virtio_device *d, const struct fault *f)
{
	struct vring_desc *at = f->table ? table_at(2048) : ring->desc;
	uint32_t n = 0;

	for (uint32_t i = 0; i < CHAIN_MAX; i++) {
		at[i] = f->chain[i];
		at[i].addr = place(at[i].addr);
		n += f->chain[i].addr != 0;
	}
	if (!f->table)
		return;
	ring->desc[0] = (struct vring_desc){ (uint64_t)at, n * 16, DESC_INDIRECT, 0 };
	if (f->table_len == TABLE_OVERLONG)
		ring->desc[0].len = 16 * (d->size + 1u);
	else if (f->table_len)
		ring->desc[0].len = f->table_len;
}

/* An overlong table: every entry of it is in the chain. */
static void lay_out_overlong(const struct virtio_device *d)
{
	struct vring_desc *at = table_at(0);

	for (uint32_t i = 0; i <= d->size; i++)
		at[i] = (struct vring_desc){ (uint64_t)scratch, 1, DESC_NEXT, (uint16_t)(i + 1) };
	ring->desc[0].addr = (uint64_t)scratch;
}

static bool scratch_untouched(void)
{
	/* No fault says that more than the first 16 bytes may be written. */
	for (uint32_t i = 16; i < 2048; i++)
		if (scratch[i] != CANARY)
			return false;
	return true;
}

static void try_fault(struct virtio_device *d, const struct fault *f)
{
	bool overlong = f->table_len == TABLE_OVERLONG;

	if (!start(d)) {
		judge(d, f->name, "does not start", false);
		return;
	}
	if (f->table && !virtio_has(d, VIRTIO_F_INDIRECT_DESC))
		return;
	lay_out(d, f);
	if (overlong)
		lay_out_overlong(d);
	virtio_offer(d, (uint16_t)(f->head == HEAD_AT_SIZE ? d->size : f->head));
	d->avail_idx = (uint16_t)(d->avail_idx + f->ahead);
	virtio_publish(d);
	/* With an index that goes back it may look as if nothing was new. */
	virtio_kick(d);
	if (f->tolerated)
		(void)wait_for_reset_wanted(d, QUIET_MS);
	else
		judge(d, f->name, "is not refused", wait_for_reset_wanted(d, ANSWER_TIMEOUT_MS));
	if (!overlong && !f->tolerated)
		judge(d, f->name, "wrote where it must not", scratch_untouched());
	judge(d, f->name, "does not come back from a reset", virtio_reset(d));
}

/* ---- faults of the registers ---- */

/* Rings where there is no memory: the queue stays off, or the device says so. */
static void try_rings(struct virtio_device *d, const char *name, const struct virtio_rings *at)
{
	uint16_t queue = served_queue(d->kind);
	bool refused;

	if (!virtio_reset(d) || !virtio_negotiate(d, 0)) {
		judge(d, name, "does not start", false);
		return;
	}
	(void)virtio_set_queue(d, queue, at);
	virtio_driver_ok(d);
	refused = !virtio_queue_enabled(d, queue) || wait_for_reset_wanted(d, ANSWER_TIMEOUT_MS);
	judge(d, name, "rings are not refused", refused);
	judge(d, name, "does not come back from a reset", virtio_reset(d));
}

static void try_all_rings(struct virtio_device *d)
{
	const uint64_t desc = (uint64_t)ring->desc, avail = (uint64_t)&ring->avail,
		       used = (uint64_t)&ring->used;
	const struct virtio_rings nowhere[] = {
		{ NOWHERE, avail, used },         { desc, NOWHERE, used },
		{ desc, avail, NOWHERE },         { desc + 8, avail, used },
		{ UINT64_MAX - 15, avail, used },
	};

	for (uint32_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
		try_rings(d, "rings-nowhere", &nowhere[i]);
}

/* Accesses of all sizes all over the registers, the doorbell among them. */
static void try_registers(struct virtio_device *d)
{
	uint64_t base = d->pci ? d->common : d->at;
	uint32_t span = d->pci ? 0x40 : 0x180;

	if (!start(d))
		judge(d, "registers", "does not start", false);
	for (uint32_t i = 0; i < REGISTER_WRITES; i++) {
		uint64_t h = page_data_word(i, d->kind, FILL_RANDOM) * 0x9e3779b97f4a7c15ull;
		uint64_t at = base + (h >> 8) % span;
		uint64_t v = h & 0x80 ? h >> 16 : h >> 60;

		switch (h % 8) {
		case 0:
			mmio_write8(at, (uint8_t)v);
			break;
		case 1:
			mmio_write16(at & ~1ull, (uint16_t)v);
			break;
		case 2:
			mmio_write64(at & ~7ull, v);
			break;
		case 3:
			(void)mmio_read64(at & ~7ull);
			break;
		default:
			mmio_write32(at & ~3ull, (uint32_t)v);
			break;
		}
	}
	check_works(d, "registers");
}

static void try_device(struct virtio_device *d)
{
	struct line l;
	uint64_t before = bad;

	check_works(d, "none");
	for (uint32_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		try_fault(d, &faults[i]);
	try_all_rings(d);
	try_registers(d);
	l.len = 0;
	line_str(&l, "vmm-guest: faults");
	virtio_describe(&l, d);
	line_dec(&l, " tried=", sizeof(faults) / sizeof(faults[0]));
	line_dec(&l, " bad=", bad - before);
	line_print(&l);
}

uint64_t faults_run(void *area)
{
	static struct virtio_device found[VIRTIO_DEVICES_MAX];
	uint32_t n = virtio_find(found, VIRTIO_DEVICES_MAX);
	struct line l;

	ring = area;
	scratch = (uint8_t *)(ring + 1);
	for (uint32_t i = 0; i < n; i++)
		try_device(&found[i]);
	l.len = 0;
	line_dec(&l, "vmm-guest: faults devices=", n);
	line_dec(&l, " checks=", tried);
	line_dec(&l, " bad=", bad);
	line_print(&l);
	return n ? bad : 1;
}
