/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of option values: they end, stay inside the string, and write only on success. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/num.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static int (*const parsers[])(const char *, uint64_t *) = {
		num_parse_u64,
		num_parse_size,
		num_parse_duration,
		num_parse_rate,
	};
	char text[64];

	if (len_bytes >= sizeof(text))
		return 0;
	memcpy(text, data, len_bytes);
	text[len_bytes] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(parsers); i++) {
		uint64_t v = 0x5a5a5a5a5a5a5a5a;
		uint64_t again = 0;

		if (parsers[i](text, &v)) {
			if (v != 0x5a5a5a5a5a5a5a5a)
				__builtin_trap();
		} else if (parsers[i](text, &again) || again != v) {
			__builtin_trap();
		}
	}
	return 0;
}
