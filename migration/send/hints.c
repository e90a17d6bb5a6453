/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/num.h"
#include "migration/send/session.h"
#include "vmm/dirty.h"
#include "vmm/gmem.h"

/* Pages that the guest names free are left out of the first round. Why nothing is lost by it: docs/adr/0005. */

/* All of memory, before the guest is asked: what it writes to a page after it named it is then in the log. Logs without SPLIT_REARM were armed by being switched on. */
static int rearm_all(struct session *s, struct err *err)
{
	if (!(s->dirty->ops->flags & DIRTY_SPLIT_REARM))
		return 0;
	for (uint64_t at = 0; at < s->mem->npages; at += REARM_CHUNK_PAGES) {
		uint64_t n = MIN((uint64_t)REARM_CHUNK_PAGES, s->mem->npages - at);
		int rc = session_poll(s, err);

		if (!rc)
			rc = dirty_rearm(s->dirty, &s->pending, at, n, err);
		if (rc)
			return rc;
	}
	return 0;
}

int hints_begin(struct session *s, struct err *err)
{
	const struct mig_free_ops *ops = s->ops->free;
	struct err why = { 0 };
	int rc;

	if (!ops)
		return 0;
	if (ops->begin(s->host, &why)) {
		snprintf(s->report->free_reason, sizeof(s->report->free_reason), "%s", why.msg);
		return 0;
	}
	s->hints_begun = true;
	rc = rearm_all(s, err);
	if (!rc) {
		ops->ask(s->host);
		s->hints_asked = true;
	}
	return rc;
}

uint64_t hints_take(struct session *s, uint64_t first, uint64_t n)
{
	uint64_t named = 0;

	if (s->hints_asked)
		named = s->ops->free->take(s->host, first, n, &s->pending);
	s->report->free_pages += named;
	return named;
}

void hints_stop(struct session *s)
{
	if (s->hints_asked)
		s->ops->free->stop(s->host);
	s->hints_asked = false;
}

void hints_end(struct session *s)
{
	if (s->hints_begun)
		s->ops->free->end(s->host);
	s->hints_begun = false;
}
