/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_MODEL_TEST_H
#define TESTS_UNIT_MODEL_TEST_H

/* cmocka.h wants these four ahead of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim.h"

/* Costs in the millions of ns compare exactly enough. */
static inline void assert_ns(double got, double expected)
{
	if (!(got - expected < 1e-3 && expected - got < 1e-3))
		fail_msg("%.6f ns, %.6f expected", got, expected);
}

static inline struct sim_result run_ok(const struct sim_config *c)
{
	struct sim_result r = { 0 };
	struct err err = { 0 };

	if (sim_run(c, &r, &err) != 0)
		fail_msg("%s", err.msg);
	return r;
}

#endif
