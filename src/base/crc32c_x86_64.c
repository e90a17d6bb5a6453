/* SPDX-License-Identifier: Apache-2.0 */
/* SSE4.2 CRC32 (Intel SDM vol. 2, CRC32) on three streams, joined with PCLMULQDQ; see crc32c_impl.h. */
#include <nmmintrin.h>
#include <string.h>
#include <wmmintrin.h>

#include "crc32c_impl.h"

#define TARGET __attribute__((target("sse4.2,pclmul")))

bool crc32c_accel_usable(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* a·x1 + b·x2, not reduced. */
TARGET static inline uint64_t fold(uint64_t a, uint32_t x2, uint64_t b, uint32_t x1)
{
	__m128i pa = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a),
					  _mm_cvtsi32_si128((int)x2), 0);
	__m128i pb = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)b),
					  _mm_cvtsi32_si128((int)x1), 0);

	return (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(pa, pb));
}

/* Three times @block bytes, a constant and a multiple of 8. */
TARGET static inline __attribute__((always_inline)) uint64_t three(uint64_t reg, const uint8_t *p,
								   size_t block, uint32_t x1,
								   uint32_t x2)
{
	uint64_t a = reg, b = 0, c = 0;

	for (size_t i = 0; i < block; i += 8) {
		a = _mm_crc32_u64(a, load64(p + i));
		b = _mm_crc32_u64(b, load64(p + block + i));
		c = _mm_crc32_u64(c, load64(p + 2 * block + i));
	}
	return c ^ _mm_crc32_u64(0, fold(a, x2, b, x1));
}

TARGET uint32_t crc32c_accel(uint32_t reg32, const uint8_t *p, size_t len_bytes)
{
	uint64_t reg = reg32;

	for (; len_bytes >= 3 * CRC32C_LONG_BLOCK; len_bytes -= 3 * CRC32C_LONG_BLOCK) {
		reg = three(reg, p, CRC32C_LONG_BLOCK, CRC32C_LONG_X1, CRC32C_LONG_X2);
		p += 3 * CRC32C_LONG_BLOCK;
	}
	for (; len_bytes >= 3 * CRC32C_SHORT_BLOCK; len_bytes -= 3 * CRC32C_SHORT_BLOCK) {
		reg = three(reg, p, CRC32C_SHORT_BLOCK, CRC32C_SHORT_X1, CRC32C_SHORT_X2);
		p += 3 * CRC32C_SHORT_BLOCK;
	}
	for (; len_bytes >= 8; len_bytes -= 8, p += 8)
		reg = _mm_crc32_u64(reg, load64(p));
	for (; len_bytes; len_bytes--, p++)
		reg = _mm_crc32_u8((uint32_t)reg, *p);
	return (uint32_t)reg;
}
