/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <x86intrin.h>

#include "../../blackout.h"
#include "base/clock.h"
#include "base/num.h"
#include "x86.h"

/*
 * kvmclock and TSC, by the algorithm of Documentation/virt/kvm/devices/vcpu.rst, 4.1: one instant is recorded as kvmclock, CLOCK_REALTIME and host
 * TSC; the destination moves kvmclock on by the CLOCK_REALTIME that passed, and each TSC by the same time.
 * Where KVM does not tell realtime and TSC of the instant (no master clock), both are read here right after it.
 */

int x86_time_probe(struct arch_vm *av, int vcpu_fd, struct err *err)
{
	int khz = kvm_get_tsc_khz(vcpu_fd, err);

	if (khz <= 0)
		return khz ? khz :
			     err_set(err, -EOPNOTSUPP, "KVM does not know the TSC's frequency");
	av->time.host_khz = (uint32_t)khz;
	av->time.has_tsc_offset =
		!kvm_has_device_attr(vcpu_fd, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET);
	av->time.has_kvmclock_ctrl = kvm_check_extension(av->kvm_fd, KVM_CAP_KVMCLOCK_CTRL) > 0;
	return 0;
}

static uint64_t cycles(uint64_t ns, uint32_t khz)
{
	return (uint64_t)((unsigned __int128)ns * khz / 1000000);
}

/* ---- the VM's clock ---- */

struct clock_image {
	uint64_t kvmclock_ns;
	uint64_t realtime_ns;
	uint64_t host_tsc;
};

static const struct state_field clock_fields[] = {
	STATE_FIELD_U64(struct clock_image, kvmclock_ns),
	STATE_FIELD_U64(struct clock_image, realtime_ns),
	STATE_FIELD_U64(struct clock_image, host_tsc),
};

static int read_clock(int vm_fd, struct clock_image *ret, struct err *err)
{
	struct kvm_clock_data data = { 0 };
	int rc = kvm_get_clock(vm_fd, &data, err);

	if (rc < 0)
		return rc;
	ret->kvmclock_ns = data.clock;
	ret->realtime_ns = data.flags & KVM_CLOCK_REALTIME ? data.realtime : clock_real_ns();
	ret->host_tsc = data.flags & KVM_CLOCK_HOST_TSC ? data.host_tsc : __rdtsc();
	return 0;
}

static int clock_capture(void *dev, void *image, struct err *err)
{
	struct arch_vm *av = dev;
	struct clock_image *img = image;
	int rc = read_clock(av->vm_fd, img, err);

	if (!rc)
		av->capture_host_tsc = img->host_tsc;
	return rc;
}

static int clock_check(const void *image, struct err *err)
{
	const struct clock_image *img = image;

	/* 292 years: what a signed number of nanoseconds holds, as the kernel's arithmetic does. */
	if (img->kvmclock_ns > INT64_MAX || img->realtime_ns > INT64_MAX)
		return err_set(err, -EINVAL, "clock beyond what a clock can hold");
	return 0;
}

static int clock_apply(void *dev, const void *image, struct err *err)
{
	struct arch_vm *av = dev;
	const struct clock_image *img = image;
	struct kvm_clock_data data = { .clock = img->kvmclock_ns };
	struct clock_image after;
	int rc;

	data.clock += blackout_ns(img->realtime_ns, clock_real_ns());
	rc = kvm_set_clock(av->vm_fd, &data, err);
	if (rc < 0)
		return rc;
	rc = read_clock(av->vm_fd, &after, err);
	if (rc)
		return rc;
	av->shift = (struct x86_time_shift){
		.elapsed_ns = after.kvmclock_ns - img->kvmclock_ns,
		.src_host_tsc = img->host_tsc,
		.dst_host_tsc = after.host_tsc,
		.valid = after.kvmclock_ns >= img->kvmclock_ns,
	};
	return av->shift.valid ? 0 : err_set(err, -EIO, "KVM's clock went backwards");
}

const struct state_desc x86_state_clock =
	STATE_DESC_("x86.clock", struct clock_image, clock_fields, clock, clock_check);

/* ---- each vCPU's TSC ---- */

struct tsc_image {
	uint64_t guest_tsc; /* at the instant of x86.clock */
	uint64_t offset; /* KVM_VCPU_TSC_OFFSET, if has_offset */
	uint8_t has_offset;
};

static const struct state_field tsc_fields[] = {
	STATE_FIELD_U64(struct tsc_image, guest_tsc),
	STATE_FIELD_U64(struct tsc_image, offset),
	STATE_FIELD_U8(struct tsc_image, has_offset),
};

/* An offset means something only between counters of one speed. */
static bool use_offset(const struct arch_vm *av)
{
	return av->time.has_tsc_offset && av->time.guest_khz == av->time.host_khz;
}

static int tsc_capture(void *dev, void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct arch_vm *av = ac->av;
	static const struct msr_list tsc_only = { .n = 1, .index = { MSR_IA32_TSC } };
	struct tsc_image *img = image;
	struct kvm_msr_entry entry;
	uint64_t before, after, since;
	int rc;

	if (use_offset(av)) {
		rc = kvm_get_device_attr(ac->fd, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET,
					 &img->offset, err);
		img->has_offset = 1;
		img->guest_tsc = av->capture_host_tsc + img->offset;
		return MIN(rc, 0);
	}
	before = __rdtsc();
	rc = msr_read(ac->fd, &tsc_only, &entry, err);
	after = __rdtsc();
	since = before + (after - before) / 2 - av->capture_host_tsc;
	img->guest_tsc = entry.data - (uint64_t)((unsigned __int128)since * av->time.guest_khz /
						 av->time.host_khz);
	return rc;
}

static int tsc_check(const void *image, struct err *err)
{
	const struct tsc_image *img = image;

	if (img->has_offset > 1)
		return err_set(err, -EINVAL, "has_offset is %u", img->has_offset);
	return 0;
}

static int tsc_apply(void *dev, const void *image, struct err *err)
{
	const struct arch_vcpu *ac = dev;
	const struct arch_vm *av = ac->av;
	const struct x86_time_shift *shift = &av->shift;
	const struct tsc_image *img = image;
	struct kvm_msr_entry entry = { .index = MSR_IA32_TSC };
	uint64_t went = cycles(shift->elapsed_ns, av->time.guest_khz);
	uint64_t offset;

	if (!use_offset(av)) {
		/* KVM itself takes close values written to several vCPUs as one (kvm_synchronize_tsc). */
		uint64_t since = __rdtsc() - shift->dst_host_tsc;

		entry.data = img->guest_tsc + went +
			     (uint64_t)((unsigned __int128)since * av->time.guest_khz /
					av->time.host_khz);
		return msr_write(ac->fd, &entry, 1, err);
	}
	/* One difference for all vCPUs: offsets that were equal stay equal to the bit, as KVM's master clock demands. */
	if (img->has_offset)
		offset = img->offset + shift->src_host_tsc - shift->dst_host_tsc + went;
	else
		offset = img->guest_tsc + went - shift->dst_host_tsc;
	return MIN(kvm_set_device_attr(ac->fd, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, &offset,
				       err),
		   0);
}

const struct state_desc x86_state_tsc =
	STATE_DESC_("x86.tsc-offset", struct tsc_image, tsc_fields, tsc, tsc_check);
