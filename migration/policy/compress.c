/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "migration/policy.h"

/* docs/spec/policy.md §5. */
#define LINK_LIMITS 0.5 /* of the time blocked: worth a trial */
#define LINK_IDLES 0.25 /* less than this, with compression on: the workers are what limits */
#define PAYS 1.05
#define SAVES 0.05 /* of the bytes: less cannot make PAYS true on any link */
#define PAGE_BYTES 4096.0
#define MIN_PAGES 64u
#define FIRST_BACKOFF 8u
#define MAX_BACKOFF 1024u
#define FIRST_RECHECK 16u
/*
 * What one thread may be hoped to deflate a second at level 1: text takes 45 000 pages, nearly constant pages 200 000 (zlib 1.2.13, 3 GHz). A guest of nothing but the
 * latter is not worth a trial that costs all others time.
 */
#define WORKER_PAGES_PER_S 80000.0

void compress_policy_init(struct compress_policy *c, unsigned int workers)
{
	*c = (struct compress_policy){ .max_pages_per_s = workers * WORKER_PAGES_PER_S };
}

static void smooth(double *value, double sample)
{
	*value = *value > 0 ? (*value + sample) / 2 : sample;
}

static unsigned int doubled(unsigned int v, unsigned int first)
{
	return v ? MIN(v * 2, MAX_BACKOFF) : first;
}

static void step_off(struct compress_policy *c, const struct compress_sample *s, double rate)
{
	smooth(&c->pages_per_s_off, rate);
	if (c->hold) {
		c->hold--;
		return;
	}
	if ((double)s->blocked_ns < LINK_LIMITS * (double)s->wall_ns)
		return;
	/* A link as fast as this gains nothing, however well the pages shrink. */
	if (c->max_pages_per_s > 0 && c->pages_per_s_off * PAYS > c->max_pages_per_s)
		return;
	c->on = true;
	c->pages_per_s_on = 0;
	c->since_on = 0;
}

static bool is_hopeless(const struct compress_sample *s)
{
	return s->on && s->pages >= COMPRESS_HOPELESS_PAGES &&
	       (double)s->saved_bytes < SAVES * PAGE_BYTES * (double)s->pages;
}

/* Too late, even if the rest of the stretch took no time. On a host whose workers are slow, or have no CPU, that is long before its end. */
static bool is_lost(const struct compress_policy *c, const struct compress_sample *s)
{
	return s->on &&
	       (double)s->wall_ns * c->pages_per_s_off * PAYS > COMPRESS_STRETCH_PAGES * 1e9;
}

static void step_on(struct compress_policy *c, const struct compress_sample *s, double rate)
{
	bool link_idles = (double)s->blocked_ns < LINK_IDLES * (double)s->wall_ns;

	smooth(&c->pages_per_s_on, rate);
	if (is_hopeless(s) || c->pages_per_s_on < c->pages_per_s_off * PAYS) {
		c->on = false;
		c->backoff = doubled(c->backoff, FIRST_BACKOFF);
		c->hold = c->backoff;
		return;
	}
	/* It pays against what `off` once was. Where the link is no longer busy that may have changed: measure again, ever more seldom. */
	if (!c->recheck)
		c->recheck = FIRST_RECHECK;
	c->since_on = link_idles ? c->since_on + 1 : 0;
	if (c->since_on >= c->recheck) {
		c->recheck = doubled(c->recheck, FIRST_RECHECK);
		c->on = false;
		c->hold = 0;
		c->pages_per_s_off = 0;
	}
}

bool compress_policy_done(const struct compress_policy *c, const struct compress_sample *s)
{
	return s->pages >= COMPRESS_STRETCH_PAGES || is_hopeless(s) || is_lost(c, s);
}

bool compress_policy_step(struct compress_policy *c, const struct compress_sample *s)
{
	double rate;

	if (!s->wall_ns || (s->pages < MIN_PAGES && !is_lost(c, s)))
		return c->on;
	rate = (double)s->pages * 1e9 / (double)s->wall_ns;
	if (s->on)
		step_on(c, s, rate);
	else
		step_off(c, s, rate);
	return c->on;
}
