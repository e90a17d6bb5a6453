/* SPDX-License-Identifier: Apache-2.0 */
#include "rate_sums.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"

#define MAX_LEVELS \
	16u /* 2^15 intervals is the longest power of two within DIRTY_RATE_MAX_INTERVALS */

struct level {
	struct bitmap pages; /* level 0 has none: an interval is its own union */
	unsigned int filled; /* halves of the stretch under way */
	uint64_t *samples;
	uint32_t nsamples;
};

struct rate_sums {
	uint64_t npages;
	uint32_t max_intervals, nintervals;
	unsigned int nlevels;
	struct level level[MAX_LEVELS];
	struct bitmap all;
	uint16_t *hits; /* a page: in how many intervals it was written */
	uint64_t pages_dirtied, elapsed_ns;
	double *pages_per_s, *collect_ns, *rearm_ns;
};

static int alloc_level(struct rate_sums *s, unsigned int i)
{
	s->level[i].samples = calloc((s->max_intervals >> i) + 1, sizeof(uint64_t));
	if (!s->level[i].samples)
		return -ENOMEM;
	return i ? bitmap_init(&s->level[i].pages, s->npages) : 0;
}

static int alloc_all(struct rate_sums *s)
{
	size_t n = s->max_intervals;
	int rc = bitmap_init(&s->all, s->npages);

	s->hits = calloc(s->npages, sizeof(*s->hits));
	s->pages_per_s = calloc(n, sizeof(double));
	s->collect_ns = calloc(n, sizeof(double));
	s->rearm_ns = calloc(n, sizeof(double));
	if (!s->hits || !s->pages_per_s || !s->collect_ns || !s->rearm_ns)
		rc = -ENOMEM;
	while (!rc && s->nlevels < MAX_LEVELS && (s->max_intervals >> s->nlevels)) {
		rc = alloc_level(s, s->nlevels);
		s->nlevels++;
	}
	return rc;
}

int rate_sums_create(uint64_t npages, uint32_t max_intervals, struct rate_sums **ret,
		     struct err *err)
{
	struct rate_sums *s = calloc(1, sizeof(*s));

	if (s) {
		s->npages = npages;
		s->max_intervals = max_intervals;
	}
	if (!s || alloc_all(s)) {
		rate_sums_destroy(s);
		return err_set(err, -ENOMEM, "no memory for the figures of %u intervals",
			       max_intervals);
	}
	*ret = s;
	return 0;
}

void rate_sums_destroy(struct rate_sums *s)
{
	if (!s)
		return;
	for (unsigned int i = 0; i < MAX_LEVELS; i++) {
		bitmap_fini(&s->level[i].pages);
		free(s->level[i].samples);
	}
	bitmap_fini(&s->all);
	free(s->hits);
	free(s->pages_per_s);
	free(s->collect_ns);
	free(s->rearm_ns);
	free(s);
}

static void count_hits(struct rate_sums *s, const struct bitmap *pages)
{
	uint64_t at = 0, first, n;

	while (bitmap_next_run(pages, at, s->npages, &first, &n)) {
		for (uint64_t p = first; p < first + n; p++)
			s->hits[p]++;
		at = first + n;
	}
}

static void carry(struct rate_sums *s, const struct bitmap *pages)
{
	for (unsigned int i = 1; i < s->nlevels; i++) {
		struct level *l = &s->level[i];

		bitmap_or(&l->pages, pages);
		/* Its lower half has been carried: the next stretch there starts from nothing. */
		if (i > 1)
			bitmap_zero(&s->level[i - 1].pages);
		if (++l->filled < 2)
			return;
		l->filled = 0;
		l->samples[l->nsamples++] = bitmap_count(&l->pages);
		pages = &l->pages;
	}
	if (s->nlevels > 1)
		bitmap_zero(&s->level[s->nlevels - 1].pages);
}

int rate_sums_add(struct rate_sums *s, const struct bitmap *pages, const struct rate_interval *i,
		  struct err *err)
{
	uint64_t n = bitmap_count(pages);
	uint32_t at = s->nintervals;

	if (at == s->max_intervals)
		return err_set(err, -ENOSPC, "more than %u intervals", s->max_intervals);
	s->pages_per_s[at] =
		(double)n * (double)NS_PER_S / (double)MAX(i->duration_ns, (uint64_t)1);
	s->collect_ns[at] = (double)i->collect_ns;
	s->rearm_ns[at] = (double)i->rearm_ns;
	s->nintervals++;
	s->elapsed_ns += i->duration_ns;
	s->pages_dirtied += n;
	bitmap_or(&s->all, pages);
	count_hits(s, pages);
	s->level[0].samples[s->level[0].nsamples++] = n;
	carry(s, pages);
	return 0;
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int by_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Sorts @v: the order of the intervals is of no further use. */
static struct dirty_rate_spread spread(double *v, uint32_t n)
{
	struct dirty_rate_spread s = { 0 };
	double sum = 0;

	if (!n)
		return s;
	qsort(v, n, sizeof(*v), by_double);
	for (uint32_t i = 0; i < n; i++)
		sum += v[i];
	s.min = v[0];
	s.max = v[n - 1];
	s.median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	s.mean = sum / n;
	return s;
}

static struct dirty_rate_point point(const struct rate_sums *s, uint32_t intervals,
				     uint64_t *samples, uint32_t n)
{
	qsort(samples, n, sizeof(*samples), by_u64);
	return (struct dirty_rate_point){
		.intervals = intervals,
		.samples = n,
		.span_ns = (uint64_t)((double)s->elapsed_ns * intervals / s->nintervals),
		.pages = n % 2 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2,
		.max_pages = samples[n - 1],
	};
}

static uint64_t hot_pages(const struct rate_sums *s)
{
	uint64_t hot = 0;

	for (uint64_t p = 0; p < s->npages; p++)
		hot += 2u * s->hits[p] >= s->nintervals;
	return hot;
}

void rate_sums_report(struct rate_sums *s, struct dirty_rate_report *ret)
{
	uint64_t whole = bitmap_count(&s->all);

	ret->nintervals = s->nintervals;
	ret->measured_ns = s->elapsed_ns;
	ret->pages_dirtied = s->pages_dirtied;
	ret->working_set_pages = whole;
	ret->hot_set_known = s->nintervals >= 2;
	ret->hot_set_pages = ret->hot_set_known ? hot_pages(s) : 0;
	ret->pages_per_s = spread(s->pages_per_s, s->nintervals);
	ret->collect_ns = spread(s->collect_ns, s->nintervals);
	ret->rearm_ns = spread(s->rearm_ns, s->nintervals);
	ret->npoints = 0;
	for (unsigned int i = 0; i < s->nlevels && s->level[i].nsamples; i++)
		ret->point[ret->npoints++] =
			point(s, 1u << i, s->level[i].samples, s->level[i].nsamples);
	if (s->nintervals && (s->nintervals & (s->nintervals - 1)))
		ret->point[ret->npoints++] = point(s, s->nintervals, &whole, 1);
}
