/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "options.h"
#include "tiny_guest.h"

#define MAX_WORDS 40

/* The command line @line, words set apart by one space. */
static int parse(const char *line, struct perf_options *o, enum perf_action *action,
		 struct err *err)
{
	static char text[512];
	char *argv[MAX_WORDS] = { text };
	int argc = 1;
	size_t len = strlen(line);

	assert_true(len < sizeof(text));
	memcpy(text, line, len + 1);
	for (char *space = strchr(text, ' '); space; space = strchr(space, ' ')) {
		*space++ = '\0';
		assert_true(argc < MAX_WORDS - 1);
		argv[argc++] = space;
	}
	memset(err, 0, sizeof(*err));
	return perf_options_parse(argc, argv, o, action, err);
}

static struct perf_options good(const char *line)
{
	struct perf_options o;
	enum perf_action action;
	struct err err;

	if (parse(line, &o, &action, &err) < 0)
		fail_msg("%s: %s", line, err.msg);
	assert_int_equal(action, PERF_RUN);
	return o;
}

static void test_defaults_are_the_kernel_tests(void **state)
{
	struct perf_options o = good("dirty-log-perf");

	(void)state;
	assert_int_equal(o.bytes_per_vcpu, 1ULL << 30);
	assert_int_equal(o.vcpus, 1);
	assert_int_equal(o.iterations, 2);
	assert_int_equal(o.slots, 1);
	assert_int_equal(o.write_percent, 100);
	assert_string_equal(o.backing_name, "anonymous");
	assert_int_equal(o.backing, GMEM_4K);
	assert_false(o.random_order || o.overlap || o.json_lines || o.backends_asked);
	assert_int_equal(o.nbackends, 4);
	assert_string_equal(o.backend[0], "bitmap");
	assert_string_equal(o.backend[3], "uffd");
}

static void test_all_options(void **state)
{
	struct perf_options o = good(
		"dirty-log-perf -b 512MiB -v 96 -i 5 -m PXXV48_4K -s anonymous_thp -w 30 -a -r 7 -x 3 -o -c 0-1 -B ring,entries=1024,bitmap,ring --json-lines --timeout 9");

	(void)state;
	assert_int_equal(perf_bytes(&o), 48ULL << 30);
	assert_int_equal(o.iterations, 5);
	assert_int_equal(o.backing, GMEM_THP);
	assert_int_equal(o.write_percent, 30);
	assert_int_equal(o.seed, 7);
	assert_int_equal(o.slots, 3);
	assert_true(o.random_order && o.overlap && o.json_lines && o.backends_asked);
	assert_string_equal(o.pin, "0-1");
	assert_int_equal(o.timeout_ns, 9 * NS_PER_S);
	assert_int_equal(o.nbackends, 3);
	assert_string_equal(o.backend[0], "ring,entries=1024");
	assert_string_equal(o.backend[1], "bitmap");
	assert_string_equal(o.backend[2], "ring");
}

static void test_without_manual_protect(void **state)
{
	struct perf_options o = good("dirty-log-perf -g");

	(void)state;
	assert_int_equal(o.nbackends, 3);
	for (unsigned int i = 0; i < o.nbackends; i++)
		assert_string_not_equal(o.backend[i], "manual");
}

static void test_help_wins(void **state)
{
	struct perf_options o;
	enum perf_action action;
	struct err err;

	(void)state;
	assert_int_equal(parse("dirty-log-perf --help -z", &o, &action, &err), 0);
	assert_int_equal(action, PERF_HELP);
}

/* Each is refused with a line that names the option. */
static void test_refused(void **state)
{
	static const struct {
		const char *line, *named;
	} bad[] = {
		{ "x -b", "-b" },
		{ "x -b 0", "-b 0" },
		{ "x -b 1M", "-b" },
		{ "x -b 4M -x 3", "-x" },
		{ "x -b 99999999999999999999", "-b" },
		{ "x -v 0", "-v 0" },
		{ "x -v 256", "-v 256" },
		{ "x -v 255 -b 2G", "-v" },
		{ "x -i 0", "-i 0" },
		{ "x -i 3x", "-i 3x" },
		{ "x -w 101", "-w 101" },
		{ "x -x 8", "-x 8" },
		{ "x -s shmem", "anonymous_thp" },
		{ "x -s anonymous_hugetlb_1gb -b 512M", "1024 MiB" },
		{ "x -m 2", "PXXV48_4K" },
		{ "x -B lying", "lying" },
		{ "x -B auto", "-B auto" },
		{ "x -B bitmap,,ring", "\"\"" },
		{ "x -B ring,entries=1000", "1000" },
		{ "x -B a,b,c,d,e,f,g,h,i", "-B" },
		{ "x -g -B bitmap,manual", "-g" },
		{ "x --dirty-accel maybe", "maybe" },
		{ "x --timeout 0", "--timeout 0" },
		{ "x -z", "-z" },
		{ "x --fast", "--fast" },
		{ "x bitmap", "bitmap" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct perf_options o = { .vcpus = 77 };
		enum perf_action action;
		struct err err;

		assert_int_equal(parse(bad[i].line, &o, &action, &err), -EINVAL);
		if (!strstr(err.msg, bad[i].named))
			fail_msg("%s: \"%s\" does not name %s", bad[i].line, err.msg, bad[i].named);
		assert_int_equal(o.vcpus, 77);
	}
}

static void test_memory(void **state)
{
	struct perf_options o = good("dirty-log-perf -b 8M -v 2 -x 4");
	struct gmem_config mem;
	struct err err;

	(void)state;
	assert_int_equal(perf_memory(&o, &mem, &err), 0);
	assert_int_equal(mem.nregions, 5);
	assert_int_equal(mem.region[0].gpa, 0);
	assert_int_equal(mem.region[0].len_bytes, TINY_SETUP_BYTES);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(mem.region[1 + i].gpa, (4ULL << 30) + i * (4 << 20));
		assert_int_equal(mem.region[1 + i].len_bytes, 4 << 20);
	}
}

static uint64_t planned(struct tiny_pass p)
{
	struct bitmap b;
	uint64_t n;

	assert_int_equal(bitmap_init(&b, p.npages), 0);
	tiny_pass_plan(&p, &b);
	n = bitmap_count(&b);
	bitmap_fini(&b);
	return n;
}

static void test_plan_of_a_pass(void **state)
{
	struct tiny_pass p = { .npages = 100000, .write_percent = 100, .seed = 3 };
	uint64_t n;

	(void)state;
	assert_int_equal(planned(p), 100000);
	p.write_percent = 0;
	assert_int_equal(planned(p), 0);
	p.write_percent = 30;
	n = planned(p);
	assert_in_range(n, 29000, 31000);
	p.seed = 4;
	assert_int_not_equal(planned(p), n);
	/* Drawn with repetition: all but one in e of the pages. */
	p.write_percent = 100;
	p.random_order = 1;
	assert_in_range(planned(p), 62500, 64000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_are_the_kernel_tests),
		cmocka_unit_test(test_all_options),
		cmocka_unit_test(test_without_manual_protect),
		cmocka_unit_test(test_help_wins),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_plan_of_a_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
