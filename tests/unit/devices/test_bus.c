/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "devices/bus.h"

struct dev {
	unsigned int reads, writes, strings;
	uint64_t offset, value;
	unsigned int size_bytes;
	uint8_t bytes[16];
	unsigned int nbytes;
	uint64_t answer;
};

static uint64_t dev_read(void *opaque, uint64_t offset, unsigned int size_bytes)
{
	struct dev *d = opaque;

	d->reads++;
	d->offset = offset;
	d->size_bytes = size_bytes;
	return d->answer++;
}

static void dev_write(void *opaque, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct dev *d = opaque;

	d->writes++;
	d->offset = offset;
	d->size_bytes = size_bytes;
	d->value = value;
}

static void dev_write_bytes(void *opaque, uint64_t offset, const uint8_t *data, unsigned int count)
{
	struct dev *d = opaque;

	d->strings++;
	d->offset = offset;
	d->nbytes = count;
	memcpy(d->bytes, data, count);
}

static const struct bus_ops plain = { .read = dev_read, .write = dev_write };
static const struct bus_ops stringy = { .read = dev_read,
					.write = dev_write,
					.write_bytes = dev_write_bytes };

static void ranges_do_not_overlap(void **state)
{
	struct bus b = { 0 };
	struct err err = { 0 };

	assert_int_equal(bus_add(&b, 0x100, 0x10, &plain, NULL, &err), 0);
	assert_int_equal(bus_add(&b, 0x100, 0x10, &plain, NULL, &err), -EEXIST);
	assert_int_equal(bus_add(&b, 0x10f, 1, &plain, NULL, &err), -EEXIST);
	assert_int_equal(bus_add(&b, 0xff, 2, &plain, NULL, &err), -EEXIST);
	assert_int_equal(bus_add(&b, 0x80, 0x1000, &plain, NULL, &err), -EEXIST);
	assert_int_equal(bus_add(&b, 0x110, 1, &plain, NULL, &err), 0);
	assert_int_equal(bus_add(&b, 0xff, 1, &plain, NULL, &err), 0);
	assert_int_equal(bus_add(&b, 0x200, 0, &plain, NULL, &err), -EINVAL);
	assert_int_equal(bus_add(&b, UINT64_MAX, 2, &plain, NULL, &err), -EINVAL);
	assert_int_equal(bus_add(&b, UINT64_MAX, 1, &plain, NULL, &err), 0);
	assert_int_equal(bus_add(&b, 1, UINT64_MAX, &plain, NULL, &err), -EEXIST);
	assert_int_equal(b.nranges, 4);
	for (unsigned int i = 1; i < b.nranges; i++)
		assert_true(b.range[i - 1].base < b.range[i].base);
}

static void number_of_ranges_is_bounded(void **state)
{
	struct bus b = { 0 };

	for (unsigned int i = 0; i < BUS_MAX_RANGES; i++)
		assert_int_equal(bus_add(&b, 1000 - i, 1, &plain, NULL, NULL), 0);
	assert_int_equal(bus_add(&b, 5, 1, &plain, NULL, NULL), -ENOSPC);
}

static void accesses_reach_their_device(void **state)
{
	struct dev low = { .answer = 0x11223344 }, high = { 0 };
	struct bus b = { 0 };
	uint8_t data[8];

	bus_add(&b, 0x3f8, 8, &plain, &low, NULL);
	bus_add(&b, 0x400, 4, &plain, &high, NULL);
	memset(data, 0xee, sizeof(data));
	bus_access(&b, 0x3fa, false, data, 4);
	assert_memory_equal(data, "\x44\x33\x22\x11\xee", 5);
	assert_int_equal(low.offset, 2);
	assert_int_equal(low.size_bytes, 4);
	bus_access(&b, 0x403, true, (uint8_t[]){ 0xab, 0xcd }, 1);
	assert_int_equal(high.offset, 3);
	assert_int_equal(high.value, 0xab);
	bus_access(&b, 0x402, true, (uint8_t[]){ 0xab, 0xcd }, 2);
	assert_int_equal(high.value, 0xcdab);
	assert_int_equal(low.writes, 0);
}

static void nobody_there_and_straddling(void **state)
{
	static const uint64_t misses[] = { 0, 0x3f7, 0x404, UINT64_MAX, 0x3fd /* over the end */ };
	struct dev low = { 0 }, high = { 0 };
	struct bus b = { 0 };
	uint8_t data[8];

	bus_add(&b, 0x3f8, 8, &plain, &low, NULL);
	bus_add(&b, 0x400, 4, &plain, &high, NULL);
	for (size_t i = 0; i < 5; i++) {
		memset(data, 0, sizeof(data));
		bus_access(&b, misses[i], false, data, 4);
		assert_memory_equal(data, "\xff\xff\xff\xff\0", 5);
		bus_access(&b, misses[i], true, data, 4);
	}
	/* A size that no instruction has. */
	bus_access(&b, 0x3f8, false, data, 3);
	assert_memory_equal(data, "\xff\xff\xff", 3);
	assert_int_equal(low.reads + low.writes + high.reads + high.writes, 0);
}

static void strings(void **state)
{
	struct dev a = { .answer = 5 }, s = { 0 };
	struct bus b = { 0 };
	uint8_t data[8] = { 0 };

	bus_add(&b, 0, 8, &plain, &a, NULL);
	bus_add(&b, 8, 8, &stringy, &s, NULL);
	bus_access_string(&b, 9, true, (uint8_t[]){ "hello" }, 1, 5);
	assert_int_equal(s.strings, 1);
	assert_int_equal(s.writes, 0);
	assert_int_equal(s.offset, 1);
	assert_int_equal(s.nbytes, 5);
	assert_memory_equal(s.bytes, "hello", 5);
	bus_access_string(&b, 8, true, data, 2, 3); /* words: one by one */
	assert_int_equal(s.writes, 3);
	bus_access_string(&b, 1, true, (uint8_t[]){ "xyz" }, 1, 3);
	assert_int_equal(a.writes, 3);
	assert_int_equal(a.value, 'z');
	bus_access_string(&b, 1, false, data, 2, 3);
	assert_memory_equal(data, "\x05\0\x06\0\x07\0\0\0", 8);
	bus_access_string(&b, 0x50, false, data, 2, 3);
	assert_memory_equal(data, "\xff\xff\xff\xff\xff\xff\0\0", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_do_not_overlap),
		cmocka_unit_test(number_of_ranges_is_bounded),
		cmocka_unit_test(accesses_reach_their_device),
		cmocka_unit_test(nobody_there_and_straddling),
		cmocka_unit_test(strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
