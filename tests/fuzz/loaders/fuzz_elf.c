/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels. The magic is given, so that no input is lost on the first check. */
#include "plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	uint8_t *copy = malloc(len_bytes + 1);

	if (!copy)
		return 0;
	memcpy(copy, data, len_bytes);
	if (len_bytes >= SELFMAG)
		memcpy(copy, ELFMAG, SELFMAG);
	fuzz_plan(copy, len_bytes);
	free(copy);
	return 0;
}
