/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. The loader's map says what is RAM. Just above the image come the areas of the other CPUs
 * and the page tables of the pool; every whole 2 MiB chunk above is the pool, mapped without holes
 * from POOL_VA on, so that a page number becomes an address with one shift.
 */
#include "guest.h"

#define START_INFO_MAGIC 0x336ec578
#define RAM_RANGES_MAX 64
#define MAP_TYPE_RAM 1
#define IDENTITY_LIMIT (4ull << 30)
#define PTE_FLAGS_TABLE 0x27 /* present, writable, user, accessed */
#define PTE_FLAGS_CHUNK 0xe7 /* the same, dirty, 2 MiB */

/* Xen public/arch-x86/hvm/start_info.h. */
struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_pa, cmdline_pa, rsdp_pa, memmap_pa;
	uint32_t memmap_entries, reserved;
};

struct hvm_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct ram_range {
	uint64_t start, end;
};

extern char image_end[];
uint64_t pool_pdpt[PAGE_WORDS] __attribute__((aligned(4096)));

static struct ram_range ram[RAM_RANGES_MAX];
static uint32_t ram_count;
static char cmdline[CMDLINE_BYTES];
static uint64_t pool_pages;
static struct cpu_area *ap_areas;

static void read_cmdline(uint64_t pa)
{
	uint32_t i = 0;

	if (pa && pa < IDENTITY_LIMIT - CMDLINE_BYTES)
		for (const char *s = (const char *)pa; i < CMDLINE_BYTES - 1 && s[i]; i++)
			cmdline[i] = s[i];
	cmdline[i] = 0;
}

bool memory_read_boot_info(uint64_t start_info_pa)
{
	const struct hvm_start_info *si = (const struct hvm_start_info *)start_info_pa;
	const struct hvm_memmap_entry *map;

	if (!si || si->magic != START_INFO_MAGIC) {
		console_puts("vmm-guest: ERROR no PVH start info");
		return false;
	}
	read_cmdline(si->cmdline_pa);
	if (si->version < 1 || !si->memmap_pa || si->memmap_pa >= IDENTITY_LIMIT / 2) {
		console_puts("vmm-guest: ERROR no memory map in the PVH start info");
		return false;
	}
	map = (const struct hvm_memmap_entry *)si->memmap_pa;
	for (uint32_t i = 0; i < si->memmap_entries && i < 1024 && ram_count < RAM_RANGES_MAX;
	     i++) {
		if (map[i].type != MAP_TYPE_RAM || !map[i].size ||
		    map[i].addr + map[i].size < map[i].addr)
			continue;
		ram[ram_count++] = (struct ram_range){ map[i].addr, map[i].addr + map[i].size };
	}
	return true;
}

const char *memory_cmdline(void)
{
	return cmdline;
}

struct cpu_area *memory_ap_areas(void)
{
	return ap_areas;
}

uint64_t memory_pool_pages(void)
{
	return pool_pages;
}

/* The part of range `i` that the pool can have: whole chunks from `floor` on. */
static struct ram_range pool_part(uint32_t i, uint64_t floor)
{
	uint64_t start = ram[i].start > floor ? ram[i].start : floor;
	struct ram_range part = {
		(start + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1),
		ram[i].end & ~(CHUNK_BYTES - 1),
	};

	if (part.end < part.start)
		part.end = part.start;
	return part;
}

static uint64_t count_chunks(uint64_t floor, uint64_t mem_bytes)
{
	uint64_t limit = mem_bytes / CHUNK_BYTES;
	uint64_t chunks = 0;

	for (uint32_t i = 0; i < ram_count; i++) {
		struct ram_range part = pool_part(i, floor);

		chunks += (part.end - part.start) / CHUNK_BYTES;
	}
	if (chunks > limit)
		chunks = limit;
	/* One page-directory-pointer table is what the pool has: 512 GiB. */
	return chunks < PAGE_WORDS * PAGE_WORDS ? chunks : PAGE_WORDS * PAGE_WORDS;
}

static void map_pool(uint64_t *tables, uint64_t floor, uint64_t chunks)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < ram_count && n < chunks; i++) {
		struct ram_range part = pool_part(i, floor);

		for (uint64_t pa = part.start; pa < part.end && n < chunks; pa += CHUNK_BYTES)
			tables[n++] = pa | PTE_FLAGS_CHUNK;
	}
	while (n % PAGE_WORDS)
		tables[n++] = 0;
	/* Linked in only now: a page table that is live may cost an exit a store. */
	for (uint64_t t = 0; t < n / PAGE_WORDS; t++)
		pool_pdpt[t] = (uint64_t)(tables + t * PAGE_WORDS) | PTE_FLAGS_TABLE;
}

bool memory_init(const struct args *args)
{
	uint64_t base = (uint64_t)image_end;
	uint64_t areas_bytes = (uint64_t)(args->cpus - 1) * AREA_SIZE;
	uint64_t tables = count_chunks(base, args->mem_bytes) / PAGE_WORDS + 1;
	uint64_t floor = base + areas_bytes + tables * PAGE_BYTES;
	uint64_t chunks;
	bool fits = false;

	for (uint32_t i = 0; i < ram_count; i++)
		fits |= ram[i].start <= base && floor <= ram[i].end && floor <= IDENTITY_LIMIT / 2;
	if (!fits) {
		console_puts("vmm-guest: ERROR no memory above the image");
		return false;
	}
	if (areas_bytes) {
		ap_areas = (struct cpu_area *)base;
		memset(ap_areas, 0, areas_bytes);
	}
	chunks = count_chunks(floor, args->mem_bytes);
	map_pool((uint64_t *)(base + areas_bytes), floor, chunks);
	pool_pages = chunks * CHUNK_PAGES;
	return true;
}

void *memset(void *p, int c, size_t n)
{
	void *at = p;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n)::"memory");
	return to;
}
