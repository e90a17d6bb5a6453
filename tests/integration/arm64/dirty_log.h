/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ARM64_DIRTY_LOG_H
#define TESTS_ARM64_DIRTY_LOG_H

#include <stdbool.h>

/* What KVM_ENABLE_CAP of KVM_CAP_ARM_HW_DIRTY_LOG answers to each who asks at the wrong time or for the wrong thing: how many cases failed. Where there is no
 * such capability, or no such hardware, everybody is refused with EINVAL. */
#define DIRTY_LOG_ANSWERS 8u
int dirty_log_answers(bool present);

#endif
