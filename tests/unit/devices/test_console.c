/* SPDX-License-Identifier: Apache-2.0 */
/* The console: what goes through its ports, what is said about them, drivers that break the rules, and a move. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/num.h"
#include "devices/virtio/console.h"
#include "virtio_driver.h"

#define MAX_PORTS 3u
#define ALL_FEATURES UINT64_MAX

struct fixture {
	struct driver d;
	struct virtio *v;
	char dir[32], path[MAX_PORTS][64], spec[MAX_PORTS][72];
	struct console_config config;
	int client[MAX_PORTS];
	uint64_t buffer; /* 128 KiB */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	strcpy(f->dir, "/tmp/test-console-XXXXXX");
	if (!mkdtemp(f->dir) || driver_init(&f->d))
		return -1;
	f->buffer = driver_alloc(&f->d, 2 * 65536);
	for (unsigned int i = 0; i < MAX_PORTS; i++) {
		snprintf(f->path[i], sizeof(f->path[i]), "%s/port%u", f->dir, i);
		snprintf(f->spec[i], sizeof(f->spec[i]), "unix:%s", f->path[i]);
		f->config.port[i].spec = f->spec[i];
		f->client[i] = -1;
	}
	f->config.port[1].name = "log";
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_destroy(f->v);
	driver_fini(&f->d);
	for (unsigned int i = 0; i < MAX_PORTS; i++) {
		if (f->client[i] >= 0)
			close(f->client[i]);
		unlink(f->path[i]);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

static void connect_to(struct fixture *f, unsigned int port)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, f->path[port]);
	f->client[port] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->client[port], (struct sockaddr *)&addr, sizeof(addr)), 0);
}

/* A console with so many ports, with somebody on each. */
static void create(struct fixture *f, unsigned int nports)
{
	const struct virtio_common common = { .id = "console0", .host = f->d.host };
	struct err err = { 0 };

	f->config.nports = nports;
	if (virtio_console_create(&common, &f->config, &f->v, &err))
		fail_msg("%s", err.msg);
	driver_attach(&f->d, f->v);
	for (unsigned int i = 0; i < nports; i++)
		connect_to(f, i);
}

static void start(struct fixture *f)
{
	assert_true(driver_start(&f->d, ALL_FEATURES, 64));
}

static void expect_output(struct fixture *f, unsigned int port, const char *text)
{
	struct pollfd p = { .fd = f->client[port], .events = POLLIN };
	char got[256];
	size_t len = 0;

	while (len < strlen(text)) {
		assert_int_equal(poll(&p, 1, DRIVER_WAIT_MS), 1);
		len += (size_t)read(p.fd, got + len, sizeof(got) - len);
	}
	assert_int_equal(len, strlen(text));
	assert_memory_equal(got, text, len);
}

/* A request with @len_bytes to read at @offset of the buffer. */
static bool write_out(struct fixture *f, unsigned int queue, uint32_t offset, const void *data,
		      uint32_t len_bytes)
{
	const struct driver_part part = { .gpa = f->buffer + offset, .len_bytes = len_bytes };
	uint32_t written;

	memcpy(driver_ptr(&f->d, part.gpa, len_bytes), data, len_bytes);
	return driver_do(&f->d, queue, &part, 1, &written) && written == 0;
}

/* Offers a buffer to write to. */
static void give(struct fixture *f, unsigned int queue, uint32_t offset, uint32_t len_bytes)
{
	const struct driver_part part = { .gpa = f->buffer + offset,
					  .len_bytes = len_bytes,
					  .write = true };

	driver_add(&f->d, queue, &part, 1);
	driver_kick(&f->d, queue);
}

static void expect_filled(struct fixture *f, unsigned int queue, uint32_t offset, const void *data,
			  uint32_t len_bytes)
{
	uint16_t head;
	uint32_t written;

	assert_true(driver_wait_used(&f->d, queue, &head, &written));
	assert_int_equal(written, len_bytes);
	assert_memory_equal(driver_ptr(&f->d, f->buffer + offset, len_bytes), data, len_bytes);
}

static void assert_broken(struct fixture *f, const char *why)
{
	assert_true(driver_wait_status(&f->d, VIRTIO_NEEDS_RESET));
	assert_non_null(strstr(f->v->fault.msg, why));
	start(f);
}

static void one_console_needs_no_control(void **state)
{
	struct fixture *f = *state;
	struct virtio_face face;

	create(f, 1);
	virtio_get_face(f->v, &face);
	assert_int_equal(face.features & 7,
			 1 << VIRTIO_CONSOLE_F_SIZE | 1 << VIRTIO_CONSOLE_F_EMERG_WRITE);
	assert_int_equal(face.nqueues, 2);
	assert_int_equal(le32_get(face.config + 4), 1);
	start(f);
	assert_true(write_out(f, 1, 0, "hello", 5));
	expect_output(f, 0, "hello");
}

static void input_waits_for_room(void **state)
{
	struct fixture *f = *state;

	create(f, 1);
	start(f);
	assert_int_equal(write(f->client[0], "abcdefghij", 10), 10);
	give(f, 0, 0, 4);
	expect_filled(f, 0, 0, "abcd", 4);
	give(f, 0, 100, 4);
	expect_filled(f, 0, 100, "efgh", 4);
	give(f, 0, 200, 64);
	expect_filled(f, 0, 200, "ij", 2);
	give(f, 0, 300, 64);
	assert_int_equal(write(f->client[0], "k", 1), 1);
	expect_filled(f, 0, 300, "k", 1);
}

static void size_and_emergency(void **state)
{
	static const uint8_t size[] = { 100, 0, 40, 0 };
	struct fixture *f = *state;
	uint8_t got[4];

	create(f, 1);
	virtio_config_write(f->v, 8, "!", 1); /* before there is a driver */
	expect_output(f, 0, "!");
	start(f);
	virtio_console_resize(f->v, 100, 40);
	assert_true(driver_wait_count(&f->d.config_interrupts, 1));
	virtio_config_read(f->v, 0, got, 4);
	assert_memory_equal(got, size, 4);
	virtio_config_write(f->v, 0, "xxxx", 4);
	virtio_config_read(f->v, 0, got, 4);
	assert_memory_equal(got, size, 4);
	virtio_console_resize(f->v, 100, 40); /* no news */
	assert_int_equal(atomic_load(&f->d.config_interrupts), 1);
	virtio_config_write(f->v, 8, "?...", 4);
	expect_output(f, 0, "?");
}

static void say(struct fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
	uint8_t m[8];

	le32_put(m, id);
	le16_put(m + 4, event);
	le16_put(m + 6, value);
	assert_true(write_out(f, CONSOLE_CONTROL_TX, 1024, m, sizeof(m)));
}

/* The next message, in the next buffer of those that give_control offered. */
static void hear(struct fixture *f, unsigned int *next, uint32_t id, uint16_t event,
		 const void *more, uint32_t more_bytes)
{
	uint8_t m[64];

	le32_put(m, id);
	le16_put(m + 4, event);
	le16_put(m + 6, 1);
	memcpy(m + 8, more, more_bytes);
	expect_filled(f, CONSOLE_CONTROL_RX, 4096 + 64 * (*next)++, m, 8 + more_bytes);
}

static void give_control(struct fixture *f, unsigned int first, unsigned int n)
{
	for (unsigned int i = first; i < first + n; i++)
		give(f, CONSOLE_CONTROL_RX, 4096 + 64 * i, 64);
}

static void ports_are_introduced(void **state)
{
	static const uint8_t size[] = { 100, 0, 40, 0 };
	struct fixture *f = *state;
	unsigned int next = 0;

	create(f, 3);
	virtio_console_resize(f->v, 100, 40);
	start(f);
	say(f, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	give_control(f, 0, 2); /* the third message waits */
	hear(f, &next, 0, VIRTIO_CONSOLE_PORT_ADD, "", 0);
	hear(f, &next, 1, VIRTIO_CONSOLE_PORT_ADD, "", 0);
	give_control(f, 2, 20);
	hear(f, &next, 2, VIRTIO_CONSOLE_PORT_ADD, "", 0);
	say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	hear(f, &next, 0, VIRTIO_CONSOLE_CONSOLE_PORT, "", 0);
	hear(f, &next, 0, VIRTIO_CONSOLE_RESIZE, size, 4);
	hear(f, &next, 0, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
	say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	hear(f, &next, 1, VIRTIO_CONSOLE_PORT_NAME, "log", 3);
	hear(f, &next, 1, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
	say(f, 2, VIRTIO_CONSOLE_PORT_READY, 0); /* it could not */
	say(f, 3, VIRTIO_CONSOLE_PORT_READY, 1);
	say(f, 0, VIRTIO_CONSOLE_PORT_NAME, 1);
	say(f, 0, 99, 1);
	say(f, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	virtio_console_resize(f->v, 80, 40);
	hear(f, &next, 0, VIRTIO_CONSOLE_RESIZE, (uint8_t[]){ 80, 0, 40, 0 }, 4);
	assert_int_equal(driver_used(&f->d, CONSOLE_CONTROL_RX), 0);
	assert_true(write_out(f, 5, 0, "to the log", 10));
	expect_output(f, 1, "to the log");
	assert_true(write_out(f, 7, 0, "third", 5));
	expect_output(f, 2, "third");
}

static void input_waits_for_a_reader(void **state)
{
	struct fixture *f = *state;

	create(f, 2);
	start(f);
	give(f, 4, 0, 64);
	assert_int_equal(write(f->client[1], "early", 5), 5);
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	assert_int_equal(virtio_pause(f->v, 0, NULL), 0);
	virtio_resume(f->v);
	assert_int_equal(driver_used(&f->d, 4), 0);
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_filled(f, 4, 0, "early", 5);
}

static void broken_rules_need_a_reset(void **state)
{
	struct fixture *f = *state;
	struct driver_part many[17];

	create(f, 2);
	start(f);
	driver_add(&f->d, CONSOLE_CONTROL_TX,
		   &(struct driver_part){ .gpa = f->buffer, .len_bytes = 7 }, 1);
	driver_kick(&f->d, CONSOLE_CONTROL_TX);
	assert_broken(f, "a control message of 7 bytes");
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct driver_part){ .gpa = f->buffer, .len_bytes = 65536 };
	driver_add(&f->d, 1, many, ARRAY_LEN(many));
	driver_kick(&f->d, 1);
	assert_broken(f, "1114112 bytes of output in a request");
	give(f, CONSOLE_CONTROL_RX, 0, 7);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	assert_broken(f, "a control buffer of 7 bytes");
	say(f, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	driver_add(&f->d, 0, &(struct driver_part){ .gpa = f->buffer, .len_bytes = 8 }, 1);
	driver_kick(&f->d, 0);
	assert_int_equal(write(f->client[0], "x", 1), 1);
	assert_broken(f, "a receive buffer without room");
}

static void save(struct fixture *f, struct buf *ret)
{
	struct state_entry entries[2];

	assert_int_equal(virtio_pause(f->v, 0, NULL), 0);
	assert_int_equal(virtio_state_entries(f->v, 3, entries), 2);
	assert_string_equal(entries[1].desc->name, "console");
	assert_int_equal(state_save_all(entries, 2, ret, NULL), 0);
}

/* To a device on the same memory whose ports lead nowhere. */
static int move(struct fixture *f, const struct buf *saved, struct virtio **ret, struct err *err)
{
	struct console_config config = f->config;
	struct virtio_common common = { .id = "there", .host = f->d.host };
	struct state_entry entries[2];
	struct virtio_face face;
	int rc;

	for (unsigned int i = 0; i < config.nports; i++)
		config.port[i].spec = "null";
	virtio_get_face(f->v, &face);
	common.face = &face;
	assert_int_equal(virtio_console_create(&common, &config, ret, err), 0);
	assert_int_equal(virtio_state_entries(*ret, 3, entries), 2);
	rc = state_load_all(entries, 2, saved->data, saved->len_bytes, err);
	if (rc)
		virtio_destroy(*ret);
	return rc;
}

static void moves_with_messages_that_wait(void **state)
{
	struct fixture *f = *state;
	struct virtio *here;
	struct buf saved = { 0 };
	unsigned int next = 0;
	uint8_t got[4];

	create(f, 3);
	virtio_console_resize(f->v, 100, 40);
	start(f);
	say(f, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	save(f, &saved);
	here = f->v;
	assert_int_equal(move(f, &saved, &f->v, NULL), 0);
	driver_attach(&f->d, f->v);
	virtio_resume(f->v);
	virtio_arrived(f->v);
	give_control(f, 0, 8);
	hear(f, &next, 1, VIRTIO_CONSOLE_PORT_NAME, "log", 3);
	hear(f, &next, 1, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
	virtio_config_read(f->v, 0, got, 4);
	assert_int_equal(got[0], 100);
	virtio_console_resize(f->v, 90, 40); /* to a port that is open */
	hear(f, &next, 0, VIRTIO_CONSOLE_RESIZE, (uint8_t[]){ 90, 0, 40, 0 }, 4);
	buf_fini(&saved);
	virtio_destroy(here);
}

static void refuses_what_no_console_has(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t value;
		const char *says;
	} cases[] = {
		{ 0, 1, NULL },
		{ 1, 2, "open 2 of port 1" },
		{ 3, 1, "open or tell of port 3" },
		{ 8, 31, NULL },
		{ 9, 32, "tell 0x20 of port 1" },
		{ 15, 1, "open or tell of port 7" },
	};
	struct fixture *f = *state;
	struct buf saved = { 0 };

	create(f, 3);
	start(f);
	save(f, &saved);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t *body = saved.data + saved.len_bytes - 20;
		struct virtio *there = NULL;
		struct err err = { 0 };
		int rc;

		memset(body, 0, 20);
		body[cases[i].at] = cases[i].value;
		rc = move(f, &saved, &there, &err);
		assert_int_equal(rc, cases[i].says ? -EBADMSG : 0);
		if (!rc)
			virtio_destroy(there);
		else if (!strstr(err.msg, cases[i].says))
			fail_msg("%s, not %s", err.msg, cases[i].says);
	}
	buf_fini(&saved);
}

static void refuses_bad_configurations(void **state)
{
	struct fixture *f = *state;
	const struct virtio_common common = { .id = "console0", .host = f->d.host };
	struct virtio *v = NULL;
	struct err err = { 0 };

	f->config.nports = 9;
	assert_int_equal(virtio_console_create(&common, &f->config, &v, &err), -EINVAL);
	assert_string_equal(err.msg, "--virtio-console: 9 ports, 1 to 8 are possible");
	f->config.nports = 2;
	f->config.port[1].spec = "unix:/nonexistent/x";
	err = (struct err){ 0 };
	assert_int_equal(virtio_console_create(&common, &f->config, &v, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "--virtio-console"));
	assert_non_null(strstr(err.msg, "/nonexistent/x"));
	assert_null(v);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_console_needs_no_control),
		TEST(input_waits_for_room),
		TEST(size_and_emergency),
		TEST(ports_are_introduced),
		TEST(input_waits_for_a_reader),
		TEST(broken_rules_need_a_reset),
		TEST(moves_with_messages_that_wait),
		TEST(refuses_what_no_console_has),
		TEST(refuses_bad_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
