/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARCH_AARCH64_SYSREG_NAMES_H
#define VMM_ARCH_AARCH64_SYSREG_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* sysreg.c's tables of names. @enc: ARM64_SYSREG_ENC. */

/* NULL: not in the table. */
const char *sysreg_known_name(uint32_t enc);

/* The field of an ID register that @bit lies in; false where the register is none that is divided into fields here. A field without a name is called by its bits. */
bool sysreg_field_at(uint32_t enc, unsigned int bit, char *name, size_t name_bytes,
		     unsigned int *ret_lsb, unsigned int *ret_width);

#endif
