/* SPDX-License-Identifier: Apache-2.0 */
/* The MMIO transport (virtio 1.2 §4.2), driven by its registers. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tiny_virtio.h"
#include "virtio_driver.h"

#define GPA 0xd0000000u
#define GSI 17u

enum {
	MAGIC = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC = 0x080,
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	SHM_LEN = 0x0b0,
	SHM_BASE = 0x0b8,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

struct fixture {
	struct driver d;
	struct bus bus;
	struct virtio *v;
	struct virtio_mmio *t;
};

static int make(struct fixture *f)
{
	int rc = tiny_virtio_create(&f->d.host, &f->v);

	f->bus = (struct bus){ 0 };
	f->d.line_fd = -1;
	f->d.v = f->v;
	return rc ? rc : virtio_mmio_create(f->v, &f->d.host, &f->bus, GPA, GSI, &f->t, NULL);
}

static int setup(void **state)
{
	static struct fixture f;

	*state = &f;
	return driver_init(&f.d) || make(&f);
}

static void unmake(struct fixture *f)
{
	virtio_mmio_destroy(f->t);
	virtio_mmio_destroy(NULL);
	assert_int_equal(f->d.nnotify, 0);
	virtio_destroy(f->v);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unmake(f);
	driver_fini(&f->d);
	return 0;
}

static uint32_t in(struct fixture *f, uint64_t reg)
{
	uint8_t v[4];

	bus_access(&f->bus, GPA + reg, false, v, 4);
	return le32_get(v);
}

static void out(struct fixture *f, uint64_t reg, uint32_t value)
{
	uint8_t v[4];

	le32_put(v, value);
	bus_access(&f->bus, GPA + reg, true, v, 4);
}

static void out64(struct fixture *f, uint64_t reg, uint64_t value)
{
	out(f, reg, (uint32_t)value);
	out(f, reg + 4, (uint32_t)(value >> 32));
}

static uint64_t edges(struct fixture *f, int timeout_ms)
{
	struct pollfd p = { .fd = f->d.line_fd, .events = POLLIN };
	uint64_t n = 0;

	if (poll(&p, 1, timeout_ms) == 1 && read(p.fd, &n, sizeof(n)) != sizeof(n))
		return 0;
	return n;
}

/* What KVM does with a write to QueueNotify: true when an ioeventfd took it. */
static bool notify(struct fixture *f, uint32_t queue)
{
	const uint64_t one = 1;

	for (unsigned int i = 0; i < f->d.nnotify; i++) {
		const struct driver_notify *n = &f->d.notify[i];

		if (n->gpa == GPA + QUEUE_NOTIFY && n->len_bytes == 4 &&
		    (!n->match || n->value == queue))
			return write(n->eventfd, &one, sizeof(one)) == sizeof(one);
	}
	out(f, QUEUE_NOTIFY, queue);
	return false;
}

static void set_up_queue(struct fixture *f, unsigned int queue, uint16_t size)
{
	const struct driver_queue *q = &f->d.queue[queue];

	driver_place_queue(&f->d, queue, size);
	out(f, QUEUE_SEL, queue);
	assert_int_equal(in(f, QUEUE_READY), 0);
	assert_int_equal(in(f, QUEUE_NUM_MAX), TINY_QUEUE_SIZE);
	out(f, QUEUE_NUM, size);
	out64(f, QUEUE_DESC, q->desc_gpa);
	out64(f, QUEUE_DRIVER, q->avail_gpa);
	out64(f, QUEUE_DEVICE, q->used_gpa);
	out(f, QUEUE_READY, 1);
	assert_int_equal(in(f, QUEUE_READY), 1);
}

/* §3.1.1, with VERSION_1 and the device's own feature. */
static void start(struct fixture *f)
{
	out(f, STATUS, 0);
	out(f, STATUS, VIRTIO_ACKNOWLEDGE);
	out(f, STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	out(f, DRIVER_FEATURES_SEL, 1);
	out(f, DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
	out(f, DRIVER_FEATURES_SEL, 0);
	out(f, DRIVER_FEATURES, 1u << TINY_FEATURE);
	f->d.features = 1ull << VIRTIO_F_VERSION_1 | 1u << TINY_FEATURE;
	out(f, STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	assert_true(in(f, STATUS) & VIRTIO_FEATURES_OK);
	for (unsigned int i = 0; i < TINY_QUEUES; i++)
		set_up_queue(f, i, 8);
	out(f, STATUS, in(f, STATUS) | VIRTIO_DRIVER_OK);
	assert_int_equal(in(f, STATUS), 15);
	virtio_resume(f->v);
}

/* One request, filled by the device. */
static void request(struct fixture *f, unsigned int queue)
{
	struct driver_part part = { driver_alloc(&f->d, 16), 16, true };
	const uint8_t *p = driver_ptr(&f->d, part.gpa, 16);
	uint32_t written;
	uint16_t head;

	driver_add(&f->d, queue, &part, 1);
	notify(f, queue);
	assert_true(driver_wait_used(&f->d, queue, &head, &written));
	assert_int_equal(written, 16);
	assert_int_equal(p[0], TINY_FILL);
	assert_int_equal(p[15], TINY_FILL);
}

static void identifies_itself(void **state)
{
	struct fixture *f = *state;
	uint64_t features;

	assert_int_equal(in(f, MAGIC), 0x74726976);
	assert_int_equal(in(f, VERSION), 2);
	assert_int_equal(in(f, DEVICE_ID), TINY_DEVICE_ID);
	assert_int_not_equal(in(f, VENDOR_ID), 0);
	features = in(f, DEVICE_FEATURES);
	out(f, DEVICE_FEATURES_SEL, 1);
	features |= (uint64_t)in(f, DEVICE_FEATURES) << 32;
	assert_int_equal(features, VIRTIO_CORE_FEATURES | 1u << TINY_FEATURE);
	out(f, DEVICE_FEATURES_SEL, 2);
	assert_int_equal(in(f, DEVICE_FEATURES), 0);
	out(f, DEVICE_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(in(f, DEVICE_FEATURES), 0);
	out(f, QUEUE_SEL, TINY_QUEUES);
	assert_int_equal(in(f, QUEUE_NUM_MAX), 0);
	assert_int_equal(in(f, SHM_LEN), UINT32_MAX);
	assert_int_equal(in(f, SHM_BASE + 4), UINT32_MAX);
	assert_int_equal(f->d.line_gsi, GSI);
	assert_int_equal(f->d.nnotify, TINY_QUEUES);
}

static void odd_accesses_do_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t v[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	bus_access(&f->bus, GPA + STATUS, true, v, 1);
	bus_access(&f->bus, GPA + STATUS, true, v, 8);
	bus_access(&f->bus, GPA + STATUS + 2, true, v, 4);
	assert_int_equal(in(f, STATUS), 0);
	bus_access(&f->bus, GPA + MAGIC, false, v, 2);
	assert_int_equal(le16_get(v), 0);
	bus_access(&f->bus, GPA + MAGIC, false, v, 8);
	assert_int_equal(le64_get(v), 0);
	for (uint64_t reg = 0; reg < CONFIG; reg += 4)
		if (reg != STATUS && reg != QUEUE_READY)
			out(f, reg, 0x80000001);
	assert_int_equal(in(f, STATUS), 0);
}

static void serves_requests_with_interrupts(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned int i = 0; i < 20; i++) {
		for (unsigned int q = 0; q < TINY_QUEUES; q++) {
			request(f, q);
			assert_int_not_equal(edges(f, DRIVER_WAIT_MS), 0);
			assert_int_equal(in(f, INTERRUPT_STATUS), 1);
			out(f, INTERRUPT_ACK, 1);
			assert_int_equal(in(f, INTERRUPT_STATUS), 0);
		}
	}
}

static void notification_by_exit_works_too(void **state)
{
	struct fixture *f = *state;

	start(f);
	f->d.nnotify = 0; /* no ioeventfd */
	request(f, 2);
	out(f, QUEUE_NOTIFY, TINY_QUEUES);
	out(f, QUEUE_NOTIFY, UINT32_MAX);
	request(f, 0);
	assert_int_equal(in(f, STATUS), 15);
	for (unsigned int i = 0; i < TINY_QUEUES; i++)
		f->d.notify[f->d.nnotify++].value = i;
}

static void configuration_has_any_size(void **state)
{
	struct fixture *f = *state;
	uint8_t v[8] = { 0 }, xy[2] = { 'X', 'Y' };
	uint32_t generation;

	bus_access(&f->bus, GPA + CONFIG + 1, false, v, 4);
	assert_memory_equal(v, &TINY_CONFIG[1], 4);
	bus_access(&f->bus, GPA + CONFIG + TINY_CONFIG_BYTES - 2, false, v, 8);
	assert_memory_equal(v, "g\0\0\0\0\0\0\0", 8);
	bus_access(&f->bus, GPA + CONFIG + 3, true, xy, 2);
	bus_access(&f->bus, GPA + CONFIG + TINY_CONFIG_BYTES - 1, true, xy,
		   2); /* crosses its end */
	bus_access(&f->bus, GPA + CONFIG, false, v, 8);
	assert_memory_equal(v, "tinXYcon", 8);
	generation = in(f, CONFIG_GENERATION);
	start(f);
	virtio_set_config(f->v, 0, "T", 1);
	assert_int_equal(in(f, CONFIG_GENERATION), generation + 1);
	assert_int_equal(in(f, INTERRUPT_STATUS) & 2, 2);
	assert_int_equal(edges(f, 0), 1);
	virtio_set_config(f->v, 0, "T", 1); /* nothing new */
	assert_int_equal(edges(f, 0), 0);
	out(f, INTERRUPT_ACK, 2);
	assert_int_equal(in(f, INTERRUPT_STATUS) & 2, 0);
}

static void reset_forgets(void **state)
{
	struct fixture *f = *state;

	start(f);
	request(f, 1);
	assert_int_not_equal(edges(f, DRIVER_WAIT_MS), 0);
	out(f, STATUS, 0);
	assert_int_equal(in(f, STATUS), 0);
	assert_int_equal(in(f, INTERRUPT_STATUS), 0);
	for (unsigned int i = 0; i < TINY_QUEUES; i++) {
		out(f, QUEUE_SEL, i);
		assert_int_equal(in(f, QUEUE_READY), 0);
	}
	out(f, DRIVER_FEATURES_SEL, 0);
	start(f);
	request(f, 1);
}

static void registers_are_locked_when_they_must_not_change(void **state)
{
	struct fixture *f = *state;

	start(f);
	out(f, QUEUE_SEL, 0);
	out(f, QUEUE_NUM, 2);
	out64(f, QUEUE_DESC, 16);
	out(f, QUEUE_READY, 0);
	out(f, DRIVER_FEATURES_SEL, 1);
	out(f, DRIVER_FEATURES, 0);
	assert_int_equal(in(f, QUEUE_READY), 1);
	for (unsigned int i = 0; i < 10; i++)
		request(f, 0);
}

static void bad_queue_needs_reset(void **state)
{
	struct fixture *f = *state;

	out(f, STATUS, 3);
	out(f, QUEUE_SEL, 0);
	out(f, QUEUE_NUM, 7);
	out(f, QUEUE_READY, 1);
	assert_int_equal(in(f, QUEUE_READY), 0);
	assert_int_equal(in(f, STATUS), 3 | VIRTIO_NEEDS_RESET);
	start(f);
	request(f, 0);
}

static void creation_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	struct virtio_mmio *t = NULL;
	struct err err = { 0 };
	struct virtio *v;

	assert_int_equal(tiny_virtio_create(&f->d.host, &v), 0);
	assert_int_equal(virtio_mmio_create(v, &f->d.host, &f->bus, GPA + 0x1000, GSI + 1, &t,
					    &err),
			 -EBUSY); /* the machine's one line is taken */
	f->d.line_fd = -1;
	assert_int_equal(virtio_mmio_create(v, &f->d.host, &f->bus, GPA, GSI + 1, &t, &err),
			 -EEXIST);
	assert_null(t);
	assert_int_equal(f->d.nnotify, TINY_QUEUES);
	virtio_destroy(v);
}

static void save(struct fixture *f, struct buf *b)
{
	struct state_entry entries[3];
	unsigned int n = virtio_state_entries(f->v, 4, entries);

	n += virtio_mmio_state_entries(f->t, 4, entries + n);
	assert_int_equal(n, 2);
	assert_int_equal(state_save_all(entries, n, b, NULL), 0);
}

static int load(struct fixture *f, const struct buf *b, struct err *err)
{
	struct state_entry entries[3];
	unsigned int n = virtio_state_entries(f->v, 4, entries);

	n += virtio_mmio_state_entries(f->t, 4, entries + n);
	return state_load_all(entries, n, b->data, b->len_bytes, err);
}

static void state_moves(void **state)
{
	struct fixture *f = *state;
	struct buf before = { 0 }, after = { 0 };
	struct err err = { 0 };

	start(f);
	request(f, 0);
	assert_int_not_equal(edges(f, DRIVER_WAIT_MS), 0);
	out(f, DEVICE_FEATURES_SEL, 1);
	out(f, QUEUE_SEL, 2);
	assert_int_equal(virtio_pause(f->v, UINT64_MAX, NULL), 0);
	save(f, &before);
	unmake(f); /* and another on the other side, in front of the same memory */
	assert_int_equal(make(f), 0);
	assert_int_equal(load(f, &before, &err), 0);
	save(f, &after);
	assert_int_equal(before.len_bytes, after.len_bytes);
	assert_memory_equal(before.data, after.data, after.len_bytes);
	assert_int_equal(in(f, INTERRUPT_STATUS), 1);
	virtio_resume(f->v);
	request(f, 0);
	request(f, 2);
	before.data[before.len_bytes - 4] = 4; /* InterruptStatus */
	assert_int_equal(load(f, &before, &err), -EBADMSG);
	assert_string_equal(err.msg, "state section virtio-mmio.4: interrupt_status 0x4");
	buf_fini(&before);
	buf_fini(&after);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(identifies_itself),
		TEST(odd_accesses_do_nothing),
		TEST(serves_requests_with_interrupts),
		TEST(notification_by_exit_works_too),
		TEST(configuration_has_any_size),
		TEST(reset_forgets),
		TEST(registers_are_locked_when_they_must_not_change),
		TEST(bad_queue_needs_reset),
		TEST(creation_fails_cleanly),
		TEST(state_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
