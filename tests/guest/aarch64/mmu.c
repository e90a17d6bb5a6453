/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the page tables that start.S leaves out: the pool. */
#include "guest.h"
#include "layout.h"

#define GIB (1ull << 30)

extern char image_end[];
/* A level 1 table: 512 times 1 GiB. */
uint64_t pool_table[PAGE_WORDS] __attribute__((aligned(4096)));

/* start.S maps the image to the end of a GiB. */
uint64_t mmu_identity_end(void)
{
	return ((uint64_t)image_end & ~(GIB - 1)) + GIB;
}

uint64_t mmu_chunk_entry(uint64_t pa)
{
	return pa | PTE_NORMAL | PTE_NEVER_EXECUTE;
}

void mmu_map_pool(const uint64_t *tables, uint64_t count)
{
	/* A walk sees whole tables or none. Nothing was mapped here before: no TLB has it. */
	__asm__ volatile("dsb ishst" ::: "memory");
	for (uint64_t t = 0; t < count; t++)
		__atomic_store_n(&pool_table[t], (uint64_t)(tables + t * PAGE_WORDS) | PTE_TABLE,
				 __ATOMIC_RELAXED);
	__asm__ volatile("dsb ishst\n\tisb" ::: "memory");
}
