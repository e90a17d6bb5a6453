/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on a disk, from CPU 0 between its batches: reads and writes of random blocks, several under way
 * at once. What a sector holds follows from its number and how often its block was written, so that a
 * write that is lost, done twice or late, or that went elsewhere shows at the next read of the block.
 */
#include "virtio.h"

#define SECTOR_BYTES 512u
#define SECTOR_WORDS (SECTOR_BYTES / 8)
#define QUEUE 0
#define FLUSH_CYCLE 64u /* with BLK_MIX one request in so many flushes */
#define DRAIN_TIMEOUT_MS 60000u
#define SECTOR_MAGIC 0x766d6d2d626c6b00ull
#define BLOCK_BUSY UINT32_MAX

/* §5.2 */
#define BLK_F_RO 5
#define BLK_F_FLUSH 9
enum blk_type { BLK_T_IN = 0, BLK_T_OUT = 1, BLK_T_FLUSH = 4 };

/* A request in memory that the device sees. */
struct wire {
	uint32_t type, reserved;
	uint64_t sector;
	struct vring_desc indirect[3];
	uint8_t status;
};

struct request {
	bool busy;
	enum blk_type type;
	uint32_t block;
	uint32_t version; /* what the block holds, or will hold */
};

static struct virtio_device dev;
static struct vring *ring;
static struct wire *wires;
static uint8_t *buffers;
static uint32_t *versions; /* of each block: how often it was written; BLOCK_BUSY: being so */
static struct request requests[BLK_DEPTH_MAX];

static enum blk_load load;
static uint32_t block_bytes, blocks, depth;
static uint64_t requests_max; /* 0: without end */
static bool running, halted, done;

/* Verification: the next block to read. */
static bool verifying;
static uint32_t verify_next;

static uint32_t in_flight;
static uint64_t started, finished, reads, writes, flushes, bad, verified;
static uint64_t start_clk, wait_clk,
	maxgap_clk; /* wait_clk: since when the next answer is waited for */

static uint64_t pages_bytes(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

static uint64_t wires_bytes(const struct args *args)
{
	return pages_bytes(sizeof(struct wire) * args->blk_depth);
}

static uint64_t versions_bytes(const struct args *args)
{
	return args->blk_span / args->blk_bytes * sizeof(uint32_t);
}

uint64_t disk_area_bytes(const struct args *args)
{
	uint64_t bytes = sizeof(struct vring);

	/* What faults.c wants is less than what a disk does. */
	if (!args->blk)
		return args->faults ? bytes + 2 * PAGE_BYTES : 0;
	bytes += wires_bytes(args) + pages_bytes(args->blk_bytes * args->blk_depth);
	return bytes + pages_bytes(versions_bytes(args));
}

/* ---- what a sector holds ---- */

static uint64_t sector_word(uint64_t sector, uint32_t version, uint32_t i)
{
	return page_data_word(sector, version, FILL_RANDOM) + i * 0x9e3779b97f4a7c15ull;
}

static void *buffer_of(uint32_t slot)
{
	return buffers + (uint64_t)slot * block_bytes;
}

static void fill_block(uint32_t slot)
{
	const struct request *r = &requests[slot];
	uint64_t *p = buffer_of(slot);
	uint64_t first = (uint64_t)r->block * (block_bytes / SECTOR_BYTES);

	for (uint32_t s = 0; s < block_bytes / SECTOR_BYTES; s++, p += SECTOR_WORDS) {
		p[0] = SECTOR_MAGIC ^ (first + s);
		p[1] = r->version;
		for (uint32_t i = 2; i < SECTOR_WORDS; i++)
			p[i] = sector_word(first + s, r->version, i);
	}
}

static __attribute__((noinline, cold)) void disk_bad(const char *what, uint64_t sector,
						     uint64_t expected, uint64_t found)
{
	struct line l;

	if (bad++ >= BAD_LINES_MAX)
		return;
	l.len = 0;
	line_str(&l, "BAD blk ");
	line_str(&l, what);
	line_dec(&l, " sector=", sector);
	line_hex(&l, " expected=", expected);
	line_hex(&l, " found=", found);
	line_print(&l);
}

static void check_block(uint32_t slot)
{
	const struct request *r = &requests[slot];
	const uint64_t *p = buffer_of(slot);
	uint64_t first = (uint64_t)r->block * (block_bytes / SECTOR_BYTES);

	for (uint32_t s = 0; s < block_bytes / SECTOR_BYTES; s++, p += SECTOR_WORDS) {
		uint32_t i = 2;

		if (p[0] != (SECTOR_MAGIC ^ (first + s)))
			disk_bad("identity", first + s, SECTOR_MAGIC ^ (first + s), p[0]);
		else if (p[1] != r->version)
			disk_bad("version", first + s, r->version, p[1]);
		while (i < SECTOR_WORDS && p[i] == sector_word(first + s, r->version, i))
			i++;
		if (i < SECTOR_WORDS)
			disk_bad("data", first + s, sector_word(first + s, r->version, i), p[i]);
	}
}

/* ---- requests ---- */

/* Another block than those under way, so that each one's version is known. */
static uint32_t choose_block(void)
{
	uint64_t n = started;
	uint32_t block;

	do {
		uint64_t h = page_data_word(n++, 0x626c6b, FILL_RANDOM) * 0x9e3779b97f4a7c15ull;

		block = (uint32_t)((unsigned __int128)h * blocks >> 64);
	} while (versions[block] == BLOCK_BUSY);
	return block;
}

static bool next_to_verify(struct request *r)
{
	while (verify_next < blocks && !versions[verify_next])
		verify_next++;
	if (verify_next == blocks)
		return false;
	r->type = BLK_T_IN;
	r->block = verify_next++;
	return true;
}

static bool next_of_load(struct request *r)
{
	bool writes_now = load == BLK_WRITE || (load == BLK_MIX && started % 2);

	if (halted || (requests_max && started == requests_max))
		return false;
	r->block = choose_block();
	r->type = writes_now ? BLK_T_OUT : BLK_T_IN;
	if (load == BLK_MIX && started % FLUSH_CYCLE == FLUSH_CYCLE - 1 &&
	    virtio_has(&dev, BLK_F_FLUSH))
		r->type = BLK_T_FLUSH;
	started++;
	return true;
}

static bool choose_request(struct request *r)
{
	if (!(verifying ? next_to_verify(r) : next_of_load(r)))
		return false;
	r->version = versions[r->block];
	if (r->type == BLK_T_OUT)
		r->version++;
	if (r->type != BLK_T_FLUSH)
		versions[r->block] = BLOCK_BUSY;
	return true;
}

/* The chain of a request: header, data, status; in a table of its own where the device knows those (§2.7.5.3). */
static void build_chain(uint32_t slot)
{
	struct wire *w = &wires[slot];
	bool indirect = virtio_has(&dev, VIRTIO_F_INDIRECT_DESC);
	struct vring_desc *d = indirect ? w->indirect : &ring->desc[slot * 3];
	uint16_t base = indirect ? 0 : (uint16_t)(slot * 3);
	enum blk_type type = requests[slot].type;
	uint16_t n = 0;

	d[n] = (struct vring_desc){ (uint64_t)w, 16, DESC_NEXT, (uint16_t)(base + n + 1) };
	n++;
	if (type != BLK_T_FLUSH) {
		d[n] = (struct vring_desc){ (uint64_t)buffer_of(slot), block_bytes,
					    type == BLK_T_IN ? DESC_NEXT | DESC_WRITE : DESC_NEXT,
					    (uint16_t)(base + n + 1) };
		n++;
	}
	d[n++] = (struct vring_desc){ (uint64_t)&w->status, 1, DESC_WRITE, 0 };
	if (indirect)
		ring->desc[slot] =
			(struct vring_desc){ (uint64_t)w->indirect, n * 16u, DESC_INDIRECT, 0 };
}

static void submit(uint32_t slot)
{
	struct request *r = &requests[slot];
	struct wire *w = &wires[slot];

	r->busy = true;
	w->type = r->type;
	w->reserved = 0;
	w->sector = r->type == BLK_T_FLUSH ? 0 : (uint64_t)r->block * (block_bytes / SECTOR_BYTES);
	w->status = 0xff;
	if (r->type == BLK_T_OUT)
		fill_block(slot);
	build_chain(slot);
	if (!in_flight++)
		wait_clk = cpu_clock();
	virtio_offer(&dev, (uint16_t)(virtio_has(&dev, VIRTIO_F_INDIRECT_DESC) ? slot : slot * 3));
}

static void submit_all(void)
{
	for (uint32_t slot = 0; slot < depth && in_flight < depth; slot++) {
		if (requests[slot].busy)
			continue;
		if (!choose_request(&requests[slot]))
			break;
		submit(slot);
	}
	virtio_publish(&dev);
}

static void count(const struct request *r)
{
	if (verifying)
		verified++;
	else if (r->type == BLK_T_IN)
		reads++;
	else if (r->type == BLK_T_OUT)
		writes++;
	else
		flushes++;
	finished += !verifying;
}

static void complete(uint32_t slot, uint32_t len)
{
	struct request *r = &requests[slot];
	uint64_t sector = wires[slot].sector;
	/* §2.7.8: what the device wrote. */
	uint32_t expected = r->type == BLK_T_IN ? block_bytes + 1 : 1;

	if (wires[slot].status)
		disk_bad("status", sector, 0, wires[slot].status);
	else if (len != expected)
		disk_bad("length", sector, expected, len);
	else if (r->type == BLK_T_IN && r->version)
		check_block(slot);
	if (r->type != BLK_T_FLUSH)
		versions[r->block] = r->version;
	count(r);
	r->busy = false;
	in_flight--;
}

static void reap(void)
{
	uint32_t scale = virtio_has(&dev, VIRTIO_F_INDIRECT_DESC) ? 1 : 3;
	uint64_t now = cpu_clock();
	uint32_t id, len;

	if (in_flight && now - wait_clk > maxgap_clk)
		maxgap_clk = now - wait_clk;
	if (virtio_used_ahead(&dev) > in_flight) {
		disk_bad("used", 0, in_flight, virtio_used_ahead(&dev));
		running = false;
		return;
	}
	while (virtio_take(&dev, &id, &len)) {
		wait_clk = now;
		if (id % scale || id / scale >= depth || !requests[id / scale].busy) {
			/* Given back twice, or never asked for. */
			disk_bad("id", 0, depth, id);
			in_flight--;
			continue;
		}
		complete(id / scale, len);
	}
}

/* ---- for main.c ---- */

static void print_start(uint64_t sectors)
{
	struct line l;

	l.len = 0;
	line_str(&l, "vmm-guest: blk");
	virtio_describe(&l, &dev);
	line_dec(&l, " sectors=", sectors);
	line_dec(&l, " blocks=", blocks);
	line_dec(&l, " bytes=", block_bytes);
	line_dec(&l, " depth=", depth);
	line_hex(&l, " features=", dev.features);
	line_print(&l);
}

static bool find_disk(void)
{
	static struct virtio_device found[VIRTIO_DEVICES_MAX];
	uint32_t n = virtio_find(found, VIRTIO_DEVICES_MAX);

	for (uint32_t i = 0; i < n; i++) {
		if (found[i].kind == VIRTIO_BLK) {
			dev = found[i];
			return true;
		}
	}
	console_puts("vmm-guest: ERROR no virtio-blk device on PCI or MMIO");
	return false;
}

static void divide_area(const struct args *args, void *area)
{
	uint64_t at = (uint64_t)area;

	ring = area;
	at += sizeof(*ring);
	wires = (struct wire *)at;
	at += wires_bytes(args);
	buffers = (uint8_t *)at;
	at += pages_bytes(args->blk_bytes * args->blk_depth);
	versions = (uint32_t *)at;
	memset(versions, 0, versions_bytes(args));
}

static bool disk_fits(const struct args *args, uint64_t sectors)
{
	uint64_t span =
		args->blk_span / SECTOR_BYTES < sectors ? args->blk_span / SECTOR_BYTES : sectors;

	block_bytes = (uint32_t)args->blk_bytes;
	blocks = (uint32_t)(span / (block_bytes / SECTOR_BYTES));
	depth = args->blk_depth;
	if (!virtio_has(&dev, VIRTIO_F_INDIRECT_DESC) && depth > dev.size / 3u)
		depth = dev.size / 3u;
	if (depth > dev.size)
		depth = dev.size;
	/* A block of each request, and one to choose. */
	if (blocks > depth)
		return true;
	console_puts("vmm-guest: ERROR the disk has not more blocks than blk-depth= has requests");
	return false;
}

bool disk_init(const struct args *args, void *area)
{
	const uint64_t indirect = args->blk_chain ? 0 : 1ull << VIRTIO_F_INDIRECT_DESC;
	uint64_t sectors;

	divide_area(args, area);
	if (!find_disk())
		return false;
	if (!virtio_start(&dev,
			  1ull << VIRTIO_F_EVENT_IDX | 1ull << BLK_F_FLUSH | 1ull << BLK_F_RO |
				  indirect,
			  QUEUE, ring)) {
		console_puts("vmm-guest: ERROR the disk does not start");
		return false;
	}
	sectors = virtio_config64(&dev, 0);
	if (!disk_fits(args, sectors))
		return false;
	if (virtio_has(&dev, BLK_F_RO) && args->blk != BLK_READ) {
		console_puts("vmm-guest: ERROR the disk is read-only");
		return false;
	}
	load = args->blk;
	requests_max = args->blk_requests;
	print_start(sectors);
	start_clk = cpu_clock();
	running = true;
	return true;
}

static void print_done(void)
{
	uint64_t us = (cpu_clock() - start_clk) * 1000 / cpu_clock_khz();
	struct line l;

	l.len = 0;
	line_dec(&l, "vmm-guest: blk done requests=", finished);
	line_dec(&l, " reads=", reads);
	line_dec(&l, " writes=", writes);
	line_dec(&l, " flushes=", flushes);
	line_dec(&l, " elapsed_us=", us);
	line_dec(&l, " per_s=", us ? finished * 1000000 / us : 0);
	line_dec(&l, " kicks=", dev.kicks);
	line_dec(&l, " maxgap_us=", maxgap_clk * 1000 / cpu_clock_khz());
	line_dec(&l, " bad=", bad);
	line_print(&l);
}

bool disk_step(void)
{
	if (!running)
		return false;
	reap();
	if (running)
		submit_all();
	if (!done && requests_max && finished == requests_max) {
		done = true;
		print_done();
	}
	return in_flight != 0;
}

void disk_halt(bool halt)
{
	halted = halt;
}

/* Until nothing is under way; false when the device has given up. */
static bool drain(void)
{
	uint64_t start = cpu_clock();

	while (disk_step()) {
		if (cpu_clock() - start > cpu_clock_khz() * DRAIN_TIMEOUT_MS) {
			disk_bad("lost", 0, 0, in_flight);
			running = false;
		}
		cpu_pause();
	}
	return running;
}

uint64_t disk_verify(void)
{
	bool was_halted = halted;
	struct line l;

	if (!blocks)
		return 0;
	halted = true;
	if (drain()) {
		verifying = true;
		verify_next = 0;
		verified = 0;
		(void)drain();
		verifying = false;
	}
	halted = was_halted;
	l.len = 0;
	line_dec(&l, "vmm-guest: blk verified blocks=", verified);
	line_dec(&l, " reads=", reads);
	line_dec(&l, " writes=", writes);
	line_dec(&l, " flushes=", flushes);
	line_dec(&l, " maxgap_us=", maxgap_clk * 1000 / cpu_clock_khz());
	line_dec(&l, " bad=", bad);
	line_print(&l);
	return bad;
}

void disk_report(struct line *l)
{
	if (!blocks)
		return;
	line_dec(l, " blk=", finished);
	line_dec(l, " blk_bad=", bad);
}
