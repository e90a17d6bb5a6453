/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "scenario.h"

/* Reads a JSON array of scenarios, runs each, and prints a line of JSON for each: predictions. bench/model drives it. */

static int print_result(const struct sim_config *c, const struct sim_result *r, const json_t *id,
			bool steps)
{
	json_t *o = scenario_result(c, r, id, steps);
	int e = o ? json_dumpf(o, stdout, JSON_COMPACT) : -1;

	json_decref(o);
	if (e < 0 || putchar('\n') == EOF || fflush(stdout) == EOF) {
		fprintf(stderr, "dirty-sim: cannot write the result\n");
		return 1;
	}
	return 0;
}

static int run_one(const json_t *scenario, size_t number, bool steps)
{
	struct sim_config c;
	struct sim_result result;
	struct err err = { 0 };
	int r = scenario_read(scenario, &c, &err);

	if (r == 0)
		r = sim_run(&c, &result, &err);
	if (r < 0) {
		fprintf(stderr, "dirty-sim: scenario %zu: %s\n", number, err.msg);
		return 1;
	}
	r = print_result(&c, &result, json_object_get(scenario, "id"), steps);
	sim_result_fini(&result);
	return r;
}

int main(int argc, char **argv)
{
	bool steps = argc > 1 && strcmp(argv[1], "--steps") == 0;
	const char *path = argv[steps ? 2 : 1];
	json_error_t error;
	json_t *all;
	int r = 0;

	if (argc != (steps ? 3 : 2) || path[0] == '\0') {
		fprintf(stderr,
			"usage: dirty-sim [--steps] FILE|-\n"
			"FILE: a JSON array of scenarios (docs/bench-model.md); prints one line for each\n");
		return 2;
	}
	all = strcmp(path, "-") == 0 ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error) :
				       json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_array(all)) {
		fprintf(stderr, "dirty-sim: %s:%d: %s\n", path, all ? 1 : error.line,
			all ? "an array of scenarios expected" : error.text);
		json_decref(all);
		return 1;
	}
	for (size_t i = 0; r == 0 && i < json_array_size(all); i++)
		r = run_one(json_array_get(all, i), i + 1, steps);
	json_decref(all);
	return r;
}
