/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the page tables that is not data in start.S: the pool. */
#include "guest.h"

#define IDENTITY_END (2ull << 30) /* start.S maps 4 GiB; nothing of the loader lies this high */
#define PTE_FLAGS_TABLE 0x27 /* present, writable, user, accessed */
#define PTE_FLAGS_CHUNK 0xe7 /* the same, dirty, 2 MiB */

uint64_t pool_pdpt[PAGE_WORDS] __attribute__((aligned(4096)));

uint64_t mmu_identity_end(void)
{
	return IDENTITY_END;
}

uint64_t mmu_chunk_entry(uint64_t pa)
{
	return pa | PTE_FLAGS_CHUNK;
}

void mmu_map_pool(const uint64_t *tables, uint64_t count)
{
	for (uint64_t t = 0; t < count; t++)
		pool_pdpt[t] = (uint64_t)(tables + t * PAGE_WORDS) | PTE_FLAGS_TABLE;
}
