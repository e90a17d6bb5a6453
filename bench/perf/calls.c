/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/compat_mm.h"
#include "base/num.h"

enum call {
	CALL_GET_DIRTY_LOG,
	CALL_CLEAR_DIRTY_LOG,
	CALL_RESET_DIRTY_RINGS,
	CALL_LOG_ON,
	CALL_LOG_OFF,
	CALL_WRITEPROTECT,
	CALL_UFFD_REGISTER,
	CALL_UFFD_UNREGISTER,
	CALL_PAGEMAP_SCAN,
	NCALLS
};

static const char *const names[NCALLS] = {
	[CALL_GET_DIRTY_LOG] = "KVM_GET_DIRTY_LOG",
	[CALL_CLEAR_DIRTY_LOG] = "KVM_CLEAR_DIRTY_LOG",
	[CALL_RESET_DIRTY_RINGS] = "KVM_RESET_DIRTY_RINGS",
	[CALL_LOG_ON] = "KVM_SET_USER_MEMORY_REGION (log on)",
	[CALL_LOG_OFF] = "KVM_SET_USER_MEMORY_REGION (log off)",
	[CALL_WRITEPROTECT] = "UFFDIO_WRITEPROTECT",
	[CALL_UFFD_REGISTER] = "UFFDIO_REGISTER",
	[CALL_UFFD_UNREGISTER] = "UFFDIO_UNREGISTER",
	[CALL_PAGEMAP_SCAN] = "PAGEMAP_SCAN",
};
_Static_assert(NCALLS *CALLS_NPHASES <= CALLS_MAX_ITEMS, "calls_read");

/* The one place of the program with state of its own: a function that stands for ioctl(2) gets no context. */
static struct {
	_Atomic int phase;
	_Atomic uint64_t count[CALLS_NPHASES][NCALLS];
	_Atomic uint64_t ns[CALLS_NPHASES][NCALLS];
} log_;

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

static bool is_counted(unsigned long request, const void *arg, enum call *ret)
{
	const struct kvm_userspace_memory_region *slot = arg;

	switch (request) {
	case KVM_GET_DIRTY_LOG:
		*ret = CALL_GET_DIRTY_LOG;
		return true;
	case KVM_CLEAR_DIRTY_LOG:
		*ret = CALL_CLEAR_DIRTY_LOG;
		return true;
	case KVM_RESET_DIRTY_RINGS:
		*ret = CALL_RESET_DIRTY_RINGS;
		return true;
	case KVM_SET_USER_MEMORY_REGION:
		*ret = slot->flags & KVM_MEM_LOG_DIRTY_PAGES ? CALL_LOG_ON : CALL_LOG_OFF;
		return true;
	case UFFDIO_WRITEPROTECT:
		*ret = CALL_WRITEPROTECT;
		return true;
	case UFFDIO_REGISTER:
		*ret = CALL_UFFD_REGISTER;
		return true;
	case UFFDIO_UNREGISTER:
		*ret = CALL_UFFD_UNREGISTER;
		return true;
	case PAGEMAP_SCAN:
		*ret = CALL_PAGEMAP_SCAN;
		return true;
	default:
		return false;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	int phase = atomic_load_explicit(&log_.phase, memory_order_relaxed);
	enum call call;
	uint64_t start_ns;
	va_list ap;
	void *arg;
	int r;

	/* Every request of this program has an argument of a pointer's size, as ioctl(2) itself assumes. */
	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (phase == CALLS_OFF || !is_counted(request, arg, &call))
		return __real_ioctl(fd, request, arg);
	start_ns = clock_mono_ns();
	r = __real_ioctl(fd, request, arg);
	atomic_fetch_add(&log_.ns[phase][call], clock_mono_ns() - start_ns);
	atomic_fetch_add(&log_.count[phase][call], 1);
	return r;
}

void calls_reset(void)
{
	atomic_store(&log_.phase, CALLS_OFF);
	for (int p = 0; p < CALLS_NPHASES; p++) {
		for (int c = 0; c < NCALLS; c++) {
			atomic_store(&log_.count[p][c], 0);
			atomic_store(&log_.ns[p][c], 0);
		}
	}
}

void calls_enter(enum calls_phase phase)
{
	atomic_store(&log_.phase, (int)phase);
}

unsigned int calls_read(struct calls_item ret[CALLS_MAX_ITEMS])
{
	unsigned int n = 0;

	for (int p = 0; p < CALLS_NPHASES; p++) {
		for (int c = 0; c < NCALLS; c++) {
			uint64_t count = atomic_load(&log_.count[p][c]);

			if (count == 0)
				continue;
			ret[n++] = (struct calls_item){ .call = names[c],
							.phase = (enum calls_phase)p,
							.count = count,
							.ns = atomic_load(&log_.ns[p][c]) };
		}
	}
	return n;
}

const char *calls_phase_name(enum calls_phase phase)
{
	static const char *const phases[CALLS_NPHASES] = {
		[CALLS_OFF] = "none",
		[CALLS_ENABLE] = "enable dirty logging",
		[CALLS_DIRTY] = "dirty memory",
		[CALLS_GET] = "get dirty log",
		[CALLS_CLEAR] = "clear dirty log",
		[CALLS_DISABLE] = "disable dirty logging",
	};

	return phases[phase];
}
