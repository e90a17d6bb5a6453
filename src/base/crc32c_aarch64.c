/* SPDX-License-Identifier: Apache-2.0 */
/* CRC32CX on three streams, joined with PMULL (Arm ARM C6.2, FEAT_CRC32 and FEAT_PMULL); see crc32c_impl.h. */
#include <arm_acle.h>
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <string.h>
#include <sys/auxv.h>

#include "crc32c_impl.h"

bool crc32c_accel_usable(void)
{
	unsigned long want = HWCAP_CRC32 | HWCAP_PMULL;

	return (getauxval(AT_HWCAP) & want) == want;
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t product(uint32_t a, uint32_t factor)
{
	return vgetq_lane_u64(vreinterpretq_u64_p128(vmull_p64((poly64_t)a, (poly64_t)factor)), 0);
}

/* Three times @block bytes, a constant and a multiple of 8. */
static inline __attribute__((always_inline)) uint32_t three(uint32_t reg, const uint8_t *p,
							    size_t block, uint32_t x1, uint32_t x2)
{
	uint32_t a = reg, b = 0, c = 0;

	for (size_t i = 0; i < block; i += 8) {
		a = __crc32cd(a, load64(p + i));
		b = __crc32cd(b, load64(p + block + i));
		c = __crc32cd(c, load64(p + 2 * block + i));
	}
	return c ^ __crc32cd(0, product(a, x2) ^ product(b, x1));
}

uint32_t crc32c_accel(uint32_t reg, const uint8_t *p, size_t len_bytes)
{
	for (; len_bytes >= 3 * CRC32C_LONG_BLOCK; len_bytes -= 3 * CRC32C_LONG_BLOCK) {
		reg = three(reg, p, CRC32C_LONG_BLOCK, CRC32C_LONG_X1, CRC32C_LONG_X2);
		p += 3 * CRC32C_LONG_BLOCK;
	}
	for (; len_bytes >= 3 * CRC32C_SHORT_BLOCK; len_bytes -= 3 * CRC32C_SHORT_BLOCK) {
		reg = three(reg, p, CRC32C_SHORT_BLOCK, CRC32C_SHORT_X1, CRC32C_SHORT_X2);
		p += 3 * CRC32C_SHORT_BLOCK;
	}
	for (; len_bytes >= 8; len_bytes -= 8, p += 8)
		reg = __crc32cd(reg, load64(p));
	for (; len_bytes; len_bytes--, p++)
		reg = __crc32cb(reg, *p);
	return reg;
}
