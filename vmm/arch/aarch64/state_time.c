/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "../../blackout.h"
#include "base/clock.h"
#include "base/num.h"
#include "kvm_arm64.h"
#include "state.h"
#include "sysreg.h"

/*
 * The generic timer's counters. A guest's counter is the host's less an offset that is the VM's; one instant is recorded as CNTVCT_EL0 and CLOCK_REALTIME, and the destination
 * lets the counter go on by the CLOCK_REALTIME that passed, before a vCPU runs. Compare values are registers of each vCPU and stand still: they mean the guest's counter.
 * With KVM_CAP_COUNTER_OFFSET the physical counter has the same offset, so that it does not jump either; KVM without it shows the guest the host's.
 */

#define READ_TRIES 3u

/*
 * The guest's virtual counter, and the CLOCK_REALTIME it was read at: the middle between a reading before and one after it, of a few tries the one in the least time. A thread that is
 * interrupted in between would put the guest's time off by as much.
 */
static int read_counter(const struct arch_vm *av, uint64_t *ret, uint64_t *ret_realtime_ns,
			struct err *err)
{
	uint64_t best_ns = UINT64_MAX;

	for (unsigned int i = 0; i < READ_TRIES; i++) {
		uint64_t before = clock_real_ns(), after, counter;
		int rc = kvm_get_one_reg(av->vcpu[0]->fd, ARM64_TIMER_CNT, &counter, err);

		if (rc < 0)
			return rc;
		after = clock_real_ns();
		/* Unless the clock was set back in between. */
		if (after < before || after - before >= best_ns)
			continue;
		best_ns = after - before;
		*ret = counter;
		*ret_realtime_ns = before + best_ns / 2;
	}
	return best_ns != UINT64_MAX ? 0 : err_set(err, -EIO, "CLOCK_REALTIME goes backwards");
}

int arm64_counter_start(struct arch_vm *av, struct err *err)
{
	uint64_t host, realtime_ns;
	int rc;

	/* KVM lets the virtual counter start at zero by itself. */
	if (!av->model->vm.one_counter)
		return 0;
	rc = kvm_arm_set_counter_offset(av->vm_fd, 0, err);
	if (rc >= 0)
		rc = read_counter(av, &host, &realtime_ns, err);
	if (rc >= 0)
		rc = kvm_arm_set_counter_offset(av->vm_fd, host, err);
	return MIN(rc, 0);
}

struct counter_image {
	uint64_t virtual;
	uint64_t realtime_ns;
};

static const struct state_field counter_fields[] = {
	STATE_FIELD_U64(struct counter_image, virtual),
	STATE_FIELD_U64(struct counter_image, realtime_ns),
};

static int counter_capture(void *dev, void *image, struct err *err)
{
	struct counter_image *img = image;

	return read_counter(dev, &img->virtual, &img->realtime_ns, err);
}

static int counter_check(const void *image, struct err *err)
{
	const struct counter_image *img = image;

	if (img->realtime_ns > INT64_MAX)
		return err_set(err, -EINVAL, "realtime beyond what a clock can hold");
	return 0;
}

static uint64_t ticks(uint64_t ns, uint64_t hz)
{
	return (uint64_t)((unsigned __int128)ns * hz / NS_PER_S);
}

static int counter_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vm *av = dev;
	const struct counter_image *img = image;
	uint64_t hz = av->model->vm.counter_hz, host, now, value;
	int rc;

	if (!av->model->vm.one_counter) {
		value = img->virtual + ticks(blackout_ns(img->realtime_ns, clock_real_ns()), hz);
		return MIN(kvm_set_one_reg(av->vcpu[0]->fd, ARM64_TIMER_CNT, &value, err), 0);
	}
	rc = kvm_arm_set_counter_offset(av->vm_fd, 0, err);
	if (rc >= 0)
		rc = read_counter(av, &host, &now, err);
	if (rc < 0)
		return rc;
	value = img->virtual + ticks(blackout_ns(img->realtime_ns, now), hz);
	return MIN(kvm_arm_set_counter_offset(av->vm_fd, host - value, err), 0);
}

const struct state_desc arm64_state_counter =
	STATE_DESC_("arm64.counter", struct counter_image, counter_fields, counter, counter_check);
