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
#include "base/num.h"
#include "predict.h"
#include "rate_sums.h"

/* The figures of a measurement against ones that are counted page by page, and predictions whose outcome is plain. */

#define NPAGES 300u
#define NINTERVALS 11u

static const struct rate_interval interval = { .duration_ns = 100 * NS_PER_MS,
					       .collect_ns = 10,
					       .rearm_ns = 20 };

/* Page @p is written in interval @i. */
static bool written(unsigned int i, unsigned int p)
{
	return p % 7 == 0 || (i * 31 + p * 17) % 23 == 0 || (p < 64 && p % (i + 2) == 0);
}

static uint64_t count_union(unsigned int first, unsigned int n)
{
	uint64_t count = 0;

	for (unsigned int p = 0; p < NPAGES; p++) {
		bool any = false;

		for (unsigned int i = first; i < first + n; i++)
			any |= written(i, p);
		count += any;
	}
	return count;
}

static int by_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void expect_point(const struct dirty_rate_point *point, unsigned int length)
{
	uint64_t unions[NINTERVALS];
	unsigned int n = 0;

	for (unsigned int i = 0; i + length <= NINTERVALS; i += length)
		unions[n++] = count_union(i, length);
	qsort(unions, n, sizeof(*unions), by_u64);
	assert_int_equal(point->intervals, length);
	assert_int_equal(point->samples, n);
	assert_int_equal(point->pages,
			 n % 2 ? unions[n / 2] : (unions[n / 2 - 1] + unions[n / 2]) / 2);
	assert_int_equal(point->max_pages, unions[n - 1]);
	assert_int_equal(point->span_ns, length * interval.duration_ns);
}

static void sums_are_those_of_the_pages(void **state)
{
	struct dirty_rate_report r = { 0 };
	struct rate_sums *s;
	struct bitmap pages;
	uint64_t all = 0, hot = 0;

	assert_int_equal(bitmap_init(&pages, NPAGES), 0);
	assert_int_equal(rate_sums_create(NPAGES, NINTERVALS, &s, NULL), 0);
	for (unsigned int i = 0; i < NINTERVALS; i++) {
		bitmap_zero(&pages);
		for (unsigned int p = 0; p < NPAGES; p++)
			if (written(i, p))
				bitmap_set(&pages, p);
		all += bitmap_count(&pages);
		assert_int_equal(rate_sums_add(s, &pages, &interval, NULL), 0);
	}
	assert_int_equal(rate_sums_add(s, &pages, &interval, NULL), -ENOSPC);
	rate_sums_report(s, &r);
	rate_sums_destroy(s);
	bitmap_fini(&pages);
	for (unsigned int p = 0; p < NPAGES; p++) {
		unsigned int hits = 0;

		for (unsigned int i = 0; i < NINTERVALS; i++)
			hits += written(i, p);
		hot += hits * 2 >= NINTERVALS;
	}
	assert_int_equal(r.nintervals, NINTERVALS);
	assert_int_equal(r.measured_ns, NINTERVALS * interval.duration_ns);
	assert_int_equal(r.pages_dirtied, all);
	assert_int_equal(r.working_set_pages, count_union(0, NINTERVALS));
	assert_true(r.hot_set_known);
	assert_int_equal(r.hot_set_pages, hot);
	assert_true(r.pages_per_s.mean > (double)all / 1.1 - 1 &&
		    r.pages_per_s.mean < (double)all / 1.1 + 1);
	assert_true(r.pages_per_s.min <= r.pages_per_s.median &&
		    r.pages_per_s.median <= r.pages_per_s.max);
	assert_true(r.collect_ns.median == 10 && r.rearm_ns.max == 20);
	/* 1, 2, 4, 8 and all of them. */
	assert_int_equal(r.npoints, 5);
	for (unsigned int i = 0; i < 4; i++)
		expect_point(&r.point[i], 1u << i);
	expect_point(&r.point[4], NINTERVALS);
}

static void one_interval_has_no_hot_set(void **state)
{
	struct dirty_rate_report r = { 0 };
	struct rate_sums *s;
	struct bitmap pages;

	assert_int_equal(bitmap_init(&pages, NPAGES), 0);
	bitmap_set_range(&pages, 3, 5);
	assert_int_equal(rate_sums_create(NPAGES, 1, &s, NULL), 0);
	assert_int_equal(rate_sums_add(s, &pages, &interval, NULL), 0);
	rate_sums_report(s, &r);
	assert_int_equal(r.working_set_pages, 5);
	assert_false(r.hot_set_known);
	assert_int_equal(r.npoints, 1);
	assert_int_equal(r.point[0].pages, 5);
	assert_true(r.pages_per_s.median == 50);
	rate_sums_destroy(s);
	bitmap_fini(&pages);
}

static void no_interval_is_no_figure(void **state)
{
	struct dirty_rate_report r = { .npredictions = 3 };
	struct rate_sums *s;

	assert_int_equal(rate_sums_create(NPAGES, 5, &s, NULL), 0);
	rate_sums_report(s, &r);
	predict_migrations(&r);
	assert_int_equal(r.nintervals, 0);
	assert_int_equal(r.npoints, 0);
	assert_int_equal(r.npredictions, 0);
	assert_true(r.pages_per_s.max == 0);
	rate_sums_destroy(s);
	rate_sums_destroy(NULL);
}

/* 1000 pages in 100 ms, 1500 in 200 ms, of 4000. */
static struct dirty_rate_report a_curve(void)
{
	return (struct dirty_rate_report){
		.asked = { .max_downtime_ns = 300 * NS_PER_MS },
		.npages = 4000,
		.nintervals = 2,
		.npoints = 2,
		.point = { { .span_ns = 100 * NS_PER_MS, .pages = 1000 },
			   { .span_ns = 200 * NS_PER_MS, .pages = 1500 } },
		.first_round_pages = 4000,
	};
}

static void expect_near(double got, double want)
{
	assert_true(got > want - 1e-6 && got < want + 1e-6);
}

static void the_curve_between_and_beyond_its_points(void **state)
{
	struct dirty_rate_report r = a_curve();

	expect_near(predict_dirtied_pages(&r, 0), 0);
	expect_near(predict_dirtied_pages(&r, 50e6), 500);
	expect_near(predict_dirtied_pages(&r, 100e6), 1000);
	expect_near(predict_dirtied_pages(&r, 150e6), 1250);
	expect_near(predict_dirtied_pages(&r, 300e6), 2000);
	expect_near(predict_dirtied_pages(&r, 60e9), 4000); /* no more than there is */
	r.point[1].pages = 900; /* a union cannot fall */
	expect_near(predict_dirtied_pages(&r, 150e6), 1000);
}

static void predictions_of_plain_cases(void **state)
{
	struct dirty_rate_report r = a_curve();

	/* An idle guest: one round, then next to nothing. */
	r.point[0].pages = r.point[1].pages = 0;
	predict_migrations(&r);
	assert_int_equal(r.npredictions, 5);
	for (unsigned int i = 0; i < r.npredictions; i++) {
		const struct dirty_rate_prediction *p = &r.prediction[i];

		assert_true(p->converges);
		assert_int_equal(p->rounds, 2);
		assert_int_equal(p->downtime_ns, r.fixed_ns);
		assert_int_equal(p->bytes, 4000u * 4104u);
		assert_true(i == 0 || p->bandwidth > r.prediction[i - 1].bandwidth);
	}
	/* A guest that dirties all of its memory faster than the link takes it, and may stand still for less than that takes. */
	r = a_curve();
	r.point[0].pages = r.point[1].pages = 4000;
	r.asked.bandwidth = 10000000;
	predict_migrations(&r);
	assert_int_equal(r.npredictions, 1);
	assert_false(r.prediction[0].converges);
	assert_int_equal(r.prediction[0].downtime_ns, 0);
	assert_true(r.prediction[0].rounds >= 3);
	assert_non_null(strstr(r.prediction[0].reason, "stopped shrinking"));
	/* The same guest with a ceiling that all of its memory fits under. */
	r.asked.max_downtime_ns = 3 * NS_PER_S;
	predict_migrations(&r);
	assert_true(r.prediction[0].converges);
	assert_true(r.prediction[0].downtime_ns > NS_PER_S &&
		    r.prediction[0].downtime_ns <= 3 * NS_PER_S);
	/* A ceiling below what a switch costs at all. */
	r = a_curve();
	r.asked.max_downtime_ns = NS_PER_MS;
	r.asked.bandwidth = 12500000000;
	predict_migrations(&r);
	assert_false(r.prediction[0].converges);
	assert_non_null(strstr(r.prediction[0].reason, "fixed costs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_those_of_the_pages),
		cmocka_unit_test(one_interval_has_no_hot_set),
		cmocka_unit_test(no_interval_is_no_figure),
		cmocka_unit_test(the_curve_between_and_beyond_its_points),
		cmocka_unit_test(predictions_of_plain_cases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
