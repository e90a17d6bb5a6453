/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "migrate_text.h"
#include "table.h"
#include "test.h"
#include "units.h"

static void expect_text(struct buf *out, const char *want)
{
	assert_true(buf_ok(out));
	buf_u8(out, 0);
	assert_string_equal((const char *)out->data, want);
	buf_fini(out);
}

static void test_units(void **state)
{
	struct unit_text t;

	assert_string_equal(unit_bytes(&t, 0), "0 B");
	assert_string_equal(unit_bytes(&t, 999), "999 B");
	assert_string_equal(unit_bytes(&t, 1000), "1.00 kB");
	assert_string_equal(unit_bytes(&t, 999999), "1.00 MB");
	assert_string_equal(unit_bytes(&t, 99950000), "100 MB");
	assert_string_equal(unit_bytes(&t, 2.134e9), "2.13 GB");
	assert_string_equal(unit_bytes(&t, 5e18), "5000 PB");
	assert_string_equal(unit_bytes(&t, -1), "0 B");
	assert_string_equal(unit_rate(&t, 1.11e9), "1.11 GB/s");
	assert_string_equal(unit_pages_rate(&t, 42), "42/s");
	assert_string_equal(unit_pages_rate(&t, 100000), "100 k/s");
	assert_string_equal(unit_memory(&t, 2ULL << 30), "2 GiB");
	assert_string_equal(unit_memory(&t, 1536ULL << 20), "1536 MiB");
	assert_string_equal(unit_memory(&t, 0), "0 B");
	assert_string_equal(unit_ratio(&t, 0), "0.00");
	assert_string_equal(unit_ratio(&t, 1.0234), "1.02");
	assert_string_equal(unit_ratio(&t, 1234.5), "1234");
	assert_string_equal(unit_ratio(&t, 0.0995), "0.10");
	assert_string_equal(unit_ratio(&t, 1.0 / 512), "0.002");
	assert_string_equal(unit_ms(&t, 0), "0.00 ms");
	assert_string_equal(unit_ms(&t, 0.004), "4 us");
	assert_string_equal(unit_ms(&t, 0.82), "0.82 ms");
	assert_string_equal(unit_ms(&t, 9.996), "10.0 ms");
	assert_string_equal(unit_ms(&t, 999.4), "999 ms");
	assert_string_equal(unit_ms(&t, 999.6), "1.00 s");
	assert_string_equal(unit_ms(&t, 119.4e3), "119 s");
	assert_string_equal(unit_ms(&t, 119.6e3), "2m00s");
	assert_string_equal(unit_ms(&t, 3723e3), "62m03s");
}

static void test_table(void **state)
{
	static const struct table_column columns[] = {
		{ "name", .right = false },
		{ "n", .right = true },
		{ "gone", .right = true, .hide = true },
		{ "note", .right = false },
	};
	struct buf out = { 0 };
	struct table t;

	table_init(&t, columns, 4);
	table_row(&t, (const char *const[]){ "a", "100", "x", "one" });
	table_row(&t, (const char *const[]){ "long-name", "7", "y", NULL });
	table_row(&t, (const char *const[]){ "", "", "z", "" });
	table_render(&t, 2, &out);
	table_fini(&t);
	expect_text(&out, "  name         n  note\n"
			  "  a          100  one\n"
			  "  long-name    7\n"
			  "\n");
	table_init(&t, columns, 4);
	table_render(&t, 0, &out);
	table_fini(&t);
	expect_text(&out, "name  n  note\n");
}

static json_t *parse(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	return o;
}

static void test_progress(void **state)
{
	json_t *o = parse(
		"{\"round\":2,\"sent_bytes\":2130000000,\"left_pages\":25000,\"bytes_per_s\":1.1e9,"
		"\"dirty_pages_per_s\":100000.0,\"predicted_downtime_ms\":14.0,\"elapsed_ms\":1920.0}");
	struct buf out = { 0 };

	migrate_text_progress(o, &out);
	expect_text(
		&out,
		"round 2  sent 2.13 GB  left 102 MB  1.10 GB/s  dirty 410 MB/s  downtime ~14.0 ms  1.92 s");
	json_decref(o);
	o = parse("{}");
	migrate_text_progress(o, &out);
	expect_text(&out, "round 0  sent 0 B  left 0 B  0 B/s  dirty 0 B/s  0.00 ms");
	json_decref(o);
}

#define ROUND_1                                                                                                       \
	"{\"round\":1,\"last\":false,\"duration_ms\":1900.0,\"pages\":524288,\"zero_pages\":12,\"bytes\":2130000000," \
	"\"bytes_per_s\":1.12e9,\"blocked_ms\":30.0,\"dirty_pages\":2000,\"dirty_pages_per_s\":100000.0,"             \
	"\"predicted_downtime_ms\":14.0,\"exits\":2046,\"exits_per_dirtied_page\":1.023}"
#define ROUND_2 \
	"{\"round\":2,\"last\":true,\"duration_ms\":7.0,\"pages\":2000,\"bytes\":8200000,\"bytes_per_s\":1.1e9}"

static void test_rounds(void **state)
{
	json_t *o = parse("{\"round_details\":[" ROUND_1 "," ROUND_2 "]}");
	struct buf out = { 0 };

	migrate_text_round(json_array_get(json_object_get(o, "round_details"), 0), &out);
	migrate_text_round(json_array_get(json_object_get(o, "round_details"), 1), &out);
	expect_text(
		&out,
		"round 1  2.13 GB  1.90 s  1.12 GB/s  524288+12 zero pages  left 2000 (100 k/s)  downtime ~14.0 ms\n"
		"round 2  8.20 MB  7.00 ms  1.10 GB/s  2000+0 zero pages  last\n");
	migrate_text_rounds(o, &out);
	expect_text(
		&out,
		"   #     time     sent   pages  zero       rate  blocked  dirty  dirtied  exits/page  predict\n"
		"   1   1.90 s  2.13 GB  524288    12  1.12 GB/s  30.0 ms   2000  100 k/s        1.02  14.0 ms\n"
		"last  7.00 ms  8.20 MB    2000     0  1.10 GB/s  0.00 ms      -        -           -        -\n");
	json_decref(o);
	o = parse("{\"round_details\":[" ROUND_1 "," ROUND_2 "]}");
	json_object_set_new(json_array_get(json_object_get(o, "round_details"), 0), "free_pages",
			    json_integer(25000));
	migrate_text_rounds(o, &out);
	expect_text(
		&out,
		"   #     time     sent   pages  zero   free       rate  blocked  dirty  dirtied  predict\n"
		"   1   1.90 s  2.13 GB  524288    12  25000  1.12 GB/s  30.0 ms   2000  100 k/s  14.0 ms\n"
		"last  7.00 ms  8.20 MB    2000     0      0  1.10 GB/s  0.00 ms      -        -        -\n");
	json_decref(o);
	o = parse("{\"round_details\":[]}");
	migrate_text_rounds(o, &out);
	expect_text(&out, "");
	json_decref(o);
}

static void test_report(void **state)
{
	json_t *o = parse(
		"{\"result\":\"completed\",\"total_ms\":2000.0,\"setup_ms\":2.0,\"downtime_ms\":350.0,"
		"\"predicted_downtime_ms\":280.0,\"max_downtime_ms\":300.0,\"bytes_sent\":2140000000,\"cpu_ms\":900.0,"
		"\"rounds\":1,\"dirty_backend\":\"manual\",\"compress\":\"none\",\"stalled\":true,"
		"\"reason\":\"switched at the timeout\",\"switch_reason\":\"timeout\","
		"\"pages_dirtied\":4000,\"exits\":4500,\"exits_per_dirtied_page\":1.125,\"faults_per_dirtied_page\":null,"
		"\"downtime\":{\"pause_ms\":1.0,\"memory_ms\":329.0,\"commit_ms\":20.0}}");
	struct buf out = { 0 };

	json_object_set_new(o, "free_reason", json_string("no driver"));
	migrate_text_report(o, "a", "h:1", &out);
	expect_text(
		&out,
		"downtime         where                    time  share\n"
		"pause vCPUs      source                1.00 ms    0 %\n"
		"last collect     source                0.00 ms    0 %\n"
		"last memory      source                 329 ms   94 %\n"
		"state save       source                0.00 ms    0 %\n"
		"send             link and destination  0.00 ms    0 %\n"
		"restore          destination           0.00 ms    0 %\n"
		"resume           destination           0.00 ms    0 %\n"
		"commit exchange  link                  20.0 ms    6 %\n"
		"total                                   350 ms  100 %\n"
		"\na moved to h:1\n"
		"downtime 350 ms, predicted 280 ms (70.0 ms longer, +25 %); limit 300 ms, EXCEEDED\n"
		"2.14 GB in 2.00 s (set-up 2.00 ms), 1.07 GB/s on average, 1 round, CPU 900 ms\n"
		"tracking manual, compression none\n"
		"free pages not known: no driver\n"
		"4000 pages dirtied, 4500 exits, a page: exits 1.12, faults -\n"
		"rounds stopped shrinking: switched at the timeout\n"
		"decision: timeout\n");
	json_object_set_new(o, "result", json_string("failed"));
	json_object_set_new(o, "stalled", json_false());
	json_object_set_new(o, "switch_reason", json_string(""));
	json_object_set_new(o, "exits", json_null());
	json_object_set_new(o, "exits_reason", json_string("no statistics"));
	json_object_set_new(o, "free_pages", json_integer(25000));
	json_object_set_new(o, "dirty_accel", json_string("intel-pml"));
	json_object_set_new(o, "dirty_accel_asked", json_string("off"));
	json_object_set_new(o, "dirty_accel_reason", json_string("the host's to switch off"));
	migrate_text_report(o, "a", "h:1", &out);
	expect_text(
		&out,
		"2.14 GB in 2.00 s (set-up 2.00 ms), 1.07 GB/s on average, 1 round, CPU 900 ms\n"
		"tracking manual, compression none\n"
		"accelerator intel-pml, asked off: the host's to switch off\n"
		"25000 pages (102 MB) left out: the guest named them free\n"
		"exits not known: no statistics\n");
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units),    cmocka_unit_test(test_table),
		cmocka_unit_test(test_progress), cmocka_unit_test(test_rounds),
		cmocka_unit_test(test_report),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
