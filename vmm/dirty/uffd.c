/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../pagemap.h"
#include "backend.h"
#include "base/fd.h"

/*
 * The host's page tables instead of KVM's log: userfaultfd write protection that the kernel resolves by itself (UFFD_FEATURE_WP_ASYNC, Linux 6.7,
 * Documentation/admin-guide/mm/userfaultfd.rst) and PAGEMAP_SCAN (pagemap.rst), which tells and protects what was written. Memory slots carry no flag, so that KVM
 * maps huge pages as ever; it follows the protection through its MMU notifier, and writes on the guest's behalf fault like any other.
 *
 * Collect reads only; rearm protects the pages that are named. One scan could do both, but the notifier covers the whole range of a protecting scan: KVM would
 * drop its mapping of all RAM in every round, and the guest would fault on each page that it reads, too.
 *
 * A transparent huge page is protected whole when a run covers it, and split by the first write to it: its other pages stay protected. Memory that has none behind it is
 * not protected: markers would cost a page table for each 2 MiB, and no huge page could come there. So the first touch of such a place reports all
 * that the kernel filled in: one page, or the 512 of a huge page.
 *
 * A page of which the kernel took the memory away (MADV_DONTNEED) is not reported: who does that calls gmem_mark_dirty.
 */

#define FEATURES ((uint64_t)(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED))
/* Of the categories any scan asks for, WRITTEN alone is not enough: an entry that was never used is without protection too. */
#define WRITTEN                           \
	.category_mask = PAGE_IS_WRITTEN, \
	.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED, .return_mask = PAGE_IS_WRITTEN

/* CHECK_WPASYNC: memory that lost its registration is an error, not a page that is dirty for ever. */
static const struct pm_scan_arg look = { .flags = PM_SCAN_CHECK_WPASYNC, WRITTEN };
static const struct pm_scan_arg protect = { .flags = PM_SCAN_CHECK_WPASYNC | PM_SCAN_WP_MATCHING,
					    WRITTEN };

struct dirty_uffd {
	struct dirty d;
	int fd;
};

static struct dirty_uffd *self(struct dirty *d)
{
	return (struct dirty_uffd *)d;
}

/* No fault ever reaches the descriptor, so that the unprivileged kind of it will do; accesses by KVM included. */
static int open_uffd(int *ret_fd, struct err *err)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURES };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0 && errno == ENOSYS)
		return err_set(err, -EOPNOTSUPP, "this kernel has no userfaultfd");
	if (fd < 0)
		return err_set(err, -EOPNOTSUPP, "userfaultfd: %s", strerrordesc_np(errno));
	if (ioctl(fd, UFFDIO_API, &api) < 0 || (api.features & FEATURES) != FEATURES) {
		fd_close(&fd);
		return err_set(
			err, -EOPNOTSUPP,
			"this kernel's userfaultfd has no UFFD_FEATURE_WP_ASYNC (Linux 6.7)");
	}
	*ret_fd = fd;
	return 0;
}

static int watch(int fd, const void *base, uint64_t len_bytes, struct err *err)
{
	struct uffdio_register request = { .range = { (uint64_t)(uintptr_t)base, len_bytes },
					   .mode = UFFDIO_REGISTER_MODE_WP };

	return ioctl(fd, UFFDIO_REGISTER, &request) < 0 ? err_sys(err, -errno, "UFFDIO_REGISTER") :
							  0;
}

/* Nothing is protected by it: what is there counts as written until it is rearmed. */
static int start(struct dirty *d, struct err *err)
{
	return watch(self(d)->fd, d->mem->base, d->mem->npages << GMEM_PAGE_SHIFT, err);
}

static int collect(struct dirty *d, struct bitmap *acc, struct err *err)
{
	int r = pagemap_scan(d->mem->pagemap_fd, d->mem->base, 0, d->mem->npages, &look, acc);

	return r < 0 ? err_sys(err, r, "PAGEMAP_SCAN") : 0;
}

static int rearm(struct dirty *d, const struct bitmap *pages, uint64_t first, uint64_t n,
		 struct err *err)
{
	uint64_t at = first, run, npages;

	while (bitmap_next_run(pages, at, first + n, &run, &npages)) {
		int r = pagemap_scan(d->mem->pagemap_fd, d->mem->base, run, npages, &protect, NULL);

		if (r < 0)
			return err_sys(err, r,
				       "PAGEMAP_SCAN that protects %" PRIu64
				       " pages from page %" PRIu64 " on",
				       npages, run);
		at = run + npages;
	}
	return 0;
}

/* Takes the protection off as well. */
static void stop(struct dirty *d)
{
	struct uffdio_range range = { (uint64_t)(uintptr_t)d->mem->base,
				      d->mem->npages << GMEM_PAGE_SHIFT };

	ioctl(self(d)->fd, UFFDIO_UNREGISTER, &range);
}

static void destroy(struct dirty *d)
{
	fd_close(&self(d)->fd);
	free(d);
}

static const struct dirty_ops ops = {
	.name = "uffd",
	.flags = DIRTY_SPLIT_REARM | DIRTY_STARTS_FULL | DIRTY_SEES_HOST_WRITES,
	.start = start,
	.collect = collect,
	.rearm = rearm,
	.finish = collect,
	.stop = stop,
	.destroy = destroy,
};

static bool is_written(int pagemap_fd, const void *page)
{
	uint64_t word = 0;
	struct bitmap b = { .words = &word, .nbits = 1 };

	return pagemap_scan(pagemap_fd, page, 0, 1, &look, &b) == 0 && word == 1;
}

/* Protects a page and lets the kernel write to it, as KVM would for a guest. */
static int try_on(uint8_t *page, int fd, int pagemap_fd, int zero_fd, struct err *err)
{
	int r;

	*page = 1;
	r = watch(fd, page, GMEM_PAGE_SIZE, err);
	if (r < 0)
		return err_set(err, -EOPNOTSUPP, "this kernel write-protects no anonymous memory");
	r = pagemap_scan(pagemap_fd, page, 0, 1, &protect, NULL);
	if (r < 0)
		return err_set(err, -EOPNOTSUPP, "PAGEMAP_SCAN: %s", strerrordesc_np(-r));
	if (is_written(pagemap_fd, page) || read(zero_fd, page, 1) != 1 ||
	    !is_written(pagemap_fd, page))
		return err_set(err, -EOPNOTSUPP,
			       "PAGEMAP_SCAN does not find a write to a protected page");
	return 0;
}

int dirty_uffd_probe(struct err *err)
{
	int pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	void *page = mmap(NULL, GMEM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int fd = -1;
	int r = open_uffd(&fd, err);

	if (r == 0 && (pagemap_fd < 0 || zero_fd < 0 || page == MAP_FAILED))
		r = err_set(err, -EOPNOTSUPP, "/proc/self/pagemap or /dev/zero cannot be opened");
	if (r == 0)
		r = try_on(page, fd, pagemap_fd, zero_fd, err);
	fd_close(&fd);
	if (page != MAP_FAILED)
		munmap(page, GMEM_PAGE_SIZE);
	fd_close(&zero_fd);
	fd_close(&pagemap_fd);
	return r;
}

int dirty_uffd_create(struct gmem *mem, struct dirty **ret, struct err *err)
{
	struct dirty_uffd *u;
	int r = dirty_uffd_probe(err);

	if (r == 0 && mem->backing == GMEM_HUGETLB)
		r = err_set(
			err, -EOPNOTSUPP,
			"hugetlb memory is protected a huge page at a time: a write would count for all of it");
	if (r < 0)
		return err_prefix(err, "dirty tracking uffd"), r;
	u = calloc(1, sizeof(*u));
	if (!u)
		return err_set(err, -ENOMEM, "dirty tracking: out of memory");
	u->d.ops = &ops;
	u->d.mem = mem;
	r = open_uffd(&u->fd, err);
	if (r < 0) {
		free(u);
		return r;
	}
	*ret = &u->d;
	return 0;
}
