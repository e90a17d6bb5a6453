/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs without an instruction that we use. */
#include "crc32c_impl.h"

bool crc32c_accel_usable(void)
{
	return false;
}

uint32_t crc32c_accel(uint32_t reg, const uint8_t *p, size_t len_bytes)
{
	return crc32c_table(reg, p, len_bytes);
}
