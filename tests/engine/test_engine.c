/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "fake_vm.h"

/* The real sender and receiver over a socket pair, with VMs that are only memory. */

static void move_once(struct attempt *a, unsigned int hot_pages, struct fake_destination *d,
		      struct fake_source *s)
{
	struct transport *x, *y;

	fake_source_init(s, hot_pages);
	transport_pair(&x, &y);
	attempt_run(a, s, d, x, y);
	assert_one_owner(a, s, d);
}

static void test_idle(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	move_once(&a, 0, &d, &s);
	assert_int_equal(a.send_rc, 0);
	assert_int_equal(a.report.result, MIG_COMPLETED);
	/* A third holds noise, the rest is zero: written or not, no zero page travels as data. */
	assert_int_equal(a.received.pages, FAKE_PAGES / 3);
	assert_int_equal(a.received.zero_pages, FAKE_PAGES - FAKE_PAGES / 3);
	assert_int_equal(a.received.unproven_seen, 0);
	assert_int_equal(a.report.round[0].pages, FAKE_PAGES / 3);
	assert_int_equal(a.report.bytes_sent, a.received.bytes);
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_writer(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		struct fake_destination d = { 0 };
		struct fake_source s;
		struct attempt a;

		attempt_defaults(&a);
		move_once(&a, 1u << (i % 11), &d, &s);
		assert_int_equal(a.send_rc, 0);
		assert_true(a.report.nrounds >= 2);
		fake_destination_fini(&d);
		fake_source_fini(&s);
	}
}

static void test_exits_are_reported(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct attempt a;
	uint64_t dirtied = 0;

	(void)state;
	attempt_defaults(&a);
	move_once(&a, 256, &d, &s);
	assert_int_equal(a.send_rc, 0);
	for (unsigned int i = 0; i + 1 < a.report.nrounds; i++) {
		const struct mig_round *r = &a.report.round[i];

		assert_true(r->exits.exits_known && r->exits.faults_known);
		assert_int_equal(r->exits.exits, 100);
		assert_int_equal(r->exits.faults, 10);
		dirtied += r->dirty_pages;
	}
	assert_false(a.report.round[a.report.nrounds - 1].exits.exits_known);
	/* Asked at the start, after each live round, and once the vCPUs have stopped. */
	assert_int_equal(a.report.exits.exits, 100 * a.report.nrounds);
	assert_int_equal(a.report.exits.faults, 10 * a.report.nrounds);
	assert_true(a.report.pages_dirtied >= dirtied);
	assert_string_equal(a.report.exits_reason, "");
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_exits_unknown_are_no_zero(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct transport *x, *y;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	fake_source_init(&s, 16);
	s.no_exit_counts = true;
	transport_pair(&x, &y);
	attempt_run(&a, &s, &d, x, y);
	assert_int_equal(a.send_rc, 0);
	assert_false(a.report.exits.exits_known || a.report.exits.faults_known);
	assert_false(a.report.round[0].exits.exits_known);
	assert_string_equal(a.report.exits_reason, "fake: no statistics");
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_compressed(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	a.params.compress = MIG_COMPRESS_ZLIB;
	a.params.workers = 2;
	move_once(&a, 512, &d, &s);
	assert_int_equal(a.send_rc, 0);
	assert_true(a.received.zpages > 0); /* pages that were zero but for one word */
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_refused_before_memory(void **state)
{
	struct fake_destination d = { .fail_prepare = true };
	struct fake_source s;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	move_once(&a, 16, &d, &s);
	assert_int_equal(a.send_rc, -EREMOTEIO);
	assert_non_null(strstr(a.send_err.msg, "no memory for 8 MiB"));
	assert_int_equal(a.report.nrounds, 0);
	assert_true(atomic_load(&s.running));
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_refused_state(void **state)
{
	struct fake_destination d = { .fail_load = true };
	struct fake_source s;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	move_once(&a, 16, &d, &s);
	assert_int_equal(a.send_rc, -EREMOTEIO);
	assert_non_null(strstr(a.send_err.msg, "a machine nobody built"));
	assert_true(atomic_load(&s.running));
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_refused_after_commit(void **state)
{
	struct fake_destination d = { .fail_start = true };
	struct fake_source s;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	move_once(&a, 16, &d, &s);
	assert_int_equal(a.send_rc, -EREMOTEIO);
	assert_non_null(strstr(a.send_err.msg, "vCPU 0 does not start"));
	assert_true(atomic_load(&s.running));
	assert_int_not_equal(a.receive_rc, 0);
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_cancel_at_the_last_moment(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct transport *x, *y;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	fake_source_init(&s, 16);
	s.cancel_at_commit = true;
	transport_pair(&x, &y);
	attempt_run(&a, &s, &d, x, y);
	assert_one_owner(&a, &s, &d);
	assert_int_equal(a.send_rc, -ECANCELED);
	assert_int_equal(a.report.result, MIG_CANCELLED);
	assert_true(d.loaded);
	assert_false(d.running);
	assert_non_null(strstr(a.receive_err.msg, "cancelled"));

	/* And again at once, to a new destination. */
	fake_destination_fini(&d);
	s.cancel_at_commit = false;
	attempt_defaults(&a);
	transport_pair(&x, &y);
	attempt_run(&a, &s, &d, x, y);
	assert_one_owner(&a, &s, &d);
	assert_int_equal(a.send_rc, 0);
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_cancel_early(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct transport *x, *y;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	fake_source_init(&s, 16);
	atomic_store(&s.cancel, true);
	transport_pair(&x, &y);
	attempt_run(&a, &s, &d, x, y);
	assert_one_owner(&a, &s, &d);
	assert_int_equal(a.send_rc, -ECANCELED);
	assert_int_equal(a.report.nrounds, 0);
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

static void test_save_fails(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct transport *x, *y;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	fake_source_init(&s, 16);
	s.fail_save = true;
	transport_pair(&x, &y);
	attempt_run(&a, &s, &d, x, y);
	assert_one_owner(&a, &s, &d);
	assert_int_equal(a.send_rc, -EIO);
	assert_int_equal(a.report.nrounds, 0); /* the trial finds it before any memory moves */
	assert_non_null(strstr(a.receive_err.msg, "cannot save"));
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

/* The user's timeout counts within a round too, which here would take minutes. */
static void test_timeout_within_round(void **state)
{
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct attempt a;

	(void)state;
	attempt_defaults(&a);
	a.params.policy.switch_on_timeout = false;
	a.params.policy.timeout_ns = 100 * NS_PER_MS;
	a.params.max_bandwidth = 1 << 20;
	move_once(&a, 16, &d, &s);
	assert_int_equal(a.send_rc, -ETIMEDOUT);
	assert_int_equal(a.report.nrounds, 0);
	assert_non_null(strstr(a.send_err.msg, "timeout"));
	assert_non_null(strstr(a.receive_err.msg, "timeout"));
	fake_destination_fini(&d);
	fake_source_fini(&s);
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
	struct fake_destination d = { 0 };
	struct fake_source s;
	struct attempt a;

	(void)state;
	atomic_init(&p.ceiling_ns, 0);
	attempt_defaults(&a);
	a.params.policy.switch_on_timeout = false;
	a.params.policy.timeout_ns = 1000 * NS_PER_S;
	a.params.max_downtime_ns = &p.ceiling_ns;
	a.observer = &observer;
	move_once(&a, 16, &d, &s);
	if (a.send_rc)
		fail_msg("%s", a.send_err.msg);
	assert_int_equal(a.report.nrounds, MIG_MAX_ROUNDS);
	assert_int_equal(a.report.round[MIG_MAX_ROUNDS - 1].number, p.rounds);
	assert_int_equal(p.rounds, a.received.rounds);
	assert_true(p.rounds > MIG_MAX_ROUNDS);
	fake_destination_fini(&d);
	fake_source_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_exits_are_reported),
		cmocka_unit_test(test_exits_unknown_are_no_zero),
		cmocka_unit_test(test_compressed),
		cmocka_unit_test(test_refused_before_memory),
		cmocka_unit_test(test_refused_state),
		cmocka_unit_test(test_refused_after_commit),
		cmocka_unit_test(test_cancel_at_the_last_moment),
		cmocka_unit_test(test_cancel_early),
		cmocka_unit_test(test_save_fails),
		cmocka_unit_test(test_many_rounds),
		cmocka_unit_test(test_timeout_within_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
