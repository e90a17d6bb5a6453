/* SPDX-License-Identifier: Apache-2.0 */
/* What the loader says, by the PVH boot ABI. */
#include "guest.h"

#define START_INFO_MAGIC 0x336ec578
#define MAP_ENTRIES_MAX 1024
#define MAP_TYPE_RAM 1
#define IDENTITY_LIMIT (4ull << 30)

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

extern uint64_t boot_start_info;

static void read_cmdline(struct boot_info *b, uint64_t pa)
{
	uint32_t i = 0;

	if (pa && pa < IDENTITY_LIMIT - CMDLINE_BYTES)
		for (const char *s = (const char *)pa; i < CMDLINE_BYTES - 1 && s[i]; i++)
			b->cmdline[i] = s[i];
	b->cmdline[i] = 0;
}

bool boot_read_info(struct boot_info *ret)
{
	const struct hvm_start_info *si = (const struct hvm_start_info *)boot_start_info;
	const struct hvm_memmap_entry *map;

	ret->ram_count = 0;
	if (!si || si->magic != START_INFO_MAGIC) {
		console_puts("vmm-guest: ERROR no PVH start info");
		return false;
	}
	read_cmdline(ret, si->cmdline_pa);
	if (si->version < 1 || !si->memmap_pa || si->memmap_pa >= IDENTITY_LIMIT / 2) {
		console_puts("vmm-guest: ERROR no memory map in the PVH start info");
		return false;
	}
	map = (const struct hvm_memmap_entry *)si->memmap_pa;
	for (uint32_t i = 0; i < si->memmap_entries && i < MAP_ENTRIES_MAX; i++) {
		if (map[i].type != MAP_TYPE_RAM || !map[i].size ||
		    map[i].addr + map[i].size < map[i].addr)
			continue;
		if (ret->ram_count == RAM_RANGES_MAX)
			break;
		ret->ram[ret->ram_count++] =
			(struct ram_range){ map[i].addr, map[i].addr + map[i].size };
	}
	return true;
}
