/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "migration/wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct rec_text *t)
{
	size_t n = strlen(t->text);

	if (n > STREAM_MAX_TEXT || !t->code)
		abort();
	for (size_t i = 0; i < n; i++)
		if ((uint8_t)t->text[i] < 0x20 || t->text[i] == 0x7f)
			abort();
}

/* Input: a byte that selects the decoder, then its bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	union {
		struct rec_hello hello;
		struct rec_config_ok config_ok;
		struct rec_round_begin begin;
		struct rec_round_end end;
		struct rec_round_ack ack;
		struct rec_end stream_end;
		struct rec_ready ready;
		struct rec_started started;
		struct rec_text text;
	} r;
	struct record_header h;
	const uint8_t *meta = data + 1;
	uint32_t len;

	if (!size || size > 4096)
		return 0;
	len = (uint32_t)size - 1;
	switch (data[0] % 10) {
	case 0:
		return rec_hello_decode(meta, len, &r.hello, NULL), 0;
	case 1:
		return rec_config_ok_decode(meta, len, &r.config_ok, NULL), 0;
	case 2:
		return rec_round_begin_decode(meta, len, &r.begin, NULL), 0;
	case 3:
		return rec_round_end_decode(meta, len, &r.end, NULL), 0;
	case 4:
		return rec_round_ack_decode(meta, len, &r.ack, NULL), 0;
	case 5:
		return rec_end_decode(meta, len, &r.stream_end, NULL), 0;
	case 6:
		return rec_ready_decode(meta, len, &r.ready, NULL), 0;
	case 7:
		return rec_started_decode(meta, len, &r.started, NULL), 0;
	case 8:
		if (!rec_text_decode(meta, len, &r.text, NULL))
			check_text(&r.text);
		return 0;
	default:
		if (len >= STREAM_HEADER_BYTES && !record_decode_header(meta, 0, &h, NULL) &&
		    (h.meta_len > STREAM_MAX_META || h.payload_len > STREAM_MAX_PAYLOAD ||
		     h.type >= REC_TYPE_COUNT))
			abort();
		return 0;
	}
}
