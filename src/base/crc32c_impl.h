/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CRC32C_IMPL_H
#define BASE_CRC32C_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Beneath crc32c(): values here are the bare register, without the initial and final inversion. The build takes one crc32c_<cpu>.c.
 *
 * The accelerated versions run three streams of BLOCK bytes side by side, since the instruction takes 3 cycles but one can start each cycle,
 * and join them: the register after A || B || C is A·x^(16·BLOCK) + B·x^(8·BLOCK) + C mod P. A carry-less product of two reflected 32-bit
 * values is x times the product's 64-bit reflected form, and a CRC step over it multiplies by x^32, so that the factor for n bytes is
 * x^(8n - 33) mod P (reflected).
 */
#define CRC32C_LONG_BLOCK 1360u /* three of them: 16 bytes short of a 4 KiB page */
#define CRC32C_LONG_X1 0x3f70cc6fu
#define CRC32C_LONG_X2 0x5aa1f3cfu
#define CRC32C_SHORT_BLOCK 168u
#define CRC32C_SHORT_X1 0x1b3d8f29u
#define CRC32C_SHORT_X2 0xa60ce07bu

uint32_t crc32c_table(uint32_t reg, const uint8_t *p, size_t len_bytes);

bool crc32c_accel_usable(void);
/* Only where crc32c_accel_usable(). */
uint32_t crc32c_accel(uint32_t reg, const uint8_t *p, size_t len_bytes);

#endif
