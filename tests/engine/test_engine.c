/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "fake_vm.h"

/* The real sender and receiver over a socket pair, with VMs that are only memory. */

static void move_once(struct fixture *f, unsigned int hot_pages)
{
	fake_source_init(&f->s, hot_pages);
	fixture_attempt(f);
}

static void test_idle(void **state)
{
	struct fixture *f = *state;

	move_once(f, 0);
	assert_int_equal(f->a.send_rc, 0);
	assert_int_equal(f->a.report.result, MIG_COMPLETED);
	/* A third holds noise, the rest is zero: written or not, no zero page travels as data. */
	assert_int_equal(f->a.received.pages, FAKE_PAGES / 3);
	assert_int_equal(f->a.received.zero_pages, FAKE_PAGES - FAKE_PAGES / 3);
	assert_int_equal(f->a.received.unproven_seen, 0);
	assert_int_equal(f->a.report.round[0].pages, FAKE_PAGES / 3);
	assert_int_equal(f->a.report.bytes_sent, f->a.received.bytes);
}

static void test_writer(void **state)
{
	struct fixture *f = *state;

	move_once(f, 1);
	for (unsigned int i = 1; i < 20; i++) {
		assert_int_equal(f->a.send_rc, 0);
		assert_true(f->a.report.nrounds >= 2);
		fixture_tear_down(state);
		fixture_set_up(state);
		f = *state;
		move_once(f, 1u << (i % 11));
	}
	assert_int_equal(f->a.send_rc, 0);
}

static void test_exits_are_reported(void **state)
{
	struct fixture *f = *state;
	uint64_t dirtied = 0;

	move_once(f, 256);
	assert_int_equal(f->a.send_rc, 0);
	for (unsigned int i = 0; i + 1 < f->a.report.nrounds; i++) {
		const struct mig_round *r = &f->a.report.round[i];

		assert_true(r->exits.exits_known && r->exits.faults_known);
		assert_int_equal(r->exits.exits, 100);
		assert_int_equal(r->exits.faults, 10);
		dirtied += r->dirty_pages;
	}
	assert_false(f->a.report.round[f->a.report.nrounds - 1].exits.exits_known);
	/* Asked at the start, after each live round, and once the vCPUs have stopped. */
	assert_int_equal(f->a.report.exits.exits, 100 * f->a.report.nrounds);
	assert_int_equal(f->a.report.exits.faults, 10 * f->a.report.nrounds);
	assert_true(f->a.report.pages_dirtied >= dirtied);
	assert_string_equal(f->a.report.exits_reason, "");
}

static void test_exits_unknown_are_no_zero(void **state)
{
	struct fixture *f = *state;

	fake_source_init(&f->s, 16);
	f->s.no_exit_counts = true;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
	assert_false(f->a.report.exits.exits_known || f->a.report.exits.faults_known);
	assert_false(f->a.report.round[0].exits.exits_known);
	assert_string_equal(f->a.report.exits_reason, "fake: no statistics");
}

static void test_compressed(void **state)
{
	struct fixture *f = *state;

	f->a.params.compress = MIG_COMPRESS_ZLIB;
	f->a.params.workers = 2;
	move_once(f, 512);
	assert_int_equal(f->a.send_rc, 0);
	assert_true(f->a.received.zpages > 0); /* pages that were zero but for one word */
}

static void test_refused_before_memory(void **state)
{
	struct fixture *f = *state;

	f->d.fail_prepare = true;
	move_once(f, 16);
	assert_int_equal(f->a.send_rc, -EREMOTEIO);
	assert_non_null(strstr(f->a.send_err.msg, "no memory for 8 MiB"));
	assert_int_equal(f->a.report.nrounds, 0);
	assert_true(atomic_load(&f->s.running));
}

static void test_refused_state(void **state)
{
	struct fixture *f = *state;

	f->d.fail_load = true;
	move_once(f, 16);
	assert_int_equal(f->a.send_rc, -EREMOTEIO);
	assert_non_null(strstr(f->a.send_err.msg, "a machine nobody built"));
	assert_true(atomic_load(&f->s.running));
}

static void test_refused_after_commit(void **state)
{
	struct fixture *f = *state;

	f->d.fail_start = true;
	move_once(f, 16);
	assert_int_equal(f->a.send_rc, -EREMOTEIO);
	assert_non_null(strstr(f->a.send_err.msg, "vCPU 0 does not start"));
	assert_true(atomic_load(&f->s.running));
	assert_int_not_equal(f->a.receive_rc, 0);
}

static void test_cancel_at_the_last_moment(void **state)
{
	struct fixture *f = *state;

	fake_source_init(&f->s, 16);
	f->s.cancel_at_commit = true;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, -ECANCELED);
	assert_int_equal(f->a.report.result, MIG_CANCELLED);
	assert_true(f->d.loaded);
	assert_false(f->d.running);
	assert_non_null(strstr(f->a.receive_err.msg, "cancelled"));

	/* And again at once, to a new destination. */
	fake_destination_fini(&f->d);
	f->s.cancel_at_commit = false;
	attempt_defaults(&f->a);
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, 0);
}

static void test_cancel_early(void **state)
{
	struct fixture *f = *state;

	fake_source_init(&f->s, 16);
	atomic_store(&f->s.cancel, true);
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, -ECANCELED);
	assert_int_equal(f->a.report.nrounds, 0);
}

static void test_save_fails(void **state)
{
	struct fixture *f = *state;

	fake_source_init(&f->s, 16);
	f->s.fail_save = true;
	fixture_attempt(f);
	assert_int_equal(f->a.send_rc, -EIO);
	assert_int_equal(f->a.report.nrounds, 0); /* the trial finds it before any memory moves */
	assert_non_null(strstr(f->a.receive_err.msg, "cannot save"));
}

/* The user's timeout counts within a round too, which here would take minutes. */
static void test_timeout_within_round(void **state)
{
	struct fixture *f = *state;

	f->a.params.policy.switch_on_timeout = false;
	f->a.params.policy.timeout_ns = 100 * NS_PER_MS;
	f->a.params.max_bandwidth = 1 << 20;
	move_once(f, 16);
	assert_int_equal(f->a.send_rc, -ETIMEDOUT);
	assert_int_equal(f->a.report.nrounds, 0);
	assert_non_null(strstr(f->a.send_err.msg, "timeout"));
	assert_non_null(strstr(f->a.receive_err.msg, "timeout"));
}

struct patience {
	atomic_uint_least64_t ceiling_ns;
	unsigned int rounds;
};

static void give_in(void *opaque, const struct mig_round *r)
{
	struct patience *p = opaque;

	p->rounds++;
	if (r->number == MIG_MAX_ROUNDS + 10)
		atomic_store(&p->ceiling_ns, 10 * NS_PER_S);
}

/* More rounds than the report keeps: the last one's number goes on from theirs all the same. */
static void test_many_rounds(void **state)
{
	struct patience p = { .rounds = 0 };
	const struct mig_observer observer = { .round = give_in, .opaque = &p };
	struct fixture *f = *state;

	atomic_init(&p.ceiling_ns, 0);
	f->a.params.policy.switch_on_timeout = false;
	f->a.params.policy.timeout_ns = 1000 * NS_PER_S;
	f->a.params.max_downtime_ns = &p.ceiling_ns;
	f->a.observer = &observer;
	move_once(f, 16);
	if (f->a.send_rc)
		fail_msg("%s", f->a.send_err.msg);
	assert_int_equal(f->a.report.nrounds, MIG_MAX_ROUNDS);
	assert_int_equal(f->a.report.round[MIG_MAX_ROUNDS - 1].number, p.rounds);
	assert_int_equal(p.rounds, f->a.received.rounds);
	assert_true(p.rounds > MIG_MAX_ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_idle, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_writer, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_exits_are_reported, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_exits_unknown_are_no_zero, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_compressed, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_refused_before_memory, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_refused_state, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_refused_after_commit, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_cancel_at_the_last_moment, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_cancel_early, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_save_fails, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_many_rounds, fixture_set_up,
						fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_timeout_within_round, fixture_set_up,
						fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
