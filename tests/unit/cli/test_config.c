/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdio.h>

#include "base/num.h"
#include "config_file.h"
#include "json_place.h"
#include "options.h"

/* Configuration files: what they set, what comes back out, and where a mistake is. */

static void test_places(void **state)
{
	static const char text[] = "{\n"
				   "  \"cpus\": { \"a\\\"}\": 1, \"boot_vcpus\": 2 },\n"
				   "  \"disks\": [ {\"path\": \"a]\"},\n"
				   "\t{ \"id\": [1, {\"x\": 2}], \"path\": null } ],\n"
				   "  \"last\": true\n}";
	static const struct {
		const char *path;
		unsigned int line, column;
	} cases[] = {
		{ "", 1, 1 },
		{ "cpus", 2, 3 },
		{ "cpus.boot_vcpus", 2, 24 },
		{ "disks[0]", 3, 14 },
		{ "disks[0].path", 3, 15 },
		{ "disks[1]", 4, 2 },
		{ "disks[1].path", 4, 25 },
		{ "disks[1].id[1].x", 4, 15 },
		{ "last", 5, 3 },
		/* What is not there: as far as it goes. */
		{ "disks[1].serial", 4, 2 },
		{ "disks[2].path", 3, 3 },
		{ "nothing.at.all", 1, 1 },
		{ "last.x", 5, 3 },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_place at = json_place_find(text, cases[i].path);

		if (at.line != cases[i].line || at.column != cases[i].column)
			fail_msg("%s: %u:%u", cases[i].path, at.line, at.column);
	}
}

static struct vm_options *new_options(void)
{
	struct vm_options *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->config.ncpus = 1;
	o->config.ram_bytes = 256ULL << 20;
	o->config.devices = &o->devices;
	return o;
}

static void free_options(struct vm_options *o)
{
	vm_options_fini(o);
	free(o);
}

static const char whole[] =
	"{\"name\": \"n\", \"cpus\": {\"boot_vcpus\": 2, \"pin\": \"0-1\"},"
	" \"memory\": {\"size\": \"512M\", \"thp\": false},"
	" \"payload\": {\"kernel\": \"/k\", \"initramfs\": \"/i\", \"cmdline\": \"a b\"},"
	" \"serial\": {\"backend\": \"null\"}, \"transport\": \"mmio\", \"paused\": true,"
	" \"dirty\": \"ring,entries=4096\", \"dirty_accel\": \"on,group=64\","
	" \"disks\": [{\"path\": \"/a\", \"readonly\": true, \"direct\": true, \"shared\": true, \"serial\": \"s\","
	"  \"num_queues\": 2, \"iops\": 7, \"bandwidth\": \"1KiB/s\"}, {\"path\": \"/b\", \"id\": \"x\"}],"
	" \"net\": [{\"tap\": \"t\", \"mac\": \"52:54:00:00:00:01\", \"num_queue_pairs\": 2, \"packets_per_s\": 5}],"
	" \"console\": [{\"backend\": \"pty\"}, {\"backend\": \"null\", \"name\": \"org.y\"}],"
	" \"vsock\": {\"cid\": 3, \"socket\": \"/v\"}, \"balloon\": {\"size\": 4096}, \"rng\": {}}";

static void test_whole(void **state)
{
	struct vm_options *o = new_options();
	struct err err = { 0 };

	(void)state;
	assert_int_equal(config_text_load("f", whole, o, &err), 0);
	assert_string_equal(o->config.name, "n");
	assert_int_equal(o->config.ncpus, 2);
	assert_int_equal(o->config.ram_bytes, 512 << 20);
	assert_int_equal(o->config.backing, GMEM_4K);
	assert_string_equal(o->config.kernel_path, "/k");
	assert_string_equal(o->config.cmdline, "a b");
	assert_true(o->config.paused);
	assert_int_equal(o->config.ring_entries, 4096);
	assert_true(o->devices.mmio);
	assert_int_equal(o->devices.n, 8);
	assert_int_equal(o->nfile, 8);
	assert_int_equal(o->devices.dev[0].limit.bytes_per_s, 1024);
	assert_string_equal(o->devices.dev[1].id, "x");
	assert_int_equal(o->devices.dev[5].cid, 3);
	free_options(o);
}

/* What is written is read as the same again. */
static void test_round_trip(void **state)
{
	struct vm_options *o = new_options(), *again = new_options();
	struct err err = { 0 };
	json_t *first, *second;
	char *text;

	(void)state;
	assert_int_equal(config_text_load("f", whole, o, &err), 0);
	first = config_dump(o);
	assert_non_null(first);
	text = json_dumps(first, 0);
	assert_non_null(text);
	if (config_text_load("f", text, again, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(again->devices.n, o->devices.n);
	assert_true(again->devices.mmio);
	second = config_dump(again);
	assert_true(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	free_options(o);
	free_options(again);
	free(text);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "f:1:0: " },
		{ "{\n \"a\" 1 }", "f:2:" },
		{ "[]", "f:1:1: expected an object" },
		{ "{\"rng\": {}, \"rng\": {}}", "duplicate" },
		{ "{\"a\": 1}", "f:1:2: key \"a\": unknown" },
		{ "{\"cpus\": 1}", "f:1:2: key \"cpus\": expected an object" },
		{ "{\"cpus\": {\"a\": 1}}", "f:1:11: key \"cpus.a\": unknown" },
		{ "{\"cpus\":\n{\"boot_vcpus\": 0}}",
		  "f:2:2: key \"cpus.boot_vcpus\": expected 1" },
		{ "{\"cpus\": {\"boot_vcpus\": -1}}", "expected 1" },
		{ "{\"cpus\": {\"boot_vcpus\": 1.5}}", "expected a whole number" },
		{ "{\"cpus\": {\"boot_vcpus\": \"1\"}}", "expected a whole number" },
		{ "{\"memory\": {\"size\": true}}", "or a string with a unit" },
		{ "{\"memory\": {\"size\": \"2 G\"}}", "key \"memory.size\": expected a size" },
		{ "{\"memory\": {\"thp\": 1}}", "expected true or false" },
		{ "{\"payload\": {\"kernel\": null}}",
		  "key \"payload.kernel\": expected a string" },
		{ "{\"name\": 5}", "key \"name\": expected a string" },
		{ "{\"rng\": []}", "key \"rng\": expected an object" },
		{ "{\"disks\": {}}", "key \"disks\": expected an array" },
		{ "{\"disks\": [1]}", "f:1:12: key \"disks[0]\": expected an object" },
		{ "{\"disks\": [{\"path\": \"a\"},\n{}]}",
		  "f:2:1: key \"disks[1].path\": missing" },
		{ "{\"disks\": [{\"path\": \"a\", \"ro\": true}]}",
		  "f:1:26: key \"disks[0].ro\": unknown" },
		{ "{\"disks\": [{\"path\": \"\"}]}", "expected 1 to 1023 characters" },
		{ "{\"disks\": [{\"path\": \"a\", \"num_queues\": 99}]}",
		  "key \"disks[0].num_queues\": expected 1 to 16" },
		{ "{\"disks\": [{\"path\": \"a\", \"id\": \"b\"}, {\"path\": \"c\", \"id\": \"b\"}]}",
		  "f:1:38: key \"disks[1]\": id: \"b\" is another device's already" },
		{ "{\"net\": [{\"tap\": \"a\"}, {\"tap\": \"b\", \"mac\": \"01:00:00:00:00:00\"}]}",
		  "key \"net[1]\": net1: mac" },
		{ "{\"vsock\": {\"socket\": \"a\", \"cid\": 1}}",
		  "f:1:2: key \"vsock\": vsock0: cid" },
		{ "{\"transport\": \"isa\"}", "key \"transport\": expected pci or mmio" },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		struct vm_options *o = new_options();
		struct err err = { 0 };

		assert_int_equal(config_text_load("f", cases[i].text, o, &err), -EINVAL);
		if (!strstr(err.msg, cases[i].message))
			fail_msg("%s: \"%s\" does not say %s", cases[i].text, err.msg,
				 cases[i].message);
		free_options(o);
	}
}

static void test_too_many(void **state)
{
	struct vm_options *o = new_options();
	struct err err = { 0 };
	char text[4096] = "{\"net\": [";
	size_t used = strlen(text);

	(void)state;
	for (unsigned int i = 0; i <= MACHINE_MAX_DEVICES; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s{\"tap\": \"t\"}",
					 i ? ", " : "");
	snprintf(text + used, sizeof(text) - used, "]}");
	assert_int_equal(config_text_load("f", text, o, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "key \"net[40]\": too many devices"));
	free_options(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),     cmocka_unit_test(test_whole),
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
