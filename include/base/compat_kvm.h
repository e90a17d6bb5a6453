/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_COMPAT_KVM_H
#define BASE_COMPAT_KVM_H

#include <linux/kvm.h>

/* What newer kernels have and the headers of Linux 6.1 do not (include/uapi/linux/kvm.h). A constant here says nothing about the host: ask KVM. */
#ifndef KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP
#define KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP 225 /* 6.2 */
#endif
#ifndef KVM_CAP_COUNTER_OFFSET
#define KVM_CAP_COUNTER_OFFSET 227 /* 6.4 */
#endif
#ifndef KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE
#define KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE 228 /* 6.5 */
#endif
/* arm64, of this project's own kernel series (kernel/): far above upstream's numbers. Only a KVM_ENABLE_CAP that succeeds proves anything. */
#ifndef KVM_CAP_ARM_HW_DIRTY_LOG
#define KVM_CAP_ARM_HW_DIRTY_LOG 0x41524d44
#endif
#ifndef KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES
#define KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES 229 /* 6.5 */
#endif
#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2 231 /* 6.8 */
#endif
#ifndef KVM_CAP_GUEST_MEMFD
#define KVM_CAP_GUEST_MEMFD 234 /* 6.8 */
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39 /* 6.8 */
#endif

/* arm64's header has it since 6.2 (arch/arm64/include/uapi/asm/kvm.h); before that linux/kvm.h says 0 there, and a ring would be mapped where kvm_run is. */
#if KVM_DIRTY_LOG_PAGE_OFFSET == 0
#undef KVM_DIRTY_LOG_PAGE_OFFSET
#define KVM_DIRTY_LOG_PAGE_OFFSET 64
#endif

#endif
