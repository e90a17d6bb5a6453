/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "base/fd.h"

int kvm_call(int fd, const char *name, unsigned long request, void *arg, struct err *err)
{
	int r;

	do {
		r = ioctl(fd, request, arg);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(err, -errno, "%s", name);
	return r;
}

int kvm_call_value(int fd, const char *name, unsigned long request, unsigned long value,
		   struct err *err)
{
	int r;

	do {
		r = ioctl(fd, request, value);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(err, -errno, "%s", name);
	return r;
}

/* The UAPI takes const arguments by plain pointer. */
static void *unconst(const void *p)
{
	return (void *)(uintptr_t)p;
}

int kvm_open(int *ret_fd, struct err *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0)
		return err_sys(err, -errno, "/dev/kvm");
	version = KVM_CALL_VALUE(fd, KVM_GET_API_VERSION, 0, err);
	if (version != KVM_API_VERSION) {
		fd_close(&fd);
		if (version < 0)
			return version;
		return err_set(err, -EPROTO, "/dev/kvm: API version %d, %d is needed", version,
			       KVM_API_VERSION);
	}
	*ret_fd = fd;
	return 0;
}

int kvm_check_extension(int fd, unsigned long cap)
{
	int r = KVM_CALL_VALUE(fd, KVM_CHECK_EXTENSION, cap, NULL);

	return r < 0 ? 0 : r;
}

static int return_fd(int r, int *ret_fd)
{
	if (r < 0)
		return r;
	*ret_fd = r;
	return 0;
}

int kvm_create_vm(int kvm_fd, unsigned long type, int *ret_fd, struct err *err)
{
	return return_fd(KVM_CALL_VALUE(kvm_fd, KVM_CREATE_VM, type, err), ret_fd);
}

int kvm_create_vcpu(int vm_fd, unsigned int id, int *ret_fd, struct err *err)
{
	return return_fd(KVM_CALL_VALUE(vm_fd, KVM_CREATE_VCPU, id, err), ret_fd);
}

int kvm_get_vcpu_mmap_size(int kvm_fd, struct err *err)
{
	return KVM_CALL_VALUE(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0, err);
}

int kvm_enable_cap(int fd, uint32_t cap, uint64_t arg0, struct err *err)
{
	struct kvm_enable_cap req = { .cap = cap, .args = { arg0 } };

	return KVM_CALL(fd, KVM_ENABLE_CAP, &req, err);
}

int kvm_set_user_memory_region(int vm_fd, const struct kvm_userspace_memory_region *region,
			       struct err *err)
{
	return KVM_CALL(vm_fd, KVM_SET_USER_MEMORY_REGION, unconst(region), err);
}

int kvm_get_dirty_log(int vm_fd, uint32_t slot, void *bitmap, struct err *err)
{
	struct kvm_dirty_log req = { .slot = slot, .dirty_bitmap = bitmap };

	return KVM_CALL(vm_fd, KVM_GET_DIRTY_LOG, &req, err);
}

int kvm_clear_dirty_log(int vm_fd, uint32_t slot, uint64_t first, uint32_t npages,
			const void *bitmap, struct err *err)
{
	struct kvm_clear_dirty_log req = { .slot = slot,
					   .num_pages = npages,
					   .first_page = first,
					   .dirty_bitmap = unconst(bitmap) };

	return KVM_CALL(vm_fd, KVM_CLEAR_DIRTY_LOG, &req, err);
}

int kvm_reset_dirty_rings(int vm_fd, struct err *err)
{
	return KVM_CALL_VALUE(vm_fd, KVM_RESET_DIRTY_RINGS, 0, err);
}

int kvm_irq_line(int vm_fd, unsigned int gsi, unsigned int level, struct err *err)
{
	struct kvm_irq_level req = { .irq = gsi, .level = level };

	return KVM_CALL(vm_fd, KVM_IRQ_LINE, &req, err);
}

int kvm_irqfd(int vm_fd, const struct kvm_irqfd *irqfd, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_IRQFD, unconst(irqfd), err);
}

int kvm_set_gsi_routing(int vm_fd, const struct kvm_irq_routing *routing, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_SET_GSI_ROUTING, unconst(routing), err);
}

int kvm_ioeventfd(int vm_fd, const struct kvm_ioeventfd *ioeventfd, struct err *err)
{
	return KVM_CALL(vm_fd, KVM_IOEVENTFD, unconst(ioeventfd), err);
}

int kvm_get_stats_fd(int vm_or_vcpu_fd, int *ret_fd, struct err *err)
{
	return return_fd(KVM_CALL_VALUE(vm_or_vcpu_fd, KVM_GET_STATS_FD, 0, err), ret_fd);
}

int kvm_run(int vcpu_fd)
{
	return ioctl(vcpu_fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

int kvm_get_regs(int vcpu_fd, struct kvm_regs *regs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_REGS, regs, err);
}

int kvm_set_regs(int vcpu_fd, const struct kvm_regs *regs, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_REGS, unconst(regs), err);
}

int kvm_get_mp_state(int vcpu_fd, struct kvm_mp_state *state, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_MP_STATE, state, err);
}

int kvm_set_mp_state(int vcpu_fd, const struct kvm_mp_state *state, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_SET_MP_STATE, unconst(state), err);
}

int kvm_get_one_reg(int vcpu_fd, uint64_t id, void *value, struct err *err)
{
	struct kvm_one_reg req = { .id = id, .addr = (uint64_t)(uintptr_t)value };

	return KVM_CALL(vcpu_fd, KVM_GET_ONE_REG, &req, err);
}

int kvm_set_one_reg(int vcpu_fd, uint64_t id, const void *value, struct err *err)
{
	struct kvm_one_reg req = { .id = id, .addr = (uint64_t)(uintptr_t)value };

	return KVM_CALL(vcpu_fd, KVM_SET_ONE_REG, &req, err);
}

int kvm_get_reg_list(int vcpu_fd, struct kvm_reg_list *list, struct err *err)
{
	return KVM_CALL(vcpu_fd, KVM_GET_REG_LIST, list, err);
}

int kvm_create_device(int vm_fd, uint32_t type, int *ret_fd, struct err *err)
{
	struct kvm_create_device req = { .type = type };
	int r = KVM_CALL(vm_fd, KVM_CREATE_DEVICE, &req, err);

	if (r < 0)
		return r;
	*ret_fd = (int)req.fd;
	return 0;
}

int kvm_has_device_attr(int fd, uint32_t group, uint64_t attr)
{
	struct kvm_device_attr req = { .group = group, .attr = attr };

	return KVM_CALL(fd, KVM_HAS_DEVICE_ATTR, &req, NULL);
}

int kvm_get_device_attr(int fd, uint32_t group, uint64_t attr, void *value, struct err *err)
{
	struct kvm_device_attr req = { .group = group,
				       .attr = attr,
				       .addr = (uint64_t)(uintptr_t)value };

	return KVM_CALL(fd, KVM_GET_DEVICE_ATTR, &req, err);
}

int kvm_set_device_attr(int fd, uint32_t group, uint64_t attr, const void *value, struct err *err)
{
	struct kvm_device_attr req = { .group = group,
				       .attr = attr,
				       .addr = (uint64_t)(uintptr_t)value };

	return KVM_CALL(fd, KVM_SET_DEVICE_ATTR, &req, err);
}
