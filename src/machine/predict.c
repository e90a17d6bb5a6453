/* SPDX-License-Identifier: Apache-2.0 */
#include "predict.h"

#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "migration/policy.h"

/* A page and its share of the record around it (docs/spec/stream.md); nothing is assumed about compression. */
#define BYTES_PER_PAGE 4104.0
/* What a downtime has besides the last collect and the last pages: stopping, saving, restoring, two exchanges. A host's own can only be told by migrating. */
#define ASSUMED_FIXED_NS (5 * NS_PER_MS)
/* The policy ends sooner by itself. */
#define MAX_ROUNDS 100u

double predict_dirtied_pages(const struct dirty_rate_report *r, double ns)
{
	double at = 0, pages = 0, slope = 0;

	for (uint32_t i = 0; i < r->npoints; i++) {
		double to = (double)r->point[i].span_ns;
		/* Medians of few stretches may fall; a union cannot. */
		double there = MAX(pages, (double)r->point[i].pages);

		if (to <= at)
			continue;
		slope = (there - pages) / (to - at);
		if (ns <= to)
			return pages + slope * (ns - at);
		at = to;
		pages = there;
	}
	return MIN(pages + slope * (ns - at), (double)r->npages);
}

static void predict_one(const struct dirty_rate_report *r, uint64_t bandwidth,
			struct dirty_rate_prediction *ret)
{
	const struct policy_params params = { .max_downtime_ns = r->asked.max_downtime_ns };
	double left = (double)r->first_round_pages, elapsed_ns = 0, bytes = 0;
	struct policy_decision decision = { .next = POLICY_ROUND };
	struct policy policy;
	uint32_t rounds = 0;

	policy_init(&policy, &params);
	while (decision.next == POLICY_ROUND && rounds < MAX_ROUNDS) {
		double round_bytes = left * BYTES_PER_PAGE;
		/* A round of nothing takes its exchange all the same. */
		double round_ns = MAX(round_bytes * 1e9 / (double)bandwidth, 1e5);
		struct policy_sample sample = {
			.round_ns = (uint64_t)round_ns,
			.round_bytes = (uint64_t)round_bytes,
			.round_pages = (uint64_t)left,
			.fixed_ns = r->fixed_ns,
			.bytes_per_page = BYTES_PER_PAGE,
		};

		rounds++;
		bytes += round_bytes;
		elapsed_ns += round_ns;
		left = predict_dirtied_pages(r, round_ns);
		sample.elapsed_ns = (uint64_t)elapsed_ns;
		sample.left_pages = (uint64_t)(left + 0.5);
		policy_step(&policy, &sample, &decision);
	}
	*ret = (struct dirty_rate_prediction){ .bandwidth = bandwidth, .rounds = rounds };
	memcpy(ret->reason, decision.reason, sizeof(ret->reason));
	if (decision.next == POLICY_SWITCH) {
		double last_ns = left * BYTES_PER_PAGE * 1e9 / (double)bandwidth;

		ret->downtime_ns = r->fixed_ns + (uint64_t)last_ns;
		ret->converges = ret->downtime_ns <= r->asked.max_downtime_ns;
		ret->rounds++;
		elapsed_ns += (double)ret->downtime_ns;
		bytes += left * BYTES_PER_PAGE;
	}
	ret->total_ns = (uint64_t)elapsed_ns;
	ret->bytes = (uint64_t)bytes;
}

void predict_migrations(struct dirty_rate_report *r)
{
	/* Ethernet at 1, 2.5, 10, 25 and 100 Gbit/s. */
	static const uint64_t links[] = { 125000000, 312500000, 1250000000, 3125000000,
					  12500000000 };
	_Static_assert(ARRAY_LEN(links) <= DIRTY_RATE_MAX_PREDICTIONS, "room for each link");

	r->npredictions = 0;
	if (!r->nintervals)
		return;
	r->fixed_ns = ASSUMED_FIXED_NS + (uint64_t)r->collect_ns.median;
	if (r->asked.bandwidth) {
		predict_one(r, r->asked.bandwidth, &r->prediction[r->npredictions++]);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		predict_one(r, links[i], &r->prediction[r->npredictions++]);
}
