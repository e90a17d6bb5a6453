/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_PREDICT_H
#define MACHINE_PREDICT_H

#include "machine/dirty_rate.h"

/*
 * Which migrations of a measured guest would converge: the migration's own policy (docs/spec/policy.md) is asked round after round, with rounds that last as long as
 * their bytes take at the bandwidth and leave as many pages as the measurement saw written in that time. Pure. A prediction: no byte was sent.
 */

/* Fills in the predictions of @r from its other figures. None without intervals. */
void predict_migrations(struct dirty_rate_report *r);

/* Pages that are written within @ns, by the first-touch curve: straight between its points; beyond the last as it rose last, up to the RAM. */
double predict_dirtied_pages(const struct dirty_rate_report *r, double ns);

#endif
