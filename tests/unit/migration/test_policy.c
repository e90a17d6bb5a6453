/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "migration/policy.h"

#define PAGE_BYTES 4096.0
#define RAM_PAGES 524288u /* 2 GiB */

/*
 * A migration played on the policy: a round takes as long as its pages need on the link; the guest dirties meanwhile what the trace says. Ends when the policy
 * does not want another round.
 */
struct play {
	struct policy_params params;
	double link; /* bytes a second */
	uint64_t fixed_ns;
	uint64_t (*left)(unsigned int round, double round_s,
			 uint64_t sent); /* pages dirty after it */
	double (*link_at)(unsigned int round); /* NULL: always link */

	/* The outcome. */
	struct policy_decision last;
	unsigned int rounds;
	uint64_t elapsed_ns, left_pages;
};

static void play(struct play *p)
{
	struct policy policy;
	uint64_t pages = RAM_PAGES;

	policy_init(&policy, &p->params);
	p->elapsed_ns = 0;
	for (p->rounds = 1; p->rounds < 500; p->rounds++) {
		double link = p->link_at ? p->link_at(p->rounds) : p->link;
		double bytes = (double)pages * PAGE_BYTES + 300;
		double seconds = bytes / link + 0.0002; /* the acknowledgement */
		struct policy_sample s;

		p->left_pages = p->left(p->rounds, seconds, pages);
		p->elapsed_ns += (uint64_t)(seconds * 1e9);
		s = (struct policy_sample){
			.elapsed_ns = p->elapsed_ns,
			.round_ns = (uint64_t)(seconds * 1e9),
			.round_bytes = (uint64_t)bytes,
			.round_pages = pages,
			.left_pages = p->left_pages,
			.fixed_ns = p->fixed_ns,
			.bytes_per_page = PAGE_BYTES,
		};
		policy_step(&policy, &s, &p->last);
		assert_true(strlen(p->last.reason) > 10);
		assert_true(p->last.shrink > 0);
		if (p->last.next != POLICY_ROUND)
			return;
		pages = p->left_pages;
	}
	fail_msg("never ends");
}

static uint64_t idle(unsigned int round, double s, uint64_t sent)
{
	return round == 1 ? 12 : 3;
}

static uint64_t halted(unsigned int round, double s, uint64_t sent)
{
	return 0;
}

/* 64 MiB written without limit: dirty again whole in any round. */
static uint64_t hot_64m(unsigned int round, double s, uint64_t sent)
{
	return 16384;
}

static uint64_t hot_1g(unsigned int round, double s, uint64_t sent)
{
	return 262144;
}

/* 100 000 pages a second over 256 MiB. */
static uint64_t rate_100k(unsigned int round, double s, uint64_t sent)
{
	return MIN((uint64_t)(s * 1e5), (uint64_t)65536);
}

/* Write faults slow the guest: each round leaves 0.55 of the one before. */
static uint64_t slowed(unsigned int round, double s, uint64_t sent)
{
	return (uint64_t)(262144 * pow(0.55, round - 1));
}

static uint64_t oscillating(unsigned int round, double s, uint64_t sent)
{
	return round % 2 ? 200000 : 50000;
}

static uint64_t oscillating_low(unsigned int round, double s, uint64_t sent)
{
	return round % 2 ? 8000 : 2000;
}

static const struct policy_params limit_300 = { .max_downtime_ns = 300 * NS_PER_MS };
static const struct policy_params limit_30 = { .max_downtime_ns = 30 * NS_PER_MS };

static void idle_guest_switches_at_once(void **state)
{
	struct play p = { .params = limit_300, .link = 2e9, .fixed_ns = 2 * NS_PER_MS };

	p.left = idle;
	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_int_equal(p.rounds, 1);
	assert_in_range(p.last.predicted_downtime_ns, 2 * NS_PER_MS, 3 * NS_PER_MS);
	p.left = halted;
	play(&p);
	assert_int_equal(p.rounds, 1);
	assert_true(p.last.predicted_downtime_ns == 2 * NS_PER_MS);
}

/* Nothing but zero pages: a round that moves next to no bytes tells nothing of the link, and must not keep an idle guest waiting. */
static void zero_pages_do_not_hide_the_link(void **state)
{
	struct policy policy;
	struct policy_decision d;
	struct policy_sample s = { .elapsed_ns = 100 * NS_PER_MS,
				   .round_ns = 100 * NS_PER_MS,
				   .round_bytes = 500,
				   .left_pages = 5,
				   .fixed_ns = NS_PER_MS,
				   .bytes_per_page = PAGE_BYTES };

	policy_init(&policy, &limit_300);
	policy_step(&policy, &s, &d);
	assert_int_equal(d.next, POLICY_ROUND); /* 5 kB/s: cannot say more */
	s.round_ns = NS_PER_MS / 5;
	s.round_bytes = 5 * 4096;
	policy_step(&policy, &s, &d);
	assert_int_equal(d.next, POLICY_SWITCH);
	assert_in_range(d.predicted_downtime_ns, NS_PER_MS, 2 * NS_PER_MS);
	assert_false(d.stalled);
}

static void hot_set_below_the_ceiling_is_not_chased(void **state)
{
	struct play p = {
		.params = limit_300, .link = 2e9, .fixed_ns = 2 * NS_PER_MS, .left = hot_64m
	};

	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_false(p.last.stalled);
	assert_in_range(p.rounds, 1, 2);
	assert_in_range(p.last.predicted_downtime_ns, 34 * NS_PER_MS, 40 * NS_PER_MS);
}

static void hot_set_above_the_ceiling_stalls(void **state)
{
	struct play p = {
		.params = limit_30, .link = 2e9, .fixed_ns = 2 * NS_PER_MS, .left = hot_64m
	};

	/* No timeout, cancel: ten rounds of patience. */
	play(&p);
	assert_int_equal(p.last.next, POLICY_CANCEL);
	assert_true(p.last.stalled);
	assert_int_equal(p.rounds, 11);
	assert_non_null(strstr(p.last.reason, "stopped shrinking"));

	/* Switch: as soon as the stall is certain. */
	p.params.switch_on_timeout = true;
	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_true(p.last.stalled);
	assert_int_equal(p.rounds, 4);

	/* A timeout and cancel: it goes on until then. */
	p.params.switch_on_timeout = false;
	p.params.timeout_ns = 10 * NS_PER_S;
	play(&p);
	assert_int_equal(p.last.next, POLICY_CANCEL);
	assert_in_range(p.elapsed_ns, 10 * NS_PER_S, 11 * NS_PER_S);
	assert_non_null(strstr(p.last.reason, "timeout"));

	/* A timeout that comes before the stall, and switch. */
	p.params.switch_on_timeout = true;
	p.params.timeout_ns = NS_PER_S;
	p.left = hot_1g;
	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_int_equal(p.rounds, 1);
	assert_non_null(strstr(p.last.reason, "timeout"));
}

static void limited_writer_converges_to_milliseconds(void **state)
{
	struct play p = {
		.params = limit_300, .link = 2e9, .fixed_ns = 2 * NS_PER_MS, .left = rate_100k
	};

	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_in_range(p.rounds, 3, 5);
	assert_true(p.last.predicted_downtime_ns < 8 * NS_PER_MS);
	p.params = limit_30;
	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_true(p.last.predicted_downtime_ns < 8 * NS_PER_MS);
}

static void geometric_shrinking_is_followed_below_the_ceiling(void **state)
{
	struct play p = {
		.params = limit_300, .link = 2e9, .fixed_ns = 2 * NS_PER_MS, .left = slowed
	};

	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_false(p.last.stalled);
	/* The ceiling is met in round 2; a third of it would be QEMU's way. */
	assert_in_range(p.rounds, 8, 12);
	assert_true(p.last.predicted_downtime_ns < 6 * NS_PER_MS);
	assert_true(fabs(p.last.shrink - 0.55) < 0.01);
	/* With high fixed costs it stops earlier: the rest would not be noticed. */
	p.fixed_ns = 40 * NS_PER_MS;
	play(&p);
	assert_in_range(p.rounds, 3, 7);
	assert_true(p.last.predicted_downtime_ns < 100 * NS_PER_MS);
}

static double drops_to_a_tenth(unsigned int round)
{
	return round < 3 ? 2e9 : 2e8;
}

static double one_lucky_round(unsigned int round)
{
	return round == 2 ? 8e9 : 1e9;
}

static void bandwidth_is_the_worse_of_two(void **state)
{
	struct play p = { .params = limit_30, .fixed_ns = 2 * NS_PER_MS, .left = hot_64m };

	/* 64 MiB at 8 GB/s would be 8 ms: one such round proves nothing. */
	p.link_at = one_lucky_round;
	play(&p);
	assert_int_equal(p.last.next, POLICY_CANCEL);

	p.link_at = drops_to_a_tenth;
	p.left = slowed;
	p.params = limit_300;
	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_true(p.last.bandwidth < 2.1e8);
	/* What the switch takes at the rate there now is what was predicted, within a tenth. */
	assert_true(fabs((double)p.last.predicted_downtime_ns -
			 (2e6 + (double)p.left_pages * PAGE_BYTES / 2e8 * 1e9)) <
		    0.1 * (double)p.last.predicted_downtime_ns);
}

static void oscillation_ends(void **state)
{
	struct play p = {
		.params = limit_300, .link = 2e9, .fixed_ns = 2 * NS_PER_MS, .left = oscillating
	};

	play(&p); /* a low point of 102 ms is under the ceiling */
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_in_range(p.rounds, 1, 4);
	p.params = limit_30;
	play(&p);
	assert_int_equal(p.last.next, POLICY_CANCEL);
	assert_true(p.last.stalled);
	assert_in_range(p.rounds, 11, 13);
	p.left = oscillating_low;
	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_in_range(p.rounds, 1, 5);
}

static void fixed_costs_over_the_ceiling_are_hopeless(void **state)
{
	struct play p = {
		.params = limit_30, .link = 2e9, .fixed_ns = 50 * NS_PER_MS, .left = idle
	};

	play(&p);
	assert_int_equal(p.last.next, POLICY_CANCEL);
	assert_true(p.last.stalled);
	assert_non_null(strstr(p.last.reason, "fixed costs of 50.0 ms alone"));
	p.params.switch_on_timeout = true;
	play(&p);
	assert_int_equal(p.last.next, POLICY_SWITCH);
	assert_int_equal(p.rounds, 3);
}

static void ceiling_may_change_on_the_way(void **state)
{
	struct policy policy;
	struct policy_decision d;
	struct policy_sample s = { .elapsed_ns = NS_PER_S,
				   .round_ns = NS_PER_S,
				   .round_bytes = 2000000000,
				   .round_pages = RAM_PAGES,
				   .left_pages = 16384,
				   .fixed_ns = NS_PER_MS,
				   .bytes_per_page = PAGE_BYTES };

	policy_init(&policy, &limit_30);
	policy_step(&policy, &s, &d);
	assert_int_equal(d.next, POLICY_ROUND);
	s.round_ns = 34 * NS_PER_MS;
	s.round_bytes = 16384 * 4096;
	policy_step(&policy, &s, &d);
	assert_int_equal(d.next, POLICY_ROUND);
	policy.params.max_downtime_ns = 100 * NS_PER_MS;
	policy_step(&policy, &s, &d);
	assert_int_equal(d.next, POLICY_SWITCH);
	assert_false(d.stalled);
}

/* No number may divide by zero, overflow or print nonsense. */
static void extremes_are_survived(void **state)
{
	static const uint64_t values[] = { 0, 1, 1000, UINT64_MAX };
	static const double per_page[] = { 0, -1, 1e300, NAN, INFINITY };
	struct policy_decision d;

	for (unsigned int i = 0; i < 4 * 4 * 4 * 4 * 5; i++) {
		struct policy_sample s = { .elapsed_ns = values[i % 4],
					   .round_ns = values[i / 4 % 4],
					   .round_bytes = values[i / 16 % 4],
					   .left_pages = values[i / 64 % 4],
					   .fixed_ns = values[i / 4 % 4],
					   .bytes_per_page = per_page[i / 256] };
		struct policy policy;

		policy_init(&policy, &limit_30);
		for (int k = 0; k < 40; k++) {
			policy_step(&policy, &s, &d);
			assert_in_range(d.next, POLICY_ROUND, POLICY_CANCEL);
			assert_true(d.shrink > 0 && d.shrink <= 4);
		}
		assert_int_not_equal(d.next, POLICY_ROUND);
	}
}

/* `auto`: a link of @link pages a second, workers that compress @workers pages a second to @part of their size. */
struct stretch_play {
	double link, workers, part;
	unsigned int on_stretches, switches;
	struct compress_policy c;
};

static void play_stretches(struct stretch_play *p, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		bool on = p->c.on, next;
		double wire = on ? p->link / p->part : p->link;
		double cpu = on ? p->workers : 1e6; /* raw pages cost a checksum */
		double rate = MIN(wire, cpu);
		double wall_ns = COMPRESS_STRETCH_PAGES / rate * 1e9;
		struct compress_sample s = {
			.wall_ns = (uint64_t)wall_ns,
			.blocked_ns = (uint64_t)(wall_ns * (1 - rate / MIN(cpu, 1e6))),
			.pages = COMPRESS_STRETCH_PAGES,
			.saved_bytes =
				on ? (uint64_t)(COMPRESS_STRETCH_PAGES * 4096 * (1 - p->part)) : 0,
			.on = on,
		};

		p->on_stretches += on;
		next = compress_policy_step(&p->c, &s);
		p->switches += next != on;
	}
}

static void compression_pays_on_a_slow_link(void **state)
{
	struct stretch_play p = { .link = 30000, .workers = 60000, .part = 0.3 };

	compress_policy_init(&p.c, 1);
	play_stretches(&p, 100);
	assert_true(p.c.on);
	assert_true(p.on_stretches >= 95);
	assert_true(p.switches <= 5);
}

static void compression_is_never_tried_on_a_fast_link(void **state)
{
	struct stretch_play p = { .link = 390000, .workers = 60000, .part = 0.3 };

	compress_policy_init(&p.c, 2);
	play_stretches(&p, 1000);
	assert_int_equal(p.on_stretches, 0);
	/* Nor where the link is not what limits. */
	p.link = 2e6;
	compress_policy_init(&p.c, 64);
	play_stretches(&p, 1000);
	assert_int_equal(p.on_stretches, 0);
}

static void incompressible_pages_are_tried_ever_more_seldom(void **state)
{
	struct stretch_play p = { .link = 30000, .workers = 20000, .part = 1.0 };

	compress_policy_init(&p.c, 1);
	play_stretches(&p, 1000);
	assert_false(p.c.on);
	assert_in_range(p.on_stretches, 4, 8); /* after 1, 8, 16, 32, ... */
	assert_int_equal(p.switches, 2 * p.on_stretches);
}

static void contents_that_change_are_noticed(void **state)
{
	struct stretch_play p = { .link = 30000, .workers = 60000, .part = 0.3 };

	compress_policy_init(&p.c, 1);
	play_stretches(&p, 40);
	assert_true(p.c.on);
	p.part = 1.0;
	p.workers = 20000;
	play_stretches(&p, 5); /* within the first back-off */
	assert_false(p.c.on);
	p.part = 0.3;
	p.workers = 60000;
	p.on_stretches = 0;
	play_stretches(&p, 200);
	assert_true(p.on_stretches > 170);
}

static void faster_link_is_noticed(void **state)
{
	struct stretch_play p = { .link = 30000, .workers = 60000, .part = 0.3 };

	compress_policy_init(&p.c, 1);
	play_stretches(&p, 40);
	assert_true(p.c.on);
	p.link = 500000;
	play_stretches(&p, 60);
	assert_false(p.c.on);
	p.on_stretches = 0;
	play_stretches(&p, 500);
	assert_int_equal(p.on_stretches, 0);
}

static void a_stretch_that_saves_nothing_is_hopeless(void **state)
{
	struct compress_sample s = { .pages = COMPRESS_HOPELESS_PAGES, .on = true };
	struct compress_policy c;

	compress_policy_init(&c, 1);
	s.saved_bytes = COMPRESS_HOPELESS_PAGES * 4096 / 20 - 1;
	assert_true(compress_policy_done(&c, &s));
	s.saved_bytes++;
	s.saved_bytes++;
	assert_false(compress_policy_done(&c, &s));
	s.saved_bytes = 0;
	s.pages--;
	assert_false(compress_policy_done(&c, &s));
	s.pages++;
	s.on = false;
	assert_false(compress_policy_done(&c, &s));
	s.pages = COMPRESS_STRETCH_PAGES;
	assert_true(compress_policy_done(&c, &s));

	/* Even where it looks faster: the link may have changed in that moment. */
	s = (struct compress_sample){ .wall_ns = 1000000000,
				      .blocked_ns = 1000000000,
				      .pages = 1000 };
	assert_true(compress_policy_step(&c, &s));
	s = (struct compress_sample){ .wall_ns = 1000000000, .pages = 5000, .on = true };
	assert_false(compress_policy_step(&c, &s));
}

/* Without compression the link takes 40 000 pages a second, so that 2048 take 51 ms; the workers get nowhere. */
static void a_trial_that_is_lost_ends(void **state)
{
	struct compress_sample off = { .wall_ns = 51200000, .blocked_ns = 51200000, .pages = 2048 };
	struct compress_sample s = {
		.wall_ns = 48000000, .pages = 3, .saved_bytes = 9000, .on = true
	};
	struct compress_policy c;

	compress_policy_init(&c, 1);
	assert_false(compress_policy_done(&c, &s)); /* nothing to compare with */
	assert_true(compress_policy_step(&c, &off));
	assert_false(compress_policy_done(&c, &s));
	assert_true(compress_policy_step(&c, &s));
	s.wall_ns = 49000000;
	assert_true(compress_policy_done(&c, &s));
	assert_false(compress_policy_step(&c, &s));
	s.on = false;
	assert_false(compress_policy_done(&c, &s));
}

static void short_stretches_say_nothing(void **state)
{
	struct compress_policy c;
	struct compress_sample s = { .wall_ns = 1000, .blocked_ns = 1000, .pages = 63 };

	compress_policy_init(&c, 1);
	for (int i = 0; i < 10; i++)
		assert_false(compress_policy_step(&c, &s));
	s = (struct compress_sample){ .wall_ns = 0, .blocked_ns = 0, .pages = 1000000 };
	assert_false(compress_policy_step(&c, &s));
	assert_true(c.pages_per_s_off <= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_guest_switches_at_once),
		cmocka_unit_test(zero_pages_do_not_hide_the_link),
		cmocka_unit_test(hot_set_below_the_ceiling_is_not_chased),
		cmocka_unit_test(hot_set_above_the_ceiling_stalls),
		cmocka_unit_test(limited_writer_converges_to_milliseconds),
		cmocka_unit_test(geometric_shrinking_is_followed_below_the_ceiling),
		cmocka_unit_test(bandwidth_is_the_worse_of_two),
		cmocka_unit_test(oscillation_ends),
		cmocka_unit_test(fixed_costs_over_the_ceiling_are_hopeless),
		cmocka_unit_test(ceiling_may_change_on_the_way),
		cmocka_unit_test(extremes_are_survived),
		cmocka_unit_test(compression_pays_on_a_slow_link),
		cmocka_unit_test(compression_is_never_tried_on_a_fast_link),
		cmocka_unit_test(incompressible_pages_are_tried_ever_more_seldom),
		cmocka_unit_test(contents_that_change_are_noticed),
		cmocka_unit_test(faster_link_is_noticed),
		cmocka_unit_test(a_stretch_that_saves_nothing_is_hopeless),
		cmocka_unit_test(a_trial_that_is_lost_ends),
		cmocka_unit_test(short_stretches_say_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
