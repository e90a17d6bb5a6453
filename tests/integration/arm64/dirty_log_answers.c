/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/num.h"
#include "dirty_log.h"
#include "vmm/kvm.h"

/* Documentation/virt/kvm/api.rst of the series, KVM_CAP_ARM_HW_DIRTY_LOG. */

#define RING_BYTES (4096u * sizeof(struct kvm_dirty_gfn))
#define SLOT_BYTES (2UL << 20)

struct answers {
	bool present;
	int kvm_fd, vm_fd;
};

static int set_up(void **state)
{
	struct answers *a = *state;

	a->kvm_fd = a->vm_fd = -1;
	return kvm_open(&a->kvm_fd, NULL) < 0 || kvm_create_vm(a->kvm_fd, 0, &a->vm_fd, NULL) < 0;
}

static int tear_down(void **state)
{
	struct answers *a = *state;

	fd_close(&a->vm_fd);
	fd_close(&a->kvm_fd);
	return 0;
}

static int ask(const struct answers *a, uint64_t group_pages)
{
	return kvm_enable_cap(a->vm_fd, KVM_CAP_ARM_HW_DIRTY_LOG, group_pages, NULL);
}

/* Where nobody gets it, nobody is told more. */
static void assert_refused(const struct answers *a, int r, int why)
{
	assert_int_equal(r, a->present ? why : -EINVAL);
}

static void test_extension(void **state)
{
	const struct answers *a = *state;

	assert_int_equal(kvm_check_extension(a->vm_fd, KVM_CAP_ARM_HW_DIRTY_LOG),
			 a->present ? 512 : 0);
}

static void test_groups(void **state)
{
	static const uint64_t good[] = { 0, 2, 4, 8, 16, 32, 64, 128, 256, 512 };
	static const uint64_t bad[] = { 1, 3, 24, 63, 65, 513, 1024, 1ULL << 32, UINT64_MAX };
	struct answers *a = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ask(a, bad[i]), -EINVAL);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		tear_down(state);
		assert_int_equal(set_up(state), 0);
		assert_refused(a, ask(a, good[i]), 0);
	}
}

static void test_flags_and_arguments(void **state)
{
	struct answers *a = *state;

	for (unsigned int i = 0; i < 5; i++) {
		struct kvm_enable_cap req = { .cap = KVM_CAP_ARM_HW_DIRTY_LOG, .args = { 64 } };

		if (i == 4)
			req.flags = 1;
		else
			req.args[i] = i == 0 ? 1 : 64;
		assert_int_equal(KVM_CALL(a->vm_fd, KVM_ENABLE_CAP, &req, NULL), -EINVAL);
	}
	assert_refused(a, ask(a, 64), 0);
}

static void test_twice(void **state)
{
	const struct answers *a = *state;

	assert_refused(a, ask(a, 64), 0);
	assert_refused(a, ask(a, 64), -EEXIST);
	assert_refused(a, ask(a, 16), -EEXIST);
	assert_refused(a, ask(a, 0), -EEXIST);
}

static void test_after_a_vcpu(void **state)
{
	const struct answers *a = *state;
	int vcpu_fd = -1;

	assert_int_equal(kvm_create_vcpu(a->vm_fd, 0, &vcpu_fd, NULL), 0);
	assert_refused(a, ask(a, 64), -EBUSY);
	fd_close(&vcpu_fd);
}

static void test_after_a_memslot(void **state)
{
	const struct answers *a = *state;
	void *memory =
		mmap(NULL, SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = { .memory_size = SLOT_BYTES,
						    .userspace_addr = (uintptr_t)memory };

	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(kvm_set_user_memory_region(a->vm_fd, &slot, NULL), 0);
	assert_refused(a, ask(a, 64), -EBUSY);
	/* It may go again. */
	slot.memory_size = 0;
	assert_int_equal(kvm_set_user_memory_region(a->vm_fd, &slot, NULL), 0);
	assert_refused(a, ask(a, 64), 0);
	munmap(memory, SLOT_BYTES);
}

static void test_beside_the_ring(void **state)
{
	const struct answers *a = *state;

	assert_int_equal(kvm_enable_cap(a->vm_fd, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, RING_BYTES, NULL),
			 0);
	assert_int_equal(ask(a, 64), -EINVAL);
}

static void test_before_the_ring(void **state)
{
	const struct answers *a = *state;

	assert_refused(a, ask(a, 64), 0);
	assert_int_equal(kvm_enable_cap(a->vm_fd, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, RING_BYTES, NULL),
			 a->present ? -EINVAL : 0);
}

int dirty_log_answers(bool present)
{
#define CASE(f)                              \
	{                                    \
#f, f, set_up, tear_down, &a \
	}
	static struct answers a;
	const struct CMUnitTest tests[] = {
		CASE(test_extension),           CASE(test_groups),
		CASE(test_flags_and_arguments), CASE(test_twice),
		CASE(test_after_a_vcpu),        CASE(test_after_a_memslot),
		CASE(test_beside_the_ring),     CASE(test_before_the_ring),
	};

	_Static_assert(ARRAY_LEN(tests) == DIRTY_LOG_ANSWERS, "dirty_log.h knows how many");
	a.present = present;
	return _cmocka_run_group_tests("answers", tests, ARRAY_LEN(tests), NULL, NULL);
}
