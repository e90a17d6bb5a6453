/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"
#include "migration/wire/record.h"
#include "migration/wire/text.h"

static void header_comes_back(void **state)
{
	static const uint8_t meta[5] = { 1, 2, 3, 4, 5 };
	uint8_t header[STREAM_HEADER_BYTES];
	struct record_header h;

	record_encode_header(header, REC_PAGES, 7, meta, sizeof(meta), 8192);
	assert_memory_equal(header, "VMM1", 4);
	assert_int_equal(record_decode_header(header, 7, &h, NULL), 0);
	assert_int_equal(h.type, REC_PAGES);
	assert_int_equal(h.seq, 7);
	assert_int_equal(h.meta_len, sizeof(meta));
	assert_true(h.payload_len == 8192);
	assert_int_equal(record_check_crc(header, &h, meta, NULL), 0);
}

/* Each bit of header and meta data: one of the two checks must see it. */
static void every_flipped_bit_is_seen(void **state)
{
	uint8_t bytes[STREAM_HEADER_BYTES + 24];
	struct record_header h;

	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		memset(bytes, 0x5a, sizeof(bytes));
		record_encode_header(bytes, REC_PAGES, 3, bytes + STREAM_HEADER_BYTES, 24, 4096);
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		if (record_decode_header(bytes, 3, &h, NULL))
			continue;
		/* A longer meta data would be read; what lies behind it here is not. */
		if (h.meta_len > 24)
			continue;
		assert_int_equal(record_check_crc(bytes, &h, bytes + STREAM_HEADER_BYTES, NULL),
				 -EBADMSG);
	}
}

static void header_fields_out_of_range(void **state)
{
	static const struct {
		unsigned int offset, bytes;
		uint64_t value;
		const char *message;
	} cases[] = {
		{ 0, 4, 0x314d4d57, "magic" },
		{ 4, 2, 0, "unknown type 0" },
		{ 4, 2, REC_TYPE_COUNT, "unknown type" },
		{ 4, 2, 0xffff, "unknown type" },
		{ 6, 2, 1, "flags" },
		{ 6, 2, 0x8000, "flags" },
		{ 8, 4, 8, "sequence number is 8" },
		{ 8, 4, 0xffffffff, "sequence" },
		{ 12, 4, 8193, "meta data, limit 8192" },
		{ 12, 4, 0xffffffff, "meta data" },
		{ 16, 8, STREAM_MAX_PAYLOAD + 1, "payload, limit 1048576" },
		{ 16, 8, 0x100000000u, "payload" },
		{ 16, 8, UINT64_MAX, "payload" },
		{ 24, 4, 1, "reserved" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_header h = { .seq = 99 };
		uint8_t header[STREAM_HEADER_BYTES];
		struct err err = { 0 };
		uint64_t value = htole64(cases[i].value);

		record_encode_header(header, REC_PAGES, 7, NULL, 0, 0);
		memcpy(header + cases[i].offset, &value, cases[i].bytes);
		assert_int_equal(record_decode_header(header, 7, &h, &err), -EBADMSG);
		assert_non_null(strstr(err.msg, cases[i].message));
		assert_non_null(strstr(err.msg, "record 7"));
		assert_int_equal(h.seq, 99); /* nothing written on failure */
	}
}

static void limits_of_each_type(void **state)
{
	/* stream.md §2, in the order of the types. */
	static const uint32_t max_meta[REC_TYPE_COUNT] = {
		0,  64,      1 << 20, 64, 64, 8192, 65536, 8192, 64,
		64, 1 << 20, 64,      64, 0,  64,   1024,  1024,
	};
	for (unsigned int type = 1; type < REC_TYPE_COUNT; type++) {
		uint32_t max_payload = type == REC_PAGES || type == REC_ZPAGES ? 1 << 20 : 0;
		uint8_t header[STREAM_HEADER_BYTES] = { 0 };
		struct record_header h;

		assert_string_not_equal(record_name(type), "unknown");
		le32_put(header, STREAM_MAGIC);
		le16_put(header + 4, (uint16_t)type);
		le32_put(header + 12, max_meta[type]);
		le64_put(header + 16, max_payload);
		assert_int_equal(record_decode_header(header, 0, &h, NULL), 0);
		le32_put(header + 12, max_meta[type] + 1);
		assert_int_equal(record_decode_header(header, 0, &h, NULL), -EBADMSG);
		le32_put(header + 12, max_meta[type]);
		le64_put(header + 16, max_payload + 1);
		assert_int_equal(record_decode_header(header, 0, &h, NULL), -EBADMSG);
	}
	assert_string_equal(record_name(0), "unknown");
	assert_string_equal(record_name(77), "unknown");
}

/* decode(encode(x)) == x, and every shorter or longer meta data is refused. */
#define CHECK_ROUNDTRIP(name, longer_ok, ...)                                                    \
	do {                                                                                     \
		const struct rec_##name in = { __VA_ARGS__ };                                    \
		struct rec_##name out;                                                           \
		struct buf b = { 0 };                                                            \
                                                                                                 \
		rec_##name##_encode(&in, &b);                                                    \
		assert_true(buf_ok(&b));                                                         \
		memset(&out, 0, sizeof(out));                                                    \
		assert_int_equal(rec_##name##_decode(b.data, (uint32_t)b.len_bytes, &out, NULL), \
				 0);                                                             \
		assert_memory_equal(&in, &out, sizeof(in));                                      \
		for (uint32_t n = 0; n < b.len_bytes; n++)                                       \
			assert_int_equal(rec_##name##_decode(b.data, n, &out, NULL), -EBADMSG);  \
		buf_u8(&b, 0);                                                                   \
		assert_int_equal(rec_##name##_decode(b.data, (uint32_t)b.len_bytes, &out, NULL), \
				 (longer_ok) ? 0 : -EBADMSG);                                    \
		buf_fini(&b);                                                                    \
	} while (0)

static void fixed_records_come_back(void **state)
{
	CHECK_ROUNDTRIP(hello, true, .version_min = 1, .version_max = 3, .features = 1ull << 63,
			.page_size = 4096, .max_payload = 65536);
	CHECK_ROUNDTRIP(config_ok, false, .restore_ns = UINT64_MAX, .npages = 1ull << 32);
	CHECK_ROUNDTRIP(round_begin, false, .round = UINT32_MAX, .last = 1);
	CHECK_ROUNDTRIP(ready, false, .receive_ns = 1, .restore_ns = UINT64_MAX);
	CHECK_ROUNDTRIP(started, false, .resume_ns = 0x0102030405060708);
	CHECK_ROUNDTRIP(end, false, .total_pages = 1, .total_zero_pages = 2, .total_records = 3,
			.pause_real_ns = UINT64_MAX);
}

/* These two have padding, which must not be compared. */
static void round_end_and_ack_come_back(void **state)
{
	const struct rec_round_end end = { 5, 6, UINT64_MAX, 8 };
	const struct rec_round_ack ack = { 9, 10 };
	struct rec_round_end end2;
	struct rec_round_ack ack2;
	struct buf b = { 0 };

	rec_round_end_encode(&end, &b);
	assert_int_equal(b.len_bytes, 32);
	assert_int_equal(rec_round_end_decode(b.data, 32, &end2, NULL), 0);
	assert_true(end2.round == 5 && end2.pages == 6 && end2.zero_pages == UINT64_MAX &&
		    end2.bytes == 8);
	for (uint32_t n = 0; n < 32; n++)
		assert_int_equal(rec_round_end_decode(b.data, n, &end2, NULL), -EBADMSG);
	b.data[4] = 1;
	assert_int_equal(rec_round_end_decode(b.data, 32, &end2, NULL), -EBADMSG);
	buf_clear(&b);
	rec_round_ack_encode(&ack, &b);
	assert_int_equal(b.len_bytes, 16);
	assert_int_equal(rec_round_ack_decode(b.data, 16, &ack2, NULL), 0);
	assert_true(ack2.round == 9 && ack2.unproven_pages == 10);
	for (uint32_t n = 0; n < 16; n++)
		assert_int_equal(rec_round_ack_decode(b.data, n, &ack2, NULL), -EBADMSG);
	b.data[7] = 1;
	assert_int_equal(rec_round_ack_decode(b.data, 16, &ack2, NULL), -EBADMSG);
	buf_fini(&b);
}

static void hello_out_of_range(void **state)
{
	static const struct rec_hello bad[] = {
		{ 0, 1, 0, 4096, 65536 }, { 2, 1, 0, 4096, 65536 },        { 1, 1, 0, 0, 65536 },
		{ 1, 1, 0, 8192, 65536 }, { 1, 1, 0, 4096, 65536 - 4096 }, { 1, 1, 0, 4096, 65537 },
		{ 1, 1, 0, 4096, 0 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rec_hello out;
		struct buf b = { 0 };

		rec_hello_encode(&bad[i], &b);
		assert_int_equal(rec_hello_decode(b.data, (uint32_t)b.len_bytes, &out, NULL),
				 -EBADMSG);
		buf_fini(&b);
	}
}

static void other_fields_out_of_range(void **state)
{
	static const struct rec_config_ok config[] = { { 0, 0 }, { 0, (1ull << 32) + 1 } };
	static const struct rec_round_begin begin[] = { { 0, 0 }, { 1, 2 }, { 1, UINT32_MAX } };
	struct rec_config_ok config_out;
	struct rec_round_begin begin_out;
	struct buf b = { 0 };

	for (size_t i = 0; i < 2; i++, buf_clear(&b)) {
		rec_config_ok_encode(&config[i], &b);
		assert_int_equal(rec_config_ok_decode(b.data, 16, &config_out, NULL), -EBADMSG);
	}
	for (size_t i = 0; i < 3; i++, buf_clear(&b)) {
		rec_round_begin_encode(&begin[i], &b);
		assert_int_equal(rec_round_begin_decode(b.data, 8, &begin_out, NULL), -EBADMSG);
	}
	buf_fini(&b);
}

static void text_comes_back_clean(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "out of memory", "out of memory" },
		{ "a\nb\tc\x1b[31m\x7f", "a?b?c?[31m?" },
		{ "Gr\xc3\xbc\xc3\x9f"
		  "e",
		  "Gr\xc3\xbc\xc3\x9f"
		  "e" },
		{ "\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc2\x9b"
		  "31m",
		  "?31m" }, /* C1: CSI */
		{ "\xc0\xaf", "??" }, /* overlong */
		{ "\xe0\x80\xaf", "???" },
		{ "\xed\xa0\x80", "???" }, /* surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* beyond U+10FFFF */
		{ "\xf5\xff\x80", "???" },
		{ "x\xe2\x82", "x??" }, /* ends early */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf b = { 0 };
		struct rec_text text;

		buf_u32(&b, ENOMEM);
		buf_put(&b, cases[i].in, strlen(cases[i].in));
		assert_int_equal(rec_text_decode(b.data, (uint32_t)b.len_bytes, &text, NULL), 0);
		assert_int_equal(text.code, ENOMEM);
		assert_string_equal(text.text, cases[i].out);
		buf_clear(&b);
		rec_text_encode(ENOMEM, cases[i].in, &b);
		assert_int_equal(b.len_bytes, 4 + strlen(cases[i].out));
		assert_memory_equal(b.data + 4, cases[i].out, strlen(cases[i].out));
		buf_fini(&b);
	}
}

static void text_is_cut_between_characters(void **state)
{
	char in[1020], out[STREAM_MAX_TEXT + 1];
	struct rec_text text;
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof(in); i += 3)
		memcpy(in + i, "\xe2\x82\xac", 3);
	assert_int_equal(text_clean(in, sizeof(in), out, sizeof(out)), 510);
	assert_int_equal(text_clean(in, sizeof(in), out, 1), 0);
	assert_string_equal(out, "");
	/* A zero byte in the middle of a peer's text ends nothing. */
	assert_int_equal(text_clean("a\0b", 3, out, sizeof(out)), 3);
	assert_string_equal(out, "a?b");

	buf_u32(&b, 1);
	buf_put(&b, in, sizeof(in));
	assert_int_equal(b.len_bytes, 1024);
	assert_int_equal(rec_text_decode(b.data, 1024, &text, NULL), 0);
	assert_int_equal(strlen(text.text), 510);
	buf_fini(&b);
}

static void text_codes_out_of_range(void **state)
{
	static const uint32_t bad[] = { 0, 4096, 0x80000000, UINT32_MAX };
	struct rec_text text;
	struct buf b = { 0 };

	for (size_t i = 0; i < 4; i++, buf_clear(&b)) {
		buf_u32(&b, bad[i]);
		assert_int_equal(rec_text_decode(b.data, 4, &text, NULL), -EBADMSG);
	}
	buf_u32(&b, 4095);
	assert_int_equal(rec_text_decode(b.data, 4, &text, NULL), 0);
	for (uint32_t n = 0; n < 4; n++)
		assert_int_equal(rec_text_decode(b.data, n, &text, NULL), -EBADMSG);
	buf_fini(&b);
}

/* stream.md §3, written out: what is allowed in each state, and nothing else is. */
static void order_is_the_table(void **state)
{
	static const struct {
		enum stream_state from;
		enum record_type type;
		bool last;
		enum stream_state to;
	} allowed[] = {
		{ STREAM_START, REC_HELLO, false, STREAM_HELLO_DONE },
		{ STREAM_HELLO_DONE, REC_CONFIG, false, STREAM_CONFIGURED },
		{ STREAM_CONFIGURED, REC_ROUND_BEGIN, false, STREAM_IN_ROUND },
		{ STREAM_CONFIGURED, REC_ROUND_BEGIN, true, STREAM_IN_LAST_ROUND },
		{ STREAM_IN_ROUND, REC_PAGES, false, STREAM_IN_ROUND },
		{ STREAM_IN_ROUND, REC_ZERO, false, STREAM_IN_ROUND },
		{ STREAM_IN_ROUND, REC_ZPAGES, false, STREAM_IN_ROUND },
		{ STREAM_IN_ROUND, REC_ROUND_END, false, STREAM_CONFIGURED },
		{ STREAM_IN_LAST_ROUND, REC_PAGES, false, STREAM_IN_LAST_ROUND },
		{ STREAM_IN_LAST_ROUND, REC_ZERO, false, STREAM_IN_LAST_ROUND },
		{ STREAM_IN_LAST_ROUND, REC_ZPAGES, false, STREAM_IN_LAST_ROUND },
		{ STREAM_IN_LAST_ROUND, REC_ROUND_END, false, STREAM_LAST_ROUND_DONE },
		{ STREAM_LAST_ROUND_DONE, REC_STATE, false, STREAM_IN_STATE },
		{ STREAM_IN_STATE, REC_STATE, false, STREAM_IN_STATE },
		{ STREAM_IN_STATE, REC_END, false, STREAM_ENDED },
		{ STREAM_ENDED, REC_COMMIT, false, STREAM_COMMITTED },
	};
	unsigned int found = 0;

	for (int from = STREAM_START; from <= STREAM_OVER; from++) {
		for (int type = 1; type < REC_TYPE_COUNT; type++) {
			for (int last = 0; last < 2; last++) {
				enum stream_state s = (enum stream_state)from;
				int rc = stream_next_state(&s, (enum record_type)type, last, NULL);
				int expected = -EPROTO;

				if (type == REC_ERROR || type == REC_CANCEL)
					expected = from < STREAM_COMMITTED ? 0 : -EPROTO;
				for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
					if ((int)allowed[i].from != from ||
					    (int)allowed[i].type != type ||
					    (type == REC_ROUND_BEGIN && allowed[i].last != last))
						continue;
					expected = 0;
					assert_int_equal(s, allowed[i].to);
					found++;
				}
				assert_int_equal(rc, expected);
				if (rc)
					assert_int_equal(s, from);
			}
		}
	}
	/* Each twice, whatever `last` says, but the two of ROUND_BEGIN. */
	assert_int_equal(found, 2 * 16 - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_comes_back),
		cmocka_unit_test(every_flipped_bit_is_seen),
		cmocka_unit_test(header_fields_out_of_range),
		cmocka_unit_test(limits_of_each_type),
		cmocka_unit_test(fixed_records_come_back),
		cmocka_unit_test(round_end_and_ack_come_back),
		cmocka_unit_test(hello_out_of_range),
		cmocka_unit_test(other_fields_out_of_range),
		cmocka_unit_test(text_comes_back_clean),
		cmocka_unit_test(text_is_cut_between_characters),
		cmocka_unit_test(text_codes_out_of_range),
		cmocka_unit_test(order_is_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
