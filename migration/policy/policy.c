/* SPDX-License-Identifier: Apache-2.0 */
#include "migration/policy.h"

#include <math.h>
#include <stdio.h>

#include "base/num.h"

/* docs/spec/policy.md §1 to §4 has the reasons for all of these. */
#define MEASURABLE_BYTES (1u << 20)
#define SHRINKING 0.9
#define PAYING 0.7
#define PATIENCE 3u
#define GIVE_UP 10u
#define MAX_ROUNDS 30u
#define MIN_GAIN_NS 1e6
#define MIN_GAIN_PART 0.25
#define RATIO_MIN 0.01
#define RATIO_MAX 4.0
#define RAW_BYTES_PER_PAGE 4100.0

void policy_init(struct policy *p, const struct policy_params *params)
{
	*p = (struct policy){ .params = *params };
}

static void note_bandwidth(struct policy *p, const struct policy_sample *s)
{
	double *list = s->round_bytes >= MEASURABLE_BYTES ? p->bandwidth : p->bandwidth_small;

	if (!s->round_ns || !s->round_bytes)
		return;
	list[1] = list[0];
	list[0] = (double)s->round_bytes * 1e9 / (double)s->round_ns;
}

/* §1. Small rounds are mostly fixed costs: what they show is below the link's rate, so that the larger of two is nearer to it. */
static double cautious_bandwidth(const struct policy *p)
{
	if (p->bandwidth[1] > 0)
		return MIN(p->bandwidth[0], p->bandwidth[1]);
	if (p->bandwidth[0] > 0)
		return p->bandwidth[0];
	return MAX(p->bandwidth_small[0], p->bandwidth_small[1]);
}

/* §2. The mean is geometric: halving and doubling cancel out. */
static void note_shrink(struct policy *p, const struct policy_sample *s)
{
	double ratio;

	if (p->nrounds > 1) {
		ratio = p->left_pages ? (double)s->left_pages / (double)p->left_pages :
			s->left_pages ? RATIO_MAX :
					1.0;
		ratio = MAX(RATIO_MIN, MIN(RATIO_MAX, ratio));
		p->shrink = p->shrink > 0 ? sqrt(p->shrink * ratio) : ratio;
	}
	p->left_pages = s->left_pages;
}

static uint64_t to_ns(double ns)
{
	return ns < 1e18 ? (uint64_t)ns : UINT64_MAX;
}

static double ms(double ns)
{
	return ns / 1e6;
}

/* §4: over the ceiling and no hope within the patience, or the timeout has come. */
static void give_up(const struct policy *p, bool timed_out, struct policy_decision *ret)
{
	if (p->params.switch_on_timeout)
		ret->next = POLICY_SWITCH;
	else if (timed_out ||
		 (!p->params.timeout_ns && (p->stalls >= GIVE_UP || p->nrounds >= MAX_ROUNDS)))
		ret->next = POLICY_CANCEL;
	else
		ret->next = POLICY_ROUND;
}

/* Against the best so far, not the round before: what swings up and down gets nowhere. */
static bool made_progress(struct policy *p, const struct policy_sample *s)
{
	if (p->nrounds > 1 && (double)s->left_pages >= SHRINKING * (double)p->progress_pages)
		return false;
	p->progress_pages = s->left_pages;
	return true;
}

static void over_ceiling(struct policy *p, const struct policy_sample *s, double left_ns,
			 struct policy_decision *ret)
{
	double ceiling = (double)p->params.max_downtime_ns, fixed = (double)s->fixed_ns;
	double predicted = fixed + left_ns;
	bool timed_out = p->params.timeout_ns && s->elapsed_ns >= p->params.timeout_ns;
	/* Memory is not what is too slow: more rounds change nothing. */
	bool hopeless = fixed >= ceiling && left_ns <= fixed * MIN_GAIN_PART;

	if (hopeless || !made_progress(p, s))
		p->stalls++;
	else
		p->stalls = 0;
	ret->stalled = p->stalls >= PATIENCE || p->nrounds >= MAX_ROUNDS;
	if (timed_out)
		snprintf(ret->reason, sizeof(ret->reason),
			 "timeout: %.1f ms predicted, limit %.1f ms after %u rounds", ms(predicted),
			 ms(ceiling), p->nrounds);
	else if (hopeless)
		snprintf(ret->reason, sizeof(ret->reason),
			 "fixed costs of %.1f ms alone exceed the limit of %.1f ms", ms(fixed),
			 ms(ceiling));
	else if (ret->stalled)
		snprintf(ret->reason, sizeof(ret->reason),
			 "rounds stopped shrinking: %.1f ms predicted, limit %.1f ms (ratio %.2f)",
			 ms(predicted), ms(ceiling), ret->shrink);
	else
		snprintf(ret->reason, sizeof(ret->reason), "%.1f ms predicted, limit %.1f ms",
			 ms(predicted), ms(ceiling));
	if (timed_out || ret->stalled)
		give_up(p, timed_out, ret);
	else
		ret->next = POLICY_ROUND;
}

/* §3: switch unless one more round is worth its price. */
static void under_ceiling(struct policy *p, const struct policy_sample *s, double left_ns,
			  struct policy_decision *ret)
{
	double predicted = (double)s->fixed_ns + left_ns, ratio = p->shrink, gain;
	bool timed_out = p->params.timeout_ns && s->elapsed_ns >= p->params.timeout_ns;

	/* A swing back to where it was before is no shrinking either. */
	if (p->nrounds > 1 && p->lowest_pages)
		ratio = MAX(ratio, (double)s->left_pages / (double)p->lowest_pages);
	/* Nothing to compare with after the first round: the next is shorter, and a guest that writes at a steady rate dirties less in it. */
	if (ratio <= 0)
		ratio = s->round_ns ? MIN(1.0, left_ns / (double)s->round_ns) : 1.0;
	gain = left_ns * (1 - MIN(1.0, ratio));
	p->stalls = 0;
	p->progress_pages = s->left_pages;
	ret->next = POLICY_SWITCH;
	if (timed_out)
		snprintf(ret->reason, sizeof(ret->reason),
			 "timeout: %.1f ms predicted, limit %.1f ms", ms(predicted),
			 ms((double)p->params.max_downtime_ns));
	else if (p->nrounds >= MAX_ROUNDS)
		snprintf(ret->reason, sizeof(ret->reason), "%.1f ms predicted after %u rounds",
			 ms(predicted), p->nrounds);
	else if (ratio > PAYING)
		snprintf(ret->reason, sizeof(ret->reason),
			 "%.1f ms predicted, and rounds hardly shrink (ratio %.2f)", ms(predicted),
			 ratio);
	else if (gain < MIN_GAIN_NS || gain < predicted * MIN_GAIN_PART)
		snprintf(ret->reason, sizeof(ret->reason),
			 "%.1f ms predicted, one more round would save only %.1f ms", ms(predicted),
			 ms(gain));
	else {
		ret->next = POLICY_ROUND;
		snprintf(ret->reason, sizeof(ret->reason),
			 "%.1f ms predicted, one more round should save %.1f ms", ms(predicted),
			 ms(gain));
	}
}

void policy_step(struct policy *p, const struct policy_sample *s, struct policy_decision *ret)
{
	double per_page = s->bytes_per_page > 0 ? s->bytes_per_page : RAW_BYTES_PER_PAGE;
	double left_ns;

	p->nrounds++;
	note_bandwidth(p, s);
	note_shrink(p, s);
	*ret = (struct policy_decision){ .bandwidth = cautious_bandwidth(p) };
	ret->shrink = p->shrink > 0 ? p->shrink : 1.0;
	if (!s->left_pages)
		left_ns = 0;
	else if (ret->bandwidth > 0)
		left_ns = (double)s->left_pages * per_page * 1e9 / ret->bandwidth;
	else
		left_ns = 1e19;
	ret->predicted_downtime_ns = to_ns((double)s->fixed_ns + left_ns);
	if (ret->predicted_downtime_ns > p->params.max_downtime_ns)
		over_ceiling(p, s, left_ns, ret);
	else
		under_ceiling(p, s, left_ns, ret);
	p->lowest_pages = p->nrounds > 1 ? MIN(p->lowest_pages, s->left_pages) : s->left_pages;
}
