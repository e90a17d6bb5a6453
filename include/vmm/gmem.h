/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_GMEM_H
#define VMM_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/err.h"

/*
 * Guest RAM. One contiguous host mapping, cut into regions of guest-physical space (x86 leaves a hole below 4 GiB). Everything that
 * counts pages (dirty log, stream) uses the dense "RAM page number": page p lies at base + p * GMEM_PAGE_SIZE, whatever its GPA.
 * Region boundaries are multiples of 64 pages, so that each region starts on a bitmap word. A region is one KVM memslot, slot id = index.
 */
#define GMEM_PAGE_SIZE 4096u
#define GMEM_PAGE_SHIFT 12
#define GMEM_MAX_REGIONS 8
#define GMEM_MAX_BYTES (1ULL << 44)

enum gmem_backing { GMEM_THP, GMEM_4K, GMEM_HUGETLB };

struct gmem_region {
	uint64_t gpa;
	uint64_t len_bytes;
	uint64_t first_page;
};

struct gmem_config {
	enum gmem_backing backing; /* THP: MADV_HUGEPAGE, mapping aligned to 2 MiB */
	uint64_t hugepage_bytes; /* GMEM_HUGETLB: 2 MiB or 1 GiB */
	unsigned int nregions;
	struct gmem_region region[GMEM_MAX_REGIONS]; /* first_page is filled in by gmem_create */
};

struct gmem {
	uint8_t *base;
	uint64_t npages;
	unsigned int nregions;
	struct gmem_region region[GMEM_MAX_REGIONS];
	enum gmem_backing backing;
	uint64_t
		host_page_bytes; /* the host gives and takes so much at once: a page of hugetlb's, else GMEM_PAGE_SIZE */
	void *map_base; /* the whole mapping with its guards, for gmem_destroy */
	uint64_t map_bytes;
	int pagemap_fd; /* /proc/self/pagemap, or -1 */
	/* What the VMM itself wrote, while a tracker runs (KVM's log misses it). Set with bitmap_set_atomic by any thread; NULL otherwise.
	 * Published with release order by dirty_start before it turns logging on. */
	struct bitmap *host_log;
	struct bitmap host_log_store;
};

/* Private anonymous memory without reserve games: an allocation that the host can never satisfy fails here. -ENOMEM, -EINVAL. */
int gmem_create(const struct gmem_config *config, struct gmem **ret, struct err *err);
void gmem_destroy(struct gmem *m);

/* Host address of [gpa, gpa + len) if it lies in one region, else NULL. For reading, or for writers that call gmem_mark_dirty themselves. */
void *gmem_ptr(const struct gmem *m, uint64_t gpa, uint64_t len_bytes);
/* Copies that cross regions' ends fail whole: 0 or -EFAULT. gmem_write marks host_log. */
int gmem_read(const struct gmem *m, uint64_t gpa, void *dst, size_t len_bytes);
int gmem_write(struct gmem *m, uint64_t gpa, const void *src, size_t len_bytes);
void gmem_mark_dirty(struct gmem *m, uint64_t gpa, uint64_t len_bytes);
/*
 * Gives the memory behind [gpa, gpa + len) back to the host, as far as whole host pages lie in it (MADV_DONTNEED). It reads as zero from then on and is marked dirty:
 * nothing else tells a tracker that it changed. Who reads at the same time finds the old bytes, zeros, or some of both. Any thread; the guest uses none of it until this returns, or loses
 * what it wrote. @ret_bytes: how much went. -EFAULT when the range is not in one region; what madvise says: nothing may have gone then, or some.
 */
int gmem_discard(struct gmem *m, uint64_t gpa, uint64_t len_bytes, uint64_t *ret_bytes);

static inline uint8_t *gmem_page(const struct gmem *m, uint64_t page)
{
	return m->base + (page << GMEM_PAGE_SHIFT);
}

/* Sets in @ret (npages bits) each page of [first, first + n) that has host memory or swap behind it and clears the others of the range: those read as zero and
 * were never written. The caller rearms the range before (else a first write in between is lost). PAGEMAP_SCAN (Linux 6.7) where there is one, else
 * /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst). 0 or -errno (then the caller takes all pages as populated). */
int gmem_populated(const struct gmem *m, uint64_t first, uint64_t n, struct bitmap *ret);

#endif
