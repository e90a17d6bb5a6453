/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "crc32c_impl.h"

/* RFC 3720 B.4, and the check value of the CRC catalogue. */
static void known_vectors(void **state)
{
	uint8_t data[48];

	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
	memset(data, 0, 32);
	assert_int_equal(crc32c(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, 32);
	assert_int_equal(crc32c(0, data, 32), 0x62a8ab43);
	for (unsigned int i = 0; i < 32; i++)
		data[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, data, 32), 0x46dd794e);
	for (unsigned int i = 0; i < 32; i++)
		data[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(0, data, 32), 0x113fdb5c);
}

/* The polynomial itself, bit by bit: what both implementations are checked against. */
static uint32_t bitwise(uint32_t reg, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		reg ^= p[i];
		for (int k = 0; k < 8; k++)
			reg = (reg >> 1) ^ (reg & 1 ? 0x82f63b78u : 0);
	}
	return reg;
}

#define DATA_BYTES 20000u

static uint8_t *make_data(void)
{
	uint8_t *data = malloc(DATA_BYTES);
	uint32_t x = 12345;

	assert_non_null(data);
	for (size_t i = 0; i < DATA_BYTES; i++) {
		x = x * 1664525u + 1013904223u;
		data[i] = (uint8_t)(x >> 24);
	}
	return data;
}

static void table_is_the_polynomial(void **state)
{
	uint8_t *data = make_data();

	for (size_t n = 0; n < 700; n++)
		assert_int_equal(crc32c_table((uint32_t)n, data, n), bitwise((uint32_t)n, data, n));
	free(data);
}

static void implementations_agree_at_all_alignments(void **state)
{
	uint8_t *data;

	if (!crc32c_accel_usable()) {
		print_message("this CPU lacks the instructions: nothing to compare\n");
		skip();
	}
	data = make_data();
	for (size_t at = 0; at < 16; at++) {
		for (size_t n = 0; n < DATA_BYTES - 16;
		     n += n < 1100 || (n > 4000 && n < 4200) ? 1 : 101) {
			uint32_t reg = (uint32_t)(n * 2654435761u);

			if (crc32c_accel(reg, data + at, n) != crc32c_table(reg, data + at, n))
				fail_msg("alignment %zu, %zu bytes", at, n);
		}
	}
	free(data);
}

static void pieces_make_the_whole(void **state)
{
	uint8_t *data = make_data();
	uint32_t whole = crc32c(0, data, DATA_BYTES);

	for (size_t cut = 0; cut <= DATA_BYTES; cut += 373)
		assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, DATA_BYTES - cut), whole);
	free(data);
}

static void one_flipped_bit_shows(void **state)
{
	uint8_t *data = make_data();
	uint32_t good = crc32c(0, data, 4096);

	for (size_t bit = 0; bit < 4096 * 8; bit += 61) {
		data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_not_equal(crc32c(0, data, 4096), good);
		data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	assert_int_equal(crc32c(0, data, 4096), good);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_vectors),
		cmocka_unit_test(table_is_the_polynomial),
		cmocka_unit_test(implementations_agree_at_all_alignments),
		cmocka_unit_test(pieces_make_the_whole),
		cmocka_unit_test(one_flipped_bit_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
