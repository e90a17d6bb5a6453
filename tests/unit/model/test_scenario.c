/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fields.h"
#include "scenario.h"

static int read_text(const char *text, struct sim_config *c, struct err *err)
{
	json_t *o = json_loads(text, 0, NULL);
	int r;

	assert_non_null(o);
	r = scenario_read(o, c, err);
	json_decref(o);
	return r;
}

static void test_all_keys(void **state)
{
	struct sim_config c;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(
		read_text(
			"{\"id\": {\"any\": 1}, \"backend\": \"bitmap\", \"accel\": \"combined\", \"group_pages\": 16,"
			"\"buffer_entries\": 7, \"ring_entries\": 2048, \"vcpus\": 3, \"pages_per_vcpu\": 640,"
			"\"overlap\": false, \"slots\": 2, \"clear_chunk_pages\": 128, \"mode\": \"run\","
			"\"duration_ns\": 1000, \"interval_ns\": 100, \"iterations\": 9,"
			"\"pattern\": {\"kind\": \"hot\", \"write_percent\": 50, \"hot_percent\": 5,"
			"\"hot_share_percent\": 80, \"stride\": 3, \"seed\": 8, \"think_ns\": 2.5, \"trace\": \"x\"},"
			"\"costs\": {\"visit_ns\": 1, \"fault_ns\": 2.5}}",
			&c, &err),
		0);
	assert_int_equal(c.backend, SIM_BITMAP);
	assert_int_equal(c.accel, SIM_COMBINED);
	assert_int_equal(c.mode, SIM_RUN);
	assert_int_equal(c.group_pages, 16);
	assert_int_equal(c.vcpus, 3);
	assert_int_equal(c.iterations, 9);
	assert_int_equal(c.pattern.kind, SIM_HOT);
	assert_int_equal(c.pattern.hot_share_percent, 80);
	assert_ns(c.pattern.think_ns, 2.5);
	assert_ns(c.costs.fault_ns, 2.5);
}

/* A misspelt key must not leave a cost at nothing. */
static void test_refusals(void **state)
{
	static const struct {
		const char *text, *named;
	} bad[] = {
		{ "[]", "an object" },
		{ "{\"vcpu\": 1}", "\"vcpu\": unknown key" },
		{ "{\"costs\": {\"fault\": 1}}", "costs: \"fault\": unknown key" },
		{ "{\"pattern\": {\"type\": 1}}", "pattern: \"type\": unknown key" },
		{ "{\"costs\": {\"fault_ns\": \"1\"}}", "fault_ns: a number" },
		{ "{\"costs\": {\"fault_ns\": -1}}", "costs.fault_ns" },
		{ "{\"costs\": 1}", "costs: an object" },
		{ "{\"pattern\": 1}", "pattern: an object" },
		{ "{\"vcpus\": -1}", "vcpus: a whole number" },
		{ "{\"vcpus\": 4294967297}", "vcpus: a whole number" },
		{ "{\"vcpus\": 1.5}", "vcpus: a whole number" },
		{ "{\"overlap\": 1}", "overlap: true or false" },
		{ "{\"backend\": \"magic\"}", "backend: \"magic\"" },
		{ "{\"accel\": 3}", "accel: \"(no text)\"" },
		{ "{\"pattern\": {\"trace\": 3}}", "trace: a path" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sim_config c = { .vcpus = 77 };
		struct err err = { 0 };

		assert_int_equal(read_text(bad[i].text, &c, &err), -EINVAL);
		if (!strstr(err.msg, bad[i].named))
			fail_msg("\"%s\" lacks \"%s\"", err.msg, bad[i].named);
		assert_int_equal(c.vcpus, 77);
	}
}

/* Every cost has a name in the table: none can be left out of a file without being noticed here. */
static void test_cost_fields(void **state)
{
	(void)state;
	assert_int_equal(sim_ncost_fields * sizeof(double), sizeof(struct sim_costs));
	for (unsigned int i = 0; i < sim_ncost_fields; i++) {
		for (unsigned int k = 0; k < i; k++)
			assert_int_not_equal(sim_cost_fields[i].offset, sim_cost_fields[k].offset);
	}
}

/* Whatever the model prints says that it is a prediction. */
static void test_result(void **state)
{
	struct sim_config c;
	struct sim_result r;
	json_t *o;

	(void)state;
	sim_config_init(&c);
	c.costs.fault_ns = 1000;
	r = run_ok(&c);
	o = scenario_result(&c, &r, NULL, true);
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "kind")), "prediction");
	assert_int_equal(json_array_size(json_object_get(o, "steps")), 3);
	assert_true(json_is_null(json_object_get(o, "loss")));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "counts"), "exits")),
			 2 * 16384);
	json_decref(o);
	sim_result_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_cost_fields),
		cmocka_unit_test(test_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
