/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32C (Castagnoli, RFC 3720 B.4; reflected polynomial 0x82f63b78, initial value and final xor all ones).
 * @crc is the value so far, 0 at the start: crc32c(crc32c(0, a), b) == crc32c(0, a || b).
 * Uses the CPU's CRC32 instruction, three streams interleaved, where it has one (chosen once per call site by cpuid/hwcap), else a table.
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t len_bytes);

#endif
