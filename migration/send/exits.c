/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "migration/send/session.h"

/* What dirty tracking costs the guest in exits. A host that does not count them is no reason to fail: the report says why there is nothing. */

static struct mig_exits read_now(struct session *s)
{
	struct mig_report *r = s->report;
	struct mig_exits now = { 0 };
	struct err err = { 0 };

	if (!s->ops->exits)
		err_set(&err, -ENOTSUP, "this host does not count exits");
	else if (s->ops->exits(s->host, &now, &err))
		now = (struct mig_exits){ 0 };
	else if (!now.faults_known)
		err_set(&err, -ENOTSUP, "KVM does not count page faults on this host");
	if (err.code && !r->exits_reason[0])
		snprintf(r->exits_reason, sizeof(r->exits_reason), "%s", err.msg);
	return now;
}

static struct mig_exits between(const struct mig_exits *from, const struct mig_exits *to)
{
	return (struct mig_exits){
		.exits_known = from->exits_known && to->exits_known,
		.faults_known = from->faults_known && to->faults_known,
		.exits = to->exits - from->exits,
		.faults = to->faults - from->faults,
	};
}

void session_start_exits(struct session *s)
{
	s->exits_start = s->exits_last = read_now(s);
}

struct mig_exits session_take_exits(struct session *s)
{
	struct mig_exits now = read_now(s), since = between(&s->exits_last, &now);

	s->exits_last = now;
	s->report->exits = between(&s->exits_start, &now);
	return since;
}
