/* SPDX-License-Identifier: Apache-2.0 */
/* The device's side of a split virtqueue (virtio 1.2 §2.7), with a driver that keeps the rules and one that does not. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "virtio_driver.h"

#define SIZE 8
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct fixture {
	struct driver d;
	struct virtq q;
	struct virtq_chain c;
	struct err err;
};

static void restart(struct fixture *f, uint16_t size)
{
	const struct driver_queue *dq = &f->d.queue[0];
	bool event_idx = f->q.event_idx;

	driver_place_queue(&f->d, 0, size);
	f->q = (struct virtq){ .mem = f->d.mem,
			       .size = size,
			       .desc_gpa = dq->desc_gpa,
			       .avail_gpa = dq->avail_gpa,
			       .used_gpa = dq->used_gpa,
			       .indirect = true,
			       .event_idx = event_idx };
	assert_int_equal(virtq_start(&f->q, NULL), 0);
}

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ 0 };
	*state = &f;
	if (driver_init(&f.d))
		return -1;
	restart(&f, SIZE);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	driver_fini(&f->d);
	return 0;
}

static struct driver_part part(struct fixture *f, uint32_t len, bool write)
{
	return (struct driver_part){ driver_alloc(&f->d, len), len, write };
}

static void pop(struct fixture *f)
{
	assert_int_equal(virtq_pop(&f->q, &f->c, &f->err), 1);
}

static void assert_empty(struct fixture *f)
{
	assert_int_equal(virtq_pop(&f->q, &f->c, &f->err), 0);
}

/* The rule is broken, said why, and nothing of it was taken. */
static void assert_bad(struct fixture *f, const char *why)
{
	uint16_t before = f->q.avail_idx;

	assert_int_equal(virtq_pop(&f->q, &f->c, &f->err), -EBADMSG);
	assert_string_equal(f->err.msg, why);
	assert_int_equal(f->q.avail_idx, before);
	restart(f, SIZE);
}

static void take_used(struct fixture *f, uint16_t head, uint32_t written)
{
	uint32_t n;
	uint16_t h;

	assert_true(driver_wait_used(&f->d, 0, &h, &n));
	assert_int_equal(h, head);
	assert_int_equal(n, written);
}

static void chains_come_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[4] = { part(f, 3, false), part(f, 5, false), part(f, 7, true),
				    part(f, 5000, true) };
	uint16_t head;

	assert_empty(f);
	assert_int_equal(virtq_pending(&f->q), 0);
	head = driver_add(&f->d, 0, p, 4);
	assert_int_equal(virtq_pending(&f->q), 1);
	pop(f);
	assert_int_equal(f->c.head, head);
	assert_int_equal(f->c.nread, 2);
	assert_int_equal(f->c.nwrite, 2);
	assert_int_equal(f->c.read_bytes, 8);
	assert_int_equal(f->c.write_bytes, 5007);
	for (unsigned int i = 0; i < 4; i++) {
		assert_ptr_equal(f->c.seg[i].iov_base, driver_ptr(&f->d, p[i].gpa, 1));
		assert_int_equal(f->c.seg[i].iov_len, p[i].len_bytes);
		assert_int_equal(f->c.gpa[i], p[i].gpa);
	}
	assert_empty(f);
	virtq_push(&f->q, head, 5007);
	take_used(f, head, 5007);
}

static void rings_wrap(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[2] = { part(f, 8, false), part(f, 8, true) };
	unsigned int round;

	/* Beyond the index's 16 bits, two or three at a time. */
	for (round = 0; round < 30000; round++) {
		unsigned int n = 2 + round % 2;
		uint16_t head[3];

		for (unsigned int i = 0; i < n; i++)
			head[i] = driver_add(&f->d, 0, p, 2);
		assert_int_equal(virtq_pending(&f->q), n);
		for (unsigned int i = 0; i < n; i++) {
			pop(f);
			assert_int_equal(f->c.head, head[i]);
		}
		assert_empty(f);
		for (unsigned int i = 0; i < n; i++) /* the last first */
			virtq_push(&f->q, head[n - 1 - i], round);
		for (unsigned int i = 0; i < n; i++)
			take_used(f, head[n - 1 - i], round);
	}
	assert_int_equal(f->q.used_idx, (uint16_t)(round / 2 * 5));
}

static void several_become_used_at_once(void **state)
{
	struct fixture *f = *state;
	struct driver_part p = part(f, 8, true);
	uint16_t head[3];

	for (unsigned int i = 0; i < 3; i++) {
		head[i] = driver_add(&f->d, 0, &p, 1);
		pop(f);
		virtq_fill(&f->q, f->c.head, i, i);
		assert_int_equal(driver_used(&f->d, 0), 0);
	}
	virtq_flush(&f->q, 3);
	for (unsigned int i = 0; i < 3; i++)
		take_used(f, head[i], i);
}

static void what_is_put_back_comes_again(void **state)
{
	struct fixture *f = *state;
	struct driver_part p = part(f, 8, true);
	uint16_t first = driver_add(&f->d, 0, &p, 1), second = driver_add(&f->d, 0, &p, 1);

	pop(f);
	pop(f);
	assert_int_equal(f->c.head, second);
	virtq_unpop(&f->q, second);
	virtq_unpop(&f->q, first);
	assert_int_equal(virtq_pending(&f->q), 2);
	pop(f);
	assert_int_equal(f->c.head, first);
	pop(f);
	assert_int_equal(f->c.head, second);
	assert_empty(f);
}

static void indirect_tables(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[20];
	uint64_t table;

	for (unsigned int i = 0; i < 20; i++) /* more than the queue has descriptors */
		p[i] = part(f, i + 1, i >= 10);
	driver_add_indirect(&f->d, 0, p, 20);
	pop(f);
	assert_int_equal(f->c.nread, 10);
	assert_int_equal(f->c.nwrite, 10);
	assert_int_equal(f->c.read_bytes, 55);
	assert_int_equal(f->c.write_bytes, 155);
	virtq_push(&f->q, f->c.head, 0);
	/* Behind a plain one (§2.7.5.3.2), where the table's own write flag says nothing. */
	table = driver_alloc(&f->d, 32);
	driver_raw_desc(&f->d, table, 0, p[1].gpa, 2, NEXT, 1);
	driver_raw_desc(&f->d, table, 1, p[19].gpa, 20, WRITE, 0);
	driver_raw_desc(&f->d, f->q.desc_gpa, 3, p[0].gpa, 1, NEXT, 5);
	driver_raw_desc(&f->d, f->q.desc_gpa, 5, table, 32, INDIRECT | WRITE, 0);
	driver_raw_offer(&f->d, 0, 3);
	pop(f);
	assert_int_equal(f->c.head, 3);
	assert_int_equal(f->c.nread, 2);
	assert_int_equal(f->c.write_bytes, 20);
}

/* One descriptor, offered. */
static void offer_desc(struct fixture *f, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	driver_raw_desc(&f->d, f->q.desc_gpa, 2, gpa, len, flags, next);
	driver_raw_offer(&f->d, 0, 2);
}

static void bad_indirect_tables(void **state)
{
	struct fixture *f = *state;
	uint64_t table = driver_alloc(&f->d, 64);

	offer_desc(f, table, 0, INDIRECT, 0);
	assert_bad(f, "chain 2: indirect table of 0 bytes");
	offer_desc(f, table, 24, INDIRECT, 0);
	assert_bad(f, "chain 2: indirect table of 24 bytes");
	offer_desc(f, table, 0xfffffff0, INDIRECT, 0);
	assert_bad(f, "chain 2: indirect table of 4294967280 bytes");
	offer_desc(f, 0x1000, 16, INDIRECT, 0);
	assert_bad(f, "chain 2: indirect table at 0x1000 outside of RAM");
	offer_desc(f, table, 64, INDIRECT | NEXT, 3);
	assert_bad(f, "chain 2: a descriptor behind an indirect table");
	driver_raw_desc(&f->d, table, 0, table, 16, INDIRECT, 0);
	offer_desc(f, table, 64, INDIRECT, 0);
	assert_bad(f, "chain 2: indirect within indirect");
	driver_raw_desc(&f->d, table, 0, table, 16, NEXT, 4);
	offer_desc(f, table, 64, INDIRECT, 0);
	assert_bad(f, "chain 2: descriptor 4 of 4");
	driver_raw_desc(&f->d, table, 0, table, 16, NEXT, 0);
	offer_desc(f, table, 64, INDIRECT, 0);
	assert_bad(f, "chain 2: a loop");
	f->q.indirect = false;
	offer_desc(f, table, 64, INDIRECT, 0);
	assert_bad(f, "chain 2: indirect was not negotiated");
}

static void bad_chains(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[2] = { part(f, 8, true), part(f, 8, false) };

	driver_add(&f->d, 0, p, 2);
	assert_bad(f, "chain 0: readable behind writable");
	offer_desc(f, p[0].gpa, 8, NEXT, 2);
	assert_bad(f, "chain 2: a loop");
	offer_desc(f, p[0].gpa, 8, NEXT, SIZE);
	assert_bad(f, "chain 2: descriptor 8 of 8");
	offer_desc(f, p[0].gpa, 8, NEXT, 0xffff);
	assert_bad(f, "chain 2: descriptor 65535 of 8");
	driver_raw_offer(&f->d, 0, SIZE);
	assert_bad(f, "available entry 0: descriptor 8 of 8");
	driver_raw_offer(&f->d, 0, 0xffff);
	assert_bad(f, "available entry 0: descriptor 65535 of 8");
}

static void bad_buffers(void **state)
{
	struct fixture *f = *state;
	const uint64_t end = DRIVER_RAM_GPA + DRIVER_RAM_BYTES;

	offer_desc(f, end - 8, 8, 0, 0);
	pop(f);
	restart(f, SIZE);
	offer_desc(f, end - 8, 9, 0, 0);
	assert_bad(f, "chain 2: buffer at 0x4ffff8, 9 bytes, outside of RAM");
	offer_desc(f, DRIVER_RAM_GPA - 1, 2, WRITE, 0);
	assert_bad(f, "chain 2: buffer at 0xfffff, 2 bytes, outside of RAM");
	offer_desc(f, UINT64_MAX, 1, WRITE, 0);
	assert_bad(f, "chain 2: buffer at 0xffffffffffffffff, 1 bytes, outside of RAM");
	offer_desc(f, UINT64_MAX - 7, 16, WRITE, 0);
	assert_bad(f, "chain 2: buffer at 0xfffffffffffffff8, 16 bytes, outside of RAM");
	offer_desc(f, DRIVER_RAM_GPA, UINT32_MAX, WRITE, 0);
	assert_bad(f, "chain 2: buffer at 0x100000, 4294967295 bytes, outside of RAM");
	offer_desc(f, DRIVER_FAR_GPA + DRIVER_FAR_BYTES - 16, 16, WRITE, 0);
	pop(f);
}

/* The same memory again and again: each length is good, their sum is not. */
static void sums_and_numbers_are_bounded(void **state)
{
	struct fixture *f = *state;
	uint64_t table;

	restart(f, 2);
	table = driver_alloc(&f->d, 16 * 1024);
	for (uint16_t i = 0; i < 1024; i++)
		driver_raw_desc(&f->d, table, i, DRIVER_RAM_GPA, 16,
				i == VIRTQ_MAX_SEGS - 1 ? WRITE : NEXT | WRITE, (uint16_t)(i + 1));
	driver_raw_desc(&f->d, f->q.desc_gpa, 1, table, 16 * 1024, INDIRECT, 0);
	driver_raw_offer(&f->d, 0, 1);
	pop(f);
	assert_int_equal(f->c.nwrite, VIRTQ_MAX_SEGS);
	assert_int_equal(f->c.write_bytes, 16 * VIRTQ_MAX_SEGS);
	virtq_push(&f->q, 1, 0);
	driver_raw_desc(&f->d, table, VIRTQ_MAX_SEGS - 1, DRIVER_RAM_GPA, 16, NEXT | WRITE,
			VIRTQ_MAX_SEGS);
	driver_raw_offer(&f->d, 0, 1);
	assert_int_equal(virtq_pop(&f->q, &f->c, &f->err), -EBADMSG);
	assert_string_equal(f->err.msg, "chain 1: more than 130 buffers");
	driver_raw_desc(&f->d, f->q.desc_gpa, 1, table, 16 * 1025, INDIRECT, 0);
	assert_int_equal(virtq_pop(&f->q, &f->c, &f->err), -EBADMSG);
	assert_string_equal(f->err.msg, "chain 1: indirect table of 16400 bytes");
}

static void nothing_of_zero_length(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[3] = { part(f, 8, false), { 0x10, 0, false }, part(f, 8, true) };

	driver_add(&f->d, 0, p, 3);
	pop(f);
	assert_int_equal(f->c.nread, 1);
	assert_int_equal(f->c.nwrite, 1);
	assert_int_equal(f->c.gpa[1], p[2].gpa);
	virtq_push(&f->q, f->c.head, 0);
	offer_desc(f, 0, 0, NEXT, 2); /* and none of them for ever */
	assert_bad(f, "chain 2: a loop");
}

static void indices_beyond_the_ring(void **state)
{
	struct fixture *f = *state;
	struct driver_part p = part(f, 8, true);

	driver_raw_avail_idx(&f->d, 0, SIZE + 1);
	assert_int_equal(virtq_pending(&f->q), SIZE);
	assert_bad(f, "available index 9, 9 ahead of the device");
	driver_raw_avail_idx(&f->d, 0, UINT16_MAX);
	assert_bad(f, "available index 65535, 65535 ahead of the device");
	for (unsigned int i = 0; i < SIZE; i++) {
		driver_add(&f->d, 0, &p, 1);
		pop(f);
	}
	driver_raw_offer(&f->d, 0, 0);
	assert_bad(f, "more than 8 chains at a time");
	driver_add(&f->d, 0, &p, 1);
	pop(f);
	driver_raw_offer(&f->d, 0, f->c.head);
	assert_int_equal(virtq_pop(&f->q, &f->c, &f->err), -EBADMSG);
	assert_string_equal(f->err.msg, "chain 0: offered twice");
	virtq_push(&f->q, f->c.head, 0); /* from now on it may come again */
	pop(f);
}

static int start(struct fixture *f, uint16_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
	f->q.size = size;
	f->q.desc_gpa = desc;
	f->q.avail_gpa = avail;
	f->q.used_gpa = used;
	return virtq_start(&f->q, &f->err);
}

static void rings_must_be_in_memory(void **state)
{
	struct fixture *f = *state;
	const uint64_t end = DRIVER_RAM_GPA + DRIVER_RAM_BYTES, g = DRIVER_RAM_GPA;

	assert_int_equal(start(f, 4, end - 64, end - 14, end - 40), 0);
	assert_int_equal(start(f, 4, end - 48, g, g), -EINVAL);
	assert_string_equal(f->err.msg, "descriptor table at 0x4fffd0: 64 bytes outside of RAM");
	assert_int_equal(start(f, 4, g, end - 12, g), -EINVAL);
	assert_string_equal(f->err.msg, "available ring at 0x4ffff4: 14 bytes outside of RAM");
	assert_int_equal(start(f, 4, g, g, end - 36), -EINVAL);
	assert_string_equal(f->err.msg, "used ring at 0x4fffdc: 38 bytes outside of RAM");
	assert_int_equal(start(f, 4, g + 8, g, g), -EINVAL);
	assert_string_equal(f->err.msg, "descriptor table at 0x100008: not a multiple of 16");
	assert_int_equal(start(f, 4, g, g + 1, g), -EINVAL);
	assert_string_equal(f->err.msg, "available ring at 0x100001: not a multiple of 2");
	assert_int_equal(start(f, 4, g, g, g + 2), -EINVAL);
	assert_string_equal(f->err.msg, "used ring at 0x100002: not a multiple of 4");
	assert_int_equal(start(f, 4, UINT64_MAX - 15, g, g), -EINVAL);
	for (uint32_t size = 0; size <= UINT16_MAX; size++) {
		bool good = size >= 2 && size <= VIRTQ_MAX_SIZE && !(size & (size - 1));

		assert_int_equal(start(f, (uint16_t)size, g, g, g), good ? 0 : -EINVAL);
	}
}

/* Neither one that the driver never set up nor one that it gave up; a type may still hold heads of it. */
static void a_stopped_queue_is_empty(void **state)
{
	struct fixture *f = *state;
	struct driver_part p = part(f, 8, true);
	struct virtq none = { 0 };

	driver_add(&f->d, 0, &p, 1);
	virtq_stop(&f->q);
	assert_empty(f);
	assert_int_equal(virtq_pending(&f->q), 0);
	virtq_push(&f->q, 0, 8);
	assert_int_equal(f->q.used_idx, 0);
	assert_int_equal(driver_used(&f->d, 0), 0);
	assert_false(virtq_wants_interrupt(&f->q));
	assert_int_equal(virtq_pop(&none, &f->c, &f->err), 0);
	virtq_push(&none, 77, 8);
	assert_int_equal(none.used_idx, 0);
}

/* A push, and whether the driver wants to hear of it. */
static bool push_one(struct fixture *f)
{
	struct driver_part p = { DRIVER_RAM_GPA, 8, true };
	uint32_t n;
	uint16_t head;
	bool wants;

	driver_add(&f->d, 0, &p, 1);
	pop(f);
	virtq_push(&f->q, f->c.head, 0);
	wants = virtq_wants_interrupt(&f->q);
	assert_false(virtq_wants_interrupt(&f->q)); /* once */
	assert_true(driver_wait_used(&f->d, 0, &head, &n));
	return wants;
}

static void interrupts_by_flag(void **state)
{
	struct fixture *f = *state;

	assert_false(virtq_wants_interrupt(&f->q)); /* nothing was pushed */
	assert_true(push_one(f));
	driver_want_interrupts(&f->d, 0, false);
	assert_false(push_one(f));
	assert_false(virtq_unseen(&f->q));
	driver_want_interrupts(&f->d, 0, true);
	assert_true(push_one(f));
	assert_true(virtq_unseen(&f->q)); /* for all that the device can know */
}

static void interrupts_by_event(void **state)
{
	struct fixture *f = *state;

	f->d.features = 1ull << VIRTIO_F_RING_EVENT_IDX;
	f->q.event_idx = true;
	restart(f, SIZE);
	assert_false(virtq_wants_interrupt(&f->q));
	for (unsigned int i = 0; i < 70000; i++) {
		bool wanted = i % 5 == 0;

		if (wanted)
			driver_want_interrupts(&f->d, 0,
					       true); /* at the next entry; passed after that */
		assert_int_equal(virtq_unseen(&f->q), !wanted);
		assert_int_equal(push_one(f), wanted);
		assert_true(virtq_unseen(&f->q));
	}
	/* After a restore the first entry is told of whatever the event. */
	driver_want_interrupts(&f->d, 0, false);
	f->q.avail_idx = f->q.used_idx = f->d.queue[0].used_idx;
	assert_int_equal(virtq_start(&f->q, NULL), 0);
	assert_true(push_one(f));
	assert_false(push_one(f));
}

/* What the driver would do now. */
static bool driver_would_kick(struct fixture *f)
{
	struct virtio dummy = { 0 };
	bool told;

	f->d.v = &dummy; /* without queues: kicks go nowhere */
	told = driver_kick(&f->d, 0);
	f->d.v = NULL;
	return told;
}

static void notifications(struct fixture *f)
{
	struct driver_part p = part(f, 8, true);

	for (unsigned int i = 0; i < 70000; i++) {
		virtq_enable_notify(&f->q, false);
		driver_add(&f->d, 0, &p, 1);
		driver_would_kick(f); /* passes the event of the last round, if there are events */
		driver_add(&f->d, 0, &p, 1);
		assert_false(driver_would_kick(f));
		while (virtq_pop(&f->q, &f->c, NULL) == 1)
			virtq_push(&f->q, f->c.head, 0);
		assert_false(virtq_enable_notify(&f->q, true));
		driver_add(&f->d, 0, &p, 1); /* meanwhile: asked for */
		assert_true(driver_would_kick(f));
		assert_true(virtq_enable_notify(&f->q, true));
		assert_false(virtq_enable_notify(&f->q, true)); /* left there, seen before */
		pop(f);
		virtq_push(&f->q, f->c.head, 0);
		while (driver_used(&f->d, 0)) {
			uint32_t n;
			uint16_t head;

			assert_true(driver_wait_used(&f->d, 0, &head, &n));
		}
	}
}

static void notifications_by_flag(void **state)
{
	notifications(*state);
}

static void notifications_by_event(void **state)
{
	struct fixture *f = *state;

	f->d.features = 1ull << VIRTIO_F_RING_EVENT_IDX;
	f->q.event_idx = true;
	restart(f, SIZE);
	notifications(f);
}

static void copies_cross_segments(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[6] = { part(f, 3, false), part(f, 1, false), part(f, 6, false),
				    part(f, 2, true),  part(f, 5, true),  part(f, 1, true) };
	char text[16] = "..............."; /* 15 */

	memcpy(driver_ptr(&f->d, p[0].gpa, 3), "abc", 3);
	memcpy(driver_ptr(&f->d, p[1].gpa, 1), "d", 1);
	memcpy(driver_ptr(&f->d, p[2].gpa, 6), "efghij", 6);
	driver_add(&f->d, 0, p, 6);
	pop(f);
	assert_int_equal(virtq_read(&f->c, 0, text, sizeof(text)), 10);
	assert_string_equal(text, "abcdefghij.....");
	assert_int_equal(virtq_read(&f->c, 2, text, 3), 3);
	assert_string_equal(text, "cdedefghij.....");
	assert_int_equal(virtq_read(&f->c, 10, text, 3), 0);
	assert_int_equal(virtq_read(&f->c, UINT64_MAX, text, 3), 0);
	assert_int_equal(virtq_write(&f->q, &f->c, 1, "uvwxyz+", 7), 7);
	assert_memory_equal(driver_ptr(&f->d, p[3].gpa, 2), "\0u", 2);
	assert_memory_equal(driver_ptr(&f->d, p[4].gpa, 5), "vwxyz", 5);
	assert_memory_equal(driver_ptr(&f->d, p[5].gpa, 1), "+", 1);
	assert_int_equal(virtq_write(&f->q, &f->c, 6, "1234", 4), 2);
	assert_memory_equal(driver_ptr(&f->d, p[4].gpa, 5), "vwxy1", 5);
	assert_int_equal(virtq_write(&f->q, &f->c, 8, "1234", 4), 0);
}

/* The host log: which pages the device wrote to, and nothing else. */
static void writes_are_logged(void **state)
{
	struct fixture *f = *state;
	struct driver_part p[2] = { part(f, 4096, false), part(f, 12288, true) };
	uint64_t first = (p[1].gpa - DRIVER_RAM_GPA) >> GMEM_PAGE_SHIFT;
	uint64_t used = (f->q.used_gpa - DRIVER_RAM_GPA) >> GMEM_PAGE_SHIFT;
	struct bitmap log = { 0 };

	assert_int_equal(bitmap_init(&log, f->d.mem->npages), 0);
	driver_add(&f->d, 0, p, 2);
	__atomic_store_n(&f->d.mem->host_log, &log, __ATOMIC_RELEASE);
	pop(f);
	assert_int_equal(bitmap_count(&log), 0);
	virtq_write(&f->q, &f->c, 4095, "ab", 2);
	assert_int_equal(bitmap_count(&log), 2);
	assert_true(bitmap_test(&log, first) && bitmap_test(&log, first + 1));
	virtq_written(&f->q, &f->c, 8193);
	assert_int_equal(bitmap_count(&log), 3);
	assert_true(bitmap_test(&log, first + 2));
	virtq_push(&f->q, f->c.head, 8193);
	assert_true(bitmap_test(&log, used));
	__atomic_store_n(&f->d.mem->host_log, NULL, __ATOMIC_RELEASE);
	bitmap_fini(&log);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(chains_come_as_they_are),
		TEST(rings_wrap),
		TEST(several_become_used_at_once),
		TEST(what_is_put_back_comes_again),
		TEST(indirect_tables),
		TEST(bad_indirect_tables),
		TEST(bad_chains),
		TEST(bad_buffers),
		TEST(sums_and_numbers_are_bounded),
		TEST(nothing_of_zero_length),
		TEST(indices_beyond_the_ring),
		TEST(rings_must_be_in_memory),
		TEST(a_stopped_queue_is_empty),
		TEST(interrupts_by_flag),
		TEST(interrupts_by_event),
		TEST(notifications_by_flag),
		TEST(notifications_by_event),
		TEST(copies_cross_segments),
		TEST(writes_are_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
