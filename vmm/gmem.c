/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/num.h"

#define MIB2 (2ULL << 20)
#define GIB1 (1ULL << 30)
#define REGION_ALIGN_BYTES (64ULL * GMEM_PAGE_SIZE)
#define HUGE_SHIFT_2MIB (21 << 26) /* MAP_HUGE_2MB, mmap(2) */
#define HUGE_SHIFT_1GIB (30 << 26)

static int check_region(const struct gmem *m, unsigned int i, const struct gmem_region *r,
			struct err *err)
{
	uint64_t end;

	if (r->len_bytes == 0 || r->len_bytes > GMEM_MAX_BYTES ||
	    r->gpa % REGION_ALIGN_BYTES != 0 || r->len_bytes % REGION_ALIGN_BYTES != 0 ||
	    __builtin_add_overflow(r->gpa, r->len_bytes, &end))
		return err_set(err, -EINVAL,
			       "guest memory: region %u (%#" PRIx64 ", %" PRIu64
			       " bytes) is not made of 256 KiB pieces",
			       i, r->gpa, r->len_bytes);
	if (i > 0 && r->gpa < m->region[i - 1].gpa + m->region[i - 1].len_bytes)
		return err_set(err, -EINVAL, "guest memory: region %u overlaps the one before it",
			       i);
	return 0;
}

static int copy_regions(struct gmem *m, const struct gmem_config *config, struct err *err)
{
	int r;

	if (config->nregions == 0 || config->nregions > GMEM_MAX_REGIONS)
		return err_set(err, -EINVAL, "guest memory: %u regions, 1 to %d are possible",
			       config->nregions, GMEM_MAX_REGIONS);
	for (unsigned int i = 0; i < config->nregions; i++) {
		r = check_region(m, i, &config->region[i], err);
		if (r < 0)
			return r;
		m->region[i] = config->region[i];
		m->region[i].first_page = m->npages;
		m->npages += config->region[i].len_bytes >> GMEM_PAGE_SHIFT;
		m->nregions++;
	}
	if (m->npages > GMEM_MAX_BYTES >> GMEM_PAGE_SHIFT)
		return err_set(err, -EINVAL, "guest memory: more than 16 TiB");
	return 0;
}

/*
 * Address space for @len plus alignment and a guard on both sides is reserved first, inaccessible; the memory itself then goes into
 * its middle. An access that runs off either end faults instead of hitting another mapping.
 */
static int map_ram(struct gmem *m, uint64_t align, int huge_flags, struct err *err)
{
	uint64_t len = m->npages << GMEM_PAGE_SHIFT;
	uint64_t reserved = len + 3 * align;
	uint64_t start, want;
	uint8_t *area, *ram;

	area = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return err_sys(err, -errno, "guest memory: %" PRIu64 " MiB of address space",
			       reserved >> 20);
	start = (uint64_t)(uintptr_t)area;
	want = align_down(start + 2 * align - 1, align);
	ram = mmap(area + (want - start), len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | huge_flags, -1, 0);
	if (ram == MAP_FAILED) {
		int r = err_sys(err, -errno, "guest memory: %" PRIu64 " MiB", len >> 20);

		munmap(area, reserved);
		return r;
	}
	m->map_base = area;
	m->map_bytes = reserved;
	m->base = ram;
	return 0;
}

int gmem_create(const struct gmem_config *config, struct gmem **ret, struct err *err)
{
	struct gmem *m = calloc(1, sizeof(*m));
	uint64_t align = MIB2;
	uint64_t len;
	int flags = 0;
	int r;

	if (!m)
		return err_set(err, -ENOMEM, "guest memory: out of memory");
	m->pagemap_fd = -1;
	r = copy_regions(m, config, err);
	if (r < 0)
		goto fail;
	len = m->npages << GMEM_PAGE_SHIFT;
	m->backing = config->backing;
	m->host_page_bytes = GMEM_PAGE_SIZE;
	if (config->backing == GMEM_HUGETLB) {
		align = config->hugepage_bytes;
		r = err_set(err, -EINVAL, "guest memory: huge pages are 2 MiB or 1 GiB");
		if (align != MIB2 && align != GIB1)
			goto fail;
		r = err_set(err, -EINVAL,
			    "guest memory: size is not a multiple of the huge page size");
		if (len % align != 0)
			goto fail;
		m->host_page_bytes = align;
		flags = MAP_HUGETLB | (align == MIB2 ? HUGE_SHIFT_2MIB : HUGE_SHIFT_1GIB);
		if (err)
			*err = (struct err){ 0 };
	}
	r = map_ram(m, align, flags, err);
	if (r < 0)
		goto fail;
	/* Advice: a kernel without THP says EINVAL, and the memory works all the same. */
	if (config->backing != GMEM_HUGETLB)
		madvise(m->base, len,
			config->backing == GMEM_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(m->base, len, MADV_DONTDUMP);
	m->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	*ret = m;
	return 0;
fail:
	gmem_destroy(m);
	return r;
}

void gmem_destroy(struct gmem *m)
{
	if (!m)
		return;
	if (m->map_base)
		munmap(m->map_base, m->map_bytes);
	fd_close(&m->pagemap_fd);
	bitmap_fini(&m->host_log_store);
	free(m);
}

/* The RAM offset of @gpa when [gpa, gpa + len) lies in one region. */
static bool ram_offset(const struct gmem *m, uint64_t gpa, uint64_t len_bytes, uint64_t *ret)
{
	for (unsigned int i = 0; i < m->nregions; i++) {
		const struct gmem_region *r = &m->region[i];

		if (gpa < r->gpa || gpa - r->gpa >= r->len_bytes)
			continue;
		if (len_bytes > r->len_bytes - (gpa - r->gpa))
			return false;
		*ret = (r->first_page << GMEM_PAGE_SHIFT) + (gpa - r->gpa);
		return true;
	}
	return false;
}

void *gmem_ptr(const struct gmem *m, uint64_t gpa, uint64_t len_bytes)
{
	uint64_t offset;

	return ram_offset(m, gpa, len_bytes, &offset) ? m->base + offset : NULL;
}

int gmem_read(const struct gmem *m, uint64_t gpa, void *dst, size_t len_bytes)
{
	const void *src = gmem_ptr(m, gpa, len_bytes);

	if (!src)
		return -EFAULT;
	memcpy(dst, src, len_bytes);
	return 0;
}

int gmem_write(struct gmem *m, uint64_t gpa, const void *src, size_t len_bytes)
{
	void *dst = gmem_ptr(m, gpa, len_bytes);

	if (!dst)
		return -EFAULT;
	memcpy(dst, src, len_bytes);
	gmem_mark_dirty(m, gpa, len_bytes);
	return 0;
}

void gmem_mark_dirty(struct gmem *m, uint64_t gpa, uint64_t len_bytes)
{
	struct bitmap *log;
	uint64_t offset;

	/*
	 * The bytes are written before the mark: were it the other way round, a collect between the two could take the mark and
	 * the sender read the old bytes. The fence pairs with the one in dirty_start: either this thread sees the log, or the
	 * sender's first pass, which takes every page, sees the bytes.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	log = __atomic_load_n(&m->host_log, __ATOMIC_ACQUIRE);
	if (!log || len_bytes == 0 || !ram_offset(m, gpa, len_bytes, &offset))
		return;
	for (uint64_t p = offset >> GMEM_PAGE_SHIFT;
	     p <= (offset + len_bytes - 1) >> GMEM_PAGE_SHIFT; p++)
		bitmap_set_atomic(log, p);
}
