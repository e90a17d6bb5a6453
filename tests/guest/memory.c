/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. The loader's map says what is RAM. Just above the image come the areas of the other CPUs,
 * the disk's rings and buffers, and the page tables of the pool; every whole 2 MiB chunk above is the pool, mapped without holes
 * from POOL_VA on, so that a page number becomes an address with one shift.
 */
#include "guest.h"

extern char image_end[];

static struct boot_info boot;
static uint64_t pool_pages;
static struct cpu_area *ap_areas;
static void *disk_area;

bool memory_read_boot_info(void)
{
	return boot_read_info(&boot);
}

const char *memory_cmdline(void)
{
	return boot.cmdline;
}

struct cpu_area *memory_ap_areas(void)
{
	return ap_areas;
}

void *memory_disk_area(void)
{
	return disk_area;
}

uint64_t memory_pool_pages(void)
{
	return pool_pages;
}

/* The part of range `i` that the pool can have: whole chunks from `floor` on. */
static struct ram_range pool_part(uint32_t i, uint64_t floor)
{
	uint64_t start = boot.ram[i].start > floor ? boot.ram[i].start : floor;
	struct ram_range part = {
		(start + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1),
		boot.ram[i].end & ~(CHUNK_BYTES - 1),
	};

	if (part.end < part.start)
		part.end = part.start;
	return part;
}

static uint64_t count_chunks(uint64_t floor, uint64_t mem_bytes)
{
	uint64_t limit = mem_bytes / CHUNK_BYTES;
	uint64_t chunks = 0;

	for (uint32_t i = 0; i < boot.ram_count; i++) {
		struct ram_range part = pool_part(i, floor);

		chunks += (part.end - part.start) / CHUNK_BYTES;
	}
	if (chunks > limit)
		chunks = limit;
	/* One table of tables is what the pool has: 512 GiB. */
	return chunks < PAGE_WORDS * PAGE_WORDS ? chunks : PAGE_WORDS * PAGE_WORDS;
}

static void map_pool(uint64_t *tables, uint64_t floor, uint64_t chunks)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < boot.ram_count && n < chunks; i++) {
		struct ram_range part = pool_part(i, floor);

		for (uint64_t pa = part.start; pa < part.end && n < chunks; pa += CHUNK_BYTES)
			tables[n++] = mmu_chunk_entry(pa);
	}
	while (n % PAGE_WORDS)
		tables[n++] = 0;
	/* Linked in only now: a page table that is live may cost an exit a store. */
	mmu_map_pool(tables, n / PAGE_WORDS);
}

bool memory_init(const struct args *args)
{
	uint64_t base = (uint64_t)image_end;
	uint64_t areas_bytes = (uint64_t)(args->cpus - 1) * AREA_SIZE;
	uint64_t disk_bytes = disk_area_bytes(args);
	uint64_t tables = count_chunks(base, args->mem_bytes) / PAGE_WORDS + 1;
	uint64_t floor = base + areas_bytes + disk_bytes + tables * PAGE_BYTES;
	uint64_t chunks;
	bool fits = false;

	for (uint32_t i = 0; i < boot.ram_count; i++)
		fits |= boot.ram[i].start <= base && floor <= boot.ram[i].end &&
			floor <= mmu_identity_end();
	if (!fits) {
		console_puts("vmm-guest: ERROR no memory above the image");
		return false;
	}
	if (areas_bytes) {
		ap_areas = (struct cpu_area *)base;
		memset(ap_areas, 0, areas_bytes);
	}
	disk_area = (void *)(base + areas_bytes);
	memset(disk_area, 0, disk_bytes);
	chunks = count_chunks(floor, args->mem_bytes);
	map_pool((uint64_t *)(base + areas_bytes + disk_bytes), floor, chunks);
	pool_pages = chunks * CHUNK_PAGES;
	return true;
}
