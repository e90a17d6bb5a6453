/* SPDX-License-Identifier: Apache-2.0 */
/* bzImages. The magics are given; so is the first sector, up to the setup header: the input starts there. */
#include "plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	uint8_t *copy = calloc(1, BOOT_HDR_OFF + len_bytes + 1);

	if (!copy)
		return 0;
	memcpy(copy + BOOT_HDR_OFF, data, len_bytes);
	if (len_bytes >= 0x206 - BOOT_HDR_OFF) {
		le16_put(copy + 0x1fe, 0xaa55);
		memcpy(copy + 0x202, "HdrS", 4);
	}
	fuzz_plan(copy, BOOT_HDR_OFF + len_bytes);
	free(copy);
	return 0;
}
