/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "migration/check/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *opaque, const char *text)
{
	size_t *total = opaque;

	*total += strlen(text);
}

static void check(uint8_t *data, size_t size)
{
	struct stream_check *c = calloc(1, sizeof(*c));
	size_t printed = 0;

	c->in = fmemopen(data, size, "rb");
	c->max_ram_pages = 1 << 16;
	c->line = ignore;
	c->opaque = &printed;
	c->dump = true;
	if (c->in) {
		struct err err = { 0 };
		int rc = stream_check_run(c, &err);

		if ((rc != 0) != (err.msg[0] != 0) || rc > 0)
			abort(); /* an error without a word, or a word without an error */
		fclose(c->in);
	}
	free(c);
}

/* Sequence numbers and checksums made right, so that what lies behind them is reached. */
static void repair(uint8_t *data, size_t size)
{
	size_t pos = 0;

	for (uint32_t seq = 0; size - pos >= STREAM_HEADER_BYTES; seq++) {
		uint8_t *header = data + pos;
		uint32_t meta_len = le32_get(header + 12);
		uint64_t payload_len = le64_get(header + 16);
		size_t left = size - pos - STREAM_HEADER_BYTES;
		uint8_t *meta = header + STREAM_HEADER_BYTES;

		if (meta_len > left || payload_len > left - meta_len)
			return;
		if (le16_get(header + 4) == REC_ZPAGES && meta_len >= 4)
			le32_put(meta + meta_len - 4,
				 crc32c(0, meta + meta_len, (size_t)payload_len));
		record_encode_header(header, (enum record_type)le16_get(header + 4), seq, meta,
				     meta_len, payload_len);
		pos += STREAM_HEADER_BYTES + meta_len + (size_t)payload_len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (!size)
		return 0;
	copy = malloc(size);
	memcpy(copy, data, size);
	check(copy, size);
	repair(copy, size);
	check(copy, size);
	free(copy);
	return 0;
}
