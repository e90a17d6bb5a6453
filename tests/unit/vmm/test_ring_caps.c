/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/compat_kvm.h"
#include "base/num.h"
#include "vmm/dirty/backend.h"

/* What the ring asks of KVM, and in which order, on hosts that offer different things. ioctl is this file's (--wrap). */

#define RING_BYTES (65536 * (int)sizeof(struct kvm_dirty_gfn))
#define SLOT_PAGES 128u

static struct {
	int ring, acq_rel, with_bitmap; /* what KVM_CHECK_EXTENSION says */
	uint32_t enabled[4];
	unsigned int nenabled;
	uint64_t log[SLOT_PAGES /
		     64]; /* what KVM_GET_DIRTY_LOG gives, of slot 1; slot 0 has nothing */
	unsigned int reads;
} kvm;

static int check_extension(unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_DIRTY_LOG_RING:
		return kvm.ring;
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		return kvm.acq_rel;
	case KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP:
		return kvm.with_bitmap;
	default:
		return 0;
	}
}

static int get_dirty_log(const struct kvm_dirty_log *log)
{
	static const uint64_t clean[SLOT_PAGES / 64];

	kvm.reads++;
	memcpy(log->dirty_bitmap, log->slot == 1 ? kvm.log : clean, sizeof(kvm.log));
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_enable_cap *enable;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return check_extension((unsigned long)(uintptr_t)arg);
	case KVM_ENABLE_CAP:
		enable = arg;
		assert_in_range(kvm.nenabled, 0, ARRAY_LEN(kvm.enabled) - 1);
		kvm.enabled[kvm.nenabled++] = enable->cap;
		return 0;
	case KVM_GET_DIRTY_LOG:
		return get_dirty_log(arg);
	default:
		fail_msg("ioctl %#lx", request);
		errno = ENOTTY;
		return -1;
	}
}

static struct gmem mem = {
	.npages = 2ULL * SLOT_PAGES,
	.nregions = 2,
	.region = { { .len_bytes = SLOT_PAGES << 12 },
		    { .gpa = 1ULL << 32, .len_bytes = SLOT_PAGES << 12, .first_page = SLOT_PAGES } }
};

static struct dirty *make(void)
{
	struct dirty *d = NULL;
	struct err err = { 0 };

	if (dirty_ring_create(5, &mem, 1024, &d, &err) < 0)
		fail_msg("%s", err.msg);
	return d;
}

static void test_x86(void **state)
{
	struct dirty *d;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.ring = kvm.acq_rel = RING_BYTES;
	d = make();
	assert_int_equal(kvm.nenabled, 1);
	assert_int_equal(kvm.enabled[0], KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
	d->ops->destroy(d);
	/* Linux 5.11 to 6.0. */
	memset(&kvm, 0, sizeof(kvm));
	kvm.ring = RING_BYTES;
	d = make();
	assert_int_equal(kvm.nenabled, 1);
	assert_int_equal(kvm.enabled[0], KVM_CAP_DIRTY_LOG_RING);
	d->ops->destroy(d);
}

static void test_arm64_has_its_backup(void **state)
{
	struct bitmap acc;
	struct dirty *d;
	struct err err = { 0 };

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.acq_rel = RING_BYTES;
	kvm.with_bitmap = 1;
	kvm.log[1] = 1ULL << 63 | 1;
	d = make();
	assert_int_equal(kvm.nenabled, 2);
	assert_int_equal(kvm.enabled[0], KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
	assert_int_equal(kvm.enabled[1], KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP);
	assert_int_equal(kvm.reads, 0);
	assert_int_equal(bitmap_init(&acc, mem.npages), 0);
	bitmap_set(&acc, 3);
	assert_int_equal(d->ops->finish(d, &acc, &err), 0);
	assert_int_equal(kvm.reads, 2);
	assert_int_equal(bitmap_count(&acc), 3);
	assert_true(bitmap_test(&acc, 3));
	assert_true(bitmap_test(&acc, SLOT_PAGES + 64));
	assert_true(bitmap_test(&acc, SLOT_PAGES + 127));
	bitmap_fini(&acc);
	d->ops->destroy(d);
}

/* A ring that would miss writes is none. */
static void test_no_backup(void **state)
{
	struct dirty *d = NULL;
	struct err err = { 0 };
	uint32_t entries = 7;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.acq_rel = RING_BYTES;
	assert_int_equal(dirty_ring_create(5, &mem, 1024, &d, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP"));
	assert_int_equal(dirty_ring_probe(5, &entries, &err), -EOPNOTSUPP);
	assert_null(d);
	assert_int_equal(entries, 7);
	assert_int_equal(kvm.nenabled, 0);
}

static void test_no_ring_and_small_ones(void **state)
{
	struct dirty *d = NULL;
	struct err err = { 0 };
	uint32_t entries = 0;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.with_bitmap = 1;
	assert_int_equal(dirty_ring_probe(5, &entries, &err), -EOPNOTSUPP);
	assert_int_equal(dirty_ring_create(5, &mem, 1024, &d, &err), -EOPNOTSUPP);
	kvm.acq_rel = 2048 * (int)sizeof(struct kvm_dirty_gfn);
	assert_int_equal(dirty_ring_probe(5, &entries, &err), 0);
	assert_int_equal(entries, 2048);
	assert_int_equal(dirty_ring_create(5, &mem, 4096, &d, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "at most 2048"));
	assert_null(d);
	assert_int_equal(kvm.nenabled, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_x86),
		cmocka_unit_test(test_arm64_has_its_backup),
		cmocka_unit_test(test_no_backup),
		cmocka_unit_test(test_no_ring_and_small_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
