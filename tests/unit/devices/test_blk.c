/* SPDX-License-Identifier: Apache-2.0 */
/* A block device as its driver sees it. */
#include "blk_fixture.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

#define ALL_BUT(feature) (~(1ULL << (feature)))

static uint8_t *data(struct blk_fixture *f)
{
	return driver_ptr(&f->d, f->data_gpa, DATA_BYTES);
}

static void offers_what_it_can(void **state)
{
	struct blk_fixture *f = *state;
	struct virtio_blk_config c;
	struct virtio_face face;

	blk_start(f, (struct blk_config){ .nqueues = 3 }, ALL_FEATURES);
	virtio_get_face(f->v, &face);
	assert_string_equal(face.kind, "blk");
	assert_int_equal(face.nqueues, 3);
	assert_int_equal(face.config_bytes, 60);
	memcpy(&c, face.config, 60);
	assert_int_equal(le64toh(c.capacity), IMAGE_SECTORS);
	assert_int_equal(le32toh(c.seg_max), 128);
	assert_int_equal(le32toh(c.blk_size), 512);
	assert_int_equal(c.physical_block_exp, 3);
	assert_int_equal(le16toh(c.num_queues), 3);
	for (unsigned int bit = 0; bit < 24; bit++) {
		const uint32_t offered = 1u << VIRTIO_BLK_F_SIZE_MAX | 1u << VIRTIO_BLK_F_SEG_MAX |
					 1u << VIRTIO_BLK_F_BLK_SIZE | 1u << VIRTIO_BLK_F_FLUSH |
					 1u << VIRTIO_BLK_F_TOPOLOGY | 1u << VIRTIO_BLK_F_MQ |
					 1u << VIRTIO_BLK_F_DISCARD |
					 1u << VIRTIO_BLK_F_WRITE_ZEROES;

		assert_int_equal(face.features >> bit & 1, offered >> bit & 1);
	}
}

static void reads_and_writes(void **state)
{
	struct blk_fixture *f = *state;

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 7, 8192), VIRTIO_BLK_S_OK);
	assert_int_equal(f->written, 8193);
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(le64_get(data(f) + 512 * i), 7 + i);
	memset(data(f), 0x5a, 4096);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, IMAGE_SECTORS - 8, 4096),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(f->written, 1);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_true(blk_file_word(f, IMAGE_SECTORS - 1) == 0x5a5a5a5a5a5a5a5a);
	assert_int_equal(blk_file_word(f, IMAGE_SECTORS - 9), IMAGE_SECTORS - 9);
	assert_int_equal(blk_counter(f->v, "requests"), 3);
	assert_int_equal(blk_counter(f->v, "bytes_read"), 8192);
	assert_int_equal(blk_counter(f->v, "bytes_written"), 4096);
	assert_int_equal(blk_counter(f->v, "flushes"), 1);
	assert_int_equal(blk_counter(f->v, "errors"), 0);
}

/* §5.2.6 prescribes no framing: header, data and status may share descriptors and be cut anywhere. */
static void takes_any_framing(void **state)
{
	struct blk_fixture *f = *state;
	const struct driver_part cut[] = { { f->header_gpa, 3, false },
					   { f->header_gpa + 3, 13, false },
					   { f->data_gpa, 100, true },
					   { f->data_gpa + 100, 924, true },
					   { f->status_gpa, 1, true } };
	const struct driver_part joined_out[] = { { f->data_gpa, 16 + 512, false },
						  { f->data_gpa + 528, 512, false },
						  { f->status_gpa, 1, true } };
	const struct driver_part joined_in[] = { { f->header_gpa, 16, false },
						 { f->data_gpa + 4096, 513, true } };
	uint32_t written;

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	blk_header(f, f->header_gpa, VIRTIO_BLK_T_IN, 20);
	assert_true(driver_do(&f->d, 0, cut, 5, &written));
	assert_int_equal(written, 1025);
	assert_int_equal(le64_get(data(f)), 20);
	assert_int_equal(le64_get(data(f) + 512), 21);

	blk_header(f, f->data_gpa, VIRTIO_BLK_T_OUT, 30);
	le64_put(data(f) + 16, 1111);
	le64_put(data(f) + 528, 2222);
	assert_true(driver_do(&f->d, 0, joined_out, 3, &written));
	assert_int_equal(blk_file_word(f, 30), 1111);
	assert_int_equal(blk_file_word(f, 31), 2222);
	assert_int_equal(blk_file_word(f, 32), 32);

	data(f)[4096 + 512] = 0xee;
	blk_header(f, f->header_gpa, VIRTIO_BLK_T_IN, 40);
	assert_true(driver_do(&f->d, 0, joined_in, 2, &written));
	assert_int_equal(le64_get(data(f) + 4096), 40);
	assert_int_equal(data(f)[4096 + 512], VIRTIO_BLK_S_OK);
}

static void tells_its_serial_number(void **state)
{
	struct blk_fixture *f = *state;

	blk_start(f, (struct blk_config){ .serial = "ABCDEFGHIJ0123456789" }, ALL_FEATURES);
	memset(data(f), 'x', 64);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	assert_int_equal(f->written, 21);
	assert_memory_equal(data(f), "ABCDEFGHIJ0123456789xx", 22);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_GET_ID, 0, 64), VIRTIO_BLK_S_OK);
	assert_int_equal(f->written, 20); /* the status stands behind bytes that were not written */
	memset(data(f), 'x', 64);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_GET_ID, 0, 4), VIRTIO_BLK_S_OK);
	assert_memory_equal(data(f), "ABCDxxx", 7);
}

static void has_a_serial_number_by_itself(void **state)
{
	struct blk_fixture *f = *state;
	struct virtio *v = NULL;
	struct err err;

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	memset(data(f), 'x', 64);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	assert_memory_equal(data(f), "disk0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x", 21);
	assert_int_equal(blk_create(f, NULL, (struct blk_config){ .serial = "a\nb" }, &v, &err),
			 -EINVAL);
	assert_non_null(strstr(err.msg, "serial"));
}

static void refuses_what_is_beyond_it(void **state)
{
	struct blk_fixture *f = *state;

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	memset(data(f), 0x77, DATA_BYTES);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, IMAGE_SECTORS, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, IMAGE_SECTORS - 1, 1024),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(f->written, 0);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 512),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, 0, 513), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 0, 100), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, IMAGE_SECTORS + 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, IMAGE_SECTORS, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_SECURE_ERASE, 0, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_request(f, 0x80000001, 0, 512), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(f->written, 1);
	assert_int_equal(blk_counter(f->v, "errors"), 7);
	for (unsigned int i = 0; i < 512; i++)
		assert_int_equal(data(f)[i], 0x77);
	assert_int_equal(blk_file_word(f, 0), 0);
	assert_int_equal(blk_file_word(f, IMAGE_SECTORS - 1), IMAGE_SECTORS - 1);
}

static void put_range(struct blk_fixture *f, uint64_t sector, uint32_t nsectors, uint32_t flags)
{
	le64_put(data(f), sector);
	le32_put(data(f) + 8, nsectors);
	le32_put(data(f) + 12, flags);
}

static int range_request(struct blk_fixture *f, uint32_t type, uint64_t sector, uint32_t nsectors,
			 uint32_t flags)
{
	put_range(f, sector, nsectors, flags);
	return blk_request(f, type, 0, 16);
}

static void discards_and_zeroes(void **state)
{
	struct blk_fixture *f = *state;
	const uint32_t zero = VIRTIO_BLK_T_WRITE_ZEROES, discard = VIRTIO_BLK_T_DISCARD;

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	for (uint32_t unmap = 0; unmap <= 1; unmap++) {
		uint64_t at = 100 + unmap * 100;

		assert_int_equal(range_request(f, zero, at, 20, unmap), VIRTIO_BLK_S_OK);
		assert_int_equal(blk_file_word(f, at - 1), at - 1);
		for (uint64_t i = 0; i < 20; i++)
			assert_int_equal(blk_file_word(f, at + i), 0);
		assert_int_equal(blk_file_word(f, at + 20), at + 20);
	}
	assert_int_equal(range_request(f, discard, 400, 64, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_file_word(f, 399), 399);
	assert_int_equal(blk_file_word(f, 464), 464);
	assert_int_equal(range_request(f, discard, 500, 0, 0), VIRTIO_BLK_S_OK);

	assert_int_equal(range_request(f, zero, 600, 8, 2), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range_request(f, discard, 600, 8, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range_request(f, zero, IMAGE_SECTORS - 4, 5, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range_request(f, discard, UINT64_MAX - 4, 5, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range_request(f, zero, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	put_range(f, 600, 8, 0);
	assert_int_equal(blk_request(f, zero, 0, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_request(f, zero, 0, 32), VIRTIO_BLK_S_IOERR); /* two ranges */
	assert_int_equal(blk_request(f, zero, 0, 0), VIRTIO_BLK_S_IOERR);
	for (uint64_t i = 600; i < 608; i++)
		assert_int_equal(blk_file_word(f, i), i);
}

static void does_not_do_what_was_not_negotiated(void **state)
{
	struct blk_fixture *f = *state;

	blk_start(f, (struct blk_config){ 0 },
		  ALL_BUT(VIRTIO_BLK_F_DISCARD) & ALL_BUT(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(range_request(f, VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(range_request(f, VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_file_word(f, 8), 8);
}

/* Without FLUSH the driver never asks: all that changes the disk does so durably, and works. */
static void works_without_flush(void **state)
{
	struct blk_fixture *f = *state;

	blk_start(f, (struct blk_config){ 0 }, ALL_BUT(VIRTIO_BLK_F_FLUSH));
	le64_put(data(f), 4711);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, 9, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_file_word(f, 9), 4711);
	assert_int_equal(range_request(f, VIRTIO_BLK_T_WRITE_ZEROES, 9, 1, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_file_word(f, 9), 0);
}

static void a_read_only_disk_stays_as_it_is(void **state)
{
	struct blk_fixture *f = *state;
	struct virtio_face face;

	blk_start(f, (struct blk_config){ .readonly = true }, ALL_FEATURES);
	virtio_get_face(f->v, &face);
	assert_true(face.features >> VIRTIO_BLK_F_RO & 1);
	assert_false(face.features >> VIRTIO_BLK_F_DISCARD & 1);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 3, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(le64_get(data(f)), 3);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, 4, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range_request(f, VIRTIO_BLK_T_WRITE_ZEROES, 4, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_file_word(f, 4), 4);
}

static void needs_a_reset(struct blk_fixture *f, const struct driver_part *parts, unsigned int n)
{
	driver_add(&f->d, 0, parts, n);
	driver_kick(&f->d, 0);
	assert_true(driver_wait_status(&f->d, VIRTIO_NEEDS_RESET));
	assert_int_equal(driver_used(&f->d, 0), 0);
	assert_true(driver_start(&f->d, ALL_FEATURES, 16));
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 3, 512), VIRTIO_BLK_S_OK);
}

static void breaks_when_there_is_no_way_to_answer(void **state)
{
	struct blk_fixture *f = *state;
	const struct driver_part no_status[] = { { f->header_gpa, 16, false },
						 { f->data_gpa, 512, false } };
	const struct driver_part short_header[] = { { f->header_gpa, 15, false },
						    { f->status_gpa, 1, true } };
	const struct driver_part no_header[] = { { f->status_gpa, 1, true } };

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	blk_header(f, f->header_gpa, VIRTIO_BLK_T_OUT, 50);
	needs_a_reset(f, no_status, 2);
	needs_a_reset(f, short_header, 2);
	needs_a_reset(f, no_header, 1);
	assert_int_equal(blk_counter(f->v, "broken"), 3);
	assert_int_equal(blk_file_word(f, 50), 50);
}

/* Each queue its own requests, and one interrupt for what comes back together. */
static void serves_several_queues(void **state)
{
	enum { N = 12, NQUEUES = 4 };
	struct blk_fixture *f = *state;
	uint64_t interrupts = 0;

	blk_start(f, (struct blk_config){ .nqueues = NQUEUES }, ALL_FEATURES);
	for (unsigned int q = 0; q < NQUEUES; q++) {
		for (unsigned int i = 0; i < N; i++)
			blk_add(f, q, q * N + i, VIRTIO_BLK_T_IN, 1000 + q * N + i);
		driver_kick(&f->d, q);
	}
	for (unsigned int q = 0; q < NQUEUES; q++) {
		blk_wait_all(f, q, N);
		assert_true(driver_wait_count(&f->d.interrupts[q], 1));
	}
	for (unsigned int i = 0; i < N * NQUEUES; i++) {
		assert_int_equal(blk_place(f, i)[16], VIRTIO_BLK_S_OK);
		assert_int_equal(le64_get(blk_place(f, i) + 512), 1000 + i);
	}
	interrupts = blk_counter(f->v, "interrupts");
	assert_in_range(interrupts, NQUEUES, N * NQUEUES - 1);
}

/* More at a time than requests are kept ready for. */
static void answers_more_than_it_can_hold(void **state)
{
	enum { PER_QUEUE = 85, NQUEUES = 8 }; /* three descriptors each in a queue of 256 */
	struct blk_fixture *f = *state;
	struct driver_part parts[3] = { [1] = { f->data_gpa, 512, true } };
	uint64_t place = driver_alloc(&f->d, 32 * PER_QUEUE * NQUEUES);

	blk_start(f, (struct blk_config){ .nqueues = NQUEUES }, ALL_FEATURES);
	for (unsigned int i = 0; i < PER_QUEUE * NQUEUES; i++) {
		uint64_t gpa = place + 32 * i;

		blk_header(f, gpa, i % 5 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, i % 5 ? 1 : 2);
		*(uint8_t *)driver_ptr(&f->d, gpa + 16, 1) = 0xee;
		parts[0] = (struct driver_part){ gpa, 16, false };
		parts[1].write = i % 5;
		parts[2] = (struct driver_part){ gpa + 16, 1, true };
		driver_add(&f->d, i / PER_QUEUE, parts, 3);
	}
	for (unsigned int q = 0; q < NQUEUES; q++)
		driver_kick(&f->d, q);
	for (unsigned int q = 0; q < NQUEUES; q++)
		blk_wait_all(f, q, PER_QUEUE);
	for (unsigned int i = 0; i < PER_QUEUE * NQUEUES; i++)
		assert_int_equal(*(uint8_t *)driver_ptr(&f->d, place + 32 * i + 16, 1),
				 VIRTIO_BLK_S_OK);
	assert_int_equal(blk_counter(f->v, "requests"), PER_QUEUE * NQUEUES);
}

static void the_hosts_errors_are_the_guests(void **state)
{
	struct blk_fixture *f = *state;

	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	assert_int_equal(truncate(f->path, 100 * 512), 0);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 98, 1024), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 99, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(f->written, 0);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 2000, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_counter(f->v, "errors"), 2);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 1, 512), VIRTIO_BLK_S_OK);
}

/* Looks while the device rests: its thread marks the rings' pages whenever it looks at them. */
static bool is_dirty(struct blk_fixture *f, uint64_t gpa)
{
	bool dirty;

	assert_int_equal(virtio_pause(f->v, clock_mono_ns() + DRIVER_WAIT_MS * NS_PER_MS, NULL), 0);
	dirty = bitmap_test(f->d.mem->host_log, (gpa - DRIVER_RAM_GPA) / GMEM_PAGE_SIZE);
	virtio_resume(f->v);
	return dirty;
}

static void what_it_writes_is_in_the_dirty_log(void **state)
{
	struct blk_fixture *f = *state;
	struct gmem *mem = f->d.mem;
	uint64_t status_gpa = driver_alloc(&f->d, 4096);

	f->status_gpa = status_gpa;
	blk_start(f, (struct blk_config){ 0 }, ALL_FEATURES);
	assert_int_equal(bitmap_init(&mem->host_log_store, mem->npages), 0);
	__atomic_store_n(&mem->host_log, &mem->host_log_store, __ATOMIC_RELEASE);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_OUT, 4, 8192), VIRTIO_BLK_S_OK);
	assert_true(is_dirty(f, status_gpa));
	assert_false(is_dirty(f, f->data_gpa));
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 4, 8192), VIRTIO_BLK_S_OK);
	assert_true(is_dirty(f, f->data_gpa));
	assert_true(is_dirty(f, f->data_gpa + 8191));
	assert_false(is_dirty(f, f->data_gpa + 8192));
	/* Part of it came before the error. */
	assert_int_equal(truncate(f->path, 2 * 512), 0);
	assert_int_equal(blk_request(f, VIRTIO_BLK_T_IN, 0, 32768), VIRTIO_BLK_S_IOERR);
	assert_true(is_dirty(f, f->data_gpa + 8192));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, blk_setup, blk_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(offers_what_it_can),
		TEST(reads_and_writes),
		TEST(takes_any_framing),
		TEST(tells_its_serial_number),
		TEST(has_a_serial_number_by_itself),
		TEST(refuses_what_is_beyond_it),
		TEST(discards_and_zeroes),
		TEST(does_not_do_what_was_not_negotiated),
		TEST(works_without_flush),
		TEST(a_read_only_disk_stays_as_it_is),
		TEST(breaks_when_there_is_no_way_to_answer),
		TEST(serves_several_queues),
		TEST(answers_more_than_it_can_hold),
		TEST(the_hosts_errors_are_the_guests),
		TEST(what_it_writes_is_in_the_dirty_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
