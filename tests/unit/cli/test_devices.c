/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdio.h>

#include "base/num.h"
#include "device_keys.h"

/* Suboptions, and what can be wrong with a table of devices. */

static struct machine_device good(enum machine_device_kind kind, const char *text)
{
	struct machine_device dev;
	struct err err = { 0 };

	if (device_parse(kind, text, false, &dev, &err))
		fail_msg("\"%s\": %s", text, err.msg);
	assert_int_equal(dev.kind, kind);
	return dev;
}

static void test_disk(void **state)
{
	struct machine_device d = good(
		MACHINE_BLK,
		"/a/b.img,ro,direct=on,shared=off,id=root,serial=S 1,queues=4,iops=100,bw=2MB/s");

	(void)state;
	assert_string_equal(d.local, "/a/b.img");
	assert_string_equal(d.id, "root");
	assert_string_equal(d.label, "S 1");
	assert_true(d.readonly);
	assert_true(d.direct);
	assert_false(d.shared);
	assert_int_equal(d.nqueues, 4);
	assert_int_equal(d.limit.ops_per_s, 100);
	assert_int_equal(d.limit.bytes_per_s, 2000000);
}

/* The first suboption is the path, whatever it looks like, unless a key stands before its '='. */
static void test_paths(void **state)
{
	static const struct {
		const char *text, *path;
	} cases[] = {
		{ "ro", "ro" },    { "a=b", "a=b" }, { "path=x", "x" },  { "path=a=b", "a=b" },
		{ "a,,b", "a,b" }, { ",,", "," },    { "a,,,ro", "a," }, { "id=x,path=p", "p" },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(good(MACHINE_BLK, cases[i].text).local, cases[i].path);
}

static void test_others(void **state)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0xaB, 0xcd, 0xef };
	struct machine_device d =
		good(MACHINE_NET, "mac=52:54:00:aB:cd:ef,tap=tap0,queues=2,bw=1Gbit/s");

	(void)state;
	assert_memory_equal(d.mac, mac, sizeof(mac));
	assert_string_equal(d.local, "tap0");
	assert_int_equal(d.nqueues, 2);
	assert_int_equal(d.limit.bytes_per_s, 125000000);
	d = good(MACHINE_VSOCK, "cid=0x10,path=/run/v");
	assert_int_equal(d.cid, 16);
	d = good(MACHINE_CONSOLE, "unix:/a=b,name=org.x.y");
	assert_string_equal(d.local, "unix:/a=b");
	assert_string_equal(d.label, "org.x.y");
	assert_int_equal(good(MACHINE_BALLOON, "size=1G").balloon_bytes, 1 << 30);
	(void)good(MACHINE_BALLOON, "");
	(void)good(MACHINE_RNG, "");
}

struct bad_case {
	enum machine_device_kind kind;
	bool receive;
	const char *text, *message;
};

static void test_refused(void **state)
{
	static const struct bad_case cases[] = {
		{ MACHINE_BLK, false, "", "\"path\" is missing" },
		{ MACHINE_BLK, false, "a,", "at character 3: a suboption is missing" },
		{ MACHINE_BLK, false, "a,foo", "at character 3: \"foo\" is unknown" },
		{ MACHINE_BLK, false, "a,,b,ro,ro", "at character 9: \"ro\" stands twice" },
		{ MACHINE_BLK, false, "a,path=b", "at character 3: \"path\" stands twice" },
		{ MACHINE_BLK, false, "a,ro=yes", "expected on or off, got \"yes\"" },
		{ MACHINE_BLK, false, "a,iops", "\"iops\": a value is missing" },
		{ MACHINE_BLK, false, "a,iops=-1", "expected a whole number" },
		{ MACHINE_BLK, false, "a,queues=0", "expected 1 to 16, got \"0\"" },
		{ MACHINE_BLK, false, "a,queues=17", "expected 1 to 16, got \"17\"" },
		{ MACHINE_BLK, false, "a,bw=fast", "expected a rate" },
		{ MACHINE_BLK, false, "a,id=", "expected 1 to 31 characters, got 0" },
		{ MACHINE_BLK, false, "path=", "expected 1 to 1023 characters, got 0" },
		{ MACHINE_NET, false, "tap0", "at character 1: \"tap0\" is unknown" },
		{ MACHINE_NET, false, "mac=52:54:00:00:00:01", "\"tap\" is missing" },
		{ MACHINE_NET, false, "tap=a,mac=52:54:00:00:00", "expected an address" },
		{ MACHINE_NET, false, "tap=a,mac=52:54:00:00:00: 1", "expected an address" },
		{ MACHINE_NET, false, "tap=a,mac=52-54-00-00-00-01", "expected an address" },
		{ MACHINE_VSOCK, false, "cid=3", "\"path\" is missing" },
		{ MACHINE_BALLOON, false, "size=big", "expected a size" },
		{ MACHINE_BLK, true, "a", "\"id\" is missing" },
		{ MACHINE_BLK, true, "a,id=x,ro", "at character 8: \"ro\" comes with the VM" },
		{ MACHINE_NET, true, "tap=a,id=x,mac=52:54:00:00:00:01", "\"mac\" comes with" },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		struct machine_device dev = { .cid = 77 };
		struct err err = { 0 };

		assert_int_equal(device_parse(cases[i].kind, cases[i].text, cases[i].receive, &dev,
					      &err),
				 -EINVAL);
		if (!strstr(err.msg, cases[i].message))
			fail_msg("\"%s\": \"%s\" does not say %s", cases[i].text, err.msg,
				 cases[i].message);
		assert_int_equal(dev.cid, 77);
	}
}

static void test_long_values(void **state)
{
	char text[3 * MACHINE_LOCAL_MAX];
	struct machine_device dev;
	struct err err = { 0 };

	(void)state;
	memset(text, 'x', sizeof(text));
	text[MACHINE_LOCAL_MAX] = 0;
	assert_int_equal(strlen(good(MACHINE_BLK, text).local), MACHINE_LOCAL_MAX);
	text[MACHINE_LOCAL_MAX] = 'x';
	for (size_t len = MACHINE_LOCAL_MAX + 1; len < sizeof(text); len += 17) {
		text[len] = 0;
		assert_int_equal(device_parse(MACHINE_BLK, text, false, &dev, &err), -EINVAL);
		text[len] = 'x';
	}
}

static void add(struct machine_devices *d, enum machine_device_kind kind, const char *text)
{
	d->dev[d->n++] = good(kind, text);
}

/* Slots follow from kinds; ids are given around those that are taken. */
static void test_settle(void **state)
{
	struct machine_devices d = { 0 };
	unsigned int bad = 99;

	(void)state;
	add(&d, MACHINE_RNG, "");
	add(&d, MACHINE_NET, "tap=a");
	add(&d, MACHINE_BLK, "x");
	add(&d, MACHINE_BLK, "y,id=disk0");
	add(&d, MACHINE_BLK, "z");
	assert_int_equal(machine_devices_settle(&d, &bad, NULL), 0);
	assert_string_equal(d.dev[0].local, "x");
	assert_string_equal(d.dev[0].id, "disk1");
	assert_string_equal(d.dev[1].id, "disk0");
	assert_string_equal(d.dev[2].local, "z");
	assert_string_equal(d.dev[2].id, "disk2");
	assert_string_equal(d.dev[3].id, "net0");
	assert_string_equal(d.dev[4].id, "rng0");
	assert_int_equal(bad, 99);
}

static void unsettled(const struct machine_devices *table, unsigned int where, const char *message)
{
	struct machine_devices d = *table;
	struct err err = { 0 };
	unsigned int bad = 99;

	assert_int_equal(machine_devices_settle(&d, &bad, &err), -EINVAL);
	assert_int_equal(bad, where);
	if (!strstr(err.msg, message))
		fail_msg("\"%s\" does not say %s", err.msg, message);
}

static void test_not_settled(void **state)
{
	struct machine_devices d = { 0 };

	(void)state;
	add(&d, MACHINE_BLK, "x,id=a");
	add(&d, MACHINE_NET, "tap=t,id=a");
	unsettled(&d, 1, "\"a\" is another device's already");
	strcpy(d.dev[1].id, ".b");
	unsettled(&d, 1, "--net: id: expected");
	strcpy(d.dev[1].id, "b");
	d.dev[1].mac[0] = 1;
	unsettled(&d, 1, "group");
	d.dev[1].mac[0] = 0;
	strcpy(d.dev[0].label, "a serial number of 21c");
	unsettled(&d, 0, "at most 20");
	strcpy(d.dev[0].label, "esc\033");
	unsettled(&d, 0, "control characters");
	d.dev[0].label[0] = 0;
	add(&d, MACHINE_VSOCK, "path=v,cid=2");
	unsettled(&d, 2, "cid");
	d.dev[2].cid = 0xffffffff;
	unsettled(&d, 2, "cid");
	d.dev[2].cid = 3;
	add(&d, MACHINE_VSOCK, "path=w,cid=4");
	unsettled(&d, 3, "one at most");
	d.dev[3] = good(MACHINE_CONSOLE, "nonsense");
	unsettled(&d, 2, "console0");
	for (d.n = 3; d.n < 3 + VIRTIO_CONSOLE_MAX_PORTS + 1;)
		add(&d, MACHINE_CONSOLE, "null");
	unsettled(&d, 2 + VIRTIO_CONSOLE_MAX_PORTS, "at most 8 ports");
}

static void test_map(void **state)
{
	struct machine_devices vm = { 0 }, map = { 0 }, before;
	struct err err = { 0 };
	unsigned int bad;

	(void)state;
	add(&vm, MACHINE_BLK, "/src/a,id=root");
	add(&vm, MACHINE_BLK, "/src/b,id=data");
	add(&vm, MACHINE_NET, "tap=t,id=net0");
	add(&vm, MACHINE_CONSOLE, "file:/src/log");
	assert_int_equal(machine_devices_settle(&vm, &bad, NULL), 0);
	before = vm;
	add(&map, MACHINE_BLK, "/dst/b,id=data");
	add(&map, MACHINE_BLK, "/dst/c,id=net0");
	assert_int_equal(machine_devices_map(&vm, &map, false, &err), -ENODEV);
	assert_non_null(strstr(err.msg, "no such device \"net0\""));
	assert_non_null(strstr(err.msg, "\"root\", \"data\""));
	assert_memory_equal(&vm, &before, sizeof(vm));
	map.n = 1;
	assert_int_equal(machine_devices_map(&vm, &map, true, &err), -EACCES);
	assert_non_null(strstr(err.msg, "\"root\" has no name here"));
	assert_int_equal(machine_devices_map(&vm, NULL, true, &err), -EACCES);
	assert_memory_equal(&vm, &before, sizeof(vm));
	assert_int_equal(machine_devices_map(&vm, &map, false, &err), 0);
	assert_string_equal(vm.dev[0].local, "/src/a");
	assert_string_equal(vm.dev[1].local, "/dst/b");
	assert_string_equal(vm.dev[3].local, "null");
	map.dev[map.n++] = map.dev[0];
	assert_int_equal(machine_devices_check_map(&map, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "\"data\" stands twice"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),        cmocka_unit_test(test_paths),
		cmocka_unit_test(test_others),      cmocka_unit_test(test_refused),
		cmocka_unit_test(test_long_values), cmocka_unit_test(test_settle),
		cmocka_unit_test(test_not_settled), cmocka_unit_test(test_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
