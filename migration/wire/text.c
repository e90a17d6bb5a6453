/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/wire/text.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the well-formed UTF-8 character at @s (RFC 3629 §4: no overlong form, no surrogate, at most U+10FFFF), 0 when there is none. */
static size_t utf8_length(const uint8_t *s, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > left)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

size_t text_clean(const void *text, size_t len_bytes, char *out, size_t cap)
{
	const uint8_t *s = text;
	size_t used = 0, i = 0;

	while (i < len_bytes) {
		size_t n = utf8_length(s + i, len_bytes - i);
		int bad = n == 0 || s[i] < 0x20 || s[i] == 0x7f ||
			  (n == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0);
		size_t want = bad ? 1 : n;

		if (used + want > cap - 1)
			break;
		if (bad)
			out[used] = '?';
		else
			memcpy(out + used, s + i, n);
		used += want;
		i += n ? n : 1;
	}
	out[used] = '\0';
	return used;
}
