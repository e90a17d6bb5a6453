/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <linux/kvm.h>
#include <stdint.h>

#include "base/compat_kvm.h"
#include "base/err.h"

/*
 * The KVM ioctls (Documentation/virt/kvm/api.rst, section of the same name as the request), one typed function each. kvm.c is the only caller of ioctl
 * on KVM file descriptors; what only one architecture has is in its own header (arch/x86_64/kvm_x86.h) on top of kvm_call.
 * All return the ioctl's value (>= 0, mostly 0) or -errno, with "KVM_NAME: text of errno" in @err. EINTR is retried except by kvm_run.
 * Threads: vCPU ioctls belong to the thread that runs the vCPU while it runs; KVM serialises the others itself.
 */
int kvm_call(int fd, const char *name, unsigned long request, void *arg, struct err *err);
/* For requests whose argument is a number. */
int kvm_call_value(int fd, const char *name, unsigned long request, unsigned long value,
		   struct err *err);
#define KVM_CALL(fd, request, arg, err) kvm_call((fd), #request, (request), (arg), (err))
#define KVM_CALL_VALUE(fd, request, value, err) \
	kvm_call_value((fd), #request, (request), (value), (err))

/* /dev/kvm, O_CLOEXEC; -ENOENT, -EACCES, -EPROTO (API version is not 12). */
int kvm_open(int *ret_fd, struct err *err);
/* KVM_CHECK_EXTENSION on /dev/kvm or (where the answer may differ) on a VM; 0 when absent, and on any failure. */
int kvm_check_extension(int fd, unsigned long cap);
/* New file descriptors are O_CLOEXEC by KVM. */
/* @type: the architecture's (arch_vm_type). */
int kvm_create_vm(int kvm_fd, unsigned long type, int *ret_fd, struct err *err);
int kvm_create_vcpu(int vm_fd, unsigned int id, int *ret_fd, struct err *err);
int kvm_get_vcpu_mmap_size(int kvm_fd, struct err *err);
/* VM or vCPU; @arg0 is args[0], the others are zero. */
int kvm_enable_cap(int fd, uint32_t cap, uint64_t arg0, struct err *err);

int kvm_set_user_memory_region(int vm_fd, const struct kvm_userspace_memory_region *region,
			       struct err *err);
/* @bitmap: one bit a page of the slot, whole 64-bit words. */
int kvm_get_dirty_log(int vm_fd, uint32_t slot, void *bitmap, struct err *err);
/* @first is a multiple of 64; @npages too unless it ends the slot. @bitmap starts at @first. */
int kvm_clear_dirty_log(int vm_fd, uint32_t slot, uint64_t first, uint32_t npages,
			const void *bitmap, struct err *err);
/* Number of entries that were collected and re-protected. */
int kvm_reset_dirty_rings(int vm_fd, struct err *err);

int kvm_irq_line(int vm_fd, unsigned int gsi, unsigned int level, struct err *err);
int kvm_irqfd(int vm_fd, const struct kvm_irqfd *irqfd, struct err *err);
/* Replaces the whole table. */
int kvm_set_gsi_routing(int vm_fd, const struct kvm_irq_routing *routing, struct err *err);
int kvm_ioeventfd(int vm_fd, const struct kvm_ioeventfd *ioeventfd, struct err *err);
int kvm_get_stats_fd(int vm_or_vcpu_fd, int *ret_fd, struct err *err);

/* 0, -EINTR (signal or immediate_exit), -EAGAIN, -errno. No text: it is the hot path. */
int kvm_run(int vcpu_fd);
int kvm_get_regs(int vcpu_fd, struct kvm_regs *regs, struct err *err);
int kvm_set_regs(int vcpu_fd, const struct kvm_regs *regs, struct err *err);
int kvm_get_mp_state(int vcpu_fd, struct kvm_mp_state *state, struct err *err);
int kvm_set_mp_state(int vcpu_fd, const struct kvm_mp_state *state, struct err *err);

/* One register by KVM's name for it (api.rst 4.68); the id tells how many bytes @value has. */
int kvm_get_one_reg(int vcpu_fd, uint64_t id, void *value, struct err *err);
int kvm_set_one_reg(int vcpu_fd, uint64_t id, const void *value, struct err *err);
/* All ids of a vCPU. In: ->n is the room; out: how many there are. -E2BIG when that is more. */
int kvm_get_reg_list(int vcpu_fd, struct kvm_reg_list *list, struct err *err);

/* A device in the kernel, KVM_DEV_TYPE_*; -ENODEV where KVM has none of the kind. */
int kvm_create_device(int vm_fd, uint32_t type, int *ret_fd, struct err *err);
/* Device attributes of a VM, vCPU or device fd; has: 0 or -ENXIO. */
int kvm_has_device_attr(int fd, uint32_t group, uint64_t attr);
int kvm_get_device_attr(int fd, uint32_t group, uint64_t attr, void *value, struct err *err);
int kvm_set_device_attr(int fd, uint32_t group, uint64_t attr, const void *value, struct err *err);

#endif
